"""The split that leaves one interaction of each user out."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.splits.per_user import label_of, rank_from_last
from pyg_ckd.datasets.splits.split import Split, known_time


@dataclass(frozen=True)
class LeaveOneOut(Split):
    """The latest interaction of each user for test, the one before to validate.

    Users with less than three only train. Among interactions at the same time,
    the order is that of the file.

    Example:
        >>> import torch
        >>> interactions = Interactions.from_ids(
        ...     ['ann'] * 4, ['a', 'b', 'c', 'd'],
        ...     time=torch.tensor([3, 1, 4, 2]),
        ... )
        >>> LeaveOneOut()(interactions)
        tensor([1, 0, 2, 0])
    """

    def label(self, interactions: Interactions) -> Tensor:
        order = known_time(self, interactions).argsort(stable=True)
        last, count = rank_from_last(interactions.user, order)
        return label_of(last < 1, last < 2, count)
