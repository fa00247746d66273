"""What a data set gives away beside what it is meant to."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd._contract.arrays import as_tensor
from pyg_ckd._contract.interactions import LABELS
from pyg_ckd.datasets._findings import Audit
from pyg_ckd.datasets._leaks import (
    among,
    rank_correlation,
    recall_of_neighbors,
    share_in_order,
    smallest_and_mean,
    twins,
)
from pyg_ckd.datasets.raw.renumbered import restored
from pyg_ckd.graph import RATED_BY, RATES, modalities

#: Neighbours are looked at for so many users, drawn if there are more.
MOST = 20_000


def audit(data: HeteroData, *, original: bool = False) -> Audit:
    r"""Measure what numbers and splits give away that a model should not know.

    A number may say which item was held out, as those of MMRec do. A model
    that reads numbers, their order or blocks of users can then be excellent at
    no merit. The worst leak is measured as such a model would use it: each user
    is recommended what the ten users with the nearest numbers have in training.
    With random numbers that is worth next to nothing.

    Nothing is drawn anew: the same data has the same findings. All is counted,
    but for the neighbours if more than 20,000 users have test items, of whom as
    many are drawn then.

    Args:
        data (HeteroData): A user-item graph. It need not pass
            :func:`~pyg_ckd.graph.check`, which refuses some of what is
            counted here.
        original (bool, optional): Whether to look at the numbers that users
            and items had in the files, ``original_id``, where they have got new
            ones. (default: :obj:`False`)

    Returns:
        Plain numbers, a table with verdicts in notebooks and where printed;
        ``leaks`` is the list of what is serious. ``None`` is what cannot be
        known, such as without a test split or without times.

        - ``users``, ``items``, ``training``, ``test_users``,
          ``sampled_users``: how many there are;
        - ``neighbors``, ``neighbors_at_random``, ``neighbors_error``: test
          Recall@20 of neighbours, that with random numbers, and the standard
          error of the difference;
        - ``smallest_all``, ``smallest_training``, ``mean_all``,
          ``mean_training``: the rank correlation of a user's number and her
          smallest, and her mean item, over all splits and training alone;
        - ``in_order_all``, ``in_order_training``: the share of users whose
          smallest item is not below that of the user before;
        - ``popularity``: the rank correlation of an item's number and how often
          it is in test;
        - ``in_two_splits``: interactions that are in more than one split;
        - ``reversed_only``: edges of ``('item', 'rated_by', 'user')`` that are
          not in training;
        - ``users_without_training``, ``cold_test_items``,
          ``test_users_without_validation``;
        - ``later_than_own_test``, ``later_than_first_test``: interactions of
          training that are later than the first of test, of the same user or
          of all;
        - ``twins``: by modality, how many of the cold test items have the very
          features of an item of training.

    Raises:
        ValueError: If ``data`` is no user-item graph, has no interactions of
            training or ids out of range, or ``original`` is set and the data
            has no ``original_id``.

    Example:
        >>> from pyg_ckd import from_interactions
        >>> data = from_interactions(
        ...     [0, 0, 0, 1, 1, 1], [0, 1, 2, 1, 2, 3],
        ...     split=['train', 'val', 'test', 'train', 'val', 'test'])
        >>> found = audit(data)
        >>> found['cold_test_items'], found['in_order_all'], found.leaks
        (2, 1.0, [])
    """
    sizes = _sizes(data)
    if original:
        if not any('original_id' in data[node] for node in ('user', 'item')):
            raise ValueError(
                "'original' asks for the numbers in the files, but the graph "
                "has no 'original_id': its numbers are as they were, leave it "
                'out'
            )
        data = restored(data)
    train = pairs_of(data, RATES, 'edge_index', sizes)
    if not train.numel():
        raise ValueError(
            f'data[{RATES}].edge_index has no training interactions, expected '
            f'at least one'
        )
    val, test = (pairs_of(data, RATES, name, sizes) for name in LABELS.values())
    reverse = pairs_of(data, RATED_BY, 'edge_index', sizes[::-1]).flip(0)
    trained = torch.bincount(train[1], minlength=sizes[1]) > 0
    tested = torch.bincount(test[1], minlength=sizes[1])
    cold = ((tested > 0) & ~trained).nonzero().flatten()
    keys = [_keys(pairs, sizes[1]) for pairs in (train, val, test)]
    return Audit(
        {
            'users': sizes[0],
            'items': sizes[1],
            'training': train.size(1),
            **_neighbors(train, test, sizes),
            **_order(torch.cat([train, val, test], dim=1), sizes[0], 'all'),
            **_order(train, sizes[0], 'training'),
            'popularity': rank_correlation(torch.arange(sizes[1]), tested),
            'in_two_splits': int(
                (torch.cat(keys).unique(return_counts=True)[1] > 1).sum()
            ),
            'reversed_only': int(
                (
                    ~among(_keys(reverse, sizes[1]).numpy(), keys[0].numpy())
                ).sum()
            ),
            'users_without_training': sizes[0] - len(train[0].unique()),
            'cold_test_items': len(cold),
            'test_users_without_validation': int(
                (~torch.isin(test[0].unique(), val[0])).sum()
            ),
            **_times(data, train, test, sizes[0]),
            'twins': _twins(data, cold, trained),
        }
    )


def _sizes(data: HeteroData) -> tuple[int, int]:
    """Return the number of users and of items."""
    if not isinstance(data, HeteroData):
        raise ValueError(
            f'audit takes a user-item graph, a HeteroData such as dataset[0] '
            f'(got a {type(data).__name__})'
        )
    for node in ('user', 'item'):
        is_known = node in data.node_types and len(data[node])
        if not is_known or data[node].num_nodes is None:
            raise ValueError(
                f"data['{node}'].num_nodes is missing; set it to the number "
                f'of {node}s'
            )
    return data['user'].num_nodes, data['item'].num_nodes


def pairs_of(
    data: HeteroData, edge_type: Any, name: str, sizes: tuple[int, ...]
) -> Tensor:
    """Return ids that are in range, ``[2, num_pairs]``; none if there are none.

    Args:
        data: The graph.
        edge_type: The type of the edges.
        name: The name of the tensor.
        sizes: The number of nodes that each row counts.
    """
    given = data[edge_type].get(name) if edge_type in data.edge_types else None
    if given is None:
        return torch.empty(2, 0, dtype=torch.long)
    pairs = as_tensor(given)
    if pairs is None or pairs.dim() != 2 or len(pairs) != 2:
        raise ValueError(
            f'data[{edge_type}].{name} needs to be integers of shape '
            f'[2, num_edges]; check(data) says more'
        )
    pairs = pairs.detach().cpu().long()
    for ids, size in zip(pairs, sizes, strict=True):
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < size:
            raise ValueError(
                f'data[{edge_type}].{name} has ids from {int(ids.min())} to '
                f'{int(ids.max())} of {size}; check(data) says where'
            )
    return pairs


def _keys(pairs: Tensor, num_items: int) -> Tensor:
    """Return the keys of pairs, each once."""
    return (pairs[0] * num_items + pairs[1]).unique()


def _neighbors(
    train: Tensor, test: Tensor, sizes: tuple[int, int]
) -> dict[str, float | int | None]:
    users = test[0].unique()
    some = users
    if len(users) > MOST:
        generator = torch.Generator().manual_seed(0)
        order = torch.randperm(len(users), generator=generator)
        some = users[order[:MOST]].sort().values
    found = recall_of_neighbors(train, test, some, sizes) if len(some) else None
    return {
        'test_users': len(users),
        'sampled_users': len(some),
        'neighbors': found and found.found,
        'neighbors_at_random': found and found.at_random,
        'neighbors_error': found and found.error,
    }


def _order(
    pairs: Tensor, num_users: int, which: str
) -> dict[str, float | None]:
    user, smallest, mean = smallest_and_mean(pairs, num_users)
    return {
        f'smallest_{which}': rank_correlation(user, smallest),
        f'mean_{which}': rank_correlation(user, mean),
        f'in_order_{which}': share_in_order(smallest),
    }


def _times(
    data: HeteroData, train: Tensor, test: Tensor, num_users: int
) -> dict[str, int | None]:
    """Return how much of training is later than what is tested."""
    own: int | None = None
    first: int | None = None
    rates = data[RATES]
    then = as_tensor(rates.get('time'))
    later = as_tensor(rates.get('test_edge_label_time'))
    if (
        then is not None
        and later is not None
        and (len(then), len(later)) == (train.size(1), test.size(1))
        and len(later)
    ):
        then, later = then.cpu(), later.cpu()
        has = torch.zeros(num_users, dtype=torch.bool)
        has[test[0]] = True
        earliest = later.new_zeros(num_users)
        earliest.scatter_reduce_(0, test[0], later, 'amin', include_self=False)
        own = int((has[train[0]] & (then > earliest[train[0]])).sum())
        first = int((then > later.min()).sum())
    return {'later_than_own_test': own, 'later_than_first_test': first}


def _twins(data: HeteroData, cold: Tensor, trained: Tensor) -> dict[str, int]:
    found = {}
    for m in modalities(data):
        x = as_tensor(data['item'][f'x_{m}'])
        if x is None or x.dim() != 2 or len(x) != len(trained):
            continue
        has = as_tensor(data['item'].get(f'has_{m}'))
        has = torch.ones_like(trained) if has is None else has.cpu().bool()
        if has.shape != trained.shape:
            continue
        others = (trained & has).nonzero().flatten()
        found[m] = twins(x.detach().cpu(), cold[has[cold]], others)
    return found
