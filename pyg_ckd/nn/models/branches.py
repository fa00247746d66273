"""The parameters of recommenders with a branch for each modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset

from pyg_ckd.nn.models.backbone import Backbone


class Branches(Backbone):
    r"""A branch for IDs and one for each modality.

    Each has a row for each user and each item. The branch of IDs consists of
    two tables :math:`\mathbf{e}_u` and :math:`\mathbf{e}_i`, that of a modality
    of a table of users :math:`\mathbf{p}_{um}` and of projected features
    :math:`\mathbf{W}_m \mathbf{x}_{im} + \mathbf{b}_m`.

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        in_channels (dict[str, int]): The number of features of each modality.
        dim (int): The size of each branch.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int],
        dim: int,
    ) -> None:
        super().__init__(num_users, num_items, in_channels, dim)
        self.user = nn.Embedding(num_users, dim)
        self.item = nn.Embedding(num_items, dim)
        self.preference = nn.ParameterDict(
            {m: nn.Parameter(torch.empty(num_users, dim)) for m in in_channels}
        )
        self.projection = nn.ModuleDict(
            {m: nn.Linear(size, dim) for m, size in in_channels.items()}
        )

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        nn.init.xavier_uniform_(self.user.weight)
        nn.init.xavier_uniform_(self.item.weight)
        for table in self.preference.values():
            nn.init.xavier_uniform_(table)
        reset(self.projection)

    def tables(self, modality: str) -> Sequence[nn.Parameter]:
        """Return the parameters that are ablated along with a modality."""
        own = [self.preference[modality]] if modality in self.preference else []
        return [*super().tables(modality), *own]

    def branch(
        self, data: HeteroData, modality: str | None
    ) -> tuple[Tensor, Tensor]:
        """Return the users and the items of a branch, of IDs if ``None``."""
        if modality is None:
            return self.user.weight, self.item.weight
        x = data['item'][f'x_{modality}']
        return self.preference[modality], self.projection[modality](x)
