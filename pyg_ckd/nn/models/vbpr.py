"""VBPR with a table of users for each modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.nn.models.branches import Branches
from pyg_ckd.views import Keep, Views


class VBPR(Branches):
    r"""Visual Bayesian personalised ranking, for any number of modalities.

    From the `"VBPR: Visual Bayesian Personalized Ranking from Implicit
    Feedback" <https://arxiv.org/abs/1510.01784>`_ paper, without its biases
    and with one table of users a modality, as CKD's authors use it:

    .. math::
        s(u, i) = \langle \mathbf{e}_u, \mathbf{e}_i \rangle + \sum_m \langle
        \mathbf{p}_{um}, \mathbf{W}_m \mathbf{x}_{im} + \mathbf{b}_m \rangle

    The embeddings are the concatenations :math:`[\mathbf{e}_u \|
    \mathbf{p}_{u1} \| \ldots]` and :math:`[\mathbf{e}_i \| \mathbf{W}_1
    \mathbf{x}_{i1} + \mathbf{b}_1 \| \ldots]`.
    An ablated modality adds one constant to all scores, which cancels from
    margins and rankings.

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        in_channels (dict[str, int]): The number of features of each modality.
        dim (int, optional): The size of each of the concatenated parts.
            (default: :obj:`64`)

    Shapes:
        - **output:** user embeddings :math:`(|\mathcal{U}|, (1 + M) d)` and
          item embeddings :math:`(|\mathcal{I}|, (1 + M) d)`

    Example:
        >>> VBPR(8, 5, {'image': 16, 'text': 12}, dim=4)
        VBPR(8, 5, {'image': 16, 'text': 12}, dim=4)
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int],
        dim: int = 64,
    ) -> None:
        super().__init__(num_users, num_items, in_channels, dim)
        self.reset_parameters()

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and of all items."""
        parts = [self.branch(data, m) for m in (None, *self.in_channels)]
        user, item = (
            torch.cat(side, dim=-1) for side in zip(*parts, strict=True)
        )
        return user, item

    def views(self, data: HeteroData, keeps: Sequence[Keep]) -> Views:
        """Return several views that share each part of the embeddings.

        Only the items that are asked for are projected. What is left of an
        ablated modality is a constant block.
        """
        kept = [m for m in self.in_channels if any(m in k for k in keeps)]
        gone = [m for m in self.in_channels if any(m not in k for k in keeps)]
        x = {m: data['item'][f'x_{m}'] for m in self.in_channels}
        keep = [
            [1.0]
            + [float(m in k) for m in kept]
            + [float(m not in k) for m in gone]
            for k in keeps
        ]
        return Views(
            user=[
                self.user.weight,
                *(self.preference[m] for m in kept),
                *(_Mean(self.preference[m], nn.Identity()) for m in gone),
            ],
            item=[
                self.item.weight,
                *(_Projected(x[m], self.projection[m]) for m in kept),
                *(_Mean(x[m], self.projection[m]) for m in gone),
            ],
            keep=torch.tensor(keep, device=self.user.weight.device),
            constant=len(gone),
        )


@dataclass
class _Projected:
    x: Tensor
    projection: nn.Module

    def rows(self, index: Tensor | None = None) -> Tensor:
        x = self.x if index is None else self.x[index]
        out: Tensor = self.projection(x)
        return out


@dataclass
class _Mean:
    x: Tensor
    projection: nn.Module

    def rows(self, index: Tensor | None = None) -> Tensor:
        mean: Tensor = self.projection(self.x.mean(dim=0, keepdim=True))
        num = len(self.x) if index is None else len(index)
        return mean.expand(num, -1)
