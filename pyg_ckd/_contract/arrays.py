"""Tensors and NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def as_tensor(value: Any) -> Tensor | None:
    """Return a tensor as it is, and an array of numbers as a copy.

    Args:
        value: Anything.

    Returns:
        A tensor, or ``None`` if it is neither.
    """
    if isinstance(value, Tensor):
        return value
    if (
        not isinstance(value, np.ndarray)
        or isinstance(value, np.ma.MaskedArray)
        or value.dtype.kind not in 'biufc'
    ):
        return None
    dtype = value.dtype.newbyteorder('=')
    if dtype.itemsize > 8 and dtype.kind == 'f':
        dtype = np.dtype(np.float64)  # torch has no longer ones
    return torch.from_numpy(np.array(value, dtype=dtype, order='C'))


def kind(value: Any) -> str:
    """Return what a value is, for messages."""
    name = type(value).__name__
    if isinstance(value, np.ndarray):
        return f'{name} of {value.dtype}'
    return name


def first(mask: Tensor) -> int:
    """Return the position of the first ``True``."""
    return int(mask.byte().argmax())
