"""STAIR: whitened features, propagated step by step over the dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform, Compose
from torch_geometric.utils import scatter
from typing_extensions import Self

from pyg_ckd.graph import RATES, check
from pyg_ckd.kernels.arguments import is_number
from pyg_ckd.kernels.sparse import Graph
from pyg_ckd.nn.models.backbone import Backbone
from pyg_ckd.nn.models.whitening import Whitening
from pyg_ckd.transforms import ItemKNN, NormalizedAdjacency


class STAIR(Backbone):
    r"""STAIR, which starts at the features and moves items with their like.

    From the `"STAIR: Manipulating Collaborative and Multimodal Information for
    E-Commerce Recommendation" <https://arxiv.org/abs/2412.11729>`_ paper. Items
    start at their whitened features (:class:`~pyg_ckd.nn.Whitening`), users
    :math:`u` at the mean over their training items :math:`\mathcal{I}_u`:

    .. math::
        \mathbf{Z}_{\mathcal{I}} &= \sum_m w_m \mathrm{whitened}(\mathbf{X}_m),
        \quad \mathbf{z}_u = \frac{1}{|\mathcal{I}_u|} \sum_{i \in
        \mathcal{I}_u} \mathbf{z}_i

        [\mathbf{U} \| \mathbf{I}] &= \mathcal{N}_{\boldsymbol{\beta}} \left(
        \hat{\mathbf{A}}, \left[ \mathbf{Z}_{\mathcal{U}} +
        \mathbf{\Theta}_{\mathcal{U}} \,\|\, \mathbf{Z}_{\mathcal{I}} +
        \mathcal{N}_{1 - \boldsymbol{\beta}} \left( \textstyle\sum_m w_m
        \mathbf{S}_m, \mathbf{\Theta}_{\mathcal{I}} \right) \right] \right)

    with the user-item graph :math:`\hat{\mathbf{A}}`, the nearest-neighbour
    graphs :math:`\mathbf{S}_m` (:class:`~pyg_ckd.transforms.ItemKNN`), and
    layers whose weights are others in each dimension :math:`j = 0, \dots, d -
    1`: the first are smoothed over interactions, the last over neighbours,

    .. math::
        \mathcal{N}_{\boldsymbol{\beta}}(\mathbf{A}, \mathbf{X})_{:j} = \frac{1
        - \beta_j}{1 - \beta_j^{L + 1}} \sum_{l=0}^{L} \beta_j^l \mathbf{A}^l
        \mathbf{X}_{:j}, \quad \beta_j = 0.9 \left( 1 - (j / d)^{\gamma} \right)

    **The update is smoothed, not the gradient.** In the paper a step adds
    :math:`\mathcal{N}_{1 - \boldsymbol{\beta}}` of Adam's direction, that of
    the gradient of the item embeddings, to these. The offsets
    :math:`\mathbf{\Theta}_{\mathcal{I}}` here are therefore given the gradient
    of the embeddings, as though they had not been smoothed: they add up the
    directions, and what is smoothed is their sum, which is the same. Any
    optimizer will do, and it has no other state.

    As features are read in each pass, an ablated modality is missing from
    :math:`\mathbf{Z}` and from the smoothing, and the weights of the others
    are scaled to add up to 1. No parameter serves one modality alone, so that
    :class:`~pyg_ckd.balance.OGMGE` and :class:`~pyg_ckd.balance.AGM` refuse the
    model. Published code links 5 and 1 neighbours for text and image and makes
    one symmetric graph of both. Its weight decay is left to the objective.

    The whitening is that of the data in :meth:`from_data`, and stays when
    parameters are drawn anew. A model that is made from sizes alone starts at
    random embeddings until :meth:`whiten` is called. An item that lacks a
    modality starts at the mean of those that have it, which is zero.

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        in_channels (dict[str, int]): The number of features of each modality.
        dim (int, optional): The size of an embedding. (default: :obj:`64`)
        num_layers (int, optional): The number of layers :math:`L` of both.
            (default: :obj:`3`)
        gamma (float, optional): The exponent :math:`\gamma`; with a small one
            few dimensions are smoothed over interactions.
            (default: :obj:`0.2`)
        modality_weight (dict[str, float], optional): The weight :math:`w_m` of
            each modality. The authors use 1/6 for images and 5/6 for text.
            (default: :math:`1 / M` each)

    Raises:
        ValueError: If ``modality_weight`` does not name exactly the modalities
            or is not positive, or ``num_layers`` or ``gamma`` is out of range.

    Shapes:
        - **output:** user embeddings :math:`(|\mathcal{U}|, d)` and item
          embeddings :math:`(|\mathcal{I}|, d)`

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> data = STAIR.pre_transform(data)
        >>> user_emb, item_emb = STAIR.from_data(data, dim=4)(data)
        >>> user_emb.shape, item_emb.shape
        (torch.Size([20, 4]), torch.Size([10, 4]))
    """

    adjacency = NormalizedAdjacency()
    neighbors = ItemKNN(k=10)
    pre_transform: ClassVar[BaseTransform] = Compose([adjacency, neighbors])

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int],
        dim: int = 64,
        num_layers: int = 3,
        gamma: float = 0.2,
        modality_weight: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(num_users, num_items, in_channels, dim)
        if modality_weight is None:
            modality_weight = {m: 1 / len(in_channels) for m in in_channels}
        if set(modality_weight) != set(in_channels) or not all(
            is_number(weight) and 0 < weight < math.inf
            for weight in modality_weight.values()
        ):
            raise ValueError(
                f"'modality_weight' needs a positive weight for each of "
                f"{list(in_channels)} in '{self.__class__.__name__}' "
                f'(got {dict(modality_weight)})'
            )
        self.check_number('positive', gamma=gamma)
        self.check_count(num_layers=num_layers)
        self.num_layers = num_layers
        self.gamma = gamma
        self.modality_weight = dict(modality_weight)
        self.user = nn.Embedding(num_users, dim)
        self.item = nn.Embedding(num_items, dim)
        self.whitening = nn.ModuleDict(
            {m: Whitening(size, dim) for m, size in in_channels.items()}
        )
        self.reset_parameters()

    @classmethod
    def from_data(
        cls,
        data: HeteroData,
        use: Sequence[str] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Self:
        """Create a model with the sizes of ``data`` and its features whitened.

        Args:
            data: The user-item graph.
            use: The modalities to use; all that ``data`` has by default.
            *args: Further arguments of the model.
            **kwargs: The same by name, such as ``dim``.

        Raises:
            ValueError: If ``data`` lacks a modality to use.
        """
        model: Self = super().from_data(data, use, *args, **kwargs)
        model.whiten(data)
        return model

    def whiten(self, data: HeteroData) -> None:
        """Take the whitening from the features of the items that have them.

        Args:
            data: The user-item graph.
        """
        data = check(data)
        for m, whitening in self.whitening.items():
            assert isinstance(whitening, Whitening)
            x, has = data['item'][f'x_{m}'], data['item'].get(f'has_{m}')
            whitening.fit(x if has is None else x[has])

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        nn.init.normal_(self.user.weight, std=1e-4)
        nn.init.normal_(self.item.weight, std=1e-4)

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and of all items."""
        adjacency, graphs = self.user_item_graph(data), self._graphs(data)
        beta = self._beta()
        start = self._start(data, graphs)
        user, item = data[RATES].edge_index
        mean = scatter(
            start[item], user, dim_size=self.num_users, reduce='mean'
        )
        x = torch.cat(
            [mean + self.user.weight, start + self._moved(graphs, 1 - beta)]
        )
        x = neumann(x, adjacency.propagate, beta, self.num_layers)
        user_emb, item_emb = x.split([self.num_users, self.num_items])
        return user_emb, item_emb

    def _graphs(self, data: HeteroData) -> dict[str, Graph]:
        """Return the item graphs of the modalities that are not ablated."""
        graphs = {m: self.item_item_graph(data, m) for m in self.in_channels}
        return {m: g for m, g in graphs.items() if isinstance(g, Graph)}

    def _beta(self) -> Tensor:
        place = torch.arange(self.dim, device=self.item.weight.device)
        return 0.9 * (1 - (place / self.dim).to(self.item.weight) ** self.gamma)

    def _start(self, data: HeteroData, graphs: Mapping[str, Graph]) -> Tensor:
        """Return the whitened features, ``[num_items, dim]``."""
        start = torch.zeros_like(self.item.weight)
        for m, weight in self._weights(graphs).items():
            x = self.whitening[m](data['item'][f'x_{m}'])
            has = data['item'].get(f'has_{m}')
            if has is not None:
                x = x * has.unsqueeze(1)
            start = start + weight * x
        return start

    def _moved(self, graphs: Mapping[str, Graph], beta: Tensor) -> Tensor:
        """Return smoothed offsets, whose gradient is not smoothed."""
        if not graphs:
            return self.item.weight
        weights = self._weights(graphs)

        def propagate(x: Tensor) -> Tensor:
            parts = [w * graphs[m].propagate(x) for m, w in weights.items()]
            return torch.stack(parts).sum(dim=0)

        offset = self.item.weight.detach()
        smoothed = neumann(offset, propagate, beta, self.num_layers)
        return self.item.weight + (smoothed - offset)

    def _weights(self, kept: Mapping[str, Graph]) -> dict[str, float]:
        total = sum(self.modality_weight[m] for m in kept)
        return {m: self.modality_weight[m] / total for m in kept}

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f'{super().extra_repr()}, num_layers={self.num_layers}, '
            f'gamma={self.gamma}, modality_weight={self.modality_weight}'
        )


def neumann(
    x: Tensor,
    propagate: Callable[[Tensor], Tensor],
    beta: Tensor,
    num_layers: int,
) -> Tensor:
    r"""Return layers of a linear propagation, weighted by dimension.

    .. math::
        \frac{1 - \beta_j}{1 - \beta_j^{L + 1}} \sum_{l=0}^{L} \beta_j^l
        \mathbf{A}^l \mathbf{X}_{:j}

    Args:
        x: Embeddings of shape ``[num_nodes, d]``.
        propagate: What multiplies by :math:`\mathbf{A}`.
        beta: The weights :math:`\boldsymbol{\beta}`, below 1, ``[d]``.
        num_layers: The number of layers :math:`L`.

    Returns:
        Embeddings of shape ``[num_nodes, d]``.

    Example:
        >>> beta = torch.tensor([0.0, 0.5])
        >>> neumann(torch.ones(1, 2), lambda x: 2 * x, beta, num_layers=1)
        tensor([[1.0000, 1.3333]])
    """
    total = x
    for _ in range(num_layers):
        x = beta * propagate(x)
        total = total + x
    return (1 - beta) / (1 - beta ** (num_layers + 1)) * total
