"""What items are called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch_geometric.data import HeteroData

#: The most letters of a title, and of what is shown where it is pointed at.
LONGEST, LONGEST_HINT = 90, 300


class ItemNames:
    """Titles and ids of items, as people read them.

    An item is known by its name, or else by its number in the files,
    ``original_id``, or else by its number in the graph.

    Args:
        data (HeteroData): The graph.

    Example:
        >>> data = HeteroData()
        >>> data['item'].num_nodes = 2
        >>> data['item'].name = ['a1', 'b2']
        >>> data['item'].title = ['Cup', '']
        >>> names = ItemNames(data)
        >>> names.title(0), names.id(0), names.title(1)
        ('Cup', 'a1', 'b2')
    """

    def __init__(self, data: HeteroData) -> None:
        size = self._size = data['item'].num_nodes
        self._ids = _column(data, 'name', size)
        self.are_numbers = self._ids is None
        self._ids = self._ids or _column(data, 'original_id', size)
        self._titles = _column(data, 'title', size)

    def id(self, item: int) -> str:
        """Return the id of an item."""
        return str(item if self._ids is None else self._ids[item])

    def title(self, item: int) -> str:
        """Return the title of an item, or else its id."""
        title = None if self._titles is None else self._titles[item]
        if not isinstance(title, str):  # Such as None, or NaN of pandas.
            return self.id(item)
        return title.strip() or self.id(item)

    @property
    def ids(self) -> list[str]:
        """The ids of all items."""
        return [self.id(item) for item in range(self._size)]


def short(text: str, longest: int = LONGEST) -> str:
    """Return the start of a text.

    Example:
        >>> short('A very long title', 6)
        'A very…'
    """
    text = ' '.join(re.sub(r'[\0-\x1f\x7f-\x9f]', ' ', text).split())
    return text if len(text) <= longest else f'{text[:longest].rstrip()}…'


def _column(data: HeteroData, name: str, size: int) -> Sequence[Any] | None:
    """Return a value for each item, if there is one for each."""
    values = data['item'].get(name)
    if hasattr(values, 'tolist'):  # an array or a tensor
        values = values.tolist()
    if not isinstance(values, list | tuple) or len(values) != size:
        return None
    return values
