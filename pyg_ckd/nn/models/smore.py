"""SMORE: modalities that are filtered and fused as spectra."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset
from torch_geometric.transforms import BaseTransform, Compose

from pyg_ckd.kernels.sparse import Graph, Uniform, once_per_graph, row_starts
from pyg_ckd.nn.models.guided_gcn import GuidedGCN
from pyg_ckd.transforms import ItemKNN, NormalizedAdjacency
from pyg_ckd.views import Keep


class SMORE(GuidedGCN):
    r"""SMORE, which denoises and fuses modalities in the frequency domain.

    From the `"Spectrum-based Modality Representation Fusion Graph
    Convolutional Network for Multimodal Recommendation"
    <https://arxiv.org/abs/2412.14978>`_ paper, with the Fourier transform
    :math:`\mathcal{F}` of the :math:`d` columns and learned complex filters
    :math:`\mathbf{k}`:

    .. math::
        \mathbf{C} &= \mathrm{LightGCN}([\mathbf{E}_{\mathcal{U}} \|
        \mathbf{E}_{\mathcal{I}}])

        \tilde{\mathbf{F}}_m &= \mathcal{F}(\mathbf{F}_m \mathbf{W}_m +
        \mathbf{b}_m), \quad \tilde{\mathbf{F}}_* = \prod_m
        \tilde{\mathbf{F}}_m

        \mathbf{Y}_m &= \mathbf{S}_m \left( \mathbf{E}_{\mathcal{I}} \odot
        \sigma(g_m(\mathcal{F}^{-1}(\mathbf{k}_m \odot \tilde{\mathbf{F}}_m)))
        \right), \quad \mathbf{X}_m = [\hat{\mathbf{R}} \mathbf{Y}_m \|
        \mathbf{Y}_m]

        \mathbf{H} &= \frac{1}{M + 1} \left( \sigma(p_*(\mathbf{C})) \odot
        \mathbf{X}_* + \sum_m \sigma(p_m(\mathbf{C})) \odot
        \mathrm{softmax}(q_m(\mathbf{X}_*)) \odot \mathbf{X}_m \right)

        [\mathbf{U} \| \mathbf{I}] &= \mathbf{C} + \mathbf{H}

    :math:`\mathbf{S}_m` is the nearest-neighbour graph of a modality
    (:class:`~pyg_ckd.transforms.ItemKNN`), :math:`\mathbf{S}_*` their
    element-wise maximum, and :math:`\mathbf{X}_*` what :math:`\mathbf{X}_m` is
    for the fused modalities. :math:`\hat{\mathbf{R}}` are the interactions in
    the graph of :class:`~pyg_ckd.transforms.NormalizedAdjacency`, :math:`g` and
    :math:`p` are linear, the latter with dropout behind the sigmoid, and
    :math:`q_m` has one hidden layer; its softmax runs over the columns. The
    loss gets :math:`\gamma (\mathrm{InfoNCE}(\mathbf{H}_u, \mathbf{C}_u) +
    \mathrm{InfoNCE}(\mathbf{H}_i, \mathbf{C}_i))` over the users and the
    preferred items of a batch.

    An ablated modality enters with its mean features, and spreads over the
    uniform graph, so that each item has the mean over all. The maximum
    :math:`\mathbf{S}_*` is over the modalities that are kept, and the uniform
    graph if none is. Published code fine-tunes the raw features; here they
    are frozen unless ``train_features`` is set.

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        in_channels (dict[str, int]): The number of features of each modality.
        dim (int, optional): The size of an embedding. (default: :obj:`64`)
        num_layers (int, optional): The number of LightGCN layers.
            (default: :obj:`4`)
        dropout (float, optional): The dropout of the gates :math:`p`. The
            authors use 0 or 0.1. (default: :obj:`0.0`)
        contrastive_weight (float, optional): The weight :math:`\gamma` of the
            contrastive loss. (default: :obj:`0.01`)
        tau (float, optional): Its temperature. (default: :obj:`0.2`)
        train_features (bool, optional): Whether to fine-tune the features,
            see :class:`~pyg_ckd.nn.Backbone`. (default: :obj:`False`)

    Raises:
        ValueError: If there is no modality, or an argument is out of range.

    Shapes:
        - **output:** user embeddings :math:`(|\mathcal{U}|, d)` and item
          embeddings :math:`(|\mathcal{I}|, d)`

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> data = SMORE.pre_transform(data)
        >>> user_emb, item_emb = SMORE.from_data(data, dim=4)(data)
        >>> user_emb.shape, item_emb.shape
        (torch.Size([20, 4]), torch.Size([10, 4]))
    """

    adjacency = NormalizedAdjacency()
    neighbors = ItemKNN(k=10, weight='cosine')
    pre_transform: ClassVar[BaseTransform] = Compose([adjacency, neighbors])

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int],
        dim: int = 64,
        num_layers: int = 4,
        dropout: float = 0.0,
        contrastive_weight: float = 0.01,
        tau: float = 0.2,
        train_features: bool = False,
    ) -> None:
        super().__init__(
            num_users,
            num_items,
            in_channels,
            dim,
            num_layers,
            contrastive_weight,
            tau,
            train_features,
        )
        self.check_number('in [0, 1)', dropout=dropout)
        self.dropout = dropout
        self.purifier = nn.ModuleDict(
            {m: _SpectralGate(dim) for m in in_channels}
        )
        self.fusion_purifier = _SpectralGate(dim)
        self.query = nn.ModuleDict(
            {
                m: nn.Sequential(
                    nn.Linear(dim, dim),
                    nn.Tanh(),
                    nn.Linear(dim, dim, bias=False),
                    nn.Softmax(dim=-1),
                )
                for m in in_channels
            }
        )
        self.gate = nn.ModuleDict({m: nn.Linear(dim, dim) for m in in_channels})
        self.fusion_gate = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        super().reset_parameters()
        for module in (
            self.purifier,
            self.fusion_purifier,
            self.query,
            self.gate,
            self.fusion_gate,
        ):
            reset(module)

    def sides(
        self, data: HeteroData, keeps: Sequence[Keep], content: Tensor
    ) -> Sequence[Tensor]:
        r"""Return :math:`\mathbf{H}` of each view, ``[num_nodes, d]``."""
        branches, fusions = self._branches(data, keeps)
        gate = {m: self._gate(self.gate[m], content) for m in self.in_channels}
        fusion_gate = self._gate(self.fusion_gate, content)
        gated = {(m, kept): gate[m] * x for (m, kept), x in branches.items()}

        sides = []
        for keep, fusion in zip(keeps, fusions, strict=True):
            total = fusion_gate * fusion
            for m in self.in_channels:
                total = total + self.query[m](fusion) * gated[m, m in keep]
            sides.append(total / (len(gate) + 1))
        return sides

    def _gate(self, linear: nn.Module, content: Tensor) -> Tensor:
        gate = linear(content).sigmoid()
        return F.dropout(gate, self.dropout, self.training)

    def _branches(
        self, data: HeteroData, keeps: Sequence[Keep]
    ) -> tuple[dict[tuple[str, bool], Tensor], list[Tensor]]:
        """Return what nodes have of modalities, and of their fusion.

        Of each modality ``m``, as ``(m, True)`` if a view keeps it, and as
        ``(m, False)`` if a view ablates it; and of the fusion in each view.
        """
        spectra, graphs, kept, means = {}, {}, {}, {}
        for m in self.in_channels:
            x = self.features(data, m)
            if any(m in keep for keep in keeps):
                spectra[m, True] = self._spectrum(m, x)
                gate = self.purifier[m](spectra[m, True])
                graphs[m] = self.item_item_graph(data, m)
                kept[m] = graphs[m].propagate(self.item.weight * gate)
            if any(m not in keep for keep in keeps):
                spectra[m, False] = self._spectrum(m, x.mean(0, keepdim=True))
                gate = self.purifier[m](spectra[m, False])  # [1, d]
                means[m] = self.item.weight.mean(dim=0) * gate

        fusions = []
        for keep in keeps:
            fused = math.prod(spectra[m, m in keep] for m in self.in_channels)
            x = self.item.weight * self.fusion_purifier(fused)
            graph = _maximum(
                [graphs[m] for m in graphs if m in keep], self.num_items
            )
            fusions.append(graph.propagate(x))

        nodes, scale = self.with_users(data, [*kept.values(), *fusions])
        branches = {(m, True): x for m, x in zip(kept, nodes, strict=False)}
        branches |= {(m, False): scale * row for m, row in means.items()}
        return branches, nodes[len(kept) :]

    def _spectrum(self, modality: str, x: Tensor) -> Tensor:
        x = self.projection[modality](x)
        return torch.fft.rfft(x, norm='ortho')  # [num_items, d // 2 + 1]

    def extra_repr(self) -> str:
        """Return the settings."""
        return f'{super().extra_repr()}, dropout={self.dropout}'


class _SpectralGate(nn.Module):
    """A gate over a spectrum that is filtered and transformed back."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        # Real and imaginary parts:
        self.filter = nn.Parameter(torch.empty(dim // 2 + 1, 2))
        self.linear = nn.Linear(dim, dim)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.filter)
        self.linear.reset_parameters()

    def forward(self, spectrum: Tensor) -> Tensor:
        spectrum = spectrum * torch.view_as_complex(self.filter)
        dim = self.linear.in_features
        x = torch.fft.irfft(spectrum, n=dim, norm='ortho')  # [num_items, d]
        return self.linear(x).sigmoid()


def _maximum(
    graphs: Sequence[Graph | Uniform], num_items: int
) -> Graph | Uniform:
    """Return the element-wise maximum of graphs, without ablated ones."""
    known = [graph for graph in graphs if isinstance(graph, Graph)]
    if len(known) < 2:
        return known[0] if known else Uniform(num_items)
    return _union(*known)


@once_per_graph
def _union(*graphs: Graph) -> Graph:
    """Return the element-wise maximum of graphs without negative weights."""
    adj_t = _maximum_of([graph.adj_t for graph in graphs])
    return Graph(adj_t, _maximum_of([graph.adj for graph in graphs]))


def _maximum_of(matrices: Sequence[Tensor]) -> Tensor:
    """Return the element-wise maximum of CSR matrices without negatives."""
    size = matrices[0].size(0)
    indices = torch.cat([x.to_sparse_coo().indices() for x in matrices], dim=1)
    value = torch.cat([x.values() for x in matrices])
    key, place = (indices[0] * size + indices[1]).unique(return_inverse=True)
    row, col = key // size, key % size
    return torch.sparse_csr_tensor(
        row_starts(torch.bincount(row, minlength=size)),
        col,
        value.new_zeros(len(key)).scatter_reduce(0, place, value, 'amax'),
        (size, size),
        check_invariants=False,
    )
