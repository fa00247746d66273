"""A ranking as a value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Ranking:
    r"""The best items of some users, and what these users really chose.

    :func:`~pyg_ckd.ranking.rank` makes it, and all of
    :mod:`pyg_ckd.metrics` reads it, so that a model is ranked once for any
    number of metrics.

    Args:
        user (Tensor): Ids of the ranked users, ascending, ``[N]``.
        item (Tensor): Ids of their best items, best first, ``[N, k]``; -1
            where a user has no item left.
        label (Tensor): The held-out interactions: the row of the user in
            ``user`` and the item, each pair once, ``[2, L]``.
        num_items (int): The number of items of the catalogue.
        popularity (Tensor): The number of training interactions of each item,
            ``[num_items]``.
        activity (Tensor): The number of training interactions of each ranked
            user, ``[N]``.

    Example:
        >>> ranking = Ranking(
        ...     user=torch.tensor([4, 7]),
        ...     item=torch.tensor([[2, 0, 1], [1, -1, -1]]),
        ...     label=torch.tensor([[0, 0, 1], [1, 3, 1]]),
        ...     num_items=4,
        ...     popularity=torch.tensor([9, 1, 5, 2]),
        ...     activity=torch.tensor([1, 3]),
        ... )
        >>> ranking
        Ranking(2 users, 4 items, k=3)
        >>> ranking.hit
        tensor([[False, False,  True],
                [ True, False, False]])
        >>> ranking.num_labels
        tensor([2, 1])
        >>> ranking.select(ranking.activity < 3)
        Ranking(1 users, 4 items, k=3)
    """

    user: Tensor
    item: Tensor
    label: Tensor
    num_items: int
    popularity: Tensor
    activity: Tensor

    @property
    def k(self) -> int:
        """The length of the lists."""
        return self.item.size(1)

    @cached_property
    def hit(self) -> Tensor:
        """Which places hold a held-out item of their user, ``[N, k]``."""
        row = torch.arange(len(self.user), device=self.item.device)
        place = self._key(row.unsqueeze(1), self.item)  # [N, k]
        key = self._key(*self.label)
        key = torch.cat([key, key.new_tensor([-1])]).sort().values
        at = torch.searchsorted(key, place).clamp(max=len(key) - 1)
        return key[at] == place

    @cached_property
    def found(self) -> Tensor:
        """Which held-out interactions the lists hold, ``[L]``."""
        row, item = self.label
        return (self.item[row] == item.unsqueeze(1)).any(dim=1)

    @cached_property
    def num_labels(self) -> Tensor:
        """The number of held-out items of each user, ``[N]``."""
        return torch.bincount(self.label[0], minlength=len(self.user))

    def select(self, mask: Tensor) -> Ranking:
        """Return the ranking of some of the users, for breakdowns.

        Args:
            mask: Which users to keep, booleans of shape ``[N]``.
        """
        row, item = self.label
        kept = mask[row]
        new_row = mask.cumsum(0) - 1
        return replace(
            self,
            user=self.user[mask],
            item=self.item[mask],
            label=torch.stack([new_row[row[kept]], item[kept]]),
            activity=self.activity[mask],
        )

    def _key(self, row: Tensor, item: Tensor) -> Tensor:
        """Number the pairs; an item of -1 has a number of its own."""
        return row * (self.num_items + 1) + item + 1

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({len(self.user)} users, '
            f'{self.num_items} items, k={self.k})'
        )


def check_length(length: int, k: int) -> None:
    """Refuse a length that the lists of a ranking do not have.

    Args:
        length: The length that they have.
        k: The one that is wanted.

    Raises:
        ValueError: If it is not from one to the length of the lists.
    """
    if not 1 <= k <= length:
        raise ValueError(
            f"'k' needs to be from 1 to {length}, the length of the lists "
            f'of this ranking (got {k})'
        )
