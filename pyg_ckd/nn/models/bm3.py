"""BM3: alignment with item features, without negatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset
from torch_geometric.transforms import BaseTransform

from pyg_ckd.nn.functional import light_gcn
from pyg_ckd.nn.models.backbone import Backbone
from pyg_ckd.transforms import NormalizedAdjacency
from pyg_ckd.views import Keep, Views


class BM3(Backbone):
    r"""BM3, which learns from positives alone.

    From the `"Bootstrap Latent Representations for Multi-modal Recommendation"
    <https://arxiv.org/abs/2207.05969>`_ paper:

    .. math::
        [\mathbf{U} \| \mathbf{H}] &= \mathrm{LightGCN}([\mathbf{E}_{
        \mathcal{U}} \| \mathbf{E}_{\mathcal{I}}]), \quad \mathbf{I} =
        \mathbf{H} + \mathbf{E}_{\mathcal{I}}

        s(u, i) &= \langle p(\mathbf{u}_u), p(\mathbf{i}_i) \rangle, \quad
        p(\mathbf{x}) = \mathbf{W} \mathbf{x} + \mathbf{b}

    Its loss takes the place of BPR. With :math:`C(\mathbf{x}, \mathbf{y}) = 1
    - \cos(p(\mathbf{x}), \tilde{\mathbf{y}})`, where :math:`\tilde{\cdot}` is
    a target, with dropout and without gradient, and with :math:`\mathbf{z}_m
    = \mathbf{W}_m \mathbf{x}_{im} + \mathbf{b}_m`, it is the mean over
    interactions :math:`(u, i)` of

    .. math::
        C(\mathbf{u}_u, \mathbf{i}_i) + C(\mathbf{i}_i, \mathbf{u}_u) + \alpha
        \sum_m \left( C(\mathbf{z}_m, \mathbf{i}_i) + C(\mathbf{z}_m,
        \mathbf{z}_m) \right)

    plus :math:`\lambda (\|\mathbf{U}\|_F + \|\mathbf{I}\|_F) / |\mathcal{I}|`.
    The paper squares these norms and has no :math:`\alpha`; the authors' code,
    which its settings belong to, is followed here.

    **Features never enter a score**, so that all views rank alike, and CKD
    refuses the model. The authors fine-tune the raw features; here they are
    frozen unless ``train_features`` is set.

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        in_channels (dict[str, int]): The number of features of each modality.
        dim (int, optional): The size of an embedding. (default: :obj:`64`)
        num_layers (int, optional): The number of LightGCN layers.
            (default: :obj:`1`)
        dropout (float, optional): The dropout of targets.
            (default: :obj:`0.5`)
        feature_weight (float, optional): The weight :math:`\alpha` of the
            terms with features. (default: :obj:`2.0`)
        norm_weight (float, optional): The weight :math:`\lambda`.
            (default: :obj:`0.1`)
        train_features (bool, optional): Whether to fine-tune the features,
            see :class:`~pyg_ckd.nn.Backbone`. (default: :obj:`False`)

    Raises:
        ValueError: If ``dropout``, ``num_layers`` or a weight is out of range.

    Shapes:
        - **output:** user embeddings :math:`(|\mathcal{U}|, d)` and item
          embeddings :math:`(|\mathcal{I}|, d)`

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> data = BM3.pre_transform(data)
        >>> user_emb, item_emb = BM3.from_data(data, dim=4)(data)
        >>> user_emb.shape, item_emb.shape
        (torch.Size([20, 4]), torch.Size([10, 4]))
    """

    adjacency = NormalizedAdjacency()
    pre_transform: ClassVar[BaseTransform] = adjacency

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int],
        dim: int = 64,
        num_layers: int = 1,
        dropout: float = 0.5,
        feature_weight: float = 2.0,
        norm_weight: float = 0.1,
        train_features: bool = False,
    ) -> None:
        super().__init__(num_users, num_items, in_channels, dim, train_features)
        self.check_number('in [0, 1)', dropout=dropout)
        self.check_number(
            'at least 0', feature_weight=feature_weight, norm_weight=norm_weight
        )
        self.check_count(num_layers=num_layers)
        self.num_layers = num_layers
        self.dropout = dropout
        self.feature_weight = feature_weight
        self.norm_weight = norm_weight
        self.user = nn.Embedding(num_users, dim)
        self.item = nn.Embedding(num_items, dim)
        self.predictor = nn.Linear(dim, dim)
        self.projection = nn.ModuleDict(
            {m: nn.Linear(size, dim) for m, size in in_channels.items()}
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        nn.init.xavier_uniform_(self.user.weight)
        nn.init.xavier_uniform_(self.item.weight)
        for offset in self.offset.values():
            nn.init.zeros_(offset)
        for layers in (self.predictor, self.projection):
            reset(layers)
            for name, parameter in layers.named_parameters():
                if name.endswith('weight'):
                    nn.init.xavier_normal_(parameter)

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and of all items."""
        user, item = self._user_item(data)
        return self.predictor(user), self.predictor(item)

    def views(self, data: HeteroData, keeps: Sequence[Keep]) -> Views:
        """Return several views, which are all the same."""
        user, item = self._user_item(data)
        return Views(
            user=[self.predictor(user)],
            item=[self.predictor(item)],
            keep=torch.ones(len(keeps), 1, device=user.device),
            aux={'user': user, 'item': item},
        )

    def loss(
        self,
        data: HeteroData,
        keep: Keep,
        views: Views,
        user: Tensor,
        pos: Tensor,
        neg: Tensor,
    ) -> Tensor:
        """Return the loss that takes the place of BPR."""
        all_users, all_items = views.aux['user'], views.aux['item']
        user_target = self._target(F.embedding(user, all_users))
        item_target = self._target(F.embedding(pos, all_items))
        user_emb, item_emb = views.embedding()
        loss = _distance(F.embedding(user, user_emb), item_target)
        loss = loss + _distance(F.embedding(pos, item_emb), user_target)
        for m, projection in self.projection.items():
            if m not in keep:
                continue
            z = projection(self.features(data, m, pos))
            predicted = self.predictor(z)
            loss = loss + self.feature_weight * (
                _distance(predicted, item_target)
                + _distance(predicted, self._target(z))
            )
        norms = all_users.norm() + all_items.norm()
        return loss + self.norm_weight * norms / self.num_items

    def _user_item(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        x = torch.cat([self.user.weight, self.item.weight])
        out = light_gcn(x, self.user_item_graph(data), self.num_layers)
        user, item = out.split([self.num_users, self.num_items])
        return user, item + self.item.weight

    def _target(self, x: Tensor) -> Tensor:
        return F.dropout(x.detach(), self.dropout, self.training)

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f'{super().extra_repr()}, num_layers={self.num_layers}, '
            f'dropout={self.dropout}, feature_weight={self.feature_weight}, '
            f'norm_weight={self.norm_weight}'
        )


def _distance(x: Tensor, y: Tensor) -> Tensor:
    return (1 - F.cosine_similarity(x, y, dim=-1)).mean()
