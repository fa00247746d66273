"""LightGCN over IDs, and what features add to it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset

from pyg_ckd.kernels.sparse import spmm
from pyg_ckd.nn.functional import info_nce, light_gcn
from pyg_ckd.nn.interactions import interaction_graph
from pyg_ckd.nn.models.backbone import Backbone
from pyg_ckd.views import Keep, Views


class GuidedGCN(Backbone):
    r"""What :class:`MGCN` and :class:`SMORE` share.

    .. math::
        \mathbf{C} = \mathrm{LightGCN}([\mathbf{E}_{\mathcal{U}} \|
        \mathbf{E}_{\mathcal{I}}]), \quad [\mathbf{U} \| \mathbf{I}] =
        \mathbf{C} + \mathbf{H}

    :math:`\mathbf{H}` is what features add. The loss gets :math:`\gamma
    (\mathrm{InfoNCE}(\mathbf{H}_u, \mathbf{C}_u) + \mathrm{InfoNCE}(
    \mathbf{H}_i, \mathbf{C}_i))` over the users and the preferred items of a
    batch.

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        in_channels (dict[str, int]): The number of features of each modality.
        dim (int): The size of an embedding.
        num_layers (int): The number of LightGCN layers.
        contrastive_weight (float): The weight :math:`\gamma` of the
            contrastive loss.
        tau (float): Its temperature.
        train_features (bool): Whether to fine-tune the features.

    Raises:
        ValueError: If there is no modality, or an argument is out of range.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int],
        dim: int,
        num_layers: int,
        contrastive_weight: float,
        tau: float,
        train_features: bool,
    ) -> None:
        super().__init__(num_users, num_items, in_channels, dim, train_features)
        self.check_positive(**{'len(in_channels)': len(in_channels)})
        self.check_count(num_layers=num_layers)
        self.check_number('at least 0', contrastive_weight=contrastive_weight)
        self.check_number('positive', tau=tau)
        self.num_layers = num_layers
        self.contrastive_weight = contrastive_weight
        self.tau = tau
        self.user = nn.Embedding(num_users, dim)
        self.item = nn.Embedding(num_items, dim)
        self.projection = nn.ModuleDict(
            {m: nn.Linear(size, dim) for m, size in in_channels.items()}
        )

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        nn.init.xavier_uniform_(self.user.weight)
        nn.init.xavier_uniform_(self.item.weight)
        for offset in self.offset.values():
            nn.init.zeros_(offset)
        reset(self.projection)

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and of all items."""
        return self.views(data, [frozenset(self.in_channels)]).embedding()

    def views(self, data: HeteroData, keeps: Sequence[Keep]) -> Views:
        """Return several views that share all but the fusion."""
        graph = self.user_item_graph(data)
        x = torch.cat([self.user.weight, self.item.weight])
        content = light_gcn(x, graph, self.num_layers)  # [num_nodes, d]
        sides = self.sides(data, keeps, content)

        sizes = [self.num_users, self.num_items]
        pairs = [(content + side).split(sizes) for side in sides]
        content_user, content_item = content.split(sizes)
        side_user, side_item = sides[0].split(sizes)
        return Views(
            user=[user for user, _ in pairs],
            item=[item for _, item in pairs],
            keep=torch.eye(len(keeps), device=content.device),
            aux={
                'content_user': content_user,
                'content_item': content_item,
                'side_user': side_user,
                'side_item': side_item,
            },
        )

    @abstractmethod
    def sides(
        self, data: HeteroData, keeps: Sequence[Keep], content: Tensor
    ) -> Sequence[Tensor]:
        r"""Return :math:`\mathbf{H}` of each view, ``[num_nodes, d]``.

        Args:
            data: The user-item graph.
            keeps: The views.
            content: :math:`\mathbf{C}`, of shape ``[num_nodes, d]``.
        """

    def regularization(
        self,
        data: HeteroData,
        keep: Keep,
        views: Views,
        user: Tensor,
        pos: Tensor,
        neg: Tensor,
    ) -> Tensor | float:
        """Return the contrastive loss of what IDs and features tell."""
        loss = sum(
            info_nce(
                F.embedding(index, views.aux[f'side_{node}']),
                F.embedding(index, views.aux[f'content_{node}']),
                self.tau,
            )
            for node, index in (('user', user), ('item', pos))
        )
        return self.contrastive_weight * loss

    def with_users(
        self, data: HeteroData, items: Sequence[Tensor]
    ) -> tuple[list[Tensor], Tensor]:
        """Put users above items, with what they get from their items.

        Args:
            data: The user-item graph.
            items: Tensors of shape ``[num_items, d]``, propagated in one
                product.

        Returns:
            For each of them one of shape ``[num_nodes, d]``, and the same of a
            column of ones: what is one row for all items becomes a multiple
            of it for each node.
        """
        one = self.item.weight.new_ones(self.num_items, 1)
        item = torch.cat([*items, one], dim=-1)
        graph, graph_t = interaction_graph(data, self)
        both = torch.cat([spmm(graph, item, graph_t), item])
        *nodes, scale = both.split([self.dim] * len(items) + [1], dim=-1)
        return nodes, scale

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f'{super().extra_repr()}, num_layers={self.num_layers}, '
            f'contrastive_weight={self.contrastive_weight}, tau={self.tau}'
        )
