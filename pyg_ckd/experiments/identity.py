"""What tells a backbone that is not of the library from others of its name."""

from __future__ import annotations

import functools
import hashlib
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyg_ckd.experiments.backbones import BACKBONES

#: Whose code the version of the library stands for, or that of a package.
KNOWN = ('pyg_ckd', 'torch', 'torch_geometric', 'pytorch_lightning', 'builtins')
#: So many values are looked at.
MOST = 100_000
#: What classes hold that says nothing of what they do.
NOISE = (
    *('__doc__', '__module__', '__dict__', '__weakref__', '__annotations__'),
    *('__firstlineno__', '__static_attributes__', '_abc_impl'),
)
PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...))


def identity_of(make: Any, name: str = '') -> str:
    """Return what tells a backbone from others of its name.

    It is empty for a backbone of the library under the library's name, and
    the name of the class for one of its classes under another. Of others it
    stands for the code of the function, or of the class and of those that it
    inherits from, and for all values that it holds: attributes, defaults, what
    it closes over; not for global names that the code uses, and not for
    comments.

    Args:
        make: The backbone.
        name: What it is called.

    Raises:
        ValueError: If it holds too much to be looked at.
    """
    if isinstance(make, type) and _is_known(make):
        return '' if BACKBONES.get(name) is make else make.__qualname__
    digest = _digest(_parts(make, {}))
    name = getattr(make, '__qualname__', type(make).__qualname__)
    return f'{name} {digest[:12]}'


def _parts(value: Any, seen: dict[int, tuple[int, Any]]) -> Iterator[str]:
    """Yield texts that stand for a value and all it holds."""
    if isinstance(value, PLAIN):
        yield repr(value)
        return
    is_long = isinstance(value, list | tuple | dict | set | frozenset)
    if len(seen) > MOST or (is_long and len(value) > MOST):
        raise ValueError(
            f'A backbone holds more than {MOST:,} values: pass them as '
            f"tensors, or as 'model' settings"
        )
    if id(value) in seen:
        place, _ = seen[id(value)]
        yield f'again {place}'
        return
    # Kept, so that no other has its id:
    seen[id(value)] = len(seen), value
    yield f'{type(value).__module__}.{type(value).__qualname__} ('
    if isinstance(value, Tensor | np.ndarray | np.generic):
        yield _of_numbers(value)
    elif isinstance(value, Mapping):
        pairs = value.items()
        yield from sorted(_digest(_parts(pair, seen)) for pair in pairs)
    elif isinstance(value, set | frozenset):  # in another order each time
        yield from sorted(_digest(_parts(x, dict(seen))) for x in value)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _parts(each, seen)
    elif isinstance(value, types.CodeType):
        yield repr((value.co_code, value.co_names))
        yield from _parts(value.co_consts, seen)
    else:
        yield from _of_object(value, seen)
    yield ')'


def _digest(parts: Iterable[str]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(f'{part}\n'.encode(errors='replace'))
    return whole.hexdigest()


def _of_object(value: Any, seen: dict[int, tuple[int, Any]]) -> Iterator[str]:
    """Yield what classes, functions and other objects are made of."""
    if isinstance(value, type):
        yield f'{value.__module__.split(".")[0]} {value.__qualname__}'
        for cls in () if _is_known(value) else value.__mro__:
            if not _is_known(cls):
                own = {k: v for k, v in vars(cls).items() if k not in NOISE}
                yield from _parts(own, seen)
    elif isinstance(value, types.FunctionType):
        defaults = value.__defaults__, value.__kwdefaults__
        yield from _parts((value.__code__, *defaults), seen)
        for cell in value.__closure__ or ():
            yield from _parts(_content(cell), seen)
    elif isinstance(value, types.ModuleType):
        yield value.__name__
    elif isinstance(value, types.MethodType):
        yield from _parts((value.__func__, value.__self__), seen)
    elif isinstance(value, classmethod | staticmethod):
        yield from _parts(value.__func__, seen)
    elif isinstance(value, property):
        yield from _parts((value.fget, value.fset), seen)
    elif isinstance(value, functools.partial):
        yield from _parts((value.func, value.args, value.keywords), seen)
    else:
        yield from _parts(type(value), seen)
        held = {
            name: getattr(value, name, None)
            for cls in type(value).__mro__
            for name in vars(cls).get('__slots__', ())
            if not name.startswith('__')
        }
        held |= getattr(value, '__dict__', {})
        yield from _parts(held, seen)
        text = '' if held else repr(value)
        yield '' if ' at 0x' in text else text


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that gets its value later
        return None


def _of_numbers(value: Any) -> str:
    """Return the hash of an array, as far as it can be read."""
    try:
        if isinstance(value, Tensor):
            if value.layout is not torch.strided:
                value = value.to_sparse_coo().coalesce()
                pair = value.indices(), value.values()
                return f'{tuple(value.shape)} {[*map(_of_numbers, pair)]}'
            flat = value.detach().resolve_conj().cpu().contiguous().reshape(-1)
            raw = flat.view(torch.uint8).numpy().tobytes()
        elif value.dtype.hasobject:
            return repr(value)
        else:
            raw = value.tobytes()
    except (RuntimeError, NotImplementedError, TypeError):  # without numbers
        return f'{value.dtype} {tuple(value.shape)}'
    digest = hashlib.sha256(raw).hexdigest()
    return f'{value.dtype} {tuple(value.shape)} {digest}'


def _is_known(cls: type) -> bool:
    return cls.__module__.split('.')[0] in KNOWN
