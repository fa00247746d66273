"""Recommenders that are trained on sampled neighbourhoods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch_geometric.data import HeteroData

from pyg_ckd.graph import RATES, modalities
from pyg_ckd.kernels.arguments import is_whole
from pyg_ckd.nn.models.backbone import Backbone
from pyg_ckd.nn.neighborhoods import Neighborhood, Neighborhoods
from pyg_ckd.nn.wrapper import Wrapper
from pyg_ckd.transforms.ablate_modality import ablated
from pyg_ckd.views import Keep, Triples, Views

Result = TypeVar('Result')
#: The tables of backbones that have a row for each user, and for each item.
USER_TABLES, ITEM_TABLES = ('user', 'preference'), ('item', 'offset')


class Sampled(Wrapper):
    r"""A graph recommender that is trained on sampled neighbourhoods.

    A step of training on the whole graph costs as much as the graph is large.
    Here a step looks at the users and items of its triples alone: at
    ``num_neighbors[0]`` of the neighbours of each, drawn uniformly, at
    ``num_neighbors[1]`` of the neighbours of these, and so on, as in the
    `"Inductive Representation Learning on Large Graphs"
    <https://arxiv.org/abs/1706.02216>`_ paper. Neighbourhoods are those of
    :class:`torch_geometric.loader.LinkNeighborLoader`. Edges are weighted so
    that a sum over neighbours is the whole one on average; with ``-1``, all
    neighbours, a step is that of the whole graph. Evaluation, teachers and
    whatever else is not training have the whole graph.

    Each view is a pass over the neighbourhood. The objective and the balance
    have to name the items they look at: those of the batch and of random
    triples, or drawn ones. :class:`~pyg_ckd.objectives.NLGCL`,
    ``Softmax(negatives='all')`` and distillation of lists compare all items,
    and are refused. Gradients of tables stay dense, so that each step still
    updates all rows.

    Args:
        recommender (Backbone): A recommender that says how many hops away
            what its embeddings depend on is, such as
            :class:`~pyg_ckd.nn.LightGCN`, :class:`~pyg_ckd.nn.FREEDOM` or
            :class:`~pyg_ckd.nn.MMGCN`.
        num_neighbors (list[int]): The number of neighbours at each hop, of
            which there are as many as the recommender has layers; ``-1`` for
            all of them.

    Raises:
        TypeError: If the recommender is no :class:`~pyg_ckd.nn.Backbone`, or
            ``num_neighbors`` no list.
        ValueError: If its embeddings depend on all users or items, or
            ``num_neighbors`` has another length or a number below 1 that is
            not -1.
        ImportError: In training, if neither pyg-lib nor torch-sparse is
            installed.

    Shapes:
        - **output:** those of the recommender

    Example:
        >>> from pyg_ckd.nn import LightGCN
        >>> model = LightGCN(8, 5, {'text': 12}, dim=4)
        >>> Sampled(model, num_neighbors=[10, 5]).num_neighbors
        [10, 5]
    """

    recommender: Backbone

    def __init__(
        self, recommender: nn.Module, num_neighbors: Sequence[int]
    ) -> None:
        super().__init__(recommender)
        try:
            self.num_neighbors = list(num_neighbors)
        except TypeError:
            raise TypeError(
                f"'num_neighbors' needs to be a list in 'Sampled', a number "
                f'for each layer (got {num_neighbors!r})'
            ) from None
        if not isinstance(self.recommender, Backbone):
            raise TypeError(
                f"'Sampled' needs a Backbone, such as LightGCN (got "
                f"'{self.recommender.name}'); other wrappers go around it, as "
                f'in Cosine(Sampled(model, num_neighbors))'
            )
        hops, name = self.recommender.num_hops, self.recommender.name
        if hops is None:
            raise ValueError(
                f"'{name}' cannot be trained on neighbourhoods: it has no "
                f'graph of users, or its embeddings depend on all users and '
                f'items. Train it without Sampled'
            )
        if len(self.num_neighbors) != hops or not all(
            is_whole(num) and (num > 0 or num == -1)
            for num in self.num_neighbors
        ):
            raise ValueError(
                f"'num_neighbors' needs {hops} numbers in 'Sampled' around "
                f"this '{name}', one for each layer, positive or -1 (got "
                f'{self.num_neighbors})'
            )
        self.num_neighbors = list(map(int, self.num_neighbors))
        self._neighborhoods: Neighborhoods | None = None

    @property
    def is_sampled(self) -> bool:
        """Steps of training look at some users and items alone."""
        return True

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and of all items."""
        user, item = self.recommender(data)
        return user, item

    def views(self, data: HeteroData, keeps: Sequence[Keep]) -> Views:
        """Return several views; in training, of neighbourhoods."""
        if not self.training:
            return self.recommender.views(data, keeps)
        return self.sampled_views(data, keeps, WholeTables())

    def sampled_views(
        self, data: HeteroData, keeps: Sequence[Keep], tables: Tables
    ) -> SampledViews:
        """Return several views of neighbourhoods.

        Args:
            data: The whole user-item graph.
            keeps: The views.
            tables: Where the rows of the tables are.
        """
        near = self._of(data)
        parts = Parts(
            lambda user, item: Part(
                self.recommender, data, keeps, near.around(user, item), tables
            )
        )
        places = range(len(keeps))
        return SampledViews(
            user=[_Rows(parts, view, 0) for view in places],
            item=[_Rows(parts, view, 1) for view in places],
            keep=torch.eye(len(keeps), device=data[RATES].edge_index.device),
            parts=parts,
        )

    def start_epoch(self, data: HeteroData, keep: Keep) -> None:
        """Let the recommender prepare an epoch, and shuffle neighbours."""
        super().start_epoch(data, keep)
        self._neighborhoods = None
        self._of(data)

    def regularization(
        self,
        data: HeteroData,
        keep: Keep,
        views: Views,
        user: Tensor,
        pos: Tensor,
        neg: Tensor,
    ) -> Tensor | float:
        """Return the loss terms that the recommender adds."""
        return self._loss(
            self.recommender.regularization, data, keep, views, user, pos, neg
        )

    def loss(
        self,
        data: HeteroData,
        keep: Keep,
        views: Views,
        user: Tensor,
        pos: Tensor,
        neg: Tensor,
    ) -> Tensor | None:
        """Return the loss that the recommender has in place of BPR."""
        return self._loss(
            self.recommender.loss, data, keep, views, user, pos, neg
        )

    def _loss(
        self,
        function: Callable[..., Result],
        data: HeteroData,
        keep: Keep,
        views: Views,
        user: Tensor,
        pos: Tensor,
        neg: Tensor,
    ) -> Result:
        """Call a function of the recommender, with numbers of the part."""
        if not isinstance(views, SampledViews):
            return function(data, keep, views, user, pos, neg)
        part = views.parts.at(user, torch.cat([pos, neg]))
        near = part.near
        batch = near.users(user), near.items(pos), near.items(neg)
        return part.inside(
            0, lambda seen: function(seen, keep, part.first, *batch)
        )

    def _of(self, data: HeteroData) -> Neighborhoods:
        """Return the neighbourhoods of the graph to propagate over now."""
        graph = self.recommender.user_item_graph(data)
        if (
            self._neighborhoods is None
            or self._neighborhoods.graph is not graph
        ):
            name = repr(self.recommender.adjacency), None
            self._neighborhoods = Neighborhoods(
                data, name, graph, self.num_neighbors
            )
        return self._neighborhoods

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.recommender!r}, '
            f'num_neighbors={self.num_neighbors})'
        )


class Tables(Protocol):
    """Where the rows of the tables of a recommender are."""

    def rows(self, table: Tensor, side: str, index: Tensor) -> Tensor:
        """Return rows of a table.

        Args:
            table: The table.
            side: Whether it has rows of ``'user'`` or of ``'item'``.
            index: The numbers of users or items in the whole graph.
        """

    def mean(self, table: Tensor, side: str) -> Tensor:
        """Return the mean over all users or items, ``[1, d]``."""


class WholeTables:
    """Tables that are whole, each in its own parameter."""

    def rows(self, table: Tensor, side: str, index: Tensor) -> Tensor:
        """Return rows of a table."""
        return F.embedding(index, table)

    def mean(self, table: Tensor, side: str) -> Tensor:
        """Return the mean over all users or items, ``[1, d]``."""
        return table.mean(dim=0, keepdim=True)


def side_of(name: str) -> str | None:
    """Return whether a parameter of a backbone is a table, and of whom.

    Args:
        name: The name of the parameter.

    Example:
        >>> side_of('preference.text'), side_of('projection.text.bias')
        ('user', None)
    """
    kind = name.split('.')[0]
    if kind in USER_TABLES:
        return 'user'
    return 'item' if kind in ITEM_TABLES else None


class Part:
    """Several views of a recommender on a neighbourhood.

    Each is computed by ablation from outside, with means over all rows: those
    over the rows that were sampled would be others.

    Args:
        recommender (Backbone): The recommender.
        data (HeteroData): The whole user-item graph.
        keeps (list[frozenset[str]]): The views.
        near (Neighborhood): The neighbourhood.
        tables (Tables): Where the rows of the tables are.
    """

    def __init__(
        self,
        recommender: Backbone,
        data: HeteroData,
        keeps: Sequence[Keep],
        near: Neighborhood,
        tables: Tables,
    ) -> None:
        self.recommender = recommender
        self.near = near
        names = modalities(data)
        self._dropped = [[m for m in names if m not in k] for k in keeps]
        self._seen = [near.of(ablated(data, d)) for d in self._dropped]
        gone = set(chain(*self._dropped))
        self._rows, self._means = self._read(tables, gone)
        several = [
            self.inside(v, partial(recommender.views, keeps=[keep]))
            for v, keep in enumerate(keeps)
        ]
        #: The trained view, as the recommender returned it.
        self.first = several[0]
        pairs = [views.embedding() for views in several]
        #: All views.
        self.views = Views(
            user=[user for user, _ in pairs],
            item=[item for _, item in pairs],
            keep=torch.eye(len(pairs), device=pairs[0][0].device),
        )

    def inside(
        self, view: int, function: Callable[[HeteroData], Result]
    ) -> Result:
        """Return what a function of the recommender says of the part.

        Args:
            view: The position of the view.
            function: A function of the part of the graph that the view sees.
        """
        names = self._dropped[view]
        gone = {id(t) for m in names for t in self.recommender.tables(m)}
        own = dict(self.recommender.named_parameters())
        tables = {
            f'recommender.{name}': (
                self._means[name].expand_as(rows)
                if id(own[name]) in gone
                else rows
            )
            for name, rows in self._rows.items()
        }
        call = _Call(self.recommender)
        with self._sized():
            out: Result = functional_call(
                call, tables, (function, self._seen[view]), tie_weights=False
            )
        return out

    def _read(
        self, tables: Tables, dropped: set[str]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the rows of each table, and means of those to ablate."""
        index = {'user': self.near.user, 'item': self.near.item}
        rows, means = {}, {}
        away = {id(t) for m in dropped for t in self.recommender.tables(m)}
        for name, table in self.recommender.named_parameters():
            side = side_of(name)
            if side is None:
                continue
            rows[name] = tables.rows(table, side, index[side])
            if id(table) in away:
                means[name] = tables.mean(table, side)
        return rows, means

    @contextmanager
    def _sized(self) -> Iterator[None]:
        """Let the recommender have as many users and items as the part."""
        model = self.recommender
        sizes = model.num_users, model.num_items
        model.num_users, model.num_items = (
            len(self.near.user),
            len(self.near.item),
        )
        try:
            yield
        finally:
            model.num_users, model.num_items = sizes


class _Call(nn.Module):
    """Calls a function that looks at a recommender."""

    def __init__(self, recommender: Backbone) -> None:
        super().__init__()
        self.recommender = recommender

    def forward(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)


class Parts:
    """Several views around whatever users and items are asked for.

    Args:
        around (callable): Computes them around some users and items.
    """

    def __init__(self, around: Callable[[Tensor, Tensor], Part]) -> None:
        self._around = around
        self._known: list[Part] = []

    def at(self, user: Tensor, item: Tensor) -> Part:
        """Return a part around these users and items."""
        for part in self._known:
            if part.near.covers(user, item):
                return part
        self._known.append(self._around(user, item))
        return self._known[-1]

    def embedding(
        self, view: int, user: Tensor | None, item: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the embeddings of some users and items in one view."""
        if user is None or item is None:
            raise ValueError(
                "A recommender in 'Sampled' cannot compute all users or items "
                'in a step of training, which this objective or balance asks '
                'for. Take one that looks at some, such as BPR(), '
                "Softmax(negatives='batch') and CKD(), or train on the whole "
                'graph'
            )
        part = self.at(user, item)
        near = part.near
        return part.views.embedding(
            view, user=near.users(user), item=near.items(item)
        )


@dataclass
class SampledViews(Views):
    """Views whose embeddings are computed when users and items are named.

    All numbers are those of the whole graph.
    """

    parts: Parts = field(kw_only=True)

    def triples(self, user: Tensor, pos: Tensor, neg: Tensor) -> Triples:
        """Return the embeddings of users and of two items for each."""
        part = self.parts.at(user, torch.cat([pos, neg]))
        near = part.near
        return part.views.triples(
            near.users(user), near.items(pos), near.items(neg)
        )

    def embedding(
        self,
        view: int = 0,
        *,
        user: Tensor | None = None,
        item: Tensor | None = None,
        constants: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Return the user and the item embeddings of one view."""
        return self.parts.embedding(view, user, item)


@dataclass
class _Rows:
    """The users (side 0) or items (side 1) of a view."""

    parts: Parts
    view: int
    side: int

    def rows(self, index: Tensor | None = None) -> Tensor:
        none = None if index is None else index[:0]
        user, item = (index, none) if self.side == 0 else (none, index)
        return self.parts.embedding(self.view, user, item)[self.side]
