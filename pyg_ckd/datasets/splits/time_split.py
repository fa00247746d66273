"""A split by time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.splits.per_user import label_of, rank_from_last
from pyg_ckd.datasets.splits.split import (
    TRAIN,
    Split,
    check_share,
    known_time,
    last_of,
)


@dataclass(frozen=True)
class TimeSplit(Split):
    r"""The latest interactions for test, those before for validation.

    The same point in time holds for all users, so that nothing is known at
    training that is later than what is predicted. ``per_user`` takes the latest
    of each instead: of :math:`n` interactions :math:`\lfloor n \cdot
    \mathrm{share} \rfloor`, but at least one, are for test, and as many for
    validation; users with less than three only train. Among interactions at
    the same time, the order is that of the file.

    Args:
        share: The share of test, and that of validation.
        per_user: Whether the history of each user is split.

    Raises:
        ValueError: If ``share`` is not between 0 and 0.5, or ``per_user`` is no
            Boolean.

    Example:
        >>> import torch
        >>> interactions = Interactions.from_ids(
        ...     ['ann'] * 5, list('abcde'), time=torch.tensor([5, 1, 2, 3, 4])
        ... )
        >>> TimeSplit(share=0.2)(interactions)
        tensor([2, 0, 0, 0, 1])
    """

    share: float = 0.1
    per_user: bool = False

    def __post_init__(self) -> None:
        check_share(self.share)
        if not isinstance(self.per_user, bool):
            raise ValueError(
                f"'per_user' needs to be True or False (got {self.per_user!r})"
            )

    def label(self, interactions: Interactions) -> Tensor:
        order = known_time(self, interactions).argsort(stable=True)
        if not self.per_user:
            return last_of(order, self.share)
        last, count = rank_from_last(interactions.user, order)
        # As in `share_of`:
        part = (
            count.double()
            .mul(self.share)
            .mul(1e6)
            .round()
            .div(1e6)
            .long()
            .clamp(1)
        )
        return label_of(last < part, last < 2 * part, count)

    def may_train(self, interactions: Interactions, label: Tensor) -> Tensor:
        time, held_out = known_time(self, interactions), label != TRAIN
        if self.per_user or not held_out.any():
            return torch.ones_like(held_out)
        return time <= time[held_out].min()
