"""EgoGCN: modalities join each other along the edges of the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset
from torch_geometric.transforms import BaseTransform

from pyg_ckd.kernels.edges import Edges
from pyg_ckd.nn.conv import DotAttentionConv, EgoConv
from pyg_ckd.nn.functional import light_gcn
from pyg_ckd.nn.models.branches import Branches
from pyg_ckd.transforms import NormalizedAdjacency
from pyg_ckd.views import Keep, Views


class EgoGCN(Branches):
    r"""EgoGCN, in which modalities exchange messages along edges.

    From the `"Breaking Isolation: Multimodal Graph Fusion for Multimedia
    Recommendation by Edge-wise Modulation"
    <https://doi.org/10.1145/3503161.3548399>`_ paper:

    .. math::
        \mathbf{x}_m &= [\mathrm{normalize}(\mathbf{P}_m) \|
        \mathrm{normalize}(\phi(\mathbf{F}_m \mathbf{W}_m + \mathbf{b}_m))]

        \mathbf{h}^{(0)}_m &= \mathrm{EgoConv}(\mathbf{x}_m,
        \{\mathbf{x}_n\}_{n \neq m})

        \mathbf{h}^{(l)}_m &= \mathrm{normalize}(\mathbf{h}^{(l-1)}_m +
        \mathrm{DotAttentionConv}(\mathbf{h}^{(l-1)}_m))

        \mathbf{z} &= \sum_{l=0}^{3} \hat{\mathbf{A}}^l [\mathbf{E}_{
        \mathcal{U}} \| \mathbf{E}_{\mathcal{I}}]

        s(u, i) &= \langle \mathbf{z}_u, \mathbf{z}_i \rangle + \sum_m \langle
        \mathbf{h}^{(L)}_{m,u}, \mathbf{h}^{(L)}_{m,i} \rangle

    with leaky ReLU :math:`\phi`, :class:`~pyg_ckd.nn.EgoConv` and
    :class:`~pyg_ckd.nn.DotAttentionConv`.

    Published code needs exactly three modalities, and computes the third layer
    of :math:`\mathbf{z}` from the first. An ablated modality joins the others
    with its mean preference and its mean features.

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        in_channels (dict[str, int]): The number of features of each modality.
        dim (int, optional): The size of each of the concatenated parts.
            (default: :obj:`64`)
        num_routings (int, optional): The number of attention layers :math:`L`
            that follow the fusion. (default: :obj:`3`)
        threshold (float, optional): The attention above which other modalities
            join; gates instead if ``None``. (default: :obj:`0.4`)

    Raises:
        ValueError: If there is no modality, or an argument is out of range.

    Shapes:
        - **output:** user embeddings :math:`(|\mathcal{U}|, (1 + M) d)` and
          item embeddings :math:`(|\mathcal{I}|, (1 + M) d)`

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> data = EgoGCN.pre_transform(data)
        >>> user_emb, item_emb = EgoGCN.from_data(data, dim=4)(data)
        >>> user_emb.shape, item_emb.shape
        (torch.Size([20, 12]), torch.Size([10, 12]))
    """

    adjacency = NormalizedAdjacency()
    pre_transform: ClassVar[BaseTransform] = adjacency

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int],
        dim: int = 64,
        num_routings: int = 3,
        threshold: float | None = 0.4,
    ) -> None:
        super().__init__(num_users, num_items, in_channels, dim)
        self.check_positive(
            **{'len(in_channels)': len(in_channels)}, num_routings=num_routings
        )
        self.num_routings = num_routings
        self.threshold = threshold
        num_others = len(in_channels) - 1
        self.fusion = nn.ModuleDict(
            {m: EgoConv(dim, num_others, threshold) for m in in_channels}
        )
        self.attention = DotAttentionConv()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        super().reset_parameters()
        reset(self.fusion)

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and of all items."""
        return self.views(data, [frozenset(self.in_channels)]).embedding()

    def views(self, data: HeteroData, keeps: Sequence[Keep]) -> Views:
        """Return several views that share IDs and the inputs of modalities."""
        graph = self.user_item_graph(data)
        ids = torch.cat([self.user.weight, self.item.weight])
        ids = 4 * light_gcn(ids, graph, num_layers=3)

        inputs: dict[str, dict[bool, Tensor]] = {}
        for m in self.in_channels:
            p, f = self.branch(data, m)
            inputs[m] = {True: _input(p, f), False: _input(_mean(p), _mean(f))}
        edges = Edges.of(graph.adj_t, self.num_nodes)
        blocks = [ids]
        for keep in keeps:
            seen = {m: x[m in keep] for m, x in inputs.items()}
            blocks.append(
                torch.cat([self._content(seen, m, edges) for m in seen], dim=-1)
            )
        eye = torch.eye(len(keeps), device=ids.device)
        return Views(
            user=[block[: self.num_users] for block in blocks],
            item=[block[self.num_users :] for block in blocks],
            keep=torch.cat([torch.ones_like(eye[:, :1]), eye], dim=1),
        )

    def _content(
        self, inputs: Mapping[str, Tensor], modality: str, edges: Edges
    ) -> Tensor:
        others = [x for m, x in inputs.items() if m != modality]
        h: Tensor = self.fusion[modality](inputs[modality], others, edges)
        for _ in range(self.num_routings):
            h = F.normalize(h + self.attention(h, edges)[0])
        return h

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f'{super().extra_repr()}, num_routings={self.num_routings}, '
            f'threshold={self.threshold}'
        )


def _input(p: Tensor, f: Tensor) -> Tensor:
    return torch.cat([F.normalize(p), F.normalize(F.leaky_relu(f))])


def _mean(x: Tensor) -> Tensor:
    return x.mean(dim=0, keepdim=True).expand_as(x)
