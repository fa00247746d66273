"""GRCN: modalities refine the graph that IDs are propagated over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.graph import RATES
from pyg_ckd.kernels.edges import Edges
from pyg_ckd.nn.conv import DotAttentionConv, PreferenceRouting
from pyg_ckd.nn.models.branches import Branches
from pyg_ckd.views import Keep, Views


class GRCN(Branches):
    r"""GRCN, in which modalities decide how much each interaction counts.

    From the `"Graph-Refined Convolutional Network for Multimedia
    Recommendation with Implicit Feedback" <https://arxiv.org/abs/2008.10007>`_
    paper:

    .. math::
        \mathbf{f}_m &= \mathrm{normalize}(\phi(\mathbf{F}_m \mathbf{W}_m +
        \mathbf{b}_m)), \quad \mathbf{p}_m = \mathrm{route}(\mathrm{normalize}(
        \mathbf{P}_m), \mathbf{f}_m)

        \mathbf{x}_m &= [\mathbf{p}_m \| \mathbf{f}_m], \quad \mathbf{h}_{m,i}
        = \mathbf{x}_{m,i} + \sum_{j \in \mathcal{N}(i)} \alpha_{m,ij} \,
        \mathbf{x}_{m,j}

        w_{ij} &= \max\left(0, \max_m \alpha_{m,ij} \, c_{m,j}\right)

        \mathbf{z} &= \mathbf{e} + \mathbf{A}_w \mathbf{e} + \mathbf{A}_w^2
        \mathbf{e}, \quad \mathbf{e} = \mathrm{normalize}([\mathbf{E}_{
        \mathcal{U}} \| \mathbf{E}_{\mathcal{I}}])

        s(u, i) &= \langle \mathbf{z}_u, \mathbf{z}_i \rangle + \sum_m \langle
        \mathbf{h}_{m,u}, \mathbf{h}_{m,i} \rangle

    with routing by :class:`~pyg_ckd.nn.PreferenceRouting`, attention
    :math:`\alpha` by :class:`~pyg_ckd.nn.DotAttentionConv`, leaky ReLU
    :math:`\phi` and learned confidences :math:`c`.

    In published code routing sends its messages to items, so that users keep
    the preferences they have. An ablated modality attends to all neighbours
    alike, in :math:`w` as well.

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        in_channels (dict[str, int]): The number of features of each modality.
        dim (int, optional): The size of each of the concatenated parts.
            (default: :obj:`64`)
        num_routings (int, optional): The number of iterations of routing.
            (default: :obj:`3`)
        routing (str, optional): ``"paper"``, or ``"published"`` to leave users
            as they are, which is what published code does.
            (default: :obj:`"paper"`)

    Raises:
        ValueError: If there is no modality, ``num_routings`` is not positive,
            or ``routing`` unknown.

    Shapes:
        - **output:** user embeddings :math:`(|\mathcal{U}|, (1 + M) d)` and
          item embeddings :math:`(|\mathcal{I}|, (1 + M) d)`

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> user_emb, item_emb = GRCN.from_data(data, dim=4)(data)
        >>> user_emb.shape, item_emb.shape
        (torch.Size([20, 12]), torch.Size([10, 12]))
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int],
        dim: int = 64,
        num_routings: int = 3,
        routing: Literal['paper', 'published'] = 'paper',
    ) -> None:
        super().__init__(num_users, num_items, in_channels, dim)
        self.check_positive(
            **{'len(in_channels)': len(in_channels)}, num_routings=num_routings
        )
        if routing not in ('paper', 'published'):
            raise ValueError(
                f"'routing' needs to be 'paper' or 'published' in "
                f"'{self.__class__.__name__}' (got '{routing}')"
            )
        self.num_routings = num_routings
        self.routing = routing
        self.route = PreferenceRouting(num_routings)
        self.attention = DotAttentionConv()
        self.confidence = nn.Parameter(
            torch.empty(self.num_nodes, len(in_channels))
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        super().reset_parameters()
        nn.init.xavier_normal_(self.confidence)

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and of all items."""
        return self.views(data, [frozenset(self.in_channels)]).embedding()

    def views(self, data: HeteroData, keeps: Sequence[Keep]) -> Views:
        """Return several views that share what they make of a modality."""
        num_users, num_items = self.num_users, self.num_items
        user, item = data[RATES].edge_index
        to_users = Edges.of(torch.stack([item, user]), (num_items, num_users))
        item = item + num_users
        both = Edges.of(
            torch.stack([torch.cat([user, item]), torch.cat([item, user])]),
            self.num_nodes,
        )

        blocks, columns = [], []
        attention: list[dict[bool, Tensor]] = []
        for m in self.in_channels:
            p, f = self.branch(data, m)
            attention.append({})
            for kept in sorted({m in keep for keep in keeps}):
                if kept:
                    h, alpha = self._content(p, f, to_users, both)
                else:
                    h, alpha = self._mean_content(p, f, both)
                attention[-1][kept] = alpha
                blocks.append(h)
                columns.append([float((m in keep) == kept) for keep in keeps])

        x = F.normalize(torch.cat([self.user.weight, self.item.weight]))
        confidence = F.embedding(both.source, self.confidence)  # [E, M]
        ids = []
        for keep in keeps:
            alpha = torch.stack(
                [
                    of_modality[m in keep]
                    for m, of_modality in zip(
                        self.in_channels, attention, strict=True
                    )
                ],
                dim=-1,
            )  # [E, M]
            weight = (alpha * confidence).amax(dim=-1).relu()
            x1 = both.aggregate(weight, x)
            x2 = both.aggregate(weight, x1)
            ids.append(x + x1 + x2)

        blocks = ids + blocks
        return Views(
            user=[block[:num_users] for block in blocks],
            item=[block[num_users:] for block in blocks],
            keep=torch.cat(
                [torch.eye(len(keeps)), torch.tensor(columns).t()], dim=1
            ).to(x.device),
        )

    def _content(
        self, p: Tensor, f: Tensor, to_users: Edges, both: Edges
    ) -> tuple[Tensor, Tensor]:
        """Return what a modality tells of the nodes, and its attention."""
        p, f = F.normalize(p), F.normalize(F.leaky_relu(f))
        if self.routing == 'paper':
            p = self.route(p, f, to_users)
        x = torch.cat([p, f])
        h, alpha = self.attention(x, both)
        return x + h, alpha

    def _mean_content(
        self, p: Tensor, f: Tensor, both: Edges
    ) -> tuple[Tensor, Tensor]:
        """Return the same for an ablated modality.

        All users look alike, and so do all items. What becomes of a node
        depends on whether it has neighbours, so a graph of four nodes tells
        all: a user and an item that are linked, and two that are not.
        """
        p, f = (x.mean(dim=0, keepdim=True).expand(2, -1) for x in (p, f))
        to_users = Edges.of(torch.tensor([[0], [0]], device=p.device), (2, 2))
        linked = torch.tensor([[0, 2], [2, 0]], device=p.device)
        h, _ = self._content(p, f, to_users, Edges.of(linked, 4))
        kind = (both.ptr.diff() == 0).long()
        kind[self.num_users :] += 2
        return F.embedding(kind, h), both.mean_weight()

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f'{super().extra_repr()}, num_routings={self.num_routings}, '
            f"routing='{self.routing}'"
        )
