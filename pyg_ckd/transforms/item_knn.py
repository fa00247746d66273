"""Nearest neighbours of items, one graph a modality."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd.data import modalities
from pyg_ckd.sparse import csr, transposed
from pyg_ckd.topk import stable_topk


class ItemKNN(BaseTransform):
    r"""Links each item to the most similar ones, one graph a modality.

    Similarity is the cosine of the features. Every item is its own first
    neighbour, as in `"Mining Latent Structures for Multimedia Recommendation"
    <https://arxiv.org/abs/2104.09036>`_. The relation
    ``('item', <modality>, 'item')`` gets

    - ``edge_index`` of shape ``[2, num_edges]`` from neighbour to item and
      ``edge_weight``, the cosines;
    - ``adj_t``, the normalised matrix :math:`\mathbf{D}^{-1/2} \mathbf{W}
      \mathbf{D}^{-1/2}` of shape ``[num_items, num_items]`` in CSR format, a
      row an item, with :math:`\mathbf{D}` the row sums of :math:`\mathbf{W}`;
      and ``adj``, its transpose.

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
        >>> ItemKNN(k=2)(data)['item', 'text', 'item'].adj_t.to_dense()
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
        if k < 1 or block_size < 1:
            raise ValueError(
                f"'k' and 'block_size' need to be positive in '{name}' "
                f'(got {k} and {block_size})'
            )
        if weight not in ('binary', 'cosine'):
            raise ValueError(
                f"'weight' needs to be 'binary' or 'cosine' in '{name}' "
                f"(got '{weight}')"
            )
        self.k = k
        self.weight = weight
        self.block_size = block_size

    def forward(self, data: HeteroData) -> HeteroData:
        """Add one relation for each modality of ``data``."""
        for modality in modalities(data):
            x = data['item'][f'x_{modality}']
            edge_index, cosine = self.neighbors(x)
            adj_t = self._normalized(edge_index, cosine, x.size(0))
            graph = data['item', modality, 'item']
            graph.edge_index = edge_index
            graph.edge_weight = cosine
            graph.adj_t = adj_t
            graph.adj = transposed(adj_t)
        return data

    def neighbors(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the edges from neighbours to items and their cosines.

        Args:
            x: Features of shape ``[num_items, num_features]``.

        Returns:
            Edges of shape ``[2, num_edges]``, sorted by item, nearest first,
            and cosines of shape ``[num_edges]``.
        """
        norm = x.norm(dim=1, keepdim=True)
        x = x / norm.clamp(min=torch.finfo(x.dtype).tiny)
        empty = norm.squeeze(1) == 0
        edges, cosines = [], []
        for item in torch.arange(x.size(0), device=x.device).split(
            self.block_size
        ):
            similarity = x[item] @ x.t()  # [block, num_items]
            similarity[:, empty] = -torch.inf
            similarity[empty[item]] = -torch.inf
            # An item is its own first neighbour, also beside exact copies:
            similarity[torch.arange(len(item)), item] = torch.inf
            cosine, neighbor = stable_topk(similarity, min(self.k, x.size(0)))
            cosine[:, 0] = (~empty[item]).to(x.dtype)

            linked = cosine > -torch.inf  # [block, k]
            target = item.unsqueeze(1).expand_as(neighbor)
            edges.append(torch.stack([neighbor[linked], target[linked]]))
            cosines.append(cosine[linked])
        return torch.cat(edges, dim=1), torch.cat(cosines)

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
