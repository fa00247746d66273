"""LGMRec: local graphs of each modality, and global hyperedges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd.kernels.sparse import spmm
from pyg_ckd.nn.functional import light_gcn
from pyg_ckd.nn.interactions import interaction_graph
from pyg_ckd.nn.models.backbone import Backbone
from pyg_ckd.transforms import NormalizedAdjacency
from pyg_ckd.views import Keep, Views


class LGMRec(Backbone):
    r"""LGMRec, which adds a few learned hyperedges to local propagation.

    From the `"LGMRec: Local and Global Graph Learning for Multimodal
    Recommendation" <https://arxiv.org/abs/2312.16400>`_ paper:

    .. math::
        \mathbf{C} &= \mathrm{LightGCN}([\mathbf{E}_{\mathcal{U}} \|
        \mathbf{E}_{\mathcal{I}}])

        \mathbf{X}_m &= \hat{\mathbf{A}}^{L_m} [\mathbf{D}^{-1} \mathbf{R}
        \mathbf{F}_m \mathbf{W}_m \| \mathbf{F}_m \mathbf{W}_m]

        \mathbf{H}_m &= \mathrm{softmax}([\mathbf{R} \mathbf{F}_m \mathbf{V}_m
        \| \mathbf{F}_m \mathbf{V}_m] / \tau)

        \mathbf{G}_m &= \mathbf{H}_m \left( \mathbf{H}_{m\mathcal{I}}^{\top}
        \mathbf{C}_{\mathcal{I}} \right)

        [\mathbf{U} \| \mathbf{I}] &= \mathbf{C} + \sum_m
        \mathrm{normalize}(\mathbf{X}_m) + \alpha \, \mathrm{normalize}
        \left(\sum_m \mathbf{G}_m \right)

    :math:`\mathbf{R}` holds the interactions, :math:`\hat{\mathbf{A}}` is the
    graph of :class:`~pyg_ckd.transforms.NormalizedAdjacency`, and
    :math:`\mathbf{H}_m` says how much each user and each item belongs to each
    hyperedge. In training its logits get Gumbel noise, and it gets dropout.
    Further hyperedge layers replace :math:`\mathbf{C}_{\mathcal{I}}` by
    :math:`\mathbf{G}_{m\mathcal{I}}`. The loss gets, for each pair of
    modalities :math:`m` and :math:`n`,

    .. math::
        - \gamma \sum_{v} \log \frac{\exp(\cos(\mathbf{g}_{mv},
        \mathbf{g}_{nv}) / \tau)}{\sum_{w} \exp(\cos(\mathbf{g}_{mv},
        \mathbf{g}_{nw}) / \tau)}

    summed over the users :math:`v` of a batch, with all users as :math:`w`,
    and over its preferred items, with all items.

    Published code draws the noise in evaluation too, so that no two rankings
    agree, and fails with one modality; both are repaired. An ablated modality
    has one row of logits for all items, so that all belong to its hyperedges
    alike: it adds one direction to all nodes. It is not contrasted.

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        in_channels (dict[str, int]): The number of features of each modality.
        dim (int, optional): The size of an embedding. (default: :obj:`64`)
        num_layers (int, optional): The number of LightGCN layers.
            (default: :obj:`2`)
        num_modal_layers (int, optional): The number of layers :math:`L_m` of
            each modality. (default: :obj:`2`)
        num_hyperedges (int, optional): The number of hyperedges of each
            modality. (default: :obj:`4`)
        num_hyper_layers (int, optional): The number of hyperedge layers.
            (default: :obj:`1`)
        global_weight (float, optional): The weight :math:`\alpha`.
            (default: :obj:`0.3`)
        dropout (float, optional): The dropout of :math:`\mathbf{H}_m`.
            (default: :obj:`0.5`)
        contrastive_weight (float, optional): The weight :math:`\gamma` of the
            contrastive loss. (default: :obj:`0.0001`)
        tau (float, optional): The temperature :math:`\tau`.
            (default: :obj:`0.2`)

    Raises:
        ValueError: If there is no modality, or an argument is out of range.

    Shapes:
        - **output:** user embeddings :math:`(|\mathcal{U}|, d)` and item
          embeddings :math:`(|\mathcal{I}|, d)`

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> data = LGMRec.pre_transform(data)
        >>> user_emb, item_emb = LGMRec.from_data(data, dim=4)(data)
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
        num_layers: int = 2,
        num_modal_layers: int = 2,
        num_hyperedges: int = 4,
        num_hyper_layers: int = 1,
        global_weight: float = 0.3,
        dropout: float = 0.5,
        contrastive_weight: float = 1e-4,
        tau: float = 0.2,
    ) -> None:
        super().__init__(num_users, num_items, in_channels, dim)
        self.check_positive(
            **{'len(in_channels)': len(in_channels)},
            num_hyperedges=num_hyperedges,
            num_hyper_layers=num_hyper_layers,
        )
        self.check_count(
            num_layers=num_layers, num_modal_layers=num_modal_layers
        )
        self.check_number('in [0, 1)', dropout=dropout)
        self.check_number(
            'at least 0',
            global_weight=global_weight,
            contrastive_weight=contrastive_weight,
        )
        self.check_number('positive', tau=tau)
        self.num_layers = num_layers
        self.num_modal_layers = num_modal_layers
        self.num_hyperedges = num_hyperedges
        self.num_hyper_layers = num_hyper_layers
        self.global_weight = global_weight
        self.dropout = dropout
        self.contrastive_weight = contrastive_weight
        self.tau = tau
        self.user = nn.Embedding(num_users, dim)
        self.item = nn.Embedding(num_items, dim)
        self.projection = nn.ModuleDict(
            {
                m: nn.Linear(size, dim, bias=False)
                for m, size in in_channels.items()
            }
        )
        self.hyperedge = nn.ModuleDict(
            {
                m: nn.Linear(size, num_hyperedges, bias=False)
                for m, size in in_channels.items()
            }
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for parameter in self.parameters():
            nn.init.xavier_uniform_(parameter)

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and of all items."""
        return self.views(data, [frozenset(self.in_channels)]).embedding()

    def views(self, data: HeteroData, keeps: Sequence[Keep]) -> Views:
        """Return several views that share the parts of each modality."""
        graph = self.user_item_graph(data)
        x = torch.cat([self.user.weight, self.item.weight])
        content = light_gcn(x, graph, self.num_layers)  # [num_nodes, d]

        local, member, hyperedge = {}, {}, {}
        for key, (x, logits) in self._branches(data, keeps).items():
            local[key] = F.normalize(x)
            member[key] = self._membership(logits)  # [num_nodes, A]
            item_member = member[key][self.num_users :]
            item = content[self.num_users :]
            for _ in range(self.num_hyper_layers):
                hyperedge[key] = item_member.t() @ item  # [A, d]
                item = item_member @ hyperedge[key]

        pairs = []
        for keep in keeps:
            keys = [(m, m in keep) for m in self.in_channels]
            members = torch.cat([member[key] for key in keys], dim=-1)
            hyperedges = torch.cat([hyperedge[key] for key in keys])
            out = content + sum(local[key] for key in keys)
            out = out + self.global_weight * F.normalize(members @ hyperedges)
            pairs.append(out.split([self.num_users, self.num_items]))

        aux = {}
        for m in (m for m in self.in_channels if m in keeps[0]):
            aux[f'member_{m}'] = member[m, True]
            aux[f'hyperedge_{m}'] = hyperedge[m, True]
        return Views(
            user=[user for user, _ in pairs],
            item=[item for _, item in pairs],
            keep=torch.eye(len(keeps), device=content.device),
            aux=aux,
        )

    def regularization(
        self,
        data: HeteroData,
        keep: Keep,
        views: Views,
        user: Tensor,
        pos: Tensor,
        neg: Tensor,
    ) -> Tensor | float:
        """Return the contrastive loss of what hyperedges tell of a node."""
        names = [m for m in self.in_channels if f'member_{m}' in views.aux]
        sizes = [self.num_users, self.num_items]
        loss = self.user.weight.new_zeros(())
        for m, n in combinations(names, 2):
            members = (
                views.aux[f'member_{name}'].split(sizes) for name in (m, n)
            )
            for index, x, y in zip((user, pos), *members, strict=True):
                loss = loss + _contrast(
                    F.embedding(index, x),
                    views.aux[f'hyperedge_{m}'],
                    y,
                    views.aux[f'hyperedge_{n}'],
                    index,
                    self.tau,
                )
        return self.contrastive_weight * loss

    def _membership(self, logits: Tensor) -> Tensor:
        """Return how much each node belongs to each hyperedge."""
        if not self.training:
            return (logits / self.tau).softmax(dim=-1)
        member = F.gumbel_softmax(logits, self.tau)
        return F.dropout(member, self.dropout)

    def _branches(
        self, data: HeteroData, keeps: Sequence[Keep]
    ) -> dict[tuple[str, bool], tuple[Tensor, Tensor]]:
        """Return embeddings and hyperedge logits of modalities.

        Of each modality ``m``, as ``(m, True)`` if a view keeps it, and as
        ``(m, False)`` if a view ablates it.
        """
        kept, means = {}, {}
        for m in self.in_channels:
            x = self.features(data, m)
            if any(m in keep for keep in keeps):
                pair = self.projection[m](x), self.hyperedge[m](x)
                kept[m] = torch.cat(pair, dim=-1)  # [num_items, d + A]
            if any(m not in keep for keep in keeps):
                x = x.mean(dim=0)
                means[m] = self.projection[m](x), self.hyperedge[m](x)

        # Users sum over their items, all modalities in one product:
        graph, graph_t = (_ones(r) for r in interaction_graph(data, self))
        one = self.item.weight.new_ones(self.num_items, 1)
        item = torch.cat([*kept.values(), one], dim=-1)
        both = torch.cat([spmm(graph, item, graph_t), item])
        sizes = [self.dim, self.num_hyperedges] * len(kept)
        *parts, count = both.split([*sizes, 1], dim=-1)

        # Embeddings take the mean instead, and propagate:
        x = torch.cat([*parts[::2], count], dim=-1) / count.clamp(min=1)
        user_item = self.user_item_graph(data)
        for _ in range(self.num_modal_layers):
            x = user_item.propagate(x)
        *embs, scale = x.split([*sizes[::2], 1], dim=-1)

        branches = {
            (m, True): (x, logits)
            for m, x, logits in zip(kept, embs, parts[1::2], strict=True)
        }
        for m, (row, logits) in means.items():
            branches[m, False] = scale * row, count * logits
        return branches

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f'{super().extra_repr()}, num_layers={self.num_layers}, '
            f'num_modal_layers={self.num_modal_layers}, '
            f'num_hyperedges={self.num_hyperedges}, '
            f'num_hyper_layers={self.num_hyper_layers}, '
            f'global_weight={self.global_weight}, dropout={self.dropout}, '
            f'contrastive_weight={self.contrastive_weight}, tau={self.tau}'
        )


def _ones(graph: Tensor) -> Tensor:
    return torch.sparse_csr_tensor(
        graph.crow_indices(),
        graph.col_indices(),
        torch.ones_like(graph.values()),
        graph.shape,
        check_invariants=False,
    )


def _contrast(
    x: Tensor,
    x_edge: Tensor,
    y: Tensor,
    y_edge: Tensor,
    index: Tensor,
    tau: float,
) -> Tensor:
    """Return InfoNCE of some nodes in one modality and all in another.

    All cosines are a product of as few columns as there are hyperedges, taken
    block by block, because large tensors are slow to allocate.

    Args:
        x: Memberships of the nodes in the one modality, ``[N, A]``.
        x_edge: Its hyperedges, ``[A, d]``.
        y: Memberships of all nodes in the other modality, ``[num_nodes, A]``.
        y_edge: Its hyperedges, ``[A, d]``.
        index: The nodes, ``[N]``.
        tau: The temperature.
    """
    x = F.normalize(x @ x_edge) @ y_edge.t() / tau  # [N, A]
    y = y / (y @ y_edge).norm(dim=-1, keepdim=True).clamp(min=1e-12)
    total = [(rows @ y.t()).logsumexp(dim=-1) for rows in x.split(256)]
    positive = (x * F.embedding(index, y)).sum(dim=-1)
    return (torch.cat(total) - positive).sum()
