"""The most popular items, the same for everyone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.graph import RATES, check
from pyg_ckd.nn.models.backbone import Backbone


class Popularity(Backbone):
    r"""Recommends what was interacted with most, the same to every user.

    .. math::
        s(u, i) = |\{ v : (v, i) \in \mathcal{E}_{\mathrm{train}} \}|

    It has no parameters and looks at no features.

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        in_channels (dict[str, int], optional): The number of features of each
            modality, not used. (default: :obj:`{}`)

    Shapes:
        - **output:** user embeddings :math:`(|\mathcal{U}|, 1)`, all ones,
          and item embeddings :math:`(|\mathcal{I}|, 1)`

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> user_emb, item_emb = Popularity.from_data(data)(data)
        >>> user_emb.shape, item_emb.shape
        (torch.Size([20, 1]), torch.Size([10, 1]))
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(num_users, num_items, in_channels or {}, dim=1)

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and of all items."""
        item = check(data)[RATES].edge_index[1]
        count = torch.bincount(item, minlength=self.num_items)
        score = count.to(torch.get_default_dtype()).unsqueeze(1)
        return score.new_ones(self.num_users, 1), score

    def extra_repr(self) -> str:
        """Return the settings."""
        return f'{self.num_users}, {self.num_items}, {self.in_channels}'
