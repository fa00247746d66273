"""Nearest neighbours of items, one graph a modality."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd.graph import check_features, modalities
from pyg_ckd.kernels.arguments import check_whole
from pyg_ckd.kernels.sparse import Graph, Uniform, csr, transposed
from pyg_ckd.kernels.topk import stable_topk
from pyg_ckd.transforms.named_graphs import add_graph, named_graph


def nearest_neighbors(
    x: Tensor, k: int, block_size: int = 512
) -> tuple[Tensor, Tensor]:
    """Return the edges from neighbours to items and their cosines.

    Args:
        x: Features of shape ``[num_items, num_features]``.
        k: The number of neighbours, the item itself included.
        block_size: The number of items compared with all others at once.

    Returns:
        Edges of shape ``[2, num_edges]``, sorted by item, nearest first, and
        cosines of shape ``[num_edges]``.

    Example:
        >>> x = torch.tensor([[1., 0.], [2., 0.], [0., 1.]])
        >>> nearest_neighbors(x, k=2)[0]
        tensor([[0, 1, 1, 0, 2, 0],
                [0, 0, 1, 1, 2, 2]])
    """
    norm = x.norm(dim=1, keepdim=True)
    x = x / norm.clamp(min=torch.finfo(x.dtype).tiny)
    empty = norm.squeeze(1) == 0
    edges, cosines = [], []
    for item in torch.arange(x.size(0), device=x.device).split(block_size):
        # In a function of its own, so that only one block is there at a time:
        cosine, neighbor = _nearest(x, item, empty, min(k, x.size(0)))
        linked = cosine > -torch.inf  # [block, k]
        target = item.unsqueeze(1).expand_as(neighbor)
        edges.append(torch.stack([neighbor[linked], target[linked]]))
        cosines.append(cosine[linked])
    return torch.cat(edges, dim=1), torch.cat(cosines)


def _nearest(
    x: Tensor, item: Tensor, empty: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    similarity = x[item] @ x.t()  # [block, num_items]
    similarity[:, empty] = -torch.inf
    similarity[empty[item]] = -torch.inf
    # An item is its own first neighbour, also beside exact copies:
    similarity[torch.arange(len(item)), item] = torch.inf
    cosine, neighbor = stable_topk(similarity, k)
    cosine[:, 0] = (~empty[item]).to(x.dtype)
    return cosine, neighbor


class ItemKNN(BaseTransform):
    r"""Links each item to the most similar ones, one graph a modality.

    Similarity is the cosine of the features. Every item is its own first
    neighbour, as in `"Mining Latent Structures for Multimedia Recommendation"
    <https://arxiv.org/abs/2104.09036>`_. The graph of a modality is the
    normalised matrix :math:`\mathbf{D}^{-1/2} \mathbf{W} \mathbf{D}^{-1/2}`
    with :math:`\mathbf{D}` the row sums of :math:`\mathbf{W}`, a
    :class:`~pyg_ckd.kernels.Graph`. It is kept in ``data.graphs`` under the
    name of this transform, so that several live on one ``data``; :meth:`of`
    finds it.

    Similarities are computed block by block: memory grows with
    ``block_size * num_items``. Equal cosines are ordered by lower item id. An
    item without features (a row of zeros) is linked to itself only.

    Args:
        k (int, optional): The number of neighbours, the item itself included.
            (default: :obj:`10`)
        weight (str, optional): The entries of :math:`\mathbf{W}`, ``"binary"``
            (ones) or ``"cosine"`` (cosines, negative ones set to zero).
            (default: :obj:`"binary"`)
        block_size (int, optional): The number of items compared with all
            others at once. (default: :obj:`512`)

    Raises:
        ValueError: If ``k`` or ``block_size`` is not positive, or ``weight``
            unknown.

    Example:
        >>> data = HeteroData()
        >>> data['item'].x_text = torch.tensor([[1., 0.], [2., 0.], [0., 1.]])
        >>> transform = ItemKNN(k=2)
        >>> transform.of(transform(data), 'text').adj_t.to_dense()
        tensor([[0.5000, 0.5000, 0.0000],
                [0.5000, 0.5000, 0.0000],
                [0.5000, 0.0000, 0.5000]])
    """

    def __init__(
        self,
        k: int = 10,
        weight: Literal['binary', 'cosine'] = 'binary',
        block_size: int = 512,
    ) -> None:
        name = self.__class__.__name__
        check_whole(name, k=k, block_size=block_size)
        if weight not in ('binary', 'cosine'):
            raise ValueError(
                f"'weight' needs to be 'binary' or 'cosine' in '{name}' "
                f"(got '{weight}')"
            )
        self.k = k
        self.weight = weight
        self.block_size = block_size

    def forward(self, data: HeteroData) -> HeteroData:
        """Add one graph for each modality of ``data``."""
        data = copy.copy(check_features(data))
        for modality in modalities(data):
            x = data['item'][f'x_{modality}']
            edges = nearest_neighbors(x, self.k, self.block_size)
            adj_t = self._normalized(*edges, x.size(0))
            graph = Graph(adj_t, transposed(adj_t))
            add_graph(data, self, modality, graph)
        return data

    def of(self, data: HeteroData, modality: str) -> Graph | Uniform:
        """Return the graph of a modality that this transform has added.

        It is a :class:`~pyg_ckd.kernels.Uniform` where the modality is
        ablated.

        Raises:
            ValueError: If there is none.
        """
        return named_graph(data, self, modality)

    def _normalized(
        self, edge_index: Tensor, cosine: Tensor, num_items: int
    ) -> Tensor:
        neighbor, item = edge_index
        if self.weight == 'binary':
            weight = torch.ones_like(cosine)
        else:
            weight = cosine.clamp(min=0)
        degree = weight.new_zeros(num_items).index_add_(0, item, weight)
        scale = torch.where(degree > 0, degree.pow(-0.5), 0.0)
        return csr(
            item, neighbor, scale[item] * weight * scale[neighbor], num_items
        )

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}(k={self.k}, weight='{self.weight}')"
