"""LATTICE: one learned item graph of all modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.nn.models.latent_graph import (
    ItemGraphs,
    LatentGraph,
    inverse_sqrt,
    row_sums,
)
from pyg_ckd.views import Keep, Views


class LATTICE(LatentGraph):
    r"""LATTICE, which learns what items are alike while it recommends.

    From the `"Mining Latent Structures for Multimedia Recommendation"
    <https://arxiv.org/abs/2104.09036>`_ paper:

    .. math::
        \mathbf{A} &= (1 - \lambda) \, \mathbf{D}^{-1/2} \left( \sum_m w_m
        \mathbf{K}_m \right) \mathbf{D}^{-1/2} + \lambda \sum_m w_m
        \mathbf{S}_m, \quad w = \mathrm{softmax}(\mathbf{a})

        \mathbf{H} &= \mathbf{A} \mathbf{E}_{\mathcal{I}}, \quad
        [\mathbf{U} \| \mathbf{I}] = \mathrm{LightGCN}([\mathbf{E}_{
        \mathcal{U}} \| \mathbf{E}_{\mathcal{I}}])

        s(u, i) &= \langle \mathbf{u}_u, \mathbf{i}_i + \mathbf{h}_i /
        \|\mathbf{h}_i\| \rangle

    :math:`\mathbf{S}_m` is the nearest-neighbour graph of the raw features
    (:class:`~pyg_ckd.transforms.ItemKNN`), :math:`\mathbf{K}_m` that of
    projected features (:class:`~pyg_ckd.nn.LatentStructure`), and
    :math:`\mathbf{D}` holds the row sums of :math:`\sum_m w_m \mathbf{K}_m`.
    ``pre_transform`` makes LightGCN propagate, as published code does, over
    :math:`\mathbf{D}^{-1} (\mathbf{A} + \mathbf{1})`, a mean over neighbours
    and the node itself.

    In training, neighbours in :math:`\mathbf{K}_m` are looked up once an
    epoch; in evaluation they follow the current parameters. Published code
    holds the learned graph as a dense matrix, here it is sparse. There, all
    steps of an epoch but the first take the learned graph as a constant, so
    that projections and :math:`\mathbf{a}` get a gradient once an epoch; here
    they get one in each step. It also fine-tunes the raw features; here they
    are frozen unless ``train_features`` is set.

    The graphs of an ablated modality become uniform: all entries of
    :math:`\mathbf{S}_m` are :math:`1 / |\mathcal{I}|`, and all those of
    :math:`\mathbf{K}_m` are :math:`k / |\mathcal{I}|`, so that rows sum to
    what they do when all items look alike. The weights :math:`w_m` stay.

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        in_channels (dict[str, int]): The number of features of each modality.
        dim (int, optional): The size of an embedding. (default: :obj:`64`)
        num_layers (int, optional): The number of LightGCN layers.
            (default: :obj:`2`)
        num_item_layers (int, optional): How often :math:`\mathbf{A}` is
            applied. (default: :obj:`1`)
        k (int, optional): The number of neighbours in :math:`\mathbf{K}_m`,
            the item itself included. (default: :obj:`10`)
        original_weight (float, optional): The weight :math:`\lambda` of the
            graphs :math:`\mathbf{S}_m`. (default: :obj:`0.9`)
        train_features (bool, optional): Whether to fine-tune the features,
            see :class:`~pyg_ckd.nn.Backbone`; :math:`\mathbf{S}_m` stays.
            (default: :obj:`False`)

    Raises:
        ValueError: If there is no modality, or an argument is out of range.

    Shapes:
        - **output:** user embeddings :math:`(|\mathcal{U}|, d)` and item
          embeddings :math:`(|\mathcal{I}|, d)`

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> data = LATTICE.pre_transform(data)
        >>> user_emb, item_emb = LATTICE.from_data(data, dim=4)(data)
        >>> user_emb.shape, item_emb.shape
        (torch.Size([20, 4]), torch.Size([10, 4]))
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int],
        dim: int = 64,
        num_layers: int = 2,
        num_item_layers: int = 1,
        k: int = 10,
        original_weight: float = 0.9,
        train_features: bool = False,
    ) -> None:
        super().__init__(
            num_users,
            num_items,
            in_channels,
            dim,
            num_layers,
            num_item_layers,
            k,
            original_weight,
            train_features,
        )
        self.weight = nn.Parameter(torch.empty(len(in_channels)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        super().reset_parameters()
        nn.init.zeros_(self.weight)

    def views(self, data: HeteroData, keeps: Sequence[Keep]) -> Views:
        """Return several views that share all products they can."""
        user, item = self.user_item(data)
        names = [m for m in self.in_channels if any(m in k for k in keeps)]
        graphs = self.graphs(data, names)
        # The first product is the same in all views:
        first = {
            m: graph.propagate(self.item.weight)
            for m, (graph, _, _) in graphs.items()
        }
        items = []
        for keep in keeps:
            kept = {m: graph for m, graph in graphs.items() if m in keep}
            items.append(item + F.normalize(self._item_item(kept, first)))
        return Views(
            user=[user],
            item=items,
            keep=torch.eye(len(keeps), device=item.device),
        )

    def _item_item(
        self, graphs: ItemGraphs, first: Mapping[str, Tensor]
    ) -> Tensor:
        r"""Return :math:`\mathbf{H}`.

        Args:
            graphs: The item graphs of the modalities to keep.
            first: The products :math:`\mathbf{S}_m \mathbf{E}_{\mathcal{I}}`.
        """
        w = dict(zip(self.in_channels, self.weight.softmax(dim=0), strict=True))
        k = min(self.k, self.num_items)
        uniform = sum(w[m] for m in w if m not in graphs)

        degree = self.weight.new_zeros(self.num_items) + k * uniform
        for m, (_, edges, weight) in graphs.items():
            degree = degree + w[m] * row_sums(edges, weight)
        scale = inverse_sqrt(degree)  # [num_items, 1]

        h = self.item.weight
        for layer in range(self.num_item_layers):
            x = scale * h
            learned = k * uniform * x.mean(dim=0)  # in each row
            original = uniform * h.mean(dim=0)
            for m, (graph, edges, weight) in graphs.items():
                learned = learned + edges.aggregate(w[m] * weight, x)
                product = first[m] if layer == 0 else graph.propagate(h)
                original = original + w[m] * product
            h = (
                1 - self.original_weight
            ) * scale * learned + self.original_weight * original
        return h
