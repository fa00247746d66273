"""Triples of a user, an item she knows and one she does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.graph import RATES, check, interaction_keys


class TripletLoader:
    r"""Batches of triples for Bayesian personalised ranking.

    A triple is a user, an item of hers from training, and a negative: an item
    drawn uniformly from those she has no training interaction with. A false
    negative never occurs. Everything is vectorised, happens on the device of
    the data and obeys :func:`torch.manual_seed`.

    Args:
        data (HeteroData): The user-item graph.
        batch_size (int, optional): The number of triples in a batch.
            (default: :obj:`2048`)
        sampling (str, optional): Where positives come from.
            ``"interaction"``: one pass over all interactions in random order,
            so that a user weighs as much as she is active; ``"user"``, CKD's
            authors' way: each batch holds distinct users, drawn uniformly,
            with one random item of each, in ``num_train // batch_size + 1``
            batches. (default: :obj:`"interaction"`)

    Raises:
        ValueError: If there are no interactions, if some user has interacted
            with all items, or if an argument is out of its range.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> user, pos, neg = next(iter(TripletLoader(data, batch_size=8)))
        >>> user.shape, pos.shape, neg.shape
        (torch.Size([8]), torch.Size([8]), torch.Size([8]))
    """

    def __init__(
        self,
        data: HeteroData,
        batch_size: int = 2048,
        sampling: Literal['user', 'interaction'] = 'interaction',
    ) -> None:
        if batch_size < 1:
            raise ValueError(
                f"'batch_size' needs to be positive in "
                f"'{self.__class__.__name__}' (got {batch_size})"
            )
        if sampling not in ('user', 'interaction'):
            raise ValueError(
                f"'sampling' needs to be 'user' or 'interaction' in "
                f"'{self.__class__.__name__}' (got '{sampling}')"
            )
        data = check(data)
        self.batch_size = batch_size
        self.sampling = sampling
        self.num_items = int(data['item'].num_nodes)

        self.keys = interaction_keys(data).unique_consecutive()
        if self.keys.numel() == 0:
            raise ValueError(f'data[{RATES}] has no training interactions')
        # The interactions of a user stand together in the sorted keys:
        self.users, self.count = (
            self.keys // self.num_items
        ).unique_consecutive(return_counts=True)
        self.start = self.count.cumsum(0) - self.count
        full = self.users[self.count == self.num_items]
        if full.numel() > 0:
            raise ValueError(
                f'User {int(full[0])} has interacted with all '
                f'{self.num_items} items, so no negative can be drawn for '
                f'her; leave her out of the training interactions'
            )

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        if self.sampling == 'user':
            return self.keys.numel() // self.batch_size + 1
        return -(-self.keys.numel() // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Draw one epoch and yield its batches (user, pos, neg)."""
        positive = (
            self._by_user()
            if self.sampling == 'user'
            else self._by_interaction()
        )
        user, pos = positive // self.num_items, positive % self.num_items
        neg = self.negatives(user)
        size = self.batch_size
        if self.sampling == 'user':  # each user at most once
            size = min(size, self.users.numel())
        yield from zip(
            user.split(size), pos.split(size), neg.split(size), strict=True
        )

    def negatives(self, user: Tensor) -> Tensor:
        """Draw an item for each user that she has no interaction with.

        Args:
            user: Users of shape ``[N]``.

        Returns:
            Items of shape ``[N]``.
        """
        neg = torch.randint(self.num_items, user.shape, device=user.device)
        wrong = self._known(user, neg).nonzero().flatten()
        while wrong.numel() > 0:
            again = torch.randint(
                self.num_items, wrong.shape, device=user.device
            )
            neg[wrong] = again
            wrong = wrong[self._known(user[wrong], again)]
        return neg

    def sample(self, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw as many triples as wanted, such as one batch of an epoch.

        Args:
            size: Their number ``N``. There are no more than there are
                training interactions, or with ``"user"`` users who have some.

        Returns:
            Users, positive and negative items, each of shape ``[N]``.
        """
        if self.sampling == 'user':
            positive = self._of_users(self._some(self.users, size))
        else:
            positive = self.keys[self._some(self.keys, size)]
        user = positive // self.num_items
        return user, positive % self.num_items, self.negatives(user)

    def _known(self, user: Tensor, item: Tensor) -> Tensor:
        key = user * self.num_items + item
        place = torch.searchsorted(self.keys, key)
        return self.keys[place.clamp(max=self.keys.numel() - 1)] == key

    def _by_interaction(self) -> Tensor:
        return self.keys[self._some(self.keys, self.keys.numel())]

    def _by_user(self) -> Tensor:
        size = self.batch_size
        batches = [self._some(self.users, size) for _ in range(len(self))]
        return self._of_users(torch.cat(batches))

    @staticmethod
    def _some(values: Tensor, size: int) -> Tensor:
        """Return the places of some distinct values, in random order."""
        return torch.randperm(values.numel(), device=values.device)[:size]

    def _of_users(self, chosen: Tensor) -> Tensor:
        """Draw an interaction of each of some users."""
        share = torch.rand(chosen.shape, device=self.keys.device)
        offset = (share * self.count[chosen]).long()
        offset = torch.minimum(offset, self.count[chosen] - 1)
        return self.keys[self.start[chosen] + offset]

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(batch_size={self.batch_size}, '
            f"sampling='{self.sampling}')"
        )
