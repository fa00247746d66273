"""Neighbourhoods of users and items, cut out of a graph."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch_geometric.typing
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.loader import LinkNeighborLoader, NeighborLoader
from torch_geometric.sampler import NeighborSampler

from pyg_ckd.graph import RATED_BY, RATES, modalities
from pyg_ckd.kernels.edges import Edges
from pyg_ckd.kernels.sparse import Graph, Uniform, csr, row_starts, transposed

#: Named as in `data.graphs`.
Name = tuple[str, str | None]


@dataclass(frozen=True)
class Neighborhood:
    """Some users and items, and the edges that lead to those asked for.

    Args:
        user (Tensor): The numbers of its users in the whole graph.
        item (Tensor): The numbers of its items.
        graphs (dict): The graphs of ``data.graphs`` between them.
        seeds (tuple[Tensor, Tensor]): The users and items asked for, sorted;
            what is computed of the others is not what it is in the whole graph.
    """

    user: Tensor
    item: Tensor
    graphs: dict[Name, Graph | Uniform]
    seeds: tuple[Tensor, Tensor]

    def covers(self, user: Tensor, item: Tensor) -> bool:
        """Return whether all these users and items were asked for."""
        return all(map(_contains, self.seeds, (user, item)))

    def users(self, user: Tensor) -> Tensor:
        """Return the numbers that users have in here."""
        return _place(self.user, user)

    def items(self, item: Tensor) -> Tensor:
        """Return the numbers that items have in here."""
        return _place(self.item, item)

    def of(self, data: HeteroData) -> HeteroData:
        """Return this part of a user-item graph, a graph of its own.

        Args:
            data: The graph it was cut out of, or one with other features.
        """
        part = HeteroData()
        part['user'].num_nodes = len(self.user)
        part['item'].num_nodes = len(self.item)
        for m in modalities(data):
            part['item'][f'x_{m}'] = data['item'][f'x_{m}'][self.item]
        uniform = {
            name for name, g in data.graphs.items() if isinstance(g, Uniform)
        }
        part.graphs = {
            name: Uniform(len(self.item)) if name in uniform else graph
            for name, graph in self.graphs.items()
        }
        return part


class Neighborhoods:
    r"""Cuts sampled neighbourhoods out of a graph, by PyG's loaders.

    An edge has the weight that it has in the whole graph, times the number of
    a node's edges over that of the sampled ones, so that a sum over neighbours
    is the whole one on average. Self-loops are always there.

    .. note::
        torch-sparse does not draw uniformly: `it prefers the first neighbours
        <https://github.com/rusty1s/pytorch_sparse/issues/385>`_. They are
        shuffled when an object is made, which is done in each epoch.

    Args:
        data (HeteroData): The user-item graph. Its item graphs are not
            sampled: the items asked for have all their edges.
        name (tuple): The name of the graph of users and items to sample from.
        graph (Graph): That graph.
        num_neighbors (list[int]): The number of neighbours of a node that is
            one hop closer, as in
            :class:`torch_geometric.loader.LinkNeighborLoader`.

    Raises:
        ImportError: If neither pyg-lib nor torch-sparse is installed.
    """

    def __init__(
        self,
        data: HeteroData,
        name: Name,
        graph: Graph,
        num_neighbors: Sequence[int],
    ) -> None:
        if not (
            torch_geometric.typing.WITH_PYG_LIB
            or torch_geometric.typing.WITH_TORCH_SPARSE
        ):
            raise ImportError(
                "Sampling neighbourhoods requires 'pyg-lib' or 'torch-sparse'. "
                'Install one that was built for this version of PyTorch, such '
                "as by pip install --no-build-isolation 'pyg_ckd[sparse]', or "
                'train on the whole graph'
            )
        self.name = name
        self.graph = graph
        self.num_neighbors = list(num_neighbors)
        num_items = data['item'].num_nodes
        self.item_graphs = {
            key: other
            for key, other in data.graphs.items()
            if isinstance(other, Graph) and other.num_nodes == num_items
        }
        self.edges = _weighted(graph, data['user'].num_nodes, num_items)
        self.sampler = NeighborSampler(
            self.edges, self.num_neighbors, is_sorted=True
        )

    def around(self, user: Tensor, item: Tensor) -> Neighborhood:
        """Return the neighbourhood of some users and items.

        Args:
            user: Users, perhaps none.
            item: Items, perhaps none.

        Raises:
            IndexError: If there is no such user or item; what samples would
                read beyond its memory.
        """
        device = user.device
        user, item = user.unique().cpu(), item.unique().cpu()
        for kind, ids in (('user', user), ('item', item)):
            size = self.edges[kind].num_nodes
            if len(ids) and not 0 <= ids[0] <= ids[-1] < size:
                first, last = int(ids[0]), int(ids[-1])
                raise IndexError(
                    f"'{kind}' needs to be from 0 to {size - 1} (got {first} "
                    f'to {last})'
                )
        options: dict[str, Any] = {
            'num_neighbors': self.num_neighbors,
            'neighbor_sampler': self.sampler,
        }
        num = torch.arange(max(len(user), len(item)))
        if len(user) and len(item):
            pairs = torch.stack([user[num % len(user)], item[num % len(item)]])
            loader = LinkNeighborLoader(
                self.edges, edge_label_index=(RATES, pairs), **options
            )
        else:
            side = ('user', user) if len(user) else ('item', item)
            loader = NeighborLoader(self.edges, input_nodes=side, **options)
        batch = loader(num).to(device)
        users, items = batch['user'].n_id, batch['item'].n_id
        user, item = user.to(device), item.to(device)
        rows = {k: _rows(g, item) for k, g in self.item_graphs.items()}
        if rows:
            near = torch.cat([col for _, col, _ in rows.values()]).unique()
            far = near[~torch.isin(near, items)]
            items = torch.cat([items, far])
        found = Neighborhood(
            users,
            items,
            {self.name: _scaled(batch, len(users), len(items))},
            (user, item),
        )
        places = found.items(item)
        for key, (count, col, value) in rows.items():
            row = places.repeat_interleave(count)
            adj_t = csr(row, found.items(col), value, len(items))
            found.graphs[key] = Graph(adj_t, transposed(adj_t))
        return found

    def __deepcopy__(self, memo: dict[int, Any]) -> Neighborhoods:
        return self


def _weighted(graph: Graph, num_users: int, num_items: int) -> HeteroData:
    """Return the edges of a graph as the loaders want them.

    They are sorted by target, and those of a target are in random order, for
    torch-sparse prefers the first ones. A node knows its number of edges, and
    the weight of its self-loop, zero without.
    """
    edges = Edges.of(graph.adj_t, graph.num_nodes)
    row = edges.target
    order = (row + torch.rand(row.shape, device=row.device).double()).argsort()
    row, col = row[order], edges.source[order]
    weight = graph.adj_t.values()[order]
    is_loop = row == col
    loop = weight.new_zeros(graph.num_nodes)
    loop[row[is_loop]] = weight[is_loop]
    degree = torch.bincount(row[~is_loop], minlength=graph.num_nodes)
    data = HeteroData()
    sides = {'user': slice(0, num_users), 'item': slice(num_users, None)}
    for side, nodes in sides.items():
        data[side].num_nodes = num_users if side == 'user' else num_items
        data[side].loop, data[side].degree = loop[nodes], degree[nodes]
    for kind, chosen in (
        (RATED_BY, ~is_loop & (row < num_users)),
        (RATES, ~is_loop & (row >= num_users)),
    ):
        source, target = col[chosen], row[chosen]
        if kind == RATES:
            target = target - num_users
        else:
            source = source - num_users
        data[kind].edge_index = torch.stack([source, target])
        data[kind].weight = weight[chosen]
    return copy.copy(data).cpu()


def _scaled(batch: HeteroData, num_users: int, num_items: int) -> Graph:
    """Return what was sampled as a graph of users, then items."""
    rates, rated_by = batch[RATES], batch[RATED_BY]
    size = num_users + num_items
    row = torch.cat([rated_by.edge_index[1], rates.edge_index[1] + num_users])
    col = torch.cat([rated_by.edge_index[0] + num_users, rates.edge_index[0]])
    weight = torch.cat([rated_by.weight, rates.weight])
    known = batch['user'].degree, batch['item'].degree
    degree = torch.cat(known).to(weight.dtype)
    sampled = torch.bincount(row, minlength=size)
    weight = weight * (degree[row] / sampled[row])
    loop = torch.cat([batch['user'].loop, batch['item'].loop])
    node = loop.nonzero().flatten()
    adj_t = csr(
        torch.cat([row, node]),
        torch.cat([col, node]),
        torch.cat([weight, loop[node]]),
        size,
    )
    return Graph(adj_t, transposed(adj_t))


def _rows(graph: Graph, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the lengths, columns and values of some rows of a graph."""
    start, adj_t = graph.adj_t.crow_indices(), graph.adj_t
    count = start.diff()[index]
    offset = (start[index] - row_starts(count)[:-1]).repeat_interleave(count)
    place = torch.arange(len(offset), device=index.device) + offset
    return count, adj_t.col_indices()[place], adj_t.values()[place]


def _place(known: Tensor, index: Tensor) -> Tensor:
    """Return where numbers stand in a list that has them."""
    order = known.argsort()
    return order[torch.searchsorted(known[order], index)]


def _contains(known: Tensor, index: Tensor) -> bool:
    if len(known) == 0:
        return len(index) == 0
    place = torch.searchsorted(known, index).clamp(max=len(known) - 1)
    return bool((known[place] == index).all())
