"""MMGCN: a graph convolution network for each modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset
from torch_geometric.transforms import BaseTransform

from pyg_ckd.kernels.edges import edges_of
from pyg_ckd.nn.conv import MMGCNConv
from pyg_ckd.nn.models.branches import Branches
from pyg_ckd.transforms import NormalizedAdjacency
from pyg_ckd.views import Keep, Views


class MMGCN(Branches):
    r"""MMGCN, which propagates each modality over a graph of its own.

    From the `"MMGCN: Multi-modal Graph Convolution Network for Personalized
    Recommendation of Micro-video" <https://doi.org/10.1145/3343031.3351034>`_
    paper, in the form that CKD's authors use:

    .. math::
        \mathbf{X}^{(0)}_m &= \mathrm{normalize}([\mathbf{P}_m \|
        \mathbf{F}_m \mathbf{W}_m + \mathbf{b}_m])

        \mathbf{X}^{(l)}_m &= \mathrm{MMGCNConv}(\mathbf{X}^{(l-1)}_m,
        [\mathbf{E}_{\mathcal{U}} \| \mathbf{E}_{\mathcal{I}}])

        [\mathbf{U} \| \mathbf{I}] &= \frac{1}{M} \sum_m \mathbf{X}^{(L)}_m

    :math:`\mathbf{P}_m` are the users' preferences in a modality, and
    :class:`~pyg_ckd.nn.MMGCNConv` is a layer. Means over neighbours run
    over the graph of :class:`~pyg_ckd.transforms.NormalizedAdjacency`, to which
    ``pre_transform`` adds self-loops, as the authors of CKD do.

    In published code :math:`\mathbf{P}_m` is no parameter, neither trained nor
    saved; here it is both. Published results depend on it, though: random
    preferences that stay as they are keep the model from overfitting (on
    Amazon Baby, one seed, validation Recall@20 .060 against .053).
    ``train_preference=False`` has that effect, and saves them. An ablated
    modality starts from its mean preference and its mean features, and still
    carries what IDs know.

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        in_channels (dict[str, int]): The number of features of each modality.
        dim (int, optional): The size of an embedding. (default: :obj:`64`)
        num_layers (int, optional): The number of layers :math:`L`.
            (default: :obj:`3`)
        train_preference (bool, optional): Whether preferences are trained, or
            stay at their random start, as in published code.
            (default: :obj:`True`)

    Raises:
        ValueError: If there is no modality, or ``num_layers`` is not positive.

    Shapes:
        - **output:** user embeddings :math:`(|\mathcal{U}|, d)` and item
          embeddings :math:`(|\mathcal{I}|, d)`

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> data = MMGCN.pre_transform(data)
        >>> user_emb, item_emb = MMGCN.from_data(data, dim=4)(data)
        >>> user_emb.shape, item_emb.shape
        (torch.Size([20, 4]), torch.Size([10, 4]))
    """

    adjacency = NormalizedAdjacency('row', add_self_loops=True)
    pre_transform: ClassVar[BaseTransform] = adjacency

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int],
        dim: int = 64,
        num_layers: int = 3,
        train_preference: bool = True,
    ) -> None:
        super().__init__(num_users, num_items, in_channels, dim)
        self.check_positive(
            **{'len(in_channels)': len(in_channels)}, num_layers=num_layers
        )
        self.num_layers = num_layers
        self.train_preference = train_preference
        self.preference.requires_grad_(train_preference)
        self.convs = nn.ModuleDict(
            {
                m: nn.ModuleList(MMGCNConv(dim, dim) for _ in range(num_layers))
                for m in in_channels
            }
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        super().reset_parameters()
        reset(self.convs)

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and of all items."""
        return self.views(data, [frozenset(self.in_channels)]).embedding()

    def views(self, data: HeteroData, keeps: Sequence[Keep]) -> Views:
        """Return several views, whose branches are computed once each."""
        edges = edges_of(self.user_item_graph(data))
        id_emb = torch.cat([self.user.weight, self.item.weight]).unsqueeze(1)

        total = [torch.zeros_like(id_emb[:, 0]) for _ in keeps]
        for m in self.in_channels:
            states = sorted({m in keep for keep in keeps})
            user, item = self.branch(data, m)
            x = torch.stack(
                [
                    F.normalize(torch.cat([user, item]))
                    if kept
                    else F.normalize(torch.cat([_mean(user), _mean(item)]))
                    for kept in states
                ],
                dim=1,
            )  # [num_nodes, num_states, d]
            for conv in self.convs[m].children():
                x = conv(x, id_emb, edges)
            for v, keep in enumerate(keeps):
                total[v] = total[v] + x[:, states.index(m in keep)]
        pairs = [
            (x / len(self.in_channels)).split([self.num_users, self.num_items])
            for x in total
        ]
        return Views(
            user=[user for user, _ in pairs],
            item=[item for _, item in pairs],
            keep=torch.eye(len(keeps), device=id_emb.device),
        )

    @property
    def num_hops(self) -> int:
        """How many edges away of a node is what its embedding depends on."""
        return self.num_layers

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f'{super().extra_repr()}, num_layers={self.num_layers}, '
            f'train_preference={self.train_preference}'
        )


def _mean(x: Tensor) -> Tensor:
    return x.mean(dim=0, keepdim=True).expand_as(x)
