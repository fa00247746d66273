"""The layer of MMGCN."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.typing import Adj

from pyg_ckd.kernels.edges import Edges


class MMGCNConv(nn.Module):
    r"""A layer of MMGCN, which carries one modality and what IDs know.

    From the `"MMGCN: Multi-modal Graph Convolution Network for Personalized
    Recommendation of Micro-video" <https://doi.org/10.1145/3343031.3351034>`_
    paper, with its element-wise combination:

    .. math::
        \mathbf{h}_i &= \phi\left(\mathrm{mean}_{j \in \mathcal{N}(i)}
        \mathbf{W}_1 \mathbf{x}_j\right)

        \hat{\mathbf{x}}_i &= \phi\left(\mathbf{W}_2 \mathbf{x}_i\right) +
        \mathbf{e}_i

        \mathbf{x}'_i &= \phi\left(\mathbf{W}_3 \mathbf{h}_i +
        \hat{\mathbf{x}}_i\right)

    with :math:`\phi` the leaky ReLU, and a bias beside each :math:`\mathbf{W}`.
    A node without neighbours gets :math:`\mathbf{h}_i = \mathbf{0}`.

    Args:
        in_channels (int): The size of the input.
        out_channels (int): The size of the output and of the ID embeddings.

    Shapes:
        - **input:** node features :math:`(|\mathcal{V}|, F_{in})`, ID
          embeddings :math:`(|\mathcal{V}|, F_{out})`, edge indices
          :math:`(2, |\mathcal{E}|)` or any transposed adjacency matrix
        - **output:** node features :math:`(|\mathcal{V}|, F_{out})`

        Several features of a node, :math:`(|\mathcal{V}|, *, F_{in})`, go
        through at once.

    Example:
        >>> import torch
        >>> conv = MMGCNConv(3, 4)
        >>> edge_index = torch.tensor([[0, 1, 1], [1, 0, 2]])
        >>> conv(torch.randn(3, 3), torch.randn(3, 4), edge_index).shape
        torch.Size([3, 4])
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.neighbor = nn.Linear(in_channels, out_channels)
        self.self_loop = nn.Linear(in_channels, out_channels)
        self.combine = nn.Linear(out_channels, out_channels)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for linear in (self.neighbor, self.self_loop, self.combine):
            nn.init.xavier_normal_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, id_emb: Tensor, edge_index: Adj) -> Tensor:
        """Return the new features of the nodes."""
        edges = Edges.of(edge_index, x.size(0))
        h = self.neighbor(x)
        mean = edges.aggregate(edges.mean_weight(), h.flatten(1))
        h = F.leaky_relu(mean.view_as(h))
        x_hat = F.leaky_relu(self.self_loop(x)) + id_emb
        return F.leaky_relu(self.combine(h) + x_hat)

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.in_channels}, '
            f'{self.out_channels})'
        )
