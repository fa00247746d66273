"""LightGCN, with or without modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd.kernels.sparse import Graph, once_per_graph
from pyg_ckd.nn.functional import light_gcn
from pyg_ckd.nn.models.branches import Branches
from pyg_ckd.transforms import NormalizedAdjacency
from pyg_ckd.views import Keep, Views


class LightGCN(Branches):
    r"""LightGCN over IDs and over each modality.

    From the `"LightGCN: Simplifying and Powering Graph Convolution Network for
    Recommendation" <https://arxiv.org/abs/2002.02126>`_ paper:

    .. math::
        \mathrm{LightGCN}(\mathbf{X}) = \frac{1}{L + 1} \sum_{l=0}^{L}
        \hat{\mathbf{A}}^l \mathbf{X}, \quad \hat{\mathbf{A}} =
        \mathbf{D}^{-1/2} \mathbf{A} \mathbf{D}^{-1/2}

    With no modality (``in_channels={}``) :math:`\mathbf{X}` holds the ID
    embeddings of users and items, and the model equals
    :class:`torch_geometric.nn.LightGCN`. Each modality adds a part of its own:
    a table of users and the projected features of the items, propagated the
    same way. The scores of all parts are added, so the embeddings are the
    concatenation of the parts. An ablated modality enters propagation as one
    mean row for all users and one for all items; what comes out depends on
    degrees only and is kept, in the ablated view, as a part of its own.

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        in_channels (dict[str, int]): The number of features of each modality,
            empty for IDs only.
        dim (int, optional): The size of each part. (default: :obj:`64`)
        num_layers (int, optional): The number of layers :math:`L`.
            (default: :obj:`2`)

    Raises:
        ValueError: If a size is not positive or ``num_layers`` negative.

    Shapes:
        - **output:** user embeddings :math:`(|\mathcal{U}|, (1 + M) d)` and
          item embeddings :math:`(|\mathcal{I}|, (1 + M) d)`

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> data = LightGCN.pre_transform(data)
        >>> user_emb, item_emb = LightGCN.from_data(data, dim=4)(data)
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
        num_layers: int = 2,
    ) -> None:
        super().__init__(num_users, num_items, in_channels, dim)
        self.check_count(num_layers=num_layers)
        self.num_layers = num_layers
        self.reset_parameters()

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and of all items."""
        parts = [self.branch(data, m) for m in (None, *self.in_channels)]
        out = self._propagate(data, _joined(parts))
        user, item = out.split([self.num_users, self.num_items])
        return user, item

    def views(self, data: HeteroData, keeps: Sequence[Keep]) -> Views:
        """Return several views that share the propagation of each part."""
        names = list(self.in_channels)
        kept = [m for m in names if any(m in k for k in keeps)]
        dropped = [m for m in names if any(m not in k for k in keeps)]

        parts = [self.branch(data, m) for m in (None, *kept)]
        out = self._propagate(data, _joined(parts))
        # Not by slices, each of which has a whole gradient of zeros:
        sides = out.split([self.num_users, self.num_items])
        users, items = (list(x.chunk(len(parts), dim=-1)) for x in sides)
        for mean in self._propagated_means(data, dropped) if dropped else ():
            user, item = mean.split([self.num_users, self.num_items])
            users.append(user)
            items.append(item)

        keep = [
            [1.0]
            + [float(m in k) for m in kept]
            + [float(m not in k) for m in dropped]
            for k in keeps
        ]
        return Views(
            user=users,
            item=items,
            keep=torch.tensor(keep, device=out.device),
        )

    def _propagated_means(
        self, data: HeteroData, names: Sequence[str]
    ) -> list[Tensor]:
        """Return the parts of ablated modalities.

        All users start from one row and all items from another, so each node
        ends at a mix of the two that depends on the graph alone.
        """
        graph = self.user_item_graph(data)
        mix = _mix(
            graph, self.num_users, self.num_layers, self.user.weight.dtype
        )
        means = []
        for m in names:
            x = data['item'][f'x_{m}'].mean(dim=0)
            mean = [self.preference[m].mean(dim=0), self.projection[m](x)]
            means.append(mix @ torch.stack(mean))
        return means

    def _propagate(self, data: HeteroData, x: Tensor) -> Tensor:
        return light_gcn(x, self.user_item_graph(data), self.num_layers)

    @property
    def num_hops(self) -> int:
        """How many edges away of a node is what its embedding depends on."""
        return self.num_layers

    def extra_repr(self) -> str:
        """Return the settings."""
        return f'{super().extra_repr()}, num_layers={self.num_layers}'


@once_per_graph
def _mix(
    graph: Graph, num_users: int, num_layers: int, dtype: torch.dtype
) -> Tensor:
    """Return how much each node has of all users and of all items.

    Returns:
        Shares of shape ``[num_nodes, 2]``.
    """
    size = graph.num_nodes, 2
    side = torch.zeros(size, dtype=dtype, device=graph.adj_t.device)
    side[:num_users, 0] = 1.0
    side[num_users:, 1] = 1.0
    return light_gcn(side, graph, num_layers)


def _joined(parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Put users above items, and parts side by side."""
    user, item = (torch.cat(side, dim=-1) for side in zip(*parts, strict=True))
    return torch.cat([user, item])
