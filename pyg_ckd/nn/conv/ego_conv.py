"""EgoGCN's fusion of modalities along edges."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn.inits import reset
from torch_geometric.typing import Adj

from pyg_ckd.kernels.arguments import check_number, check_whole
from pyg_ckd.kernels.edges import Edges


class EgoConv(nn.Module):
    r"""Passes messages of one modality that others may join.

    From the `"Breaking Isolation: Multimodal Graph Fusion for Multimedia
    Recommendation by Edge-wise Modulation"
    <https://doi.org/10.1145/3503161.3548399>`_ paper. With a threshold
    :math:`\tau`, the other modalities :math:`\mathbf{y}_n` join where a
    neighbour matters:

    .. math::
        \mathbf{m}_{ij} = \begin{cases}
        \frac{1}{M} \left(\mathbf{x}_j + \sum_n \mathbf{y}_{nj}\right) &
        \text{if } \mathrm{softmax}_j \langle \mathbf{x}_i, \mathbf{x}_j
        \rangle > \tau \\
        \mathbf{x}_j & \text{otherwise} \end{cases}

    Without one, they join everywhere, as far as a gate lets them:

    .. math::
        \mathbf{m}_{ij} = \frac{1}{M} \left(\mathbf{x}_j + \sum_n \sigma(
        \mathbf{W}_n \mathbf{y}_{nj} + \mathbf{b}_n) \odot \mathbf{y}_{nj}
        \right)

    Attention then weighs the messages:

    .. math::
        \mathbf{x}'_i = \mathrm{normalize}\left(\sum_j \alpha_{ij} \,
        \mathbf{m}_{ij}\right), \quad \alpha_{ij} = \mathrm{softmax}_j \langle
        \mathbf{x}_i, \mathbf{m}_{ij} \rangle

    Args:
        channels (int): The size of all features.
        num_others (int): The number :math:`M - 1` of other modalities.
        threshold (float, optional): The threshold :math:`\tau`; gates if
            ``None``. (default: :obj:`0.4`)

    Raises:
        ValueError: If ``threshold`` is no finite number, or a size no whole
            number.

    Shapes:
        - **input:** node features :math:`(|\mathcal{V}|, F)`, those of each
          other modality, edge indices :math:`(2, |\mathcal{E}|)` or any
          transposed adjacency matrix
        - **output:** node features :math:`(|\mathcal{V}|, F)`

    Example:
        >>> conv = EgoConv(4, num_others=1)
        >>> edge_index = torch.tensor([[0, 1, 1], [1, 0, 2]])
        >>> conv(torch.randn(3, 4), [torch.randn(3, 4)], edge_index).shape
        torch.Size([3, 4])
    """

    def __init__(
        self, channels: int, num_others: int, threshold: float | None = 0.4
    ) -> None:
        super().__init__()
        name = self.__class__.__name__
        check_whole(name, channels=channels)
        check_whole(name, 0, num_others=num_others)
        if threshold is not None:
            check_number(name, 'any', threshold=threshold)
        self.channels = channels
        self.num_others = num_others
        self.threshold = threshold
        num_gates = num_others if threshold is None else 0
        self.gates = nn.ModuleList(
            nn.Linear(channels, channels) for _ in range(num_gates)
        )

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        reset(self.gates)

    def forward(
        self, x: Tensor, others: Sequence[Tensor], edge_index: Adj
    ) -> Tensor:
        """Return the new features of the nodes."""
        edges = Edges.of(edge_index, x.size(0))
        if self.threshold is None:
            gated = [
                gate(y).sigmoid() * y
                for gate, y in zip(self.gates, others, strict=True)
            ]
            fused = sum(gated, start=x) / (1 + len(gated))
            alpha = edges.softmax(edges.dot(x, fused))
            return F.normalize(edges.aggregate(alpha, fused))

        fused = sum(others, start=x) / (1 + len(others))
        with torch.no_grad():
            joined = edges.softmax(edges.dot(x, x)) > self.threshold
        # Sources where others join are numbered behind those where none does:
        messages = torch.cat([x, fused])  # [2 * num_nodes, F]
        source = edges.source + joined * x.size(0)
        edges = Edges(edges.ptr, source, messages.size(0))
        alpha = edges.softmax(edges.dot(x, messages))
        return F.normalize(edges.aggregate(alpha, messages))

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.channels}, '
            f'num_others={self.num_others}, threshold={self.threshold})'
        )
