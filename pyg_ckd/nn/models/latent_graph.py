"""What recommenders with learned item graphs share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset
from torch_geometric.transforms import BaseTransform, Compose
from torch_geometric.utils import scatter

from pyg_ckd.kernels.edges import Edges
from pyg_ckd.kernels.sparse import Graph
from pyg_ckd.nn.conv import LatentStructure
from pyg_ckd.nn.functional import light_gcn
from pyg_ckd.nn.models.backbone import Backbone
from pyg_ckd.transforms import ItemKNN, NormalizedAdjacency
from pyg_ckd.views import Keep

# Of each modality: the given graph, and the edges of the learned one and
# their weights.
ItemGraphs = dict[str, tuple[Graph, Edges, Tensor]]


class LatentGraph(Backbone):
    r"""IDs, and for each modality an item graph that is given and one learned.

    The given graph :math:`\mathbf{S}_m` links the nearest neighbours of the
    raw features (:class:`~pyg_ckd.transforms.ItemKNN`), the learned one
    :math:`\mathbf{K}_m` those of projected features
    (:class:`~pyg_ckd.nn.LatentStructure`).

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        in_channels (dict[str, int]): The number of features of each modality.
        dim (int): The size of an embedding.
        num_layers (int): The number of LightGCN layers.
        num_item_layers (int): The number of layers over the item graphs.
        k (int): The number of neighbours in a learned graph.
        original_weight (float): The weight :math:`\lambda` of the given
            graphs; that of the learned ones is :math:`1 - \lambda`.
        train_features (bool): Whether to fine-tune the features.

    Raises:
        ValueError: If there is no modality, or an argument is out of range.
    """

    adjacency = NormalizedAdjacency('row', add_self_loops=True)
    neighbors = ItemKNN(k=10, weight='cosine')
    pre_transform: ClassVar[BaseTransform] = Compose([adjacency, neighbors])

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int],
        dim: int,
        num_layers: int,
        num_item_layers: int,
        k: int,
        original_weight: float,
        train_features: bool,
    ) -> None:
        super().__init__(num_users, num_items, in_channels, dim, train_features)
        self.check_positive(
            **{'len(in_channels)': len(in_channels)},
            num_item_layers=num_item_layers,
            k=k,
        )
        self.check_count(num_layers=num_layers)
        self.check_number('in [0, 1]', original_weight=original_weight)
        self.num_layers = num_layers
        self.num_item_layers = num_item_layers
        self.k = k
        self.original_weight = original_weight
        self.user = nn.Embedding(num_users, dim)
        self.item = nn.Embedding(num_items, dim)
        self.structure = nn.ModuleDict(
            {m: LatentStructure(n, dim, k) for m, n in in_channels.items()}
        )
        self._edges: dict[str, Edges] = {}

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        nn.init.xavier_uniform_(self.user.weight)
        nn.init.xavier_uniform_(self.item.weight)
        for offset in self.offset.values():
            nn.init.zeros_(offset)
        reset(self.structure)
        self._edges = {}

    @torch.no_grad()
    def start_epoch(self, data: HeteroData, keep: Keep) -> None:
        """Look up the neighbours that items have in this epoch."""
        self._edges = {}
        for m in self.in_channels:
            if m in keep:
                self._edges[m], _ = self.structure[m](self.features(data, m))

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and of all items."""
        return self.views(data, [frozenset(self.in_channels)]).embedding()

    def user_item(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return users and items after propagation over interactions."""
        x = torch.cat([self.user.weight, self.item.weight])
        x = light_gcn(x, self.user_item_graph(data), self.num_layers)
        user, item = x.split([self.num_users, self.num_items])
        return user, item

    def graphs(self, data: HeteroData, names: Iterable[str]) -> ItemGraphs:
        """Return the item graphs of the modalities that are not ablated.

        Args:
            data: The user-item graph.
            names: The modalities.
        """
        graphs = {}
        for m in names:
            original = self.item_item_graph(data, m)
            if isinstance(original, Graph):
                edges = self._edges.get(m) if self.training else None
                learned = self.structure[m](self.features(data, m), edges)
                graphs[m] = original, *learned
        return graphs

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f'{super().extra_repr()}, num_layers={self.num_layers}, '
            f'num_item_layers={self.num_item_layers}, k={self.k}, '
            f'original_weight={self.original_weight}'
        )


def row_sums(edges: Edges, weight: Tensor) -> Tensor:
    """Return the sum of the weights of each target, ``[num_targets]``."""
    total: Tensor = scatter(weight, edges.target, dim_size=edges.num_targets)
    return total


def inverse_sqrt(degree: Tensor) -> Tensor:
    r"""Return :math:`d^{-1/2}` as a column, finite where there is no edge."""
    return degree.clamp(min=1e-12).rsqrt().unsqueeze(1)
