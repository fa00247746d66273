"""Matrix factorisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.nn.models.backbone import Backbone
from pyg_ckd.views import Keep, Views


class BPRMF(Backbone):
    r"""Matrix factorisation, to be trained by BPR.

    From the `"BPR: Bayesian Personalized Ranking from Implicit Feedback"
    <https://arxiv.org/abs/1205.2618>`_ paper:

    .. math::
        s(u, i) = \langle \mathbf{e}_u, \mathbf{e}_i \rangle

    It looks at no features.

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        in_channels (dict[str, int], optional): The number of features of each
            modality, not used. (default: :obj:`{}`)
        dim (int, optional): The size of an embedding. (default: :obj:`64`)

    Shapes:
        - **output:** user embeddings :math:`(|\mathcal{U}|, d)` and item
          embeddings :math:`(|\mathcal{I}|, d)`

    Example:
        >>> BPRMF(8, 5, dim=4)
        BPRMF(8, 5, {}, dim=4)
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int] | None = None,
        dim: int = 64,
    ) -> None:
        super().__init__(num_users, num_items, in_channels or {}, dim)
        self.user = nn.Embedding(num_users, dim)
        self.item = nn.Embedding(num_items, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        nn.init.xavier_uniform_(self.user.weight)
        nn.init.xavier_uniform_(self.item.weight)

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and of all items."""
        return self.user.weight, self.item.weight

    def views(self, data: HeteroData, keeps: Sequence[Keep]) -> Views:
        """Return several views, which are all the same."""
        user, item = self(data)
        keep = torch.ones(len(keeps), 1, device=user.device)
        return Views([user], [item], keep)
