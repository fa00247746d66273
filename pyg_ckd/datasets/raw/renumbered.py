"""New numbers for users and items, which carry nothing."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd._contract.arrays import as_tensor
from pyg_ckd.graph import check
from pyg_ckd.kernels.arguments import as_seed

_NODES = ('user', 'item')
#: How the names of tensors that hold numbers of nodes end, ``[2, num_edges]``.
_PAIRS = ('edge_index', 'edge_label_index')


def renumbered(data: HeteroData, seed: int = 0) -> HeteroData:
    r"""Return the same graph with users and items numbered at random.

    Numbers that were given before the split, such as those of MMRec, tell what
    was held out, see :func:`~pyg_ckd.datasets.audit`. Random ones tell nothing.

    Users and items get new numbers by permutations that depend on their number
    and the seed alone. Edges stay in their order, with what they carry.
    Whatever the graph has a row or an entry of for each user or item is put in
    the new order: features, masks, names, titles.

    ``data['user'].original_id`` and ``data['item'].original_id`` hold the
    number that each had before, ``int64``. A graph that has them already keeps
    those, in the new order.

    Args:
        data (HeteroData): A user-item graph, without graphs that transforms
            have added. It is not changed.
        seed (int, optional): The seed of the permutations. (default: :obj:`0`)

    Returns:
        A new graph, which shares what need not change.

    Raises:
        ValueError: If the graph breaks its contract, see
            :func:`~pyg_ckd.graph.check`, transforms have added graphs, or
            ``seed`` is no whole number from 0 on.

    Example:
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 2, 3
        >>> data['user', 'rates', 'item'].edge_index = torch.tensor(
        ...     [[0, 1], [0, 2]])
        >>> other = renumbered(data)
        >>> other['user'].original_id, other['item'].original_id
        (tensor([0, 1]), tensor([0, 2, 1]))
        >>> other['user', 'rates', 'item'].edge_index
        tensor([[0, 1],
                [0, 1]])
    """
    seed = as_seed('renumbered', seed)
    data = check(data)
    if 'graphs' in data and data.graphs:
        makers = ', '.join(sorted({maker for maker, _ in data.graphs}))
        raise ValueError(
            f'The graph has those of {makers}, which hold the numbers of '
            f'before: renumber it first, and apply transforms after that'
        )
    generator = torch.Generator().manual_seed(seed)
    order = {
        node: torch.randperm(data[node].num_nodes, generator=generator)
        for node in _NODES
    }
    other = _ordered(data, order)
    for node, rows in order.items():
        if 'original_id' not in data[node]:
            other[node].original_id = rows
    return check(other)


def restored(data: HeteroData) -> HeteroData:
    """Return the graph with the numbers that users and items had before.

    It undoes :func:`renumbered`: ``original_id`` is followed and left out, and
    so are graphs that transforms have added. A graph without ``original_id``
    stays as it is.

    Args:
        data: A user-item graph.

    Raises:
        ValueError: If the graph breaks its contract, or ``original_id`` is not
            each number from 0 once, such as where items were left out since.
    """
    order = {
        node: _places(data[node].original_id, node, data[node].num_nodes)
        for node in _NODES
        if 'original_id' in data[node]
    }
    if not order:
        return data
    data = copy.copy(data)
    if 'graphs' in data:
        del data.graphs
    other = _ordered(check(data), order)
    for node in order:
        del other[node].original_id
    return check(other)


def _ordered(data: HeteroData, order: Mapping[str, Tensor]) -> HeteroData:
    """Return a graph with its nodes in another order.

    Args:
        data: The graph, as :func:`~pyg_ckd.graph.check` returns it.
        order: The nodes in the new order, ``[num_nodes]``, by their kind.
    """
    number = {node: rows.argsort() for node, rows in order.items()}
    other = copy.copy(data)
    for node, rows in order.items():
        for name, value in data[node].items():
            other[node][name] = rows_of(value, rows, len(rows))
    for edge_type in data.edge_types:
        ends = edge_type[0], edge_type[-1]
        for name, value in data[edge_type].items():
            if isinstance(value, Tensor) and name.endswith(_PAIRS):
                pairs = zip(ends, value, strict=True)
                other[edge_type][name] = torch.stack(
                    [
                        number[end].to(ids.device)[ids]
                        if end in number
                        else ids
                        for end, ids in pairs
                    ]
                )
    return other


def _places(original: Any, node: str, size: int) -> Tensor:
    """Return where the node of each original number is, ``[num_nodes]``."""
    ids = as_tensor(original)
    if ids is None or ids.shape != (size,):
        raise ValueError(
            f"data['{node}'].original_id needs to be a tensor or array with a "
            f'number for each of {size} {node}s'
        )
    original = ids
    places = original.argsort()
    if not torch.equal(original[places].cpu(), torch.arange(size)):
        raise ValueError(
            f"data['{node}'].original_id is not each number from 0 to "
            f'{size - 1} once, so that there is no such order: some may be '
            f"left out. Remove it (del data['{node}'].original_id) to keep the "
            f'numbers that the graph has now'
        )
    return places


def rows_of(value: Any, rows: Tensor, size: int) -> Any:
    """Return what there is of some nodes, in their order.

    Args:
        value: An attribute of nodes; what has not one entry a node stays.
        rows: The nodes, ``[N]``.
        size: How many nodes there are.
    """
    if isinstance(value, Tensor):
        if value.dim() and len(value) == size:
            return value.index_select(0, rows.to(value.device))
    elif isinstance(value, np.ndarray):
        if value.ndim and len(value) == size:
            return value[rows.numpy()]
    elif isinstance(value, pd.Series | pd.DataFrame | pd.Index):
        if len(value) == size:
            return value.take(rows.numpy())
    elif isinstance(value, list | tuple) and len(value) == size:
        return type(value)(value[row] for row in rows.tolist())
    return value
