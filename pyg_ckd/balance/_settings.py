"""Checks of the settings of a balance."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn

from pyg_ckd.kernels.arguments import check_number

Part = TypeVar('Part', bound=nn.Module)


def check_strength(strength: float, owner: str) -> None:
    """Refuse a negative strength.

    Args:
        strength: The weight of what a balance adds to the loss.
        owner: Whose it is, for messages.

    Raises:
        ValueError: If it is negative.
    """
    check_number(owner, 'at least 0', strength=strength)


def own_part(name: str, part: Part | None, wanted: type[Part]) -> Part | None:
    """Return a copy of a part, lest defaults and others share it.

    Args:
        name: The argument.
        part: What was given; :obj:`None` leaves it out.
        wanted: The class that it needs.

    Raises:
        TypeError: If it is of another class.
    """
    if part is not None and not isinstance(part, wanted):
        raise TypeError(
            f"'{name}' needs to be a {wanted.__name__} or None (got {part!r})"
        )
    return copy.deepcopy(part)
