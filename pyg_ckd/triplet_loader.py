"""Triples of a user, an item she knows and one she does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.graph import RATES, check, interaction_keys
from pyg_ckd.kernels.ranks import ALONE, Ranks


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
        ranks (Ranks, optional): The processes that share an epoch. Each gets
            batches of ``batch_size``, and those of all together are what one
            process would get with ``batch_size * ranks.size``. The random
            order is drawn by all alike, from generators that have to be in
            the same state; negatives, and the items of users, each process
            draws for its own batches, from a seed that the order leaves.
            Batches have the same size in all processes: of the last of an
            epoch fewer triples than there are processes may be dropped.
            (default: one process)

    Raises:
        ValueError: If there are no interactions, if some user has interacted
            with all items, if an argument is out of its range, or if there
            are more processes than triples in a batch of all.

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
        ranks: Ranks = ALONE,
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
        self.ranks = ranks
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
        drawn = self.users if sampling == 'user' else self.keys
        if drawn.numel() < ranks.size:
            raise ValueError(
                f'{ranks.size} processes cannot share an epoch of '
                f'{drawn.numel()} {sampling}s: start fewer of them'
            )

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        size = self.batch_size * self.ranks.size
        whole, rest = divmod(self.keys.numel(), size)
        if self.sampling == 'user':
            return whole + 1
        return whole + (rest >= self.ranks.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Draw one epoch and yield its batches (user, pos, neg)."""
        by_user = self.sampling == 'user'
        chosen = self._some_users() if by_user else self._all_in_order()
        own = self._own_generator()
        positive = self._of_users(chosen, own) if by_user else self.keys[chosen]
        user, pos = positive // self.num_items, positive % self.num_items
        neg = self.negatives(user, own)
        size = self.batch_size
        if by_user:  # each user at most once
            size = min(size, self.users.numel() // self.ranks.size)
        yield from zip(
            user.split(size), pos.split(size), neg.split(size), strict=True
        )

    def negatives(
        self, user: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw an item for each user that she has no interaction with.

        Args:
            user: Users of shape ``[N]``.
            generator: What to draw from; PyTorch's own by default.

        Returns:
            Items of shape ``[N]``.
        """
        neg = torch.randint(
            self.num_items,
            user.shape,
            device=user.device,
            generator=generator,
        )
        wrong = self._known(user, neg).nonzero().flatten()
        while wrong.numel() > 0:
            again = torch.randint(
                self.num_items,
                wrong.shape,
                device=user.device,
                generator=generator,
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

    def _all_in_order(self) -> Tensor:
        """Return the places of the interactions of this process."""
        order = self._some(self.keys, self.keys.numel())
        if self.ranks.size == 1:
            return order
        batches = order.split(self.batch_size * self.ranks.size)
        return torch.cat(
            [self.ranks.part(batch) for batch in batches[: len(self)]]
        )

    def _some_users(self) -> Tensor:
        """Return the places of the users of this process."""
        size = self.batch_size * self.ranks.size
        batches = (self._some(self.users, size) for _ in range(len(self)))
        return torch.cat([self.ranks.part(batch) for batch in batches])

    def _own_generator(self) -> torch.Generator | None:
        """Return what this process draws from for itself alone.

        All processes leave their common generator in the same state.
        """
        if self.ranks.size == 1:
            return None
        seeds = torch.randint(2**62, (self.ranks.size,))
        generator = torch.Generator(self.keys.device)
        return generator.manual_seed(int(seeds[self.ranks.rank]))

    @staticmethod
    def _some(values: Tensor, size: int) -> Tensor:
        """Return the places of some distinct values, in random order."""
        return torch.randperm(values.numel(), device=values.device)[:size]

    def _of_users(
        self, chosen: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw an interaction of each of some users."""
        share = torch.rand(
            chosen.shape, device=self.keys.device, generator=generator
        )
        offset = (share * self.count[chosen]).long()
        offset = torch.minimum(offset, self.count[chosen] - 1)
        return self.keys[self.start[chosen] + offset]

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(batch_size={self.batch_size}, '
            f"sampling='{self.sampling}')"
        )
