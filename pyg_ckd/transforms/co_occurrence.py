"""Items that the same users have interacted with."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd.graph import interaction_matrix
from pyg_ckd.kernels.arguments import check_whole
from pyg_ckd.kernels.sparse import Graph, csr
from pyg_ckd.kernels.topk import stable_topk
from pyg_ckd.transforms.named_graphs import (
    add_graph,
    checked_without_graphs,
    named_graph,
)


class CoOccurrence(BaseTransform):
    r"""Links items that the same users have interacted with in training.

    With the training matrix :math:`\mathbf{R}` of zeros and ones,
    :math:`\mathbf{R}^{\top} \mathbf{R}` counts the users that two items have
    in common. Each item is linked to the :math:`k` others with the largest
    counts, of those that are at least ``min_count``, and to whatever is linked
    to it. The graph is the normalised matrix :math:`\mathbf{D}^{-1/2}
    \mathbf{W} \mathbf{D}^{-1/2}` with the links :math:`\mathbf{W}`, ones and
    zeros, and their row sums :math:`\mathbf{D}`, a symmetric
    :class:`~pyg_ckd.kernels.Graph` of ``num_items`` nodes. STAIR, of `"STAIR:
    Manipulating Collaborative and Multimodal Information for E-Commerce
    Recommendation" <https://arxiv.org/abs/2412.11729>`_, is one of several
    recommenders that mix such a graph with those of features.

    It is kept in ``data.graphs`` under the name of this transform, and belongs
    to no modality: ablating one leaves it; :meth:`of` finds it. Interactions
    that are held out do not count, and those that occur several times count
    once.

    Counts are computed block by block: memory grows with 256 times the number
    of items. Equal counts are ordered by lower item id.

    Args:
        k (int, optional): The number of items that each item chooses.
            (default: :obj:`10`)
        min_count (int, optional): The number of common users that two items
            need. (default: :obj:`2`)

    Raises:
        ValueError: If ``k`` or ``min_count`` is not positive.

    Example:
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 2, 3
        >>> data['user', 'rates', 'item'].edge_index = torch.tensor(
        ...     [[0, 0, 1, 1, 1], [0, 1, 0, 1, 2]])
        >>> transform = CoOccurrence()
        >>> transform.of(transform(data)).adj_t.to_dense()
        tensor([[0., 1., 0.],
                [1., 0., 0.],
                [0., 0., 0.]])
    """

    def __init__(self, k: int = 10, min_count: int = 2) -> None:
        check_whole(self.__class__.__name__, k=k, min_count=min_count)
        self.k = k
        self.min_count = min_count

    def forward(self, data: HeteroData) -> HeteroData:
        """Add the graph to ``data``."""
        data = checked_without_graphs(data)
        num_items = data['item'].num_nodes
        item, other = self._chosen(data)
        # Both directions, each once:
        key = torch.cat([item * num_items + other, other * num_items + item])
        key = key.unique()
        row, col = key // num_items, key % num_items

        degree = torch.bincount(row, minlength=num_items)
        scale = degree.to(torch.get_default_dtype()).clamp(min=1).rsqrt()
        adj_t = csr(row, col, scale[row] * scale[col], num_items)
        return add_graph(data, self, None, Graph(adj_t, adj_t))

    def of(self, data: HeteroData) -> Graph:
        """Return the graph that this transform has added to ``data``.

        Raises:
            ValueError: If it has not.
        """
        graph = named_graph(data, self, None)
        assert isinstance(graph, Graph)
        return graph

    def _chosen(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return items and the others that each of them chooses."""
        interactions = interaction_matrix(data)
        users = interactions.t().coalesce()  # [num_items, num_users]
        num_items = users.size(0)
        items, others = [], []
        for item in torch.arange(num_items, device=users.device).split(256):
            count = (users.index_select(0, item) @ interactions).to_dense()
            count[torch.arange(len(item)), item] = 0  # [block, num_items]
            count, other = stable_topk(count, min(self.k, num_items))
            linked = count >= self.min_count  # [block, k]
            items.append(item.unsqueeze(1).expand_as(other)[linked])
            others.append(other[linked])
        return torch.cat(items), torch.cat(others)

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(k={self.k}, min_count={self.min_count})'
        )
