"""Files of teachers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from pyg_ckd.datasets.raw.files import is_of_system, open_atomic

Settings = dict[str, str | int | float | bool | None]
Made = TypeVar('Made')


def plain(settings: Mapping[Any, Any]) -> Settings:
    """Return settings that a file can hold, others than plain ones as text.

    Args:
        settings: Any values by name.

    Example:
        >>> plain({'lr': 0.1, 'path': Path('a')})
        {'lr': 0.1, 'path': 'a'}
    """
    kinds = str, int, float, bool, type(None)
    return {
        str(name): value if type(value) in kinds else str(value)
        for name, value in settings.items()
    }


def write(state: dict[str, Any], path: str | Path) -> None:
    """Write a file, whole or not at all.

    Args:
        state: Tensors and plain values.
        path: The file.
    """
    with open_atomic(path) as file:
        torch.save(state, file)


def read(path: str | Path, make: Callable[[Any], Made]) -> Made:
    """Return what is made of a file, without executing anything in it.

    Args:
        path: The file.
        make: Makes it of what :func:`write` was given.

    Raises:
        ValueError: If the file is not whole, or nothing can be made of it.
        OSError: If it cannot be read at all.
    """
    try:
        return make(torch.load(path, map_location='cpu', weights_only=True))
    except Exception as error:  # whatever a broken file leads to
        if is_of_system(error):
            raise
        raise ValueError(
            f"'{path}' is no whole file of a teacher of this version, train "
            f'it again ({type(error).__name__}: {error})'
        ) from error
