"""Whether an object tells by its ``repr`` all that it computes by."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import PurePath
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch_geometric.transforms import BaseTransform, Compose

_PLAIN = (
    *(str, bytes, bool, int, float, complex, type(None), type),
    *(PurePath, enum.Enum, np.generic, torch.dtype, torch.device),
)
#: Whose ``repr`` names no settings.
_BASES = (object, nn.Module, BaseTransform)


def is_told(value: Any) -> bool:
    """Return whether the ``repr`` of a value tells it from all others.

    Plain values do, and what is made of them. Of objects, those whose own
    class says how they are shown: what it inherits knows nothing of what it
    adds; and not those that hold tensors or arrays, which are shown cut and
    rounded. The ``repr`` that PyG's transforms and torch's modules inherit
    names no settings and no weights, which does only where there are none.

    Args:
        value: The value.

    Example:
        >>> from torch_geometric.transforms import ToUndirected
        >>> from pyg_ckd.transforms import ItemKNN
        >>> is_told(ItemKNN(5)), is_told(ToUndirected()), is_told(lambda x: x)
        (True, False, False)
    """
    if isinstance(value, _PLAIN):
        return True
    if isinstance(value, Mapping):
        return all(is_told(x) for pair in value.items() for x in pair)
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(is_told, value))
    if isinstance(value, Compose):
        return is_told(value.transforms)
    if isinstance(value, partial):
        return is_told((value.func, value.args, value.keywords))
    if isinstance(value, MethodType):
        return is_told(value.__self__)
    if ' at 0x' in repr(value) or isinstance(value, np.ndarray | torch.Tensor):
        return False
    if type(value).__repr__ in [base.__repr__ for base in _BASES]:
        return not getattr(value, '__dict__', True)
    return '__repr__' in vars(type(value)) and not _has_numbers(_held(value))


def _held(value: Any) -> list[Any]:
    """Return what an object holds."""
    names = [each.name for each in fields(value)] if is_dataclass(value) else []
    slots = [getattr(value, name, None) for name in names]
    return [*getattr(value, '__dict__', {}).values(), *slots]


def _has_numbers(value: Any) -> bool:
    """Return whether a value is a tensor or array, or holds some."""
    if isinstance(value, Mapping):
        return any(map(_has_numbers, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(_has_numbers, value))
    if is_dataclass(value) and not isinstance(value, type):
        return _has_numbers(_held(value))
    return isinstance(value, np.ndarray | torch.Tensor)
