"""Recommenders whose tables of embeddings are cut by rows."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset

from pyg_ckd.kernels.edges import Edges
from pyg_ckd.kernels.ranks import Ranks
from pyg_ckd.kernels.sparse import Graph, Uniform, csr, once_per_graph, spmm
from pyg_ckd.nn.models import VBPR, LightGCN
from pyg_ckd.nn.models.branches import Branches
from pyg_ckd.nn.neighborhoods import Name, Neighborhood
from pyg_ckd.nn.recommender import Recommender
from pyg_ckd.nn.row_shards import Lookup, RowShards
from pyg_ckd.nn.sampled import Part, Sampled, side_of
from pyg_ckd.nn.wrapper import Wrapper
from pyg_ckd.views import Keep, Rows, Views


class Sharded(Wrapper):
    """A recommender whose tables are cut by rows among several processes.

    Before :meth:`cut` it is the recommender inside. From then on each process
    has its part of the rows of each table of users and of items, in parameters
    of the same names, and so of their gradients and of the states of the
    optimiser. A step fetches the rows of its users and items from where they
    are; what is no table is whole in each process.

    All processes have to call :meth:`cut`, :meth:`own_embeddings`,
    :meth:`gathered` and the passes of training together.

    Args:
        recommender (Recommender): A :class:`~pyg_ckd.nn.VBPR`, or a
            :class:`~pyg_ckd.nn.LightGCN` in :class:`~pyg_ckd.nn.Sampled`. If
            it was made on the device ``meta``, its parameters are drawn in
            :meth:`cut`, and no process ever holds a whole table.

    Raises:
        ValueError: If it is another one.

    Example:
        >>> Sharded(VBPR(8, 5, {'text': 12}, dim=4))
        Sharded(VBPR(8, 5, {'text': 12}, dim=4))
    """

    def __init__(self, recommender: nn.Module) -> None:
        super().__init__(recommender)
        inner = self.recommender
        backbone = inner.recommender if type(inner) is Sampled else inner
        if type(inner) is LightGCN:
            raise ValueError(
                "The tables of 'LightGCN' can be cut by rows only where it is "
                'trained on neighbourhoods: Sampled(LightGCN.from_data(data), '
                'num_neighbors=[10, 5])'
            )
        if type(backbone) not in (VBPR, LightGCN):
            raise ValueError(
                f"The tables of '{inner.name}' cannot be cut by rows: a step "
                f'reads whole tables, or it was never tried. Take VBPR, '
                f"Sampled(LightGCN(...), num_neighbors) or strategy='ddp'"
            )
        assert isinstance(backbone, Branches)
        self._shards: dict[str, RowShards] = {}

    @property
    def backbone(self) -> Branches:
        """The model that has the tables."""
        inner = self.recommender
        found = inner.recommender if isinstance(inner, Sampled) else inner
        assert isinstance(found, Branches)
        return found

    @property
    def shards(self) -> dict[str, RowShards]:
        """How rows of ``'user'`` and ``'item'`` are shared out, once cut."""
        return self._shards

    def cut(self, ranks: Ranks, device: torch.device) -> None:
        """Keep the rows of this process, those of the first one's tables.

        Parameters of a model on the device ``meta`` are drawn as one process
        would, from the global generator, which has to be in one state in all.

        Args:
            ranks: The processes.
            device: Where the rows are wanted.

        Raises:
            ValueError: If tables have been cut among other processes, or there
                are fewer users or items than processes.
        """
        if self._shards:
            if self._shards['user'].ranks != ranks:
                raise ValueError(
                    f"The tables of '{self.recommender.name}' have been cut "
                    f'among {self._shards["user"].ranks.size} processes '
                    f'already, and cannot be among {ranks.size}'
                )
            return
        backbone = self.backbone
        is_meta = any(p.is_meta for p in backbone.parameters())
        self._shards = {
            'user': RowShards(backbone.num_users, ranks),
            'item': RowShards(backbone.num_items, ranks),
        }
        for name, side in self.tables_by_name():
            table, shards = backbone.get_parameter(name), self._shards[side]
            with torch.no_grad():
                own = (
                    _drawn(table, shards.own).to(device)
                    if is_meta
                    else shards.scattered(table.detach(), device)
                )
            _set(backbone, name, own)
        if is_meta:
            backbone.projection.to_empty(device='cpu')
            reset(backbone.projection)

    def tables_by_name(self) -> Iterator[tuple[str, str]]:
        """Yield the name of each table in the model, and whose rows it has."""
        names = [name for name, _ in self.backbone.named_parameters()]
        for name in names:
            side = side_of(name)
            if side is not None:
                yield name, side

    def own_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of which each process has other rows."""
        names = self.tables_by_name() if self._shards else ()
        return [self.backbone.get_parameter(name) for name, _ in names]

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and items, before the cut."""
        if self._shards:
            raise self._apart()
        user, item = self.recommender(data)
        return user, item

    def views(self, data: HeteroData, keeps: Sequence[Keep]) -> Views:
        """Return several views that fetch the rows that they are asked for."""
        if not self._shards:
            return self.recommender.views(data, keeps)
        if not self.training:
            raise self._apart()
        tables = _Fetched(self._shards)
        if isinstance(self.recommender, Sampled):
            return self.recommender.sampled_views(data, keeps, tables)
        views = self.recommender.views(data, keeps)
        return Views(
            user=[tables.block(block, 'user') for block in views.user],
            item=[tables.block(block, 'item') for block in views.item],
            keep=views.keep,
            constant=views.constant,
        )

    def own_embeddings(
        self, data: HeteroData, keep: Keep
    ) -> tuple[Tensor, Tensor]:
        """Return the embeddings of own users and of all items, in one view.

        Tables of items are gathered, and items get the sums over the users of
        all processes. Without gradients and in evaluation mode.

        Args:
            data: The whole user-item graph.
            keep: The view.
        """
        users, num_items = self._shards['user'], self.backbone.num_items
        device = self.backbone.user.weight.device
        user = torch.arange(users.own.start, users.own.stop, device=device)
        item = torch.arange(num_items, device=device)
        graphs: dict[Name, Graph | Uniform] = {}
        if self.adjacency is not None:
            graph = self.backbone.user_item_graph(data)
            name = repr(self.adjacency), None
            graphs[name] = _of_own_users(graph, users)
        near = _OwnUsers(user, item, graphs, (user, item))
        part = Part(self.backbone, data, [keep], near, _Gathered(self._shards))
        return part.views.embedding()

    def gathered(self) -> Recommender | None:
        """Return the whole recommender, in main memory, in the first process.

        Others return :obj:`None`.
        """
        tables = {
            name: self._shards[side].gathered(
                self.backbone.get_parameter(name).detach()
            )
            for name, side in self.tables_by_name()
        }
        if self._shards['user'].ranks.rank > 0:
            return None
        whole = copy.deepcopy(self).cpu()
        for name, table in tables.items():
            assert table is not None
            _set(whole.backbone, name, table)
        return whole.recommender

    # The recommenders that can be inside add no loss of their own:
    regularization = Recommender.regularization
    loss = Recommender.loss

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.recommender.name

    def _apart(self) -> ValueError:
        size = self._shards['user'].ranks.size
        return ValueError(
            f"The tables of '{self.name}' are cut by rows among {size} "
            f'processes, none of which has the embeddings of all users: '
            f'task.save(folder) in all of them, and '
            f'pyg_ckd.serving.load(folder) in one'
        )


class _Fetched:
    """Rows of training, fetched from where they are."""

    def __init__(self, shards: dict[str, RowShards]) -> None:
        self.shards = shards
        self.lookups = {side: Lookup(of) for side, of in shards.items()}

    def rows(self, table: Tensor, side: str, index: Tensor) -> Tensor:
        return self.lookups[side].rows(table, index)

    def mean(self, table: Tensor, side: str) -> Tensor:
        return self.shards[side].mean(table)

    def block(self, block: Tensor | Rows, side: str) -> Tensor | Rows:
        """Return a block whose rows are fetched, if it is a table."""
        if isinstance(block, Tensor):
            return _Block(block, self.lookups[side])
        return block


@dataclass
class _Block:
    table: Tensor
    lookup: Lookup

    def rows(self, index: Tensor | None = None) -> Tensor:
        if index is None:
            raise ValueError(
                'Tables are cut by rows, and a step cannot look at all users '
                'or items, which this objective or balance asks for. Take '
                'BPR() and CKD()'
            )
        return self.lookup.rows(self.table, index)


class _Gathered:
    """Rows of an evaluation: those of own users, and of all items."""

    def __init__(self, shards: dict[str, RowShards]) -> None:
        self.shards = shards

    def rows(self, table: Tensor, side: str, index: Tensor) -> Tensor:
        return table if side == 'user' else self.shards[side].whole(table)

    def mean(self, table: Tensor, side: str) -> Tensor:
        return self.shards[side].mean(table)


class _OwnUsers(Neighborhood):
    """The own users, and all items."""

    def of(self, data: HeteroData) -> HeteroData:
        """Return this part of a user-item graph; features are not copied."""
        part = copy.copy(data)
        part['user'].num_nodes = len(self.user)
        part.graphs = self.graphs
        return part


@dataclass(frozen=True, eq=False)
class _OwnGraph(Graph):
    """The edges of own users, whose sums over all processes items get."""

    users: RowShards

    def propagate(self, x: Tensor) -> Tensor:
        out = spmm(self.adj_t, x, self.adj)
        own = self.users.own
        user, item = out.tensor_split([own.stop - own.start])
        return torch.cat([user, self.users.ranks.sum(item)])


@once_per_graph
def _of_own_users(graph: Graph, users: RowShards) -> _OwnGraph:
    """Return the edges between own users and all items."""
    edges = Edges.of(graph.adj_t, graph.num_nodes)
    weight = graph.adj_t.values()
    first, stop, num_users = users.own.start, users.own.stop, users.num_rows
    number = torch.full((graph.num_nodes,), -1, device=weight.device)
    size = stop - first + graph.num_nodes - num_users
    is_here = torch.zeros_like(number, dtype=torch.bool)
    is_here[first:stop] = is_here[num_users:] = True
    number[is_here] = torch.arange(size, device=weight.device)
    kept = is_here[edges.target] & is_here[edges.source]
    if users.ranks.rank > 0:  # self-loops of items count once
        kept &= (edges.target < num_users) | (edges.source < num_users)
    row, col = number[edges.target[kept]], number[edges.source[kept]]
    adj_t = csr(row, col, weight[kept], size)
    return _OwnGraph(adj_t, adj_t, users)


def _drawn(table: Tensor, own: slice) -> Tensor:
    """Return some rows of a table as `reset_parameters` would draw it."""
    height, width = table.shape
    bound = math.sqrt(3.0) * math.sqrt(2.0 / (height + width))
    rows = torch.empty(own.stop - own.start, width, dtype=table.dtype)
    for start in range(0, height, _BLOCK):
        block = rows.new_empty(min(_BLOCK, height - start), width)
        block.uniform_(-bound, bound)
        first = max(start, own.start)
        stop = min(start + len(block), own.stop)
        if first < stop:
            rows[first - own.start : stop - own.start] = block[
                first - start : stop - start
            ]
    return rows


#: How many rows are drawn at once.
_BLOCK = 2**16


def _set(backbone: Branches, name: str, table: Tensor) -> None:
    """Put another table in the place of a parameter."""
    parent, _, own = name.rpartition('.')
    needs = backbone.get_parameter(name).requires_grad
    parameter = nn.Parameter(table, requires_grad=needs)
    setattr(backbone.get_submodule(parent), own, parameter)
