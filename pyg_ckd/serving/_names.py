"""What users and items are called."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import cached_property
from itertools import islice
from numbers import Integral
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

Name = str | int


def listed(names: Any) -> Any:
    """Return what is in an array, a series or a tensor, and all else as it is.

    Example:
        >>> listed(torch.tensor([3, 1])), listed('tea')
        ([3, 1], 'tea')
    """
    return names.tolist() if hasattr(names, 'tolist') else names


def named(names: Iterable[Any] | None) -> list[Name] | None:
    """Return names that a file can hold, others than whole numbers as text."""
    if names is None:
        return None
    return [
        int(name) if isinstance(name, Integral) else str(name)
        for name in listed(names)
    ]


def names_of(data: HeteroData, node: str) -> list[Name] | None:
    """Return what users or items are called.

    They are called by their names, or else by the numbers that they had in the
    files; ``None`` where a graph has neither.

    Args:
        data: The graph.
        node: ``'user'`` or ``'item'``.

    Example:
        >>> data = HeteroData()
        >>> data['user'].original_id = torch.tensor([1, 0])
        >>> names_of(data, 'user')
        [1, 0]
    """
    names = data[node].get('name')
    return named(data[node].get('original_id') if names is None else names)


class Names:
    """The names of the rows of a table, both ways.

    Args:
        node (str): What the rows are, ``'user'`` or ``'item'``, for messages.
        size (int): The number of rows.
        names (list, optional): Their names, each once; by default they are
            numbers, counted from 0. (default: :obj:`None`)

    Raises:
        ValueError: If there is not one name for each row, or two are equal.

    Example:
        >>> names = Names('item', 2, ['tea', 'cup'])
        >>> names.rows(['cup']), names.of([0])
        (tensor([1]), ['tea'])
        >>> names.rows(['cups'])
        Traceback (most recent call last):
            ...
        ValueError: There is no item 'cups', the nearest of 2 is 'cup'
    """

    def __init__(
        self, node: str, size: int, names: Sequence[Name] | None = None
    ) -> None:
        self.node, self.size = node, size
        self.names = None if names is None else list(names)
        if self.names is None:
            return
        if len(self.names) != size:
            raise ValueError(
                f'{len(self.names)} names were given for {size} {node}s'
            )
        if len(self._row) != size:
            twice = Counter(self.names).most_common(1)[0][0]
            raise ValueError(f'Two {node}s have the name {twice!r}')

    @cached_property
    def _row(self) -> dict[Name, int]:
        assert self.names is not None
        return {name: row for row, name in enumerate(self.names)}

    def rows(self, names: Iterable[Name]) -> Tensor:
        """Return the rows of some names, ``[N]``.

        Raises:
            ValueError: If one is unknown.
        """
        return torch.tensor(
            [self.row(name) for name in names], dtype=torch.long
        )

    def row(self, name: Name) -> int:
        """Return the row of a name.

        Raises:
            ValueError: If it is unknown.
        """
        if isinstance(name, Integral) and not isinstance(name, bool):
            name = int(name)
        row = self._known(name)
        if row is not None:
            return row
        if self._are_counted:
            raise ValueError(
                f'There is no {self.node} {name!r}: they are numbers from 0 to '
                f'{self.size - 1}'
            )
        raise ValueError(f'There is no {self.node} {name!r}{self._hint(name)}')

    @property
    def are_whole(self) -> bool:
        """Whether all are whole numbers."""
        return self.names is None or all(type(x) is int for x in self.names)

    @cached_property
    def order(self) -> list[int]:
        """The rows in the order in which they are written to files.

        They are in their own order, but where all are called by the numbers
        from 0, however these are mixed: then 7 is in place 7.
        """
        rows = list(range(self.size))
        if self.names is None or not self._are_counted:
            return rows
        return [self._row[number] for number in rows]

    @cached_property
    def _are_counted(self) -> bool:
        """Whether they are called by the numbers from 0, in any order."""
        return self.names is None or all(
            type(x) is int and 0 <= x < self.size for x in self.names
        )

    def find(self, text: str) -> Name:
        """Return the name that is written so, the text itself if none is.

        Requests have no types: ``'7'`` may be the text or the number.
        """
        is_number = re.fullmatch('0|-?[1-9][0-9]{0,17}', text)
        return int(text) if is_number and text not in self else text

    def search(self, text: str, most: int = 20) -> list[Name]:
        """Return the first names that begin with a text."""
        if self.names is None:
            found: Iterable[Name] = self.order
        else:
            found = (self.names[row] for row in self.order)
        return list(islice((x for x in found if str(x).startswith(text)), most))

    def __contains__(self, name: object) -> bool:
        return self._known(name) is not None

    def of(self, rows: Iterable[int]) -> list[Name]:
        """Return the names of some rows."""
        if self.names is None:
            return list(rows)
        return [self.names[row] for row in rows]

    def _known(self, name: object) -> int | None:
        """Return the row of a name, ``None`` if there is none."""
        if isinstance(name, str):
            return None if self.names is None else self._row.get(name)
        if type(name) is not int:  # neither `True` nor 1.0 is 1
            return None
        if self.names is not None:
            return self._row.get(name)
        return name if 0 <= name < self.size else None

    def _hint(self, name: Name) -> str:
        assert self.names is not None
        few = map(str, self.names[:10_000])
        near = get_close_matches(str(name), few, n=1)
        if near:
            return f', the nearest of {self.size} is {near[0]!r}'
        return f'; the first of {self.size} is {self.names[0]!r}'
