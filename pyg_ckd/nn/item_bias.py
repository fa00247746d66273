"""Recommenders whose items have a bias."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.kernels.arguments import check_whole
from pyg_ckd.nn.models.backbone import Backbone
from pyg_ckd.nn.wrapper import WrappedViews, Wrapper
from pyg_ckd.views import Keep


class ItemBias(Wrapper):
    r"""A recommender with a learned bias for each item, in every view.

    .. math::
        s_v(u, i) = \langle \mathbf{u}_v, \mathbf{i}_v \rangle + b_i

    with the embeddings of view :math:`v` of any recommender, and :math:`b_i`
    learned from zero, which no view ablates. What an item has to all users
    alike, such as its popularity, then need not be told by features or IDs.
    It is a column more: ones for users and :math:`\mathbf{b}` for items.
    What the recommender adds to the loss, and a loss of its own, see its
    embeddings as they were.

    Around :class:`Cosine` it adds the bias to cosines.

    Args:
        recommender (torch.nn.Module): Any module with ``user_emb, item_emb =
            module(data)``.
        num_items (int, optional): The number of items. (default: that of the
            recommender, if it is a :class:`Backbone`)

    Raises:
        ValueError: If the number of items is not known or not positive; when
            called, if the embeddings of the recommender are sparse.

    Shapes:
        - **output:** user embeddings :math:`(|\mathcal{U}|, d + 1)` and item
          embeddings :math:`(|\mathcal{I}|, d + 1)`

    Example:
        >>> from pyg_ckd.nn import VBPR
        >>> ItemBias(VBPR(8, 5, {'text': 12}, dim=4))
        ItemBias(VBPR(8, 5, {'text': 12}, dim=4))
    """

    def __init__(
        self, recommender: nn.Module, num_items: int | None = None
    ) -> None:
        super().__init__(recommender)
        if num_items is None:
            num_items = self._known_num_items()
        check_whole(self.__class__.__name__, num_items=num_items)
        self.num_items = num_items
        self.bias = nn.Parameter(torch.empty(num_items))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start from no bias; the recommender stays as it is."""
        nn.init.zeros_(self.bias)

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and of all items."""
        user, item = self.recommender(data)
        self.check_dense(user, item)
        one, bias = self._columns(data)
        return torch.cat([user, one], dim=1), torch.cat([item, bias], dim=1)

    def views(self, data: HeteroData, keeps: Sequence[Keep]) -> WrappedViews:
        """Return several views that share the bias."""
        inner = self.recommender.views(data, keeps)
        self.check_dense(*inner.user, *inner.item)
        one, bias = self._columns(data)
        # A user block that belongs to all item blocks is put beside each:
        user = [*inner.user] * (len(inner.item) // len(inner.user))
        kept = inner.keep.new_ones(len(keeps), 1)
        return WrappedViews(
            user=[one, *user],
            item=[bias, *inner.item],
            keep=torch.cat([kept, inner.keep], dim=1),
            constant=inner.constant,
            inner=inner,
        )

    def _columns(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        one = self.bias.new_ones(data['user'].num_nodes, 1)
        return one, self.bias.unsqueeze(1)

    def _known_num_items(self) -> int:
        inner = self.recommender
        while isinstance(inner, Wrapper):
            inner = inner.recommender
        if not isinstance(inner, Backbone):
            raise ValueError(
                f"'num_items' needs to be given in '{self.__class__.__name__}' "
                f"around '{inner.name}', which does not say it: pass "
                f"data['item'].num_nodes"
            )
        return inner.num_items
