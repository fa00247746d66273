"""Noise that is the same in each call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor


@contextmanager
def same_noise() -> Iterator[None]:
    """Make dropout and Gumbel noise equal between calls, to compare them.

    Two tensors with equally many rows and columns get the same noise.

    Example:
        >>> x = torch.ones(3, 4)
        >>> with same_noise():
        ...     torch.equal(F.dropout(x), F.dropout(x))
        True
    """
    with (
        patch.object(F, 'dropout', _dropout),
        patch.object(F, 'gumbel_softmax', _gumbel_softmax),
    ):
        yield


def _uniform(x: Tensor) -> Tensor:
    """Return random numbers by row and column, the seed is their number."""
    generator = torch.Generator().manual_seed(len(x))
    shape = len(x), *[1] * (x.dim() - 2), x.size(-1)
    return torch.rand(shape, generator=generator).to(x.device)


def _dropout(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    if not training:
        return input
    return input * (_uniform(input) > p) / (1 - p)


def _gumbel_softmax(logits: Tensor, tau: float = 1, **kwargs: Any) -> Tensor:
    assert not kwargs, kwargs
    noise = -(-_uniform(logits).log()).log()
    return ((logits + noise) / tau).softmax(dim=-1)
