"""Whether features tell who is interested in what."""

from __future__ import annotations

from statistics import fmean
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.datasets._audit import pairs_of
from pyg_ckd.datasets._description.common_users import CommonUsers, Ids
from pyg_ckd.datasets._description.neighbors import nearest, with_direction
from pyg_ckd.graph import RATES, check, modalities
from pyg_ckd.kernels.arguments import check_whole

#: Neighbours are looked at of at most so many items, ...
MOST = 2000
#: ... of fewer if that is more than so many products, ...
PRODUCTS = 5 * 10**10
#: ... but not of fewer than that.
LEAST = 300
RESAMPLES = 1000
PERMUTATIONS = 20


class Lift(NamedTuple):
    """How much more often than by chance neighbours share their users.

    Args:
        value (float): How many users they have in common, as a multiple of
            what items of their popularity have by chance.
        low (float): The lower end of its 95 % interval, or of its range.
        high (float): The upper end.

    Example:
        >>> print(Lift(3.05, 2.5, 3.6))
        3.05 [2.50, 3.60]
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f'{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]'


class FeatureLift(NamedTuple):
    """What nearest neighbours by one modality have in common.

    Args:
        found (Lift): With the features as they are.
        at_random (Lift): With the same features, handed out to items at random
            20 times: mean, least and largest.
        sampled (int): The number of items whose neighbours were looked at.
        num_items (int): The number of items that could have been.
    """

    found: Lift
    at_random: Lift
    sampled: int
    num_items: int

    @property
    def tells(self) -> bool:
        """Whether neighbours have more in common than items at random."""
        return self.found.low > max(1.0, self.at_random.high)


def feature_lifts(data: HeteroData, k: int = 5) -> dict[str, FeatureLift]:
    r"""Return how much more often than by chance like items have like users.

    The nearest neighbours :math:`N(i)` of an item by the cosine of a modality
    should interest the users that the item interests; if they do not, features
    belong to other items, such as those of a file in another order, or have
    nothing to do with what users want. The lift is

    .. math::
        \frac{\sum_i \sum_{j \in N(i)} c_{ij}}
             {\sum_i \sum_{j \in N(i)} e_{ij}}

    with the number :math:`c_{ij}` of users that two items have in common in
    training, and the number :math:`e_{ij}` that items of their popularity have
    by chance:

    .. math::
        e_{ij} = d_i\, d_j \,
        \frac{\sum_u n_u (n_u - 1)}{(\sum_i d_i)^2 - \sum_i d_i^2}

    where item :math:`i` has :math:`d_i` users and user :math:`u` has
    :math:`n_u` items. Over all pairs of items it is 1. Intervals are those of a
    bootstrap over items, 95 %.

    Nothing held out is looked at. Neighbours are looked for among all items;
    those of up to 2,000 items that have the modality and interactions of
    training are looked at, drawn by a fixed seed, fewer if there are many items
    and features.

    Args:
        data (HeteroData): A user-item graph.
        k (int, optional): The number of neighbours. (default: :obj:`5`)

    Returns:
        For each modality a lift, that of features handed out at random, and of
        how many items they are. A modality is left out where there is nothing
        to compare, such as if no user has two items.

    Raises:
        ValueError: If ``k`` is not positive, or the graph breaks its contract
            (:func:`~pyg_ckd.graph.check`).

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> found = feature_lifts(FakeMultimodal()[0])['text']
        >>> f'{found.found.value:.1f}', f'{found.at_random.value:.1f}'
        ('4.5', '1.0')
    """
    check_whole('feature_lifts', k=k)
    data = check(data)
    users = common_users(data)
    found = {}
    for m in modalities(data):
        x, has = features_of(data, m)
        lift = lift_of(x, with_direction(x, has), users, k)
        if lift is not None:
            found[m] = lift
    return found


def common_users(data: HeteroData) -> CommonUsers:
    """Return the users that items have in common in training.

    Args:
        data: A user-item graph.
    """
    sizes = data['user'].num_nodes, data['item'].num_nodes
    return CommonUsers(pairs_of(data, RATES, 'edge_index', sizes), *sizes)


def features_of(
    data: HeteroData, modality: str
) -> tuple[Tensor, Tensor | None]:
    """Return features, and which items have them.

    Args:
        data: A user-item graph.
        modality: The modality.
    """
    x, has = (data['item'].get(f'{key}_{modality}') for key in ('x', 'has'))
    return x.detach().cpu(), None if has is None else has.cpu()


def lift_of(
    x: Tensor, among: Tensor, users: CommonUsers, k: int
) -> FeatureLift | None:
    """Return the lift of one modality, if there is one.

    Args:
        x: Features, ``[num_items, num_features]``.
        among: The items that have them, ascending.
        users: The users that items have in common.
        k: The number of neighbours.
    """
    known = among[users.degree[among] > 0]
    if len(among) < 2 or not len(known) or not users.chance:
        return None
    generator = torch.Generator().manual_seed(0)
    most = PRODUCTS // (len(among) * x.size(1))
    most = min(max(most, LEAST), MOST, len(known))
    order = torch.randperm(len(known), generator=generator)
    items = known[order[:most]].sort().values
    neighbor, _ = nearest(x, items, among, k)
    sums = _sums(users, items.numpy(), neighbor.numpy())
    if not sums[1].any():
        return None
    return FeatureLift(
        _bootstrap(*sums),
        _permuted(users, items, neighbor, among),
        len(items),
        len(known),
    )


Sums: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]


def _sums(users: CommonUsers, items: Ids, neighbor: Ids) -> Sums:
    """Return what each item has in common with its neighbours, and by chance.

    Args:
        users: The users that items have in common.
        items: The items, ``[num_asked]``.
        neighbor: Their neighbours, ``[num_asked, k]``.
    """
    one = items.repeat(neighbor.shape[1])
    counted, chance = (
        of(one, neighbor.flatten())
        .reshape(neighbor.shape)
        .sum(axis=1)
        .astype(float)
        for of in (users.count, users.by_chance)
    )
    return counted, chance


def _bootstrap(
    counted: NDArray[np.float64], chance: NDArray[np.float64]
) -> Lift:
    """Return the ratio of two sums, with an interval by drawing items."""
    num = len(counted)
    drawn = np.random.default_rng(0).multinomial(
        num, np.full(num, 1 / num), RESAMPLES
    )
    below = drawn @ chance
    # None of the few items that count may be drawn:
    values = (drawn @ counted)[below > 0] / below[below > 0]
    low, high = np.quantile(values, (0.025, 0.975))
    return Lift(float(counted.sum() / chance.sum()), float(low), float(high))


def _permuted(
    users: CommonUsers, items: Tensor, neighbor: Tensor, among: Tensor
) -> Lift:
    """Return the mean lift of features handed out at random, and its range."""
    random = np.random.default_rng(0)
    number = np.arange(len(users.degree))
    values = []
    for _ in range(PERMUTATIONS):
        # To hand out features is to give their owners other numbers:
        number[among.numpy()] = random.permutation(among.numpy())
        counted, chance = _sums(
            users, number[items.numpy()], number[neighbor.numpy()]
        )
        if chance.any():
            values.append(float(counted.sum() / chance.sum()))
    return Lift(fmean(values), min(values), max(values))
