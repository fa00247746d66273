"""Checks of numbers that are given as arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeGuard

import numpy as np

Range = Literal['any', 'positive', 'at least 0', 'in [0, 1)', 'in [0, 1]']

_RANGES: dict[Range, Callable[[float], bool]] = {
    'any': lambda x: True,
    'positive': lambda x: x > 0,
    'at least 0': lambda x: x >= 0,
    'in [0, 1)': lambda x: 0 <= x < 1,
    'in [0, 1]': lambda x: 0 <= x <= 1,
}


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a real number, of Python or NumPy.

    Args:
        value: Any value.

    Example:
        >>> is_number(2), is_number(0.5), is_number(True), is_number('0.5')
        (True, True, False, False)
    """
    kinds = int, float, np.integer, np.floating
    return isinstance(value, kinds) and not isinstance(value, bool)


def is_whole(value: object) -> TypeGuard[int]:
    """Return whether a value is a whole number, of Python or NumPy.

    Args:
        value: Any value.

    Example:
        >>> is_whole(2), is_whole(2.0), is_whole(True), is_whole('2')
        (True, False, False, False)
    """
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_number(owner: str, wanted: Range, /, **numbers: float) -> None:
    """Refuse what is no finite number, or out of range.

    Args:
        owner: Whose they are, for messages.
        wanted: The range.
        numbers: They by the names of the arguments.

    Raises:
        ValueError: If one is not.
    """
    for name, number in numbers.items():
        finite = is_number(number) and math.isfinite(number)
        if not finite or not _RANGES[wanted](number):
            range_ = '' if wanted == 'any' else f', {wanted},'
            raise ValueError(
                f"'{name}' needs to be a finite number{range_} in '{owner}' "
                f'(got {number!r})'
            )


def check_whole(owner: str, least: int = 1, /, **sizes: int) -> None:
    """Refuse sizes that are no whole numbers, or too small.

    Args:
        owner: Whose they are, for messages.
        least: What they are at least.
        sizes: They by the names of the arguments.

    Raises:
        ValueError: If one is not.
    """
    for name, size in sizes.items():
        if not is_whole(size) or size < least:
            raise ValueError(
                f"'{name}' needs to be a whole number, at least {least}, in "
                f"'{owner}' (got {size!r})"
            )


def as_seed(owner: str, seed: int, bits: int = 63) -> int:
    """Return a seed as a plain number, which generators and files need.

    Args:
        owner: Whose it is, for messages.
        seed: The seed.
        bits: How many it may have; NumPy's global generator takes 32.

    Raises:
        ValueError: If it is no whole number from 0 on of so many bits.
    """
    if not is_whole(seed) or not 0 <= seed < 2**bits:
        raise ValueError(
            f"'seed' needs to be a whole number from 0 to 2^{bits} - 1 in "
            f"'{owner}' (got {seed!r})"
        )
    return int(seed)
