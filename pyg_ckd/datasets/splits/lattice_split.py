"""The rule of LATTICE's splits."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.splits.per_user import hold_out_fifth, label_of
from pyg_ckd.datasets.splits.split import Split
from pyg_ckd.kernels.arguments import as_seed


@dataclass(frozen=True)
class LATTICESplit(Split):
    """The rule behind the splits of LATTICE.

    That of :class:`MMRecSplit`, but where interactions cannot be halved there
    is one more for validation.

    Args:
        seed: The seed by which they are drawn.

    Raises:
        ValueError: If ``seed`` is no whole number from 0 on.

    Example:
        >>> interactions = Interactions.from_ids(
        ...     ['ann'] * 15, [*'abcdefghijklmno']
        ... )
        >>> LATTICESplit()(interactions).bincount()
        tensor([12,  2,  1])
    """

    seed: int = 0

    def __post_init__(self) -> None:
        seed = as_seed(self.__class__.__name__, self.seed)
        object.__setattr__(self, 'seed', seed)

    def label(self, interactions: Interactions) -> Tensor:
        last, count, held_out = hold_out_fifth(interactions, self.seed)
        return label_of(last < held_out // 2, last < held_out, count)
