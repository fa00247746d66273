"""The part of the contract about nodes, interactions and held-out pairs."""

from __future__ import annotations

import operator
import warnings
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd._contract.arrays import as_tensor, first, kind

RATES = ('user', 'rates', 'item')
RATED_BY = ('item', 'rated_by', 'user')

#: For each split, the name of its attribute.
LABELS = {'val': 'val_edge_label_index', 'test': 'test_edge_label_index'}

_NO_IDS = {torch.bool, torch.complex32, torch.complex64, torch.complex128}

# How the three graphs of T.RandomLinkSplit become one:
_COMBINE = """
train, val, test = T.RandomLinkSplit(
    edge_types=('user', 'rates', 'item'),
    rev_edge_types=('item', 'rated_by', 'user'),
)(data)
rates = train['user', 'rates', 'item']
for name, part in {'val': val, 'test': test}.items():
    held_out = part['user', 'rates', 'item']
    rates[f'{name}_edge_label_index'] = (
        held_out.edge_label_index[:, held_out.edge_label == 1]
    )
data = train"""


def sizes(data: HeteroData) -> tuple[int, int]:
    """Return the number of users and of items, or raise.

    Args:
        data: A user-item graph.
    """
    size = []
    for node in ('user', 'item'):
        if node not in data.node_types:
            raise ValueError(
                f"data['{node}'] is missing (there are the node types "
                f"{data.node_types}); set data['{node}'].num_nodes = ..."
            )
        size.append(_num_nodes(node, data[node].get('num_nodes')))
    if size[0] * size[1] >= 2**63:
        raise ValueError(
            f"data['user'].num_nodes = {size[0]} times data['item'].num_nodes "
            f'= {size[1]} exceeds 64 bits; number users and items from 0, '
            f'without gaps'
        )
    return size[0], size[1]


def interactions(
    data: HeteroData, num_users: int, num_items: int
) -> dict[tuple[Any, str], Tensor]:
    """Return all pairs as the library uses them, or raise.

    Args:
        data: A user-item graph.
        num_users: The number of users.
        num_items: The number of items.

    Returns:
        For each edge type and attribute, integers of shape ``[2, num_edges]``.
    """
    if RATES not in data.edge_types or 'edge_index' not in data[RATES]:
        raise ValueError(
            f'data[{RATES}].edge_index is missing (there are the edge types '
            f'{data.edge_types}); store the training interactions under this '
            f'name, users above items'
        )
    size = {'user': num_users, 'item': num_items}
    pairs = {}
    for relation, names in (
        (RATES, ('edge_index', *LABELS.values())),
        (RATED_BY, ('edge_index',)),
    ):
        store = data[relation] if relation in data.edge_types else {}
        for name in names:
            if name in store:
                pairs[relation, name] = _ids(
                    f'data[{relation}].{name}',
                    store[name],
                    [(node, size[node]) for node in relation[::2]],
                )
    _check_pairs(pairs, num_items)
    return pairs


def require_split(data: HeteroData, split: str) -> None:
    """Raise unless there are held-out interactions.

    Args:
        data: A graph that is otherwise as it must be.
        split: ``'val'`` or ``'test'``.
    """
    if split not in LABELS:
        raise ValueError(
            f"'splits' needs to hold 'val' or 'test' only (got {split!r})"
        )
    rates = data[RATES]
    pairs = rates.get(LABELS[split])
    if pairs is not None and pairs.numel() > 0:
        return
    problem = (
        f'data[{RATES}].{LABELS[split]} is '
        f'{"missing" if pairs is None else "empty"}'
    )
    if 'edge_label_index' in rates:
        raise ValueError(
            f"{problem}, but there is an 'edge_label_index', as "
            f"'T.RandomLinkSplit' leaves it. One graph holds all splits, "
            f'which are positives only:\n{_COMBINE}'
        )
    raise ValueError(
        f'{problem}; store the interactions that {split!r} holds out there, '
        f'integers of shape [2, num_edges], users above items, or have them '
        f'drawn by pyg_ckd.from_interactions'
    )


def _num_nodes(node: str, value: Any) -> int:
    try:
        num = operator.index(value)
    except TypeError:
        num = 0
    if num < 1 or isinstance(value, bool):
        raise ValueError(
            f"data['{node}'].num_nodes is "
            f'{"missing" if value is None else repr(value)}, expected an '
            f'integer of at least 1; say how many {node}s there are: '
            f"data['{node}'].num_nodes = ..."
        )
    return value if type(value) is int else num


def _ids(where: str, ids: Any, sides: list[tuple[str, int]]) -> Tensor:
    """Return pairs of ids as 64-bit integers, or raise."""
    wanted = (
        f'expected integers of shape [2, num_edges], {sides[0][0]}s above '
        f'{sides[1][0]}s'
    )
    given = as_tensor(ids)
    if given is None or given.layout != torch.strided:
        raise ValueError(
            f'{where} is a {kind(ids)}, {wanted}, in a tensor or an array'
        )
    if given.is_floating_point() or given.dtype in _NO_IDS:
        raise ValueError(
            f'{where} has the dtype {given.dtype}, {wanted}; if the values '
            f'are ids, cast them by .long()'
        )
    if given.dim() != 2 or given.size(0) != 2:
        turned = given.dim() == 2 and given.size(1) == 2
        hint = '; transpose it by .t()' if turned else ''
        raise ValueError(
            f'{where} has the shape {list(given.shape)}, {wanted}{hint}'
        )
    pairs = given.to(torch.long)
    for row, (node, num) in enumerate(sides):
        bad = (pairs[row] < 0) | (pairs[row] >= num)
        if bad.any():
            column = first(bad)
            # NumPy shows all of 64 bits without a sign:
            value = int(given[row, column].cpu().numpy())
            raise ValueError(
                f'{where} has the {node} {value} in column {column}, but the '
                f'{num} {node}s are 0 to {num - 1}; '
                + _id_fix(pairs[row], node, num)
            )
    return pairs


def _id_fix(ids: Tensor, node: str, num: int) -> str:
    low, high = int(ids.min()), int(ids.max())
    if low == 1 and high == num:
        return (
            f'{node}s look counted from 1: subtract 1 from their ids in all '
            f'edges, training and held out'
        )
    if low < 0:
        return f'number {node}s from 0'
    return (
        f"number {node}s from 0 without gaps, or set data['{node}'].num_nodes "
        f'to at least {high + 1}'
    )


def _check_pairs(pairs: dict[tuple[Any, str], Tensor], num_items: int) -> None:
    """Compare held-out and reversed pairs with those of training."""
    train = pairs[RATES, 'edge_index']
    if train.numel() == 0:
        raise ValueError(
            f'data[{RATES}].edge_index has no training interactions, expected '
            f'at least one'
        )
    known = torch.sort(train[0] * num_items + train[1]).values
    for split, name in LABELS.items():
        if (RATES, name) not in pairs:
            continue
        user, item = pairs[RATES, name]
        both = _is_in(user * num_items + item, known)
        if both.any():
            column = first(both)
            raise ValueError(
                f'data[{RATES}].{name} has user {int(user[column])} with item '
                f'{int(item[column])} in column {column}, which is a training '
                f"interaction, too; leave out of edge_index what '{split}' "
                f'holds out'
            )

    names = [name for name in LABELS.values() if (RATES, name) in pairs]
    if len(names) == 2:
        val, test = (
            pairs[RATES, name][0] * num_items + pairs[RATES, name][1]
            for name in names
        )
        num = int(_is_in(test, torch.sort(val).values).sum())
        if num > 0:
            warnings.warn(
                f'{num} of {len(test)} interactions of data[{RATES}].'
                f'{names[1]} are those of {names[0]}, too: what is chosen on '
                f'validation is then tested on what it was chosen by',
                stacklevel=2,
            )
    if (RATED_BY, 'edge_index') not in pairs:
        return
    item, user = reverse = pairs[RATED_BY, 'edge_index']
    if torch.equal(reverse, train.flip([0])):
        return
    fix = f'data[{RATED_BY}].edge_index = data[{RATES}].edge_index.flip([0])'
    key = user * num_items + item
    extra = ~_is_in(key, known)
    if extra.any():
        column = first(extra)
        raise ValueError(
            f'data[{RATED_BY}].edge_index has item {int(item[column])} with '
            f'user {int(user[column])} in column {column}, which is no '
            f'training interaction: a leak if it is held out, as after '
            f"'T.RandomLinkSplit' without 'rev_edge_types'; set {fix}"
        )
    lost = ~_is_in(known, torch.sort(key).values)
    if lost.any():
        pair = int(known[first(lost)])
        raise ValueError(
            f'data[{RATED_BY}].edge_index lacks the training interaction of '
            f'user {pair // num_items} with item {pair % num_items}; set {fix}'
        )


def _is_in(key: Tensor, known: Tensor) -> Tensor:
    """Return which keys are among sorted ones."""
    if known.numel() == 0:
        return torch.zeros_like(key, dtype=torch.bool)
    place = torch.searchsorted(known, key).clamp(max=known.numel() - 1)
    return known[place] == key
