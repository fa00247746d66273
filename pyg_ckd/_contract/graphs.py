"""The part of the contract about graphs that transforms have added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd._contract.arrays import first
from pyg_ckd.kernels.sparse import Graph, Uniform


def named_graphs(data: HeteroData) -> Mapping[Any, Any]:
    """Return ``data.graphs``, which is empty before any transform.

    Args:
        data: A user-item graph.
    """
    graphs = data.graphs if 'graphs' in data.stores[0] else {}
    if not isinstance(graphs, Mapping):
        raise ValueError(
            f'data.graphs is a {type(graphs).__name__}, expected a dictionary '
            f'from (name of a transform, modality) to a graph; name the '
            f'attribute otherwise'
        )
    return graphs


def check_graphs(
    data: HeteroData, num_users: int, num_items: int, train: Tensor
) -> None:
    """Raise unless all graphs fit the users, the items and the interactions.

    Kernels read out of bounds where a matrix breaks its format, and held-out
    interactions leak where a graph was made of others than those of training.
    One of no modality links users and items, or items that have users in
    common.

    Args:
        data: A user-item graph.
        num_users: The number of users.
        num_items: The number of items.
        train: The interactions of training, ``[2, num_edges]``.
    """
    known = None
    for key, graph in named_graphs(data).items():
        if (
            not isinstance(key, tuple)
            or len(key) != 2
            or not isinstance(key[0], str)
            or not (key[1] is None or isinstance(key[1], str))
        ):
            raise ValueError(
                f'data.graphs has the key {key!r}, expected (name of a '
                f'transform, modality or None)'
            )
        name, modality = key
        where = f'data.graphs[{key!r}], the graph of {name},'
        again = f'apply {name} again'
        of_users = modality is None and not _is_of(graph, num_items)
        if of_users:
            num, nodes = num_users + num_items, 'users and items'
        else:
            num, nodes = num_items, 'items'
        if isinstance(graph, Uniform):
            shapes = [[graph.num_nodes] * 2]
            matrices = []
        elif isinstance(graph, Graph):
            matrices = [graph.adj_t]
            if graph.adj is not graph.adj_t:
                matrices.append(graph.adj)
            shapes = [list(matrix.shape) for matrix in matrices]
        else:
            raise ValueError(
                f"{where} is a {type(graph).__name__}, expected a 'Graph' or "
                f"'Uniform' of pyg_ckd.kernels.sparse; {again}"
            )
        for shape in shapes:
            if shape != [num, num]:
                raise ValueError(
                    f'{where} has the shape {shape}, but there are {num} '
                    f'{nodes}; {again}'
                )
        for matrix in matrices:
            problem = _problem(matrix, num)
            if problem:
                raise ValueError(f'{where} {problem}; {again}')
        if modality is None and matrices:
            if known is None:
                known = _distinct(train[0] * num_items + train[1])
            if of_users:
                same = _keys(matrices[0], num_users, num_items).equal(known)
            else:
                same = _share_users(matrices[0], known, num_items)
            if not same:
                raise ValueError(
                    f'{where} was made of other interactions than those of '
                    f'training; {again}'
                )


def _is_of(graph: Any, num_items: int) -> bool:
    """Return whether it is a graph of items alone."""
    return isinstance(graph, Graph) and graph.num_nodes == num_items


def _share_users(matrix: Tensor, known: Tensor, num_items: int) -> bool:
    """Return whether all items that are linked have a user in common.

    Args:
        matrix: The graph of items.
        known: The sorted keys ``user * num_items + item`` of training.
        num_items: The number of items.
    """
    item = known % num_items
    user = (known // num_items)[item.argsort(stable=True)]  # item by item
    count = torch.bincount(item, minlength=num_items)
    start = count.cumsum(0) - count
    row, col = matrix.to_sparse_coo().indices()
    # The users of the item that has fewer are looked up at the other one:
    swap = count[row] > count[col]
    few, many = torch.where(swap, col, row), torch.where(swap, row, col)
    pairs = (few * num_items + many).unique()
    for pair in pairs.split(65_536):
        few, many = pair // num_items, pair % num_items
        owner = torch.repeat_interleave(count[few])
        place = torch.arange(len(owner), device=owner.device)
        first_place = count[few].cumsum(0) - count[few]
        place = start[few][owner] + place - first_place[owner]
        key = user[place] * num_items + many[owner]
        at = torch.searchsorted(known, key).clamp(max=len(known) - 1)
        shared = torch.zeros_like(pair, dtype=torch.bool)
        shared[owner[known[at] == key]] = True
        if not shared.all():
            return False
    return True


def _keys(matrix: Tensor, num_users: int, num_items: int) -> Tensor:
    """Return the keys ``user * num_items + item`` of a user-item graph."""
    count = matrix.crow_indices().diff()[:num_users]
    user = torch.arange(num_users, device=count.device)
    user = user.repeat_interleave(count)
    item = matrix.col_indices()[: len(user)] - num_users
    is_item = item >= 0  # the others are self-loops
    return _distinct(user[is_item] * num_items + item[is_item])


def _distinct(keys: Tensor) -> Tensor:
    """Return keys in order, each once; as a rule they are in order."""
    if (keys[1:] < keys[:-1]).any():
        keys = keys.sort().values
    return keys.unique_consecutive()


def _problem(matrix: Tensor, num: int) -> str:
    """Return what is wrong with a square CSR matrix, or nothing."""
    if matrix.layout != torch.sparse_csr:
        return f'has the layout {matrix.layout}, expected torch.sparse_csr'
    start, col = matrix.crow_indices(), matrix.col_indices()
    if start.numel() != num + 1:
        return f'has {start.numel()} row starts, expected {num + 1}'
    if start[0] != 0 or start[-1] != col.numel():
        return (
            f'has row starts from {int(start[0])} to {int(start[-1])}, '
            f'expected 0 to {col.numel()}'
        )
    falls = start[1:] < start[:-1]
    if falls.any():
        return f'has row starts that decrease after row {first(falls)}'
    bad = (col < 0) | (col >= num)
    if bad.any():
        place = first(bad)
        return (
            f'has the column {int(col[place])} at position {place}, expected '
            f'0 to {num - 1}'
        )
    return ''
