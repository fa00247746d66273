"""What is found of one modality."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.datasets._description.common_users import CommonUsers
from pyg_ckd.datasets._description.equal_rows import equal_rows
from pyg_ckd.datasets._description.lift import (
    FeatureLift,
    features_of,
    lift_of,
)
from pyg_ckd.datasets._description.neighbors import with_direction

#: How many neighbours an item has on the page.
K = 5


@dataclass(frozen=True, eq=False)
class Modality:
    """What the features of one modality are like.

    Args:
        name (str): Its name.
        x (Tensor): The features, ``[num_items, num_features]``.
        has (Tensor): Which items have it, ``[num_items]``.
        among (Tensor): Those of them whose features are not all zero.
        equal (list[list[int]]): Groups of these whose features are the same.
        lift (FeatureLift, optional): Whether neighbours share their users.
    """

    name: str
    x: Tensor
    has: Tensor
    among: Tensor
    equal: list[list[int]]
    lift: FeatureLift | None

    @classmethod
    def of(cls, data: HeteroData, name: str, users: CommonUsers) -> Modality:
        """Look at the features of a modality.

        Args:
            data: A user-item graph.
            name: The modality.
            users: The users that items have in common.
        """
        x, has = features_of(data, name)
        if has is None:
            has = torch.ones(len(x), dtype=torch.bool)
        among = with_direction(x, has)
        return cls(
            name,
            x,
            has,
            among,
            equal_rows(x, among),
            lift_of(x, among, users, K),
        )

    @property
    def num_equal(self) -> int:
        """The number of items whose features another has, too."""
        return sum(map(len, self.equal))

    @property
    def num_zero(self) -> int:
        """The number of items that have it, and only zeros."""
        return int(self.has.sum()) - len(self.among)
