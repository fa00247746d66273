"""Arguments that count something."""

from __future__ import annotations

from numbers import Integral
from typing import TypeGuard


def is_whole(value: object) -> TypeGuard[int]:
    """Return whether a value is a whole number, of Python or NumPy.

    Args:
        value: Any value.

    Example:
        >>> is_whole(2), is_whole(2.0), is_whole(True), is_whole('2')
        (True, False, False, False)
    """
    return isinstance(value, Integral) and not isinstance(value, bool)


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
