"""Training mode, but not of what is frozen."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn


def modes_of_frozen(module: nn.Module) -> dict[nn.Module, bool]:
    """Return the modes of parts that have parameters, none of them trained.

    They are the user's choice: a frozen encoder in evaluation mode stays so.

    Args:
        module: The module.

    Example:
        >>> encoder = nn.Linear(2, 2).requires_grad_(False).eval()
        >>> modes_of_frozen(nn.Sequential(encoder, nn.Linear(2, 2)))
        {Linear(in_features=2, out_features=2, bias=True): False}
    """
    frozen = [
        part
        for part in module.modules()
        if (own := list(part.parameters()))
        and not any(parameter.requires_grad for parameter in own)
    ]
    return {part: part.training for each in frozen for part in each.modules()}


def set_modes(modes: Mapping[nn.Module, bool]) -> None:
    """Set the modes of parts.

    Args:
        modes: Whether each is in training.
    """
    for part, training in modes.items():
        part.training = training
