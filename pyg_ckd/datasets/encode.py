"""Contents of items to checked, cached feature matrices."""

from __future__ import annotations

import hashlib
import os.path as osp
import string
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from pyg_ckd.datasets.files import open_atomic

T = TypeVar('T')


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
    names = template_fields(template)
    fields = {name: record.get(name, '') for name in names}
    if not any(value.strip() for value in fields.values()):
        return ''
    return ' '.join(template.format_map(fields).split())


def template_fields(template: str) -> list[str]:
    """Return the names of the fields of a template.

    Raises:
        ValueError: If the template has none, or a field is more than a name.

    Example:
        >>> template_fields('{title}, by {brand}')
        ['title', 'brand']
    """
    parts = string.Formatter().parse(template)
    names = [name for _, name, _, _ in parts if name is not None]
    if not names or not all(name.isidentifier() for name in names):
        raise ValueError(
            f'A template needs fields in braces, each a plain name, such as '
            f"'{{title}}' (got {template!r})"
        )
    return names


def encode(
    encoder: Callable[[list[T]], Tensor],
    contents: Iterable[T],
    keys: Sequence[bytes],
    modality: str,
    cache: str,
    chunk: int = 256,
) -> Tensor:
    """Return the features of contents, from the cache if they are there.

    The cache knows features by the ``repr`` of the encoder and the ``keys``. An
    encoder without a ``repr`` of its own is not cached.

    Args:
        encoder: From a list of contents to a matrix.
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
            with a row for each of the contents and one width for all.
    """
    if not keys:
        return torch.empty(0, 0)
    digest = hashlib.sha256(repr(encoder).encode())
    for key in keys:
        digest.update(hashlib.sha256(key).digest())
    path = osp.join(cache, f'{modality}_{digest.hexdigest()[:16]}.npy')
    if ' at 0x' in repr(encoder):
        warnings.warn(
            f'The encoder of {modality!r} cannot be told from others, so its '
            f'features are computed anew at every start; give it a `__repr__` '
            f'that names all its settings',
            stacklevel=2,
        )
    elif osp.exists(path):
        return torch.from_numpy(np.load(path, allow_pickle=False))
    x = _encode(encoder, contents, len(keys), modality, chunk)
    if ' at 0x' not in repr(encoder):
        with open_atomic(path) as file:
            np.save(file, x.numpy())
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


def _encode(
    encoder: Callable[[list[T]], Tensor],
    contents: Iterable[T],
    num: int,
    modality: str,
    chunk: int,
) -> Tensor:
    parts: list[Tensor] = []
    batch: list[T] = []
    with tqdm(
        total=num, desc=f'Encoding {modality}', leave=False, disable=None
    ) as progress:
        for content in contents:
            batch.append(content)
            if len(batch) == chunk:
                parts.append(_checked(encoder(batch), batch, parts, modality))
                progress.update(len(batch))
                batch = []
        if batch:
            parts.append(_checked(encoder(batch), batch, parts, modality))
    return torch.cat(parts)


def _checked(
    x: Any, batch: Sequence[Any], parts: list[Tensor], modality: str
) -> Tensor:
    if not isinstance(x, Tensor) or x.dim() != 2 or len(x) != len(batch):
        got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(
            f'The encoder of {modality!r} needs to return a tensor of shape '
            f'({len(batch)}, num_features) for {len(batch)} contents (got '
            f'{got})'
        )
    if parts and parts[0].size(1) != x.size(1):
        raise ValueError(
            f'The encoder of {modality!r} returned {x.size(1)} features after '
            f'{parts[0].size(1)} before; it needs to return as many each time'
        )
    x = x.detach().to('cpu', torch.float32)
    is_finite = x.isfinite().all(dim=1)
    if not is_finite.all():
        content = batch[int(is_finite.int().argmin())]
        raise ValueError(
            f'The encoder of {modality!r} returned NaN or infinity for '
            f'{str(content)[:60]!r}'
        )
    return x
