"""Contents of items to checked, cached feature matrices."""

from __future__ import annotations

import hashlib
import os.path as osp
import string
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from pyg_ckd.datasets.raw.files import make_writable, open_atomic
from pyg_ckd.datasets.raw.told import is_told

T = TypeVar('T')
#: What an encoder returns: a row for each of the contents.
Matrix: TypeAlias = Tensor | NDArray[Any]


def fill_template(template: str, record: Mapping[str, str]) -> str:
    """Return the text of an item, or ``''`` if all its fields are empty.

    Args:
        template: A text with fields in braces, such as ``'{title} {brand}'``.
        record: The value of each field. One that is missing is empty.

    Example:
        >>> fill_template('{title}, by {brand}', {'title': 'A  cup'})
        'A cup, by'
        >>> fill_template('{title}, by {brand}', {})
        ''
    """
    values = {name: record.get(name, '') for name in template_fields(template)}
    if not any(value.strip() for value in values.values()):
        return ''
    parts = string.Formatter().parse(template)
    text = ''.join(
        literal if name is None else literal + values[name]
        for literal, name, _, _ in parts
    )
    return ' '.join(text.split())


def template_fields(template: str) -> list[str]:
    """Return the names of the fields of a template.

    Raises:
        ValueError: If the template has none, a brace without its counterpart,
            or a field that is more than a name.

    Example:
        >>> template_fields('{title}, by {brand}')
        ['title', 'brand']
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError:  # A brace without its counterpart.
        parts = []
    names = [name for _, name, _, _ in parts if name is not None]
    is_more = any(spec or conversion for _, _, spec, conversion in parts)
    if not names or not all(names) or is_more:
        raise ValueError(
            f'A template needs fields in braces, each just a name, such as '
            f"'{{title}}' (got {template!r})"
        )
    return names


def encode(
    encoder: Callable[[list[T]], Matrix],
    contents: Iterable[T],
    keys: Sequence[bytes],
    modality: str,
    cache: str,
    chunk: int = 256,
) -> Tensor:
    """Return the features of contents, from the cache if they are there.

    The cache knows features by the ``repr`` of the encoder and the ``keys``. An
    encoder whose class has no ``repr`` of its own is not cached. Of two
    processes that need the same features, one waits for the other.

    Args:
        encoder: From a list of contents to a matrix, a tensor or array.
        contents: What to encode. Read only if it is not in the cache.
        keys: What tells each of the contents from others, such as a hash.
        modality: The name of the modality, for messages.
        cache: The folder of the cache.
        chunk: The number of contents the encoder gets at once.
            (default: ``256``)

    Returns:
        ``float32`` of shape ``[len(keys), num_features]``.

    Raises:
        ValueError: If the encoder returns something else than a finite matrix
            with a row for each of the contents and one width for all, or the
            file in the cache is damaged.
    """
    if not keys:
        return torch.empty(0, 0)
    name = repr(encoder)
    if not is_told(encoder):
        warnings.warn(
            f'The encoder of {modality!r} cannot be told from others, so its '
            f'features are computed anew at every start; give it a `__repr__` '
            f'that names all its settings',
            stacklevel=2,
        )
        return _encode(encoder, contents, len(keys), modality, chunk)
    digest = hashlib.sha256(name.encode())
    for key in keys:
        digest.update(hashlib.sha256(key).digest())
    path = osp.join(cache, f'{modality}_{digest.hexdigest()[:16]}.pt')
    make_writable(cache)
    with FileLock(f'{path}.lock'):
        if osp.exists(path):
            return _load(path)
        x = _encode(encoder, contents, len(keys), modality, chunk)
        with open_atomic(path) as file:
            # `numpy.save` may not notice that the disk is full.
            torch.save(x, file)
    return x


def fill_missing(x: Tensor, present: Tensor) -> None:
    """Set the features of items that have none to the mean of the others.

    Args:
        x: Features ``[num_items, D]``, changed in place. They need to be zero
            where they are missing.
        present: Which items have features, Booleans ``[num_items]``.

    Example:
        >>> x = torch.tensor([[1.0], [0.0], [3.0]])
        >>> fill_missing(x, torch.tensor([True, False, True]))
        >>> x
        tensor([[1.],
                [2.],
                [3.]])
    """
    x[~present] = x.sum(dim=0) / present.sum()


def _load(path: str) -> Tensor:
    try:
        return torch.load(path, weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # PyTorch raises many kinds on a damaged file.
        raise ValueError(
            f"'{path}' is damaged; delete it to compute it anew"
        ) from error


def _encode(
    encoder: Callable[[list[T]], Matrix],
    contents: Iterable[T],
    num: int,
    modality: str,
    chunk: int,
) -> Tensor:
    contents = iter(contents)
    x = torch.empty(num, 0)
    for start in tqdm(
        range(0, num, chunk),
        desc=f'Encoding {modality}',
        leave=False,
        disable=None,
    ):
        batch = list(islice(contents, chunk))
        part = _checked(encoder(batch), batch, modality)
        if start == 0:
            x = torch.empty(num, part.size(1))
        if part.size(1) != x.size(1):
            raise ValueError(
                f'The encoder of {modality!r} returned {part.size(1)} features '
                f'after {x.size(1)} before; it needs to return as many each '
                f'time'
            )
        x[start : start + len(batch)] = part
    return x


def _checked(x: Any, batch: Sequence[Any], modality: str) -> Tensor:
    is_matrix = isinstance(x, Tensor | np.ndarray)
    if not is_matrix or x.ndim != 2 or len(x) != len(batch):
        got = tuple(x.shape) if is_matrix else type(x).__name__
        raise ValueError(
            f'The encoder of {modality!r} needs to return a tensor or NumPy '
            f'array of shape ({len(batch)}, num_features) for {len(batch)} '
            f'contents (got {got})'
        )
    if isinstance(x, np.ndarray):
        if x.dtype.kind not in 'biuf':
            raise ValueError(
                f'The encoder of {modality!r} needs to return numbers (got an '
                f"array of '{x.dtype}')"
            )
        with np.errstate(over='ignore'):  # To infinity, which is refused below.
            x = torch.from_numpy(np.array(x, dtype=np.float32, order='C'))
    x = x.detach().to('cpu', torch.float32)
    is_finite = x.isfinite().all(dim=1)
    if not is_finite.all():
        content = batch[int(is_finite.int().argmin())]
        raise ValueError(
            f'The encoder of {modality!r} returned NaN or infinity for '
            f'{str(content)[:60]!r}'
        )
    return x
