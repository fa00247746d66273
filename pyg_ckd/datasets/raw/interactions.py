"""Interactions by ids, as they come from a file."""

from __future__ import annotations

from typing import NamedTuple

import torch
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

    @classmethod
    def from_ids(
        cls,
        user: list[str],
        item: list[str],
        rating: Tensor | None = None,
        time: Tensor | None = None,
    ) -> Interactions:
        """Number the users and items of a list of pairs."""
        users, user_index = _number(user)
        items, item_index = _number(item)
        return cls(users, items, user_index, item_index, rating, time)

    def core(self, k: int) -> Interactions:
        """Return the ``k``-core.

        That is the largest part in which every user and every item has at
        least ``k`` interactions. It may be empty.
        """
        user, item = self.user, self.item
        keep = torch.ones_like(user, dtype=torch.bool)
        while True:
            users = torch.bincount(user[keep], minlength=len(self.users))
            items = torch.bincount(item[keep], minlength=len(self.items))
            stays = keep & (users >= k)[user] & (items >= k)[item]
            if stays.equal(keep):
                return self._select(keep)
            keep = stays

    def _select(self, keep: Tensor) -> Interactions:
        users, user = self.user[keep].unique(return_inverse=True)
        items, item = self.item[keep].unique(return_inverse=True)
        return Interactions(
            [self.users[i] for i in users.tolist()],
            [self.items[i] for i in items.tolist()],
            user,
            item,
            None if self.rating is None else self.rating[keep],
            None if self.time is None else self.time[keep],
        )


def _number(ids: list[str]) -> tuple[list[str], Tensor]:
    names = sorted(set(ids))
    position = {name: i for i, name in enumerate(names)}
    index = [position[name] for name in ids]
    return names, torch.tensor(index, dtype=torch.long)
