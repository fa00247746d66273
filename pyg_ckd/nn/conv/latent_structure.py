"""A graph of nearest neighbours whose weights are learned."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn.inits import reset
from torch_geometric.typing import Adj

from pyg_ckd.kernels.arguments import check_whole
from pyg_ckd.kernels.edges import Edges
from pyg_ckd.transforms import nearest_neighbors


class LatentStructure(nn.Module):
    r"""Links nodes whose projected features are alike.

    From the `"Mining Latent Structures for Multimedia Recommendation"
    <https://arxiv.org/abs/2104.09036>`_ paper:

    .. math::
        k_{ij} = \begin{cases} \max(0, \cos(\mathbf{z}_i, \mathbf{z}_j)) &
        \text{if } j \in \mathrm{top}\text{-}k(i) \\ 0 & \text{otherwise}
        \end{cases}, \quad \mathbf{z}_i = \mathbf{W} \mathbf{x}_i + \mathbf{b}

    Every node is its own first neighbour. Which nodes are neighbours has no
    gradient, and may be looked up now and then: pass the edges on to later
    calls. The weights have one, and cost a number an edge, not one a pair of
    nodes.

    Published code keeps negative cosines, with which the sum over a row may
    be negative too, and its root in the normalisation not a number; here they
    are set to zero.

    Args:
        in_channels (int): The number of features.
        out_channels (int): The size of :math:`\mathbf{z}`.
        k (int, optional): The number of neighbours, the node itself included.
            (default: :obj:`10`)

    Raises:
        ValueError: If ``k`` is not positive.

    Shapes:
        - **input:** node features :math:`(|\mathcal{V}|, F)`, optionally edge
          indices :math:`(2, |\mathcal{E}|)` or any transposed adjacency matrix
        - **output:** the :class:`~pyg_ckd.kernels.Edges` of the graph and their
          weights :math:`(|\mathcal{E}|)`

    Example:
        >>> import torch
        >>> structure = LatentStructure(8, 4, k=3)
        >>> x = torch.randn(5, 8)
        >>> edges, weight = structure(x)
        >>> weight.shape
        torch.Size([15])
        >>> edges.aggregate(weight, x).shape
        torch.Size([5, 8])
        >>> edges, weight = structure(x, edges)  # the same neighbours again
    """

    def __init__(
        self, in_channels: int, out_channels: int, k: int = 10
    ) -> None:
        super().__init__()
        check_whole(self.__class__.__name__, k=k)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.k = k
        self.lin = nn.Linear(in_channels, out_channels)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        reset(self.lin)

    def forward(
        self, x: Tensor, edge_index: Adj | Edges | None = None
    ) -> tuple[Edges, Tensor]:
        """Return the edges of the graph and their weights.

        Args:
            x: Features of the nodes.
            edge_index: The edges, if they are known; by default those from
                the nearest neighbours of each node.
        """
        z = F.normalize(self.lin(x))
        if edge_index is None:
            edge_index, _ = nearest_neighbors(z.detach(), self.k)
        edges = Edges.of(edge_index, x.size(0))
        return edges, edges.dot(z, z).clamp(min=0)

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.in_channels}, '
            f'{self.out_channels}, k={self.k})'
        )
