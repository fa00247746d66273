"""The base of splits."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from numbers import Real
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from pyg_ckd.datasets.raw.interactions import Interactions

TRAIN, VALIDATION, TEST = 0, 1, 2
LEFT_OUT = -1


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
            (test), a tensor or a NumPy array.
        """

    @property
    def state(self) -> Any:
        """What the split depends on beside its arguments, such as files."""
        return None

    def may_train(self, interactions: Interactions, label: Tensor) -> Tensor:
        """Return which interactions of lower weight may be trained on.

        All may, unless the split promises that training knows nothing of what
        is held out.

        Args:
            interactions: All interactions.
            label: The split of each, ``[num_interactions]``, where those of
                lower weight are for training.

        Returns:
            Booleans ``[num_interactions]``.
        """
        return torch.ones_like(label, dtype=torch.bool)

    @final
    def __call__(self, interactions: Interactions) -> Tensor:
        """Return the split of each interaction, none of the three empty.

        Of interactions with weights, those of weight 1 are split. The others
        are for training, or for nothing (-1) where they may not train.

        Raises:
            ValueError: If the split needs times that are not known, is not an
                integer from 0 to 2 for each interaction, or leaves nothing for
                one of the three, or no interaction has the weight 1.
        """
        if interactions.weight is None:
            label = _checked(self, self.label(interactions), interactions)
        else:
            label = self._label_heaviest(interactions, interactions.weight)
        for value, name in enumerate(('training', 'validation', 'test')):
            if not (label == value).any():
                raise ValueError(
                    f'split={self!r} leaves no interaction for {name}; choose '
                    f'another split, or another core'
                )
        return label

    def _label_heaviest(
        self, interactions: Interactions, weight: Tensor
    ) -> Tensor:
        """Split the interactions of weight 1, and keep others for training."""
        rows = (weight == 1).nonzero().flatten()
        if len(rows) == 0:
            raise ValueError(
                'No interaction is left of the largest weight, which is what '
                'is to be predicted; choose a smaller core, or leave its '
                'weight out'
            )
        heaviest = interactions.select(rows)
        label = torch.full_like(interactions.user, TRAIN)
        label[rows] = _checked(self, self.label(heaviest), heaviest)
        may_train = self.may_train(interactions, label)
        if (
            not isinstance(may_train, Tensor)
            or may_train.dtype != torch.bool
            or may_train.shape != label.shape
        ):
            raise ValueError(
                f"'may_train' of {self!r} needs to return a tensor of Booleans "
                f'of shape {list(label.shape)}'
            )
        lost = (weight < 1) & ~may_train
        if lost.any():
            warnings.warn(
                f'split={self!r} leaves out {int(lost.sum())} of '
                f'{len(label) - len(rows)} interactions of lower weight: '
                f'training would know what is held out',
                stacklevel=3,
            )
        return label.masked_fill(lost, LEFT_OUT)


def _checked(split: Split, label: Any, interactions: Interactions) -> Tensor:
    """Return the split of each interaction as ``int64``, or refuse it."""
    if isinstance(label, np.ndarray) and label.dtype.kind in 'iu':
        label = torch.from_numpy(label.astype(np.int64))
    if (
        not isinstance(label, Tensor)
        or label.is_floating_point()
        or label.is_complex()
        or label.dtype == torch.bool
    ):
        kind = getattr(label, 'dtype', type(label).__name__)
        raise ValueError(
            f'{split!r} needs to return a tensor or array of integers, 0 for '
            f'training, 1 for validation and 2 for test (got {kind})'
        )
    if label.shape != interactions.user.shape:
        raise ValueError(
            f'{split!r} has a split for each of {list(label.shape)} '
            f'interactions, but there are {interactions.user.numel()}'
        )
    label = label.detach().cpu().long()
    is_other = (label < TRAIN) | (label > TEST)
    if is_other.any():
        row = int(is_other.byte().argmax())
        raise ValueError(
            f'{split!r} has the split {int(label[row])} for interaction {row}, '
            f'expected 0 for training, 1 for validation or 2 for test'
        )
    return label


def check_share(share: float) -> None:
    """Refuse a share that leaves nothing for training.

    Args:
        share: The share of test, and that of validation.
    """
    if not isinstance(share, Real) or not 0 < share < 0.5:
        raise ValueError(
            f"'share' is that of test and of validation each, a number between "
            f'0 and 0.5 (got {share!r})'
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
