"""Triples of a user, an item she knows and one she does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.graph import RATES, check, interaction_keys, warm_items
from pyg_ckd.kernels.arguments import check_whole
from pyg_ckd.kernels.ranks import ALONE, Ranks
from pyg_ckd.kernels.units import UNIT, as_units, drawn


class TripletLoader:
    r"""Batches of triples for Bayesian personalised ranking.

    A triple is a user, an item of hers from training, and a negative: an item
    drawn uniformly from those she has no training interaction with. A false
    negative never occurs, and a cold item (``data['item'].cold``) is none.
    Everything is vectorised, happens on the device of the data and obeys
    :func:`torch.manual_seed`.

    Interactions with weights, ``data['user', 'rates', 'item'].edge_weight``,
    take part in an epoch with the probability of their weight, drawn anew for
    each, so that the expected loss is a weighted one, whatever the loss: these
    are the confidences of the `"Collaborative Filtering for Implicit Feedback
    Datasets" <https://doi.org/10.1109/ICDM.2008.22>`_ paper. By systematic
    sampling, each epoch has as many as the weights sum to, rounded up or down,
    so that its last batch may have one triple more than ``batch_size``; an
    interaction that occurs twice has its largest weight. What does not take
    part in an epoch is no negative either. With ``sampling="user"``, where all
    users count alike, they are the odds of the items of a user.

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
            order, and what takes part, is drawn by all alike, from generators
            that have to be in the same state; negatives, and the items of
            users, each process draws for its own batches, from a seed that the
            order leaves.
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
        check_whole(self.__class__.__name__, batch_size=batch_size)
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
        self.units = _units(data, self.keys)
        self.warm = warm_items(data)
        self.of_users = _OfUsers.of(self.keys, self.num_items)
        num_warm = self.num_items if self.warm is None else len(self.warm)
        users, count, _ = self.of_users
        full = users[count == num_warm]
        if full.numel() > 0:
            raise ValueError(
                f'User {int(full[0])} has interacted with all '
                f'{num_warm} items, so no negative can be drawn for '
                f'her; leave her out of the training interactions'
            )
        #: How many interactions take part in an epoch, at least.
        self.num_pairs = self.keys.numel()
        if self.units is not None:
            self.num_pairs = int(self.units.sum()) // UNIT
        num_drawn = users.numel() if sampling == 'user' else self.num_pairs
        if num_drawn < ranks.size:
            raise ValueError(
                f'{ranks.size} processes cannot share an epoch of '
                f'{num_drawn} {sampling}s: start fewer of them'
                if self.num_pairs
                else f'data[{RATES}].edge_weight sums to less than 1, so that '
                f'an epoch may be empty; divide weights by the largest'
            )

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        size = self.batch_size * self.ranks.size
        whole, rest = divmod(self.num_pairs, size)
        if self.sampling == 'user':
            return whole + 1
        return whole + (rest >= self.ranks.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Draw one epoch and yield its batches (user, pos, neg)."""
        size = self.batch_size
        if self.sampling == 'user':
            chosen = self._some_users()
            own = self._own_generator()
            positive = self._of_users(chosen, own)
            # Each user at most once:
            size = min(size, self.of_users.users.numel() // self.ranks.size)
        else:
            chosen = self._all_in_order()
            own = self._own_generator()
            positive = self.keys[chosen]
        user, pos = positive // self.num_items, positive % self.num_items
        neg = self.negatives(user, own)
        # The last one takes what is left:
        sizes = [size] * (len(self) - 1)
        sizes.append(len(user) - sum(sizes))
        yield from zip(
            user.split(sizes), pos.split(sizes), neg.split(sizes), strict=True
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
        neg = self._any_item(user, generator)
        wrong = self._known(user, neg).nonzero().flatten()
        while wrong.numel() > 0:
            again = self._any_item(wrong, generator)
            neg[wrong] = again
            wrong = wrong[self._known(user[wrong], again)]
        return neg

    def _any_item(
        self, like: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        """Draw items that are not cold, as many as there are entries."""
        size = self.num_items if self.warm is None else len(self.warm)
        item = torch.randint(
            size, like.shape, device=like.device, generator=generator
        )
        return item if self.warm is None else self.warm[item]

    def sample(self, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw as many triples as wanted, such as one batch of an epoch.

        Args:
            size: Their number ``N``. There are no more than there are
                training interactions, or with ``"user"`` users who have some.

        Returns:
            Users, positive and negative items, each of shape ``[N]``.
        """
        if self.sampling == 'user':
            positive = self._of_users(self._some(self.of_users.users, size))
        else:
            positive = self.keys[self._order()[:size]]
        user = positive // self.num_items
        return user, positive % self.num_items, self.negatives(user)

    def _known(self, user: Tensor, item: Tensor) -> Tensor:
        key = user * self.num_items + item
        place = torch.searchsorted(self.keys, key)
        return self.keys[place.clamp(max=self.keys.numel() - 1)] == key

    def _order(self) -> Tensor:
        """Return the places of the interactions of an epoch, at random."""
        order = self._some(self.keys, self.keys.numel())
        if self.units is None:
            return order
        start = torch.randint(UNIT, (), device=order.device)
        return order[drawn(self.units[order], start)]

    def _all_in_order(self) -> Tensor:
        """Return the places of the interactions of this process."""
        order = self._order()
        if self.ranks.size == 1:
            return order
        batches = order.split(self.batch_size * self.ranks.size)
        return torch.cat(
            [self.ranks.part(batch) for batch in batches[: len(self)]]
        )

    def _some_users(self) -> Tensor:
        """Return the places of the users of this process."""
        size = self.batch_size * self.ranks.size
        users = self.of_users.users
        batches = (self._some(users, size) for _ in range(len(self)))
        return torch.cat([self.ranks.part(batch) for batch in batches])

    def _of_users(
        self, chosen: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw an interaction of each of some users, given their places."""
        share = torch.rand(
            chosen.shape, device=self.keys.device, generator=generator
        )
        first = self.of_users.start[chosen]
        last = first + self.of_users.num[chosen] - 1
        if self.units is None:
            offset = (share * self.of_users.num[chosen]).long()
            return self.keys[torch.minimum(first + offset, last)]
        end = self.units.cumsum(0)
        before = end[first] - self.units[first]
        point = before + (share.double() * (end[last] - before)).long()
        place = torch.searchsorted(end, point, right=True)
        return self.keys[torch.minimum(place, last)]

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

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(batch_size={self.batch_size}, '
            f"sampling='{self.sampling}')"
        )


class _OfUsers(NamedTuple):
    """Whose interactions sorted keys are: those of a user are together."""

    #: The users who have some.
    users: Tensor
    #: How many each has, and where her first is.
    num: Tensor
    start: Tensor

    @classmethod
    def of(cls, keys: Tensor, num_items: int) -> _OfUsers:
        users, num = (keys // num_items).unique_consecutive(return_counts=True)
        return cls(users, num, num.cumsum(0) - num)


def _units(data: HeteroData, keys: Tensor) -> Tensor | None:
    """Return the weights of interactions, ``None`` if all are alike."""
    weight = data[RATES].get('edge_weight')
    if weight is None or bool((weight == 1).all()):
        return None
    user, item = data[RATES].edge_index
    place = torch.searchsorted(keys, user * data['item'].num_nodes + item)
    units = torch.zeros_like(keys)
    return units.scatter_reduce(0, place, as_units(weight), 'amax')
