"""FREEDOM: frozen item graphs and a denoised user-item graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform, Compose

from pyg_ckd.graph import RATES
from pyg_ckd.kernels.sparse import Graph, Uniform
from pyg_ckd.nn.functional import light_gcn
from pyg_ckd.nn.models.backbone import Backbone
from pyg_ckd.transforms import (
    CoOccurrence,
    ItemKNN,
    NormalizedAdjacency,
    normalized,
)
from pyg_ckd.views import Keep, Views, rows_of


class FREEDOM(Backbone):
    r"""FREEDOM, with item graphs that are built once and never learned.

    From the `"A Tale of Two Graphs: Freezing and Denoising Graph Structures
    for Multimodal Recommendation" <https://arxiv.org/abs/2211.06924>`_ paper:

    .. math::
        \mathbf{h} &= (1 - c) \sum_m w_m \, \mathbf{S}_m \mathbf{E}_{
        \mathcal{I}} + c \, \mathbf{C} \mathbf{E}_{\mathcal{I}}

        [\mathbf{U} \| \mathbf{I}] &= \mathrm{LightGCN}([\mathbf{E}_{
        \mathcal{U}} \| \mathbf{E}_{\mathcal{I}}])

        s(u, i) &= \langle \mathbf{u}_u, \mathbf{i}_i + \mathbf{h}_i \rangle

    :math:`\mathbf{S}_m` is the nearest-neighbour graph of a modality
    (:class:`~pyg_ckd.transforms.ItemKNN`). In each epoch LightGCN runs on a
    sample of the interactions, drawn without replacement with probability
    :math:`\propto 1 / \sqrt{d_u d_i}`, and on all of them in evaluation. The
    loss gets :math:`\gamma \sum_m \mathrm{BPR}(\mathbf{u}_u, \mathbf{W}_m
    \mathbf{x}_{im} + \mathbf{b}_m)`.

    :math:`\mathbf{C}` links items with common users in training
    (:class:`~pyg_ckd.transforms.CoOccurrence`), and is no part of the paper:
    recommenders since have mixed it in with :math:`c` of 0.1 to 0.2. All views
    keep it.

    The graph of an ablated modality is dropped: the uniform graph that stands
    for it adds one constant to all scores of a user, which cancels. The other
    weights :math:`w_m` stay as they are. Published code fine-tunes the raw
    features inside the auxiliary loss; here they are frozen unless
    ``train_features`` is set.

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        in_channels (dict[str, int]): The number of features of each modality.
        dim (int, optional): The size of an embedding. (default: :obj:`64`)
        num_layers (int, optional): The number of LightGCN layers.
            (default: :obj:`2`)
        graph_weight (dict[str, float], optional): The weight :math:`w_m` of
            each modality's graph. The authors use 0.1 for images and 0.9 for
            text. (default: :math:`1 / M` each)
        prune (float, optional): The share of interactions left out in an
            epoch. (default: :obj:`0.8`)
        feature_weight (float, optional): The weight :math:`\gamma` of the
            auxiliary loss. (default: :obj:`0.001`)
        train_features (bool, optional): Whether to fine-tune the features,
            see :class:`~pyg_ckd.nn.Backbone`. (default: :obj:`False`)
        co_occurrence (float, optional): The weight :math:`c` of the graph of
            items with common users, which is not needed without.
            (default: :obj:`0.0`)

    Raises:
        ValueError: If ``graph_weight`` does not name exactly the modalities,
            or ``prune``, ``num_layers``, ``co_occurrence`` or a weight is out
            of range.

    Shapes:
        - **output:** user embeddings :math:`(|\mathcal{U}|, d)` and item
          embeddings :math:`(|\mathcal{I}|, d)`

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> data = FREEDOM.pre_transform(data)
        >>> user_emb, item_emb = FREEDOM.from_data(data, dim=4)(data)
        >>> user_emb.shape, item_emb.shape
        (torch.Size([20, 4]), torch.Size([10, 4]))
    """

    adjacency = NormalizedAdjacency()
    neighbors = ItemKNN(k=10)
    #: The graph of items with common users.
    companions: ClassVar[CoOccurrence] = CoOccurrence()
    pre_transform: ClassVar[BaseTransform] = Compose(
        [adjacency, neighbors, companions]
    )

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int],
        dim: int = 64,
        num_layers: int = 2,
        graph_weight: Mapping[str, float] | None = None,
        prune: float = 0.8,
        feature_weight: float = 1e-3,
        train_features: bool = False,
        co_occurrence: float = 0.0,
    ) -> None:
        super().__init__(num_users, num_items, in_channels, dim, train_features)
        if graph_weight is None:
            graph_weight = {m: 1 / len(in_channels) for m in in_channels}
        if set(graph_weight) != set(in_channels):
            raise ValueError(
                f"'graph_weight' needs a weight for each of "
                f"{list(in_channels)} in '{self.__class__.__name__}' "
                f'(got {dict(graph_weight)})'
            )
        self.check_number('in [0, 1)', prune=prune, co_occurrence=co_occurrence)
        self.check_number(
            'at least 0',
            feature_weight=feature_weight,
            **{f'graph_weight[{m!r}]': w for m, w in graph_weight.items()},
        )
        self.check_count(num_layers=num_layers)
        self.num_layers = num_layers
        self.graph_weight = dict(graph_weight)
        self.prune = prune
        self.feature_weight = feature_weight
        self.co_occurrence = co_occurrence
        self.user = nn.Embedding(num_users, dim)
        self.item = nn.Embedding(num_items, dim)
        self.projection = nn.ModuleDict(
            {m: nn.Linear(size, dim) for m, size in in_channels.items()}
        )
        self._pruned: Graph | None = None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        nn.init.xavier_uniform_(self.user.weight)
        nn.init.xavier_uniform_(self.item.weight)
        for offset in self.offset.values():
            nn.init.zeros_(offset)
        for name, parameter in self.projection.named_parameters():
            if name.endswith('bias'):
                nn.init.zeros_(parameter)
            else:
                nn.init.xavier_normal_(parameter)

    def start_epoch(self, data: HeteroData, keep: Keep) -> None:
        """Draw the interactions that this epoch propagates over."""
        if self.prune == 0:
            return
        user, item = edge_index = data[RATES].edge_index
        user_degree = torch.bincount(user, minlength=self.num_users).float()
        item_degree = torch.bincount(item, minlength=self.num_items).float()
        rate = (user_degree[user] * item_degree[item]).rsqrt()
        num_kept = round((1 - self.prune) * rate.numel())
        # The first arrivals of exponential clocks are a sample without
        # replacement, proportional to their rates:
        arrival = torch.empty_like(rate).exponential_() / rate
        kept = arrival.topk(num_kept, largest=False, sorted=False).indices
        self._pruned = normalized(
            edge_index[:, kept],
            self.num_users,
            self.num_items,
            self.adjacency.normalization,
            self.adjacency.add_self_loops,
        )

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and of all items."""
        user, item = self._user_item(data)
        for m in self.in_channels:
            item = item + self._item_item(data, m)
        return user, item

    def views(self, data: HeteroData, keeps: Sequence[Keep]) -> Views:
        """Return several views that share all propagation."""
        user, item = self._user_item(data)
        names = [m for m in self.in_channels if any(m in k for k in keeps)]
        keep = [[1.0] + [float(m in k) for m in names] for k in keeps]
        return Views(
            user=[user],
            item=[item] + [self._item_item(data, m) for m in names],
            keep=torch.tensor(keep, device=user.device),
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
        """Return the BPR loss of users and projected features."""
        needed, place = torch.cat([pos, neg]).unique(return_inverse=True)
        pos, neg = place.chunk(2)
        user_emb = rows_of(views.user[0], user)
        loss = user_emb.new_zeros(())
        for m, projection in self.projection.items():
            if m not in keep:
                continue
            x = projection(self.features(data, m, needed))
            margin = (
                user_emb * (F.embedding(pos, x) - F.embedding(neg, x))
            ).sum(-1)
            loss = loss - F.logsigmoid(margin).mean()
        return self.feature_weight * loss

    def user_item_graph(self, data: HeteroData) -> Graph:
        """Return the graph to propagate over, in training what is drawn."""
        # A part of the graph has no interactions, and was cut out of it:
        is_whole = RATES in data.edge_types
        if self.training and self._pruned is not None and is_whole:
            return self._pruned
        return super().user_item_graph(data)

    def _user_item(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        graph = self.user_item_graph(data)
        x = torch.cat([self.user.weight, self.item.weight])
        out = light_gcn(x, graph, self.num_layers)
        user, item = out.split([self.num_users, self.num_items])
        if self.co_occurrence > 0:
            with self._naming():
                companions = self.companions.of(data)
            h = companions.propagate(self.item.weight)
            item = item + self.co_occurrence * h
        return user, item

    def _item_item(self, data: HeteroData, modality: str) -> Tensor:
        graph = self.item_item_graph(data, modality)
        if isinstance(graph, Uniform):  # adds one constant to all scores
            return torch.zeros_like(self.item.weight)
        h = graph.propagate(self.item.weight)
        return (1 - self.co_occurrence) * self.graph_weight[modality] * h

    @property
    def num_hops(self) -> int:
        """How many edges away of a node is what its embedding depends on."""
        return self.num_layers

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f'{super().extra_repr()}, num_layers={self.num_layers}, '
            f'graph_weight={self.graph_weight}, prune={self.prune}, '
            f'feature_weight={self.feature_weight}, '
            f'co_occurrence={self.co_occurrence}'
        )
