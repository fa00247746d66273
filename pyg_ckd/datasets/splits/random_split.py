"""A split at random."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.splits.split import (
    Split,
    check_share,
    last_of,
)
from pyg_ckd.kernels.arguments import as_seed


@dataclass(frozen=True)
class RandomSplit(Split):
    """A share of all interactions for test, and one for validation, at random.

    Args:
        share: The share of each of the two.
        seed: The seed by which they are drawn.

    Raises:
        ValueError: If ``share`` is not between 0 and 0.5, or ``seed`` is no
            whole number from 0 on.

    Example:
        >>> interactions = Interactions.from_ids(
        ...     ['ann'] * 10, [*'abcdefghij']
        ... )
        >>> RandomSplit(share=0.1)(interactions).bincount()
        tensor([8, 1, 1])
    """

    share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check_share(self.share)
        seed = as_seed(self.__class__.__name__, self.seed)
        object.__setattr__(self, 'seed', seed)

    def label(self, interactions: Interactions) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        num = interactions.user.numel()
        return last_of(torch.randperm(num, generator=generator), self.share)
