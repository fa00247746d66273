"""Plain values: those that JSON and TOML know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from reprlib import repr as shorten
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def fits(value: Any, kind: Any) -> bool:
    """Return whether a plain value is of a kind.

    What is neither plain nor put together from plain kinds is not looked at.

    Args:
        value: The value.
        kind: A type, as in annotations.

    Example:
        >>> fits(1, float), fits(True, float), fits({'a': 1}, dict[str, int])
        (True, False, True)
    """
    origin, parts = get_origin(kind) or kind, get_args(kind)
    if origin in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if origin is Literal:
        return any(type(value) is type(x) and value == x for x in parts)
    if origin is type(None):
        return value is None
    if origin is float:
        return type(value) in (int, float)
    if origin in (bool, int, str):
        return type(value) is origin
    if origin in (dict, Mapping):
        return isinstance(value, Mapping) and all(
            fits(one, kind)
            for pair in value.items()
            for one, kind in zip(pair, parts, strict=False)
        )
    if origin in (list, tuple, Sequence):
        return isinstance(value, list | tuple) and all(
            fits(one, part) for one in value for part in parts[:1]
        )
    return True


def check_kinds(
    values: Mapping[str, Any], kinds: Mapping[str, Any], where: str
) -> None:
    """Refuse a value that is of another kind.

    Args:
        values: Plain values by name.
        kinds: Types by name, as :func:`kinds_of` returns them.
        where: Whose values they are, for the message.

    Raises:
        ValueError: It names the first.
    """
    for name, value in values.items():
        if name in kinds and not fits(value, kinds[name]):
            kind = kinds[name]
            is_class = isinstance(kind, type) and not get_args(kind)
            shown = kind.__name__ if is_class else str(kind)
            for module in ('typing.', 'collections.abc.'):
                shown = shown.replace(module, '')
            raise ValueError(
                f"{where}: '{name}' needs to be {shown} (got {shorten(value)})"
            )


def kinds_of(make: Any) -> dict[str, Any]:
    """Return the types of arguments or fields, as far as they are known.

    Args:
        make: A class or a function.
    """
    takes = make.__init__ if isinstance(make, type) else make  # type: ignore[misc]
    try:
        return get_type_hints(takes)
    except (NameError, TypeError, AttributeError):
        return {}  # such as what is imported for type checkers alone
