"""Precision of what losses are made of, under autocast."""

from __future__ import annotations

import torch
from torch import Tensor


def precise(x: Tensor) -> Tensor:
    """Return a tensor of at least 32 bits.

    Args:
        x: The tensor.
    """
    return x.to(torch.promote_types(x.dtype, torch.float))
