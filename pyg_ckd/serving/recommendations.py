"""What is recommended to whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from pyg_ckd._shown import Block, Cell, Shown, Table

#: What users and items are called.
Name = str | int


@dataclass(frozen=True, repr=False)
class Recommendations(Shown):
    """The best items of some users, by the names that a shop knows them by.

    It is a sequence with a list of ``(item, score)`` for each user, best
    first, and a table where it is printed or shown in a notebook. A list is
    shorter than ``k`` where there are not as many items left.

    Args:
        users (list): The users, as they were asked for.
        items (list[list]): The items of each.
        scores (list[list[float]]): Their scores.

    Example:
        >>> found = Recommendations(['ann'], [['tea', 'cup']], [[0.5, 0.25]])
        >>> found[0]
        [('tea', 0.5), ('cup', 0.25)]
        >>> print(found)
        user  rank  item   score
        ann      1  tea   0.5000
                 2  cup   0.2500
    """

    users: Sequence[Name]
    items: Sequence[Sequence[Name]]
    scores: Sequence[Sequence[float]]

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, place: int) -> list[tuple[Name, float]]:
        pair = self.items[place], self.scores[place]
        return list(zip(*pair, strict=True))

    def __iter__(self) -> Iterator[list[tuple[Name, float]]]:
        return (self[place] for place in range(len(self)))

    def __repr__(self) -> str:
        return str(self)

    def rows(self) -> Iterator[tuple[Name, int, Name, float]]:
        """Yield a user, a rank from 1, an item and a score for each item."""
        for user, found in zip(self.users, self, strict=True):
            for rank, (item, score) in enumerate(found, 1):
                yield user, rank, item, score

    def to_frame(self) -> pd.DataFrame:
        """Return a table with ``user``, ``rank``, ``item`` and ``score``."""
        columns = ['user', 'rank', 'item', 'score']
        return pd.DataFrame(self.rows(), columns=columns)

    def _shown(self) -> Iterator[Block]:
        rows = [
            [*map(Cell, (str(user), str(rank), str(item), f'{score:.4f}'))]
            for user, rank, item, score in self.rows()
        ]
        head = ['user', 'rank', 'item', 'score']
        yield Table(head, rows, words=(0, 2), merged=1)
