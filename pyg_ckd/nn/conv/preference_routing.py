"""GRCN's routing of item features to users' preferences."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.typing import Adj

from pyg_ckd.kernels.arguments import check_whole
from pyg_ckd.kernels.edges import Edges


class PreferenceRouting(nn.Module):
    r"""Refines users' preferences by the items that agree with them most.

    From the `"Graph-Refined Convolutional Network for Multimedia
    Recommendation with Implicit Feedback" <https://arxiv.org/abs/2008.10007>`_
    paper. So many times in turn:

    .. math::
        \mathbf{p}_u \leftarrow \mathrm{normalize}\left(\mathbf{p}_u + \sum_{i
        \in \mathcal{N}(u)} \alpha_{ui} \, \mathbf{f}_i\right), \quad
        \alpha_{ui} = \mathrm{softmax}_{i \in \mathcal{N}(u)} \langle
        \mathbf{p}_u, \mathbf{f}_i \rangle

    Args:
        num_iterations (int, optional): The number of iterations.
            (default: :obj:`3`)

    Raises:
        ValueError: If ``num_iterations`` is no whole number from 0 on.

    Shapes:
        - **input:** preferences :math:`(|\mathcal{U}|, F)`, item features
          :math:`(|\mathcal{I}|, F)`, edge indices from items to users
          :math:`(2, |\mathcal{E}|)` or any transposed adjacency matrix
          :math:`(|\mathcal{U}|, |\mathcal{I}|)`
        - **output:** preferences :math:`(|\mathcal{U}|, F)`

    Example:
        >>> import torch
        >>> routing = PreferenceRouting()
        >>> p, f = torch.zeros(1, 2), torch.tensor([[3.0, 0.0], [0.0, 1.0]])
        >>> routing(p, f, torch.tensor([[0, 1], [0, 0]])).round(decimals=1)
        tensor([[1., 0.]])
    """

    def __init__(self, num_iterations: int = 3) -> None:
        super().__init__()
        name = self.__class__.__name__
        check_whole(name, 0, num_iterations=num_iterations)
        self.num_iterations = num_iterations

    def forward(self, p: Tensor, f: Tensor, edge_index: Adj) -> Tensor:
        """Return the refined preferences."""
        edges = Edges.of(edge_index, (f.size(0), p.size(0)))
        for _ in range(self.num_iterations):
            alpha = edges.softmax(edges.dot(p, f))
            p = F.normalize(p + edges.aggregate(alpha, f))
        return p

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.num_iterations})'
