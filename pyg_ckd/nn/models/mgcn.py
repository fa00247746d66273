"""MGCN: item graphs over features that behaviour has purified."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset
from torch_geometric.transforms import BaseTransform, Compose

from pyg_ckd.nn.models.guided_gcn import GuidedGCN
from pyg_ckd.transforms import ItemKNN, NormalizedAdjacency
from pyg_ckd.views import Keep


class MGCN(GuidedGCN):
    r"""MGCN, which lets IDs filter the features before they spread.

    From the `"Multi-View Graph Convolutional Network for Multimedia
    Recommendation" <https://arxiv.org/abs/2308.03588>`_ paper:

    .. math::
        \mathbf{C} &= \mathrm{LightGCN}([\mathbf{E}_{\mathcal{U}} \|
        \mathbf{E}_{\mathcal{I}}])

        \mathbf{Y}_m &= \mathbf{S}_m \left( \mathbf{E}_{\mathcal{I}} \odot
        \sigma(g_m(\mathbf{F}_m \mathbf{W}_m + \mathbf{b}_m)) \right), \quad
        \mathbf{X}_m = [\hat{\mathbf{R}} \mathbf{Y}_m \| \mathbf{Y}_m]

        \bar{\mathbf{X}} &= \sum_m \alpha_m \mathbf{X}_m, \quad
        \alpha = \mathrm{softmax}_m(q(\mathbf{X}_m))

        \mathbf{H} &= \frac{1}{M + 1} \left( \bar{\mathbf{X}} + \sum_m
        \sigma(p_m(\mathbf{C})) \odot (\mathbf{X}_m - \bar{\mathbf{X}}) \right)

        [\mathbf{U} \| \mathbf{I}] &= \mathbf{C} + \mathbf{H}

    :math:`\mathbf{S}_m` is the nearest-neighbour graph of a modality
    (:class:`~pyg_ckd.transforms.ItemKNN`), :math:`\hat{\mathbf{R}}` the
    interactions in the graph of
    :class:`~pyg_ckd.transforms.NormalizedAdjacency`, :math:`g_m` and
    :math:`p_m` are linear, and :math:`q` has one hidden layer and is shared by
    all modalities. The loss gets :math:`\gamma (\mathrm{InfoNCE}(\mathbf{H}_u,
    \mathbf{C}_u) + \mathrm{InfoNCE}(\mathbf{H}_i, \mathbf{C}_i))` over the
    users and the preferred items of a batch.

    An ablated modality purifies by its mean features and spreads over the
    uniform graph, so that each item has the mean over all; what users have of
    it differs by their degrees. Published code fine-tunes the raw features;
    here they are frozen unless ``train_features`` is set.

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        in_channels (dict[str, int]): The number of features of each modality.
        dim (int, optional): The size of an embedding. (default: :obj:`64`)
        num_layers (int, optional): The number of LightGCN layers.
            (default: :obj:`2`)
        contrastive_weight (float, optional): The weight :math:`\gamma` of the
            contrastive loss. (default: :obj:`0.01`)
        tau (float, optional): Its temperature. (default: :obj:`0.2`)
        train_features (bool, optional): Whether to fine-tune the features,
            see :class:`~pyg_ckd.nn.Backbone`. (default: :obj:`False`)

    Raises:
        ValueError: If there is no modality, or an argument is out of range.

    Shapes:
        - **output:** user embeddings :math:`(|\mathcal{U}|, d)` and item
          embeddings :math:`(|\mathcal{I}|, d)`

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> data = MGCN.pre_transform(data)
        >>> user_emb, item_emb = MGCN.from_data(data, dim=4)(data)
        >>> user_emb.shape, item_emb.shape
        (torch.Size([20, 4]), torch.Size([10, 4]))
    """

    adjacency = NormalizedAdjacency()
    neighbors = ItemKNN(k=10, weight='cosine')
    pre_transform: ClassVar[BaseTransform] = Compose([adjacency, neighbors])

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int],
        dim: int = 64,
        num_layers: int = 2,
        contrastive_weight: float = 0.01,
        tau: float = 0.2,
        train_features: bool = False,
    ) -> None:
        super().__init__(
            num_users,
            num_items,
            in_channels,
            dim,
            num_layers,
            contrastive_weight,
            tau,
            train_features,
        )
        self.purifier = _gates(in_channels, dim)
        self.query = nn.Sequential(
            nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1, bias=False)
        )
        self.gate = _gates(in_channels, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        super().reset_parameters()
        for module in (self.purifier, self.query, self.gate):
            reset(module)

    def sides(
        self, data: HeteroData, keeps: Sequence[Keep], content: Tensor
    ) -> Sequence[Tensor]:
        r"""Return :math:`\mathbf{H}` of each view, ``[num_nodes, d]``."""
        branches = self._branches(data, keeps)
        x = torch.stack(list(branches.values()), dim=1)  # [num_nodes, S, d]
        chosen = torch.tensor(
            [[kept == (m in keep) for m, kept in branches] for keep in keeps],
            device=x.device,
        )  # [V, S]
        score = self.query(x).transpose(1, 2)  # [num_nodes, 1, S]
        weight = score.masked_fill(~chosen, -torch.inf).softmax(dim=-1)
        common = weight @ x  # [num_nodes, V, d]

        gate = {m: self.gate[m](content) for m in self.in_channels}
        gated = torch.stack([gate[m] for m, _ in branches], dim=1) * x
        rest = 1 - torch.stack(list(gate.values())).sum(dim=0)
        # The terms with `common` are collected:
        total = chosen.to(x.dtype) @ gated + rest.unsqueeze(1) * common
        return (total / (len(gate) + 1)).unbind(dim=1)

    def _branches(
        self, data: HeteroData, keeps: Sequence[Keep]
    ) -> dict[tuple[str, bool], Tensor]:
        """Return what nodes have of modalities, ``[num_nodes, d]`` each.

        Of each modality ``m``, as ``(m, True)`` if a view keeps it, and as
        ``(m, False)`` if a view ablates it.
        """
        kept, means = {}, {}
        for m in self.in_channels:
            x = self.features(data, m)
            if any(m in keep for keep in keeps):
                gate = self.purifier[m](self.projection[m](x))
                graph = self.item_item_graph(data, m)
                kept[m] = graph.propagate(self.item.weight * gate)
            if any(m not in keep for keep in keeps):
                gate = self.purifier[m](self.projection[m](x.mean(dim=0)))
                means[m] = self.item.weight.mean(dim=0) * gate  # [d]
        nodes, scale = self.with_users(data, list(kept.values()))
        branches = {(m, True): x for m, x in zip(kept, nodes, strict=True)}
        branches |= {(m, False): scale * row for m, row in means.items()}
        return branches


def _gates(names: Iterable[str], dim: int) -> nn.ModuleDict:
    return nn.ModuleDict(
        {m: nn.Sequential(nn.Linear(dim, dim), nn.Sigmoid()) for m in names}
    )
