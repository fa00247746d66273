"""Graph filtering: what users know, smoothed over graphs of items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.graph import check, interaction_matrix
from pyg_ckd.nn.models.backbone import Backbone
from pyg_ckd.transforms import nearest_neighbors
from pyg_ckd.views import Keep, Views


class GraphFilter(Backbone):
    r"""Recommends by a filter over graphs of items, and learns nothing.

    Training-free graph filtering by a polynomial, as in `"Turbo-CF: Matrix
    Decomposition-Free Graph Filtering for Fast Recommendation"
    <https://arxiv.org/abs/2404.14243>`_ and, with features, in `"Training-Free
    Graph Filtering via Multimodal Feature Refinement for Extremely Fast
    Multimodal Recommendation" <https://arxiv.org/abs/2503.04406>`_:

    .. math::
        \tilde{\mathbf{R}} &= \mathbf{D}_{\mathcal{U}}^{-a} \mathbf{R}
        \mathbf{D}_{\mathcal{I}}^{a - 1}

        \mathbf{P} &= \tilde{\mathbf{R}}^{\top} \tilde{\mathbf{R}} / \mu,
        \quad \mu = \frac{1}{|\mathcal{I}|} \sum_{ij}
        (\tilde{\mathbf{R}}^{\top} \tilde{\mathbf{R}})_{ij}

        \mathbf{T} &= \frac{1}{M} \sum_m \mathbf{D}_m^{-1/2} (\mathbf{W}_m +
        \mathbf{W}_m^{\top}) \, \mathbf{D}_m^{-1/2}

        \mathbf{S} &= \tilde{\mathbf{R}} \, (\mathbf{P} + b \, \mathbf{T} + c
        \, \mathbf{T}^2)

    with the training matrix :math:`\mathbf{R}` and its row and column sums
    :math:`\mathbf{D}_{\mathcal{U}}` and :math:`\mathbf{D}_{\mathcal{I}}`, ones
    in :math:`\mathbf{W}_m` where another item is among the :math:`k` of
    largest cosine in a modality, and row sums :math:`\mathbf{D}_m` of
    :math:`\mathbf{W}_m + \mathbf{W}_m^{\top}`. It has no parameters. An ablated
    modality makes all items look alike, so that none has neighbours: its graph
    is dropped, and the others keep their :math:`1 / M`.

    Its embeddings are sparse, :math:`\tilde{\mathbf{R}}` and the filter,
    which has an entry for each pair of items with a common user.

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        in_channels (dict[str, int]): The number of features of each modality.
        k (int, optional): The number of neighbours in each modality.
            (default: :obj:`10`)
        alpha (float, optional): The exponent :math:`a`: what is divided out,
            the activity of users (1) or the popularity of items (0).
            (default: :obj:`1.0`)
        graph_weight (float, optional): The weight :math:`b` of the graph of
            features. (default: :obj:`0.2`)
        hop_weight (float, optional): The weight :math:`c` of two hops in it.
            (default: :obj:`0.0`)

    Raises:
        ValueError: If ``k`` is not positive, ``alpha`` not in :math:`[0, 1]`,
            or a weight negative.

    Shapes:
        - **output:** user embeddings :math:`(|\mathcal{U}|, |\mathcal{I}|)`
          and item embeddings :math:`(|\mathcal{I}|, |\mathcal{I}|)`, sparse

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.ranking import recommend
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> model = GraphFilter.from_data(data, k=5)
        >>> recommend(model, data, torch.tensor([7]), k=3)[0].shape
        torch.Size([1, 3])
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int],
        k: int = 10,
        alpha: float = 1.0,
        graph_weight: float = 0.2,
        hop_weight: float = 0.0,
    ) -> None:
        super().__init__(num_users, num_items, in_channels, dim=num_items)
        self.check_positive(k=k)
        self.check_number('in [0, 1]', alpha=alpha)
        self.check_number(
            'at least 0', graph_weight=graph_weight, hop_weight=hop_weight
        )
        self.k = k
        self.alpha = alpha
        self.graph_weight = graph_weight
        self.hop_weight = hop_weight

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and of all items."""
        return self.views(data, [frozenset(self.in_channels)]).embedding()

    def views(self, data: HeteroData, keeps: Sequence[Keep]) -> Views:
        """Return several views that share all graphs."""
        user = self._normalized(interaction_matrix(check(data)))
        product = torch.sparse.mm(user.t(), user)  # [num_items, num_items]
        product = product * (self.num_items / product.sum())
        graphs = {
            m: self._graph(data, m)
            for m in self.in_channels
            if any(m in keep for keep in keeps)
        }
        return Views(
            user=[user] * len(keeps),
            item=[
                self._filter(product, [graphs[m] for m in graphs if m in keep])
                for keep in keeps
            ],
            keep=torch.eye(len(keeps), device=user.device),
        )

    def _normalized(self, interactions: Tensor) -> Tensor:
        user, item = interactions.indices()
        activity = torch.bincount(user)[user].to(interactions.dtype)
        popularity = torch.bincount(item)[item].to(interactions.dtype)
        return torch.sparse_coo_tensor(
            interactions.indices(),
            activity**-self.alpha * popularity ** (self.alpha - 1),
            interactions.shape,
            check_invariants=False,
            is_coalesced=True,
        )

    def _graph(self, data: HeteroData, modality: str) -> Tensor:
        """Return the graph of a modality, ``[num_items, num_items]``."""
        x = data['item'][f'x_{modality}']
        # Each item comes first among its neighbours:
        edge_index, _ = nearest_neighbors(x, self.k + 1)
        linked = (edge_index[0] != edge_index[1]) & (x != x[0]).any()
        row, col = edge_index[:, linked]
        row, col = torch.cat([row, col]), torch.cat([col, row])
        scale = torch.bincount(row, minlength=self.num_items)
        scale = scale.to(torch.get_default_dtype()).rsqrt()
        return torch.sparse_coo_tensor(
            torch.stack([row, col]),
            scale[row] * scale[col],
            (self.num_items, self.num_items),
            check_invariants=False,
        )

    def _filter(self, product: Tensor, graphs: Sequence[Tensor]) -> Tensor:
        """Return the transpose of the filter, which is symmetric."""
        if not graphs:
            return product
        graph = sum(graphs[1:], start=graphs[0]) / len(self.in_channels)
        total = product + self.graph_weight * graph
        if self.hop_weight > 0:
            total = total + self.hop_weight * torch.sparse.mm(graph, graph)
        return total.coalesce()

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f'{self.num_users}, {self.num_items}, {self.in_channels}, '
            f'k={self.k}, alpha={self.alpha}, '
            f'graph_weight={self.graph_weight}, hop_weight={self.hop_weight}'
        )
