"""Weights as whole numbers, whose sums do not depend on their order."""

from __future__ import annotations

from torch import Tensor

#: So many units are a weight of 1.
UNIT = 2**32


def as_units(weight: Tensor) -> Tensor:
    """Return weights in units of ``2**-32``, none of them 0.

    Args:
        weight: Numbers in (0, 1].

    Example:
        >>> import torch
        >>> as_units(torch.tensor([1.0, 0.25])) / UNIT
        tensor([1.0000, 0.2500])
    """
    return weight.double().mul(UNIT).round().long().clamp(1, UNIT)


def drawn(units: Tensor, start: Tensor) -> Tensor:
    """Return which of some weights are drawn, each as likely as it is large.

    This is systematic sampling: weights are laid end to end, and those are
    drawn that hold a point of a grid of distance 1. So many are drawn as the
    weights sum to, rounded up or down, and of weight 1 all.

    Args:
        units: Weights in random order, as :func:`as_units` returns them.
        start: The first point of the grid, an integer from 0 to ``UNIT - 1``.

    Returns:
        Booleans of the shape of ``units``.

    Example:
        >>> import torch
        >>> units = as_units(torch.tensor([0.5, 0.5, 1.0, 0.5, 0.5]))
        >>> drawn(units, torch.tensor(0))
        tensor([ True, False,  True,  True, False])
    """
    end = units.cumsum(0)
    # How many points are before the end of each:
    count = (end - start + UNIT - 1).div(UNIT, rounding_mode='floor')
    return count.diff(prepend=count.new_zeros(1)) > 0
