"""The splits published with Amazon Reviews 2023."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.splits.split import Split

#: How interactions are split, and the least number of each user and item.
RULES = ('last_out', 'timestamp')
CORES = (0, 5)


@dataclass(frozen=True)
class BenchmarkSplit(Split):
    """A split published with Amazon Reviews 2023, for its interactions.

    It comes in files that hold the interactions as well, which
    :class:`AmazonReviews2023` reads, so that it splits no others.

    Args:
        rule: ``'last_out'``, the last interaction of each user for test and the
            one before for validation, or ``'timestamp'``, a point in time from
            which on all are for validation, and a later one for test.
        core: ``5`` for the 5-core, ``0`` for all users and items.
        labels: The split of each interaction, once they are read.

    Raises:
        ValueError: If there is no such split.

    Example:
        >>> BenchmarkSplit('timestamp', core=0)
        BenchmarkSplit(rule='timestamp', core=0)
    """

    rule: str = 'last_out'
    core: int = 5
    labels: Tensor | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, value, values in (
            ('rule', self.rule, RULES),
            ('core', self.core, CORES),
        ):
            if value not in values:
                raise ValueError(
                    f"'{name}' needs to be {values[0]!r} or {values[1]!r} (got "
                    f'{value!r})'
                )

    @property
    def folder(self) -> str:
        """The folder of its files, below the server."""
        return f'benchmark/{self.core}core/{self.rule}'

    def label(self, interactions: Interactions) -> Tensor:
        if self.labels is None:
            raise ValueError(
                f'{self!r} splits its own interactions; pass it to '
                f'AmazonReviews2023, or choose another split'
            )
        return self.labels
