"""The base of splits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, final

import torch
from torch import Tensor

from pyg_ckd.datasets.raw.interactions import Interactions

TRAIN, VALIDATION, TEST = 0, 1, 2


class Split(ABC):
    """A rule that says which interactions train, validate and test.

    A subclass implements :meth:`label`. Its ``repr`` has to name all its
    arguments, as that of a dataclass does: results on disk are known by it.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Alternate(Split):
        ...     def label(self, interactions):
        ...         return torch.arange(interactions.user.numel()) % 3
        >>> interactions = Interactions.from_ids(['ann'] * 4, list('abcd'))
        >>> Alternate()(interactions)
        tensor([0, 1, 2, 0])
    """

    @abstractmethod
    def label(self, interactions: Interactions) -> Tensor:
        """Return the split of each interaction.

        Returns:
            Integers ``[num_interactions]``: 0 (training), 1 (validation) or 2
            (test).
        """

    @property
    def state(self) -> Any:
        """What the split depends on beside its arguments, such as files."""
        return None

    @final
    def __call__(self, interactions: Interactions) -> Tensor:
        """Return the split of each interaction, none of the three empty.

        Raises:
            ValueError: If the split needs times that are not known, or leaves
                nothing for one of the three.
        """
        label = self.label(interactions)
        if label.shape != interactions.user.shape:
            raise ValueError(
                f'{self!r} has a split for each of {list(label.shape)} '
                f'interactions, but there are {interactions.user.numel()}'
            )
        for value, name in enumerate(('training', 'validation', 'test')):
            if not (label == value).any():
                raise ValueError(
                    f'split={self!r} leaves no interaction for {name}; choose '
                    f'another split, or another core'
                )
        return label


def check_share(share: float) -> None:
    """Refuse a share that leaves nothing for training.

    Args:
        share: The share of test, and that of validation.
    """
    if not 0 < share < 0.5:
        raise ValueError(
            f"'share' is that of test and of validation each, between 0 and "
            f'0.5 (got {share})'
        )


def known_time(split: Split, interactions: Interactions) -> Tensor:
    """Return the times of interactions, or raise an error that names them."""
    if interactions.time is None:
        raise ValueError(
            f'split={split!r} needs the time of each interaction; name the '
            f'column that holds it, or choose another split'
        )
    return interactions.time


def last_of(order: Tensor, share: float) -> Tensor:
    """Return labels by which the last in an order are held out.

    Args:
        order: All interactions.
        share: The share of test, which come last, and that of validation,
            which come before.

    Example:
        >>> last_of(torch.tensor([4, 3, 2, 1, 0]), share=0.2)
        tensor([2, 1, 0, 0, 0])
    """
    num = order.numel()
    part = share_of(num, share)
    label = torch.full_like(order, TRAIN)
    label[order[num - 2 * part :]] = VALIDATION
    label[order[num - part :]] = TEST
    return label


def share_of(num: int, share: float) -> int:
    """Return a share of a number, rounded down, but not by a rounding error.

    Example:
        >>> share_of(100, 0.29)  # 100 * 0.29 is 28.999999999999996.
        29
    """
    return int(round(num * share, 6))
