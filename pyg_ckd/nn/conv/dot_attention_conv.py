"""Attention by dot products, without parameters."""

from __future__ import annotations

from torch import Tensor, nn
from torch_geometric.typing import Adj

from pyg_ckd.kernels.edges import Edges


class DotAttentionConv(nn.Module):
    r"""Attention over neighbours by dot products, without parameters.

    The graph attention of GRCN (`"Graph-Refined Convolutional Network for
    Multimedia Recommendation with Implicit Feedback"
    <https://arxiv.org/abs/2008.10007>`_) and of EgoGCN:

    .. math::
        \mathbf{x}'_i = \sum_{j \in \mathcal{N}(i)} \alpha_{ij} \,
        \mathbf{x}_j, \quad \alpha_{ij} = \mathrm{softmax}_{j \in
        \mathcal{N}(i)} \langle \mathbf{x}_i, \mathbf{x}_j \rangle

    A node without neighbours gets zeros.

    Shapes:
        - **input:** node features :math:`(|\mathcal{V}|, F)`, edge indices
          :math:`(2, |\mathcal{E}|)` or any transposed adjacency matrix
        - **output:** node features :math:`(|\mathcal{V}|, F)` and attention
          weights :math:`(|\mathcal{E}|)` in the order of
          :class:`~pyg_ckd.kernels.edges.Edges`

    Example:
        >>> import torch
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
        >>> edge_index = torch.tensor([[1, 2, 0], [0, 0, 1]])
        >>> out, alpha = DotAttentionConv()(x, edge_index)
        >>> out
        tensor([[0., 2.],
                [1., 0.],
                [0., 0.]])
        >>> alpha
        tensor([0.5000, 0.5000, 1.0000])
    """

    def forward(self, x: Tensor, edge_index: Adj) -> tuple[Tensor, Tensor]:
        """Return the new features of the nodes, and the attention weights."""
        edges = Edges.of(edge_index, x.size(0))
        alpha = edges.softmax(edges.dot(x, x))
        return edges.aggregate(alpha, x), alpha

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}()'
