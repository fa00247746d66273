"""The backbones that experiments know by name."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform
from typing_extensions import Self

from pyg_ckd import nn as library
from pyg_ckd.experiments import names
from pyg_ckd.experiments.names import BASELINES as BASELINES
from pyg_ckd.nn import Backbone, LightGCN, Recommender

#: What makes a recommender: a backbone of ours, or anything that is called
#: with the graph and the ``model`` settings.
Maker = type[Backbone] | Callable[..., nn.Module]

#: Whose code the version of the library stands for, or that of a package.
KNOWN = ('pyg_ckd', 'torch', 'torch_geometric', 'pytorch_lightning', 'builtins')


class LightGCNOfIDs(LightGCN):
    """LightGCN without modalities, the published one."""

    @classmethod
    def from_data(
        cls, data: HeteroData, use: Sequence[str] | None = (), **kwargs: Any
    ) -> Self:
        """Create a model that uses no modality, unless some are named."""
        return super().from_data(data, use, **kwargs)


#: Every backbone by name, baselines first.
BACKBONES: dict[str, Maker] = {
    **{name: vars(library)[cls] for name, cls in names.BACKBONES.items()},
    'LightGCN-ID': LightGCNOfIDs,
}


def is_ours(make: Maker) -> bool:
    """Return whether it is a class of ours, made by ``from_data``."""
    return isinstance(make, type) and issubclass(make, Backbone)


def transform_of(make: Maker) -> BaseTransform | None:
    """Return the transform that adds the graphs that a backbone needs."""
    if isinstance(make, type) and issubclass(make, Recommender):
        return make.pre_transform
    return None


def has_own_loss(make: Maker) -> bool:
    """Return whether a backbone brings a loss in place of BPR."""
    return (
        isinstance(make, type)
        and issubclass(make, Recommender)
        and make.loss is not Recommender.loss
    )


def identity_of(make: Any) -> str:
    """Return what tells a backbone from others of its name.

    It is empty for those of the library. Of others it stands for the source
    of the class and of those that it inherits from, or of the function, and
    for the plain values that it holds; not for what the source calls.

    Args:
        make: The backbone, or anything that it holds.
    """
    parts = [*_identities(make, depth=8)]
    if not any(parts):
        return ''
    name = getattr(make, '__qualname__', type(make).__qualname__)
    return f'{name} {hashlib.sha256(repr(parts).encode()).hexdigest()[:12]}'


def _identities(value: Any, depth: int) -> Iterator[str]:
    """Yield the sources and plain values that a value consists of."""
    if value is None or isinstance(value, bool | int | float | str | bytes):
        yield repr(value)
    elif depth == 0:
        yield type(value).__qualname__
    elif isinstance(value, Tensor):
        raw = value.detach().cpu().to_dense().contiguous().reshape(-1)
        yield f'{value.dtype} {tuple(value.shape)}'
        whole = raw.view(torch.uint8).numpy().tobytes()
        yield hashlib.sha256(whole).hexdigest()
    elif isinstance(value, np.ndarray):
        yield f'{value.dtype} {value.shape}'
        if not value.dtype.hasobject:
            yield hashlib.sha256(value.tobytes()).hexdigest()
    elif isinstance(value, set | frozenset):  # whose order is by chance
        yield repr(sorted([*_identities(x, depth - 1)] for x in value))
    elif isinstance(value, list | tuple | dict):
        items = value.items() if isinstance(value, dict) else value
        for each in items:
            yield from _identities(each, depth - 1)
    elif isinstance(value, type):
        for cls in value.__mro__:
            if cls.__module__.split('.')[0] not in KNOWN:
                yield _source(cls)
    elif isinstance(value, functools.partial):
        parts = (value.func, value.args, value.keywords)
        yield from _identities(parts, depth)
    elif inspect.isfunction(value) or inspect.ismethod(value):
        yield _source(value)
        held = inspect.getclosurevars(value).nonlocals
        yield from _identities((value.__defaults__, dict(held)), depth - 1)
    else:
        yield from _identities(type(value), depth)
        yield from _identities(dict(getattr(value, '__dict__', {})), depth - 1)


def _source(value: Any) -> str:
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):  # typed in, or not of Python
        code = getattr(value, '__code__', None)
        return f'{value.__qualname__} {code.co_code if code else ""!r}'
