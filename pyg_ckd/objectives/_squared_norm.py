"""The squared norm of embeddings."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyg_ckd.kernels.precise import precise


def squared_norm(*embeddings: Tensor) -> Tensor:
    """Return the sum of the squares of all numbers, in 32 bits at least.

    Its backward pass is one product; that of ``x.square().sum()`` is three.

    Args:
        *embeddings: Tensors of any shape.

    Example:
        >>> squared_norm(torch.tensor([[1.0, 2.0]]), torch.tensor([3.0]))
        tensor(14.)
    """
    total: Tensor = _SquaredNorm.apply(*map(precise, embeddings))  # type: ignore[no-untyped-call]
    return total


class _SquaredNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *xs: Tensor) -> Tensor:
        ctx.save_for_backward(*xs)
        with torch.autocast(xs[0].device.type, enabled=False):
            squares = [x.flatten() @ x.flatten() for x in xs]
        return sum(squares[1:], start=squares[0])

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, ...]:
        double = 2 * grad[0]
        return tuple(double * x for x in ctx.saved_tensors)
