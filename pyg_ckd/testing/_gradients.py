"""Gradients by name, and comparisons with naive re-computations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def gradients(
    out: Tensor | Sequence[Tensor],
    model: nn.Module,
    weight: Sequence[Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return the gradient of each parameter, zeros where there is none.

    The graph of the computation is kept, to compare several gradients of it.

    Args:
        out: A scalar, or several tensors.
        model: The module whose parameters they are.
        weight: The gradient of each of several tensors.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> gradients(model.weight.sum(), model)
        {'weight': tensor([[1., 1.]]), 'bias': tensor([0.])}
    """
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    grads = torch.autograd.grad(
        out,
        list(parameters.values()),
        weight,
        retain_graph=True,
        allow_unused=True,
    )
    return {
        name: torch.zeros_like(parameter) if grad is None else grad
        for (name, parameter), grad in zip(
            parameters.items(), grads, strict=True
        )
    }


def assert_same_with_gradients(
    result: Sequence[Tensor],
    expected: Sequence[Tensor],
    model: nn.Module,
    rtol: float = 1e-4,
    atol: float = 1e-4,
) -> None:
    """Compare tensors, and the gradients of a random sum of their entries.

    Args:
        result: Some tensors.
        expected: What they should be.
        model: The module whose parameters both are computed from.
        rtol: The relative tolerance.
        atol: The absolute tolerance.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> x = torch.randn(3, 2)
        >>> expected = x @ model.weight.t() + model.bias
        >>> assert_same_with_gradients([model(x)], [expected], model)
    """
    tolerance: dict[str, Any] = {'rtol': rtol, 'atol': atol}
    torch.testing.assert_close(list(result), list(expected), **tolerance)
    weight = [torch.randn_like(x) for x in expected]
    torch.testing.assert_close(
        gradients(result, model, weight),
        gradients(expected, model, weight),
        **tolerance,
    )
