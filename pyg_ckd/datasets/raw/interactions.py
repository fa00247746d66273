"""Interactions by ids, as they come from a file."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import compress
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Interactions(NamedTuple):
    """Interactions between named users and items.

    Example:
        >>> interactions = Interactions.from_ids(
        ...     user=['b', 'a', 'b'], item=['x', 'y', 'y']
        ... )
        >>> interactions.users, interactions.user
        (['a', 'b'], tensor([1, 0, 1]))
    """

    #: The ids of users and items, sorted, so that the same files give the same
    #: numbers on every machine.
    users: list[str]
    items: list[str]
    #: For each interaction, positions in ``users`` and ``items``.
    user: Tensor
    item: Tensor
    #: For each interaction, where known: its rating, and its time in seconds.
    rating: Tensor | None = None
    time: Tensor | None = None
    #: For each interaction how much it counts, ``float32`` in (0, 1]; those of
    #: weight 1 are what is to be predicted. All count alike by default.
    weight: Tensor | None = None

    @classmethod
    def from_ids(
        cls,
        user: Iterable[str],
        item: Iterable[str],
        rating: Tensor | None = None,
        time: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Interactions:
        """Number the users and items of pairs.

        Each of the two is read once, and each id kept once.

        Args:
            user: The user of each pair.
            item: The item of each pair.
            rating: The rating of each pair. (default: ``None``)
            time: The time of each pair, in seconds. (default: ``None``)
            weight: The weight of each pair, in (0, 1]. (default: ``None``)
        """
        users, user_index = _number(user)
        items, item_index = _number(item)
        return cls(users, items, user_index, item_index, rating, time, weight)

    def core(self, k: int) -> Interactions:
        """Return the ``k``-core.

        That is the largest part in which every user and every item has at
        least ``k`` interactions. It may be empty.
        """
        # NumPy counts and selects several times faster than torch:
        user, item = self.user.numpy(), self.item.numpy()
        rows = np.arange(len(user))
        while True:
            # What is left gets less at every round, and so does the work:
            stays = (np.bincount(user) >= k)[user]
            stays &= (np.bincount(item) >= k)[item]
            if stays.all():
                return self.select(torch.from_numpy(rows))
            user, item, rows = user[stays], item[stays], rows[stays]

    def select(self, rows: Tensor) -> Interactions:
        """Return some interactions, with the users and items that they have.

        Args:
            rows: The positions of the interactions.

        Example:
            >>> Interactions.from_ids(['b', 'a'], ['x', 'y']).select(
            ...     torch.tensor([0])
            ... ).items
            ['x']
        """
        users, user = _renumber(self.users, self.user[rows].numpy())
        items, item = _renumber(self.items, self.item[rows].numpy())
        return Interactions(
            users,
            items,
            user,
            item,
            None if self.rating is None else self.rating[rows],
            None if self.time is None else self.time[rows],
            None if self.weight is None else self.weight[rows],
        )


def _number(ids: Iterable[str]) -> tuple[list[str], Tensor]:
    """Return the sorted names, and the position of each id in them."""
    number: dict[str, int] = {}  # in the order in which they first appear
    index = np.fromiter(
        (number.setdefault(name, len(number)) for name in ids), np.int64
    )
    names = sorted(number)
    place = np.empty(len(names), np.int64)
    place[[number[name] for name in names]] = np.arange(len(names))
    return names, torch.from_numpy(place[index])


def _renumber(
    names: list[str], index: NDArray[np.int64]
) -> tuple[list[str], Tensor]:
    """Return the names that occur, and the positions in these."""
    occurs = np.bincount(index, minlength=len(names)) > 0
    place = np.cumsum(occurs) - 1
    used = list(compress(names, occurs.tolist()))
    return used, torch.from_numpy(place[index])
