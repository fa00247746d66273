"""A split that holds out items entirely."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.splits.split import (
    TEST,
    TRAIN,
    VALIDATION,
    Split,
    check_share,
    share_of,
)
from pyg_ckd.kernels.arguments import as_seed


@dataclass(frozen=True)
class ColdItemSplit(Split):
    """Items that training has never seen, which is what content is for.

    A share of the items is drawn for test and one for validation, with all
    their interactions. They stay in the graph, with features and without any
    interaction of training. Among all items they compete with ones that are
    known, so that metrics are low; ``evaluate(..., candidates=)`` ranks them
    among each other. :class:`~pyg_ckd.serving.ColdItems` holds items out of
    the graph as well, as a shop meets them.

    Args:
        share: The share of items of each of the two, at least one.
        seed: The seed by which they are drawn.

    Raises:
        ValueError: If ``share`` is not between 0 and 0.5, or ``seed`` is no
            whole number from 0 on.

    Example:
        >>> interactions = Interactions.from_ids(
        ...     ['ann', 'ann', 'ann', 'bob', 'bob', 'bob'], list('abcbcd')
        ... )
        >>> ColdItemSplit(share=0.25)(interactions)
        tensor([2, 1, 0, 1, 0, 0])
    """

    share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check_share(self.share)
        seed = as_seed(self.__class__.__name__, self.seed)
        object.__setattr__(self, 'seed', seed)

    def label(self, interactions: Interactions) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        num_items = len(interactions.items)
        order = torch.randperm(num_items, generator=generator)
        num = max(1, share_of(num_items, self.share))
        of_item = torch.full((num_items,), TRAIN)
        of_item[order[:num]] = TEST
        of_item[order[num : 2 * num]] = VALIDATION
        return of_item[interactions.item]

    def may_train(self, interactions: Interactions, label: Tensor) -> Tensor:
        held_out = torch.zeros(len(interactions.items), dtype=torch.bool)
        held_out[interactions.item[label != TRAIN]] = True
        return ~held_out[interactions.item]
