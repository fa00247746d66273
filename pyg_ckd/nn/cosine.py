"""Recommenders whose scores are cosines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.nn.functional import unit
from pyg_ckd.nn.wrapper import WrappedViews, Wrapper
from pyg_ckd.views import Keep, Triples, Views, rows_of


class Cosine(Wrapper):
    r"""A recommender whose embeddings have length one, in every view.

    .. math::
        s_v(u, i) = \frac{\langle \mathbf{u}_v, \mathbf{i}_v \rangle}
        {\|\mathbf{u}_v\| \, \|\mathbf{i}_v\|}

    with the embeddings of view :math:`v` of any recommender, including what is
    left of ablated modalities: that adds the same number to all items of a
    user, but is a part of their lengths. An embedding of zeros stays as it is.

    Scores lie in :math:`[-1, 1]`, as the temperature of
    :class:`~pyg_ckd.objectives.Softmax` assumes. What the recommender adds to
    the loss, and a loss of its own, see its embeddings as they were.

    Args:
        recommender (torch.nn.Module): Any module with ``user_emb, item_emb =
            module(data)``.

    Raises:
        ValueError: When called, if its embeddings are sparse.

    Shapes:
        - **output:** user embeddings :math:`(|\mathcal{U}|, d)` and item
          embeddings :math:`(|\mathcal{I}|, d)`

    Example:
        >>> from pyg_ckd.nn import VBPR
        >>> Cosine(VBPR(8, 5, {'text': 12}, dim=4))
        Cosine(VBPR(8, 5, {'text': 12}, dim=4))
    """

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and of all items."""
        user, item = self.recommender(data)
        self.check_dense(user, item)
        return unit(user), unit(item)

    def views(self, data: HeteroData, keeps: Sequence[Keep]) -> WrappedViews:
        """Return several views, whose rows are normalised when asked for."""
        inner = self.recommender.views(data, keeps)
        self.check_dense(*inner.user, *inner.item)
        return _UnitViews(
            user=[_UnitRows(inner, v, 0) for v in range(len(keeps))],
            item=[_UnitRows(inner, v, 1) for v in range(len(keeps))],
            keep=torch.eye(len(keeps), device=inner.keep.device),
            inner=inner,
        )


@dataclass
class _UnitViews(WrappedViews):
    """Views with embeddings of length one, and those they are made of."""

    def triples(self, user: Tensor, pos: Tensor, neg: Tensor) -> Triples:
        # Compute each row of a block once, however many views have it:
        needed, place = torch.cat([pos, neg]).unique(return_inverse=True)
        pos, neg = place.chunk(2)
        rows = Views(
            user=[rows_of(block, user) for block in self.inner.user],
            item=[rows_of(block, needed) for block in self.inner.item],
            keep=self.inner.keep,
        )
        users, items = [], []
        for view in range(len(self.keep)):
            user_emb, item_emb = rows.embedding(view)
            users.append(unit(user_emb))
            items.append(unit(item_emb))
        return Triples(
            user=users,
            pos=[F.embedding(pos, item) for item in items],
            neg=[F.embedding(neg, item) for item in items],
            keep=self.keep,
        )


@dataclass
class _UnitRows:
    """The users (side 0) or items (side 1) of a view, of length one."""

    inner: Views
    view: int
    side: int

    def rows(self, index: Tensor | None = None) -> Tensor:
        none = torch.empty(0, dtype=torch.long, device=self.inner.keep.device)
        user, item = (index, none) if self.side == 0 else (none, index)
        pair = self.inner.embedding(
            self.view, user=user, item=item, constants=True
        )
        return unit(pair[self.side])
