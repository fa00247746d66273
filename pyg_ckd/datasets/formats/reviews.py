"""Reviews of any release of Amazon's data."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.raw.problems import Problems

#: The user, the item, the rating and the time.
Review: TypeAlias = tuple[str, str, float, int]


class Reviews:
    """Reviews as they are read, 40 bytes each, and each id once.

    Example:
        >>> problems = Problems('reviews.gz', 'line', skip=True)
        >>> def parse(text):
        ...     user, item, time = text.decode().split()
        ...     return user, item, 5.0, int(time)
        >>> reviews = Reviews()
        >>> reviews.read([(1, b'ann cup 9'), (2, b'ann')], parse, problems)
        >>> len(reviews), len(problems)
        (1, 1)
        >>> interactions, file = reviews.interactions()
        >>> interactions.users, interactions.time
        (['ann'], tensor([9]))
    """

    def __init__(self) -> None:
        self._users: dict[str, int] = {}
        self._items: dict[str, int] = {}
        self._line, self._user, self._item, self._time = (
            array('q') for _ in range(4)
        )
        self._rating = array('f')
        # Of each file the number of reviews up to its end, and where repeats
        # are noted:
        self._ends: list[int] = []
        self._repeats: list[Problems] = []

    def __len__(self) -> int:
        return len(self._line)

    def read(
        self,
        lines: Iterable[tuple[int, bytes]],
        parse: Callable[[bytes], Review],
        problems: Problems,
        repeats: Problems | None = None,
    ) -> None:
        """Read a file.

        Args:
            lines: The number and content of each line.
            parse: From a line to a review, or a :obj:`ValueError`.
            problems: Where malformed lines are noted.
            repeats: Where further reviews of the same user and item are noted.
                (default: ``problems``)
        """
        users, items = self._users, self._items
        for line, text in lines:
            try:
                user, item, rating, time = parse(text)
            except ValueError as error:
                problems.add(line, 'is malformed', str(error))
                continue
            self._line.append(line)
            self._user.append(users.setdefault(user, len(users)))
            self._item.append(items.setdefault(item, len(items)))
            self._rating.append(rating)
            self._time.append(time)
        self._ends.append(len(self))
        self._repeats.append(problems if repeats is None else repeats)

    def interactions(self, ticks: int = 1) -> tuple[Interactions, Tensor]:
        """Return the interactions, and the number of the file of each.

        Of several reviews of the same user and item the earliest counts, at
        equal times the first.

        Args:
            ticks: How many units of time a second has. If there are several,
                interactions are sorted by time, as seconds alone would not
                tell their order.

        Returns:
            The interactions in the order of the files, the users and items
            sorted. ``rating`` is ``float32``, ``time`` is ``int64``, in
            seconds. The numbers are ``int64``.
        """
        user, item, time = map(_view, (self._user, self._item, self._time))
        self._note_repeats(user, item)
        keep = np.flatnonzero(_are_earliest(user, item, time))
        if ticks > 1:
            keep = keep[np.argsort(time[keep], kind='stable')]
        users, user_index = _sort_ids(self._users, user)
        items, item_index = _sort_ids(self._items, item)
        columns = user_index, item_index, _view(self._rating), time // ticks
        file = np.searchsorted(self._ends, keep, side='right')
        return (
            Interactions(
                users, items, *(torch.from_numpy(x[keep]) for x in columns)
            ),
            torch.from_numpy(file.astype(np.int64)),
        )

    def _note_repeats(
        self, user: NDArray[np.int64], item: NDArray[np.int64]
    ) -> None:
        user_ids, item_ids = list(self._users), list(self._items)
        for row, twin in _find_twins(user, item):
            repeats, first = self._repeats[self._file(twin)], self._file(row)
            other = self._repeats[first].path
            where = f" of '{other}'" if other != repeats.path else ''
            repeats.add(
                self._line[twin],
                'repeats a user and item',
                f"user '{user_ids[user[row]]}' and item "
                f"'{item_ids[item[row]]}' are paired twice, first in line "
                f'{self._line[row]}{where}',
            )

    def _file(self, row: int) -> int:
        return bisect_right(self._ends, row)


def _view(values: array[Any]) -> NDArray[Any]:
    """Return an array of NumPy over the same memory."""
    if not values:  # NumPy refuses memory of no length.
        return np.array([], values.typecode)
    return np.frombuffer(values, values.typecode)


def _find_twins(
    user: NDArray[np.int64], item: NDArray[np.int64]
) -> Iterator[tuple[int, int]]:
    """Yield a row and a later one of the same pair, sorted by the later."""
    order = np.lexsort((item, user))  # Stable: equal pairs stay in file order.
    same = (np.diff(user[order]) == 0) & (np.diff(item[order]) == 0)
    later, earlier = order[1:][same], order[:-1][same]
    for twin, row in sorted(zip(later.tolist(), earlier.tolist(), strict=True)):
        yield row, twin


def _are_earliest(
    user: NDArray[np.int64], item: NDArray[np.int64], time: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which rows are the earliest of their pair, of equals the first."""
    order = np.lexsort((time, item, user))
    same = (np.diff(user[order]) == 0) & (np.diff(item[order]) == 0)
    is_earliest = np.ones(len(order), dtype=bool)
    is_earliest[order[1:][same]] = False
    return is_earliest


def _sort_ids(
    numbers: dict[str, int], index: NDArray[np.int64]
) -> tuple[list[str], NDArray[np.int64]]:
    """Return the sorted ids, and the index of each of the numbers in them."""
    ids = sorted(numbers)
    position = np.empty(len(ids), np.int64)
    position[[numbers[name] for name in ids]] = np.arange(len(ids))
    return ids, position[index]
