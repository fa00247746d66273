"""Metrics of two methods, side by side."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def paired(base: ArrayLike, other: ArrayLike) -> tuple[Array, Array]:
    """Return both as ``[num_seeds, num_users]``.

    Raises:
        ValueError: If their shapes differ, or values are not finite.
    """
    base = np.atleast_2d(np.asarray(base, dtype=np.float64))
    other = np.atleast_2d(np.asarray(other, dtype=np.float64))
    if base.shape != other.shape or base.ndim != 2 or not base.size:
        raise ValueError(
            f"'base' and 'other' need the same shape, [num_users] or "
            f'[num_seeds, num_users] (got {base.shape} and {other.shape})'
        )
    if not (np.isfinite(base).all() and np.isfinite(other).all()):
        raise ValueError("'base' and 'other' need finite values")
    return base, other


def relative_gain(base: Array, other: Array) -> float:
    """Return the relative gain of the mean.

    Raises:
        ValueError: If the mean of the base is not positive.
    """
    mean = base.mean()
    if mean <= 0:
        raise ValueError(
            f"A relative gain needs a positive mean of 'base' (got {mean})"
        )
    return float(other.mean() / mean - 1)
