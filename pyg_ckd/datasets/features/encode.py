"""Contents of items to checked, cached feature matrices."""

from __future__ import annotations

import hashlib
import os.path as osp
import string
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import compress, islice
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from pyg_ckd.datasets.features.shards import KEY_SIZE, Shards
from pyg_ckd.datasets.raw.files import make_writable
from pyg_ckd.datasets.raw.told import is_told

T = TypeVar('T')
#: What an encoder returns: a row for each of the contents.
Matrix: TypeAlias = Tensor | NDArray[Any]

_SHARD = 1024  # Rows that are kept at once.


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
    keys: Sequence[bytes | None],
    modality: str,
    cache: str,
    chunk: int = 256,
) -> Tensor:
    """Return the features of contents, those from the cache that are there.

    The cache knows the encoder by its ``repr`` and each of the contents by its
    key, so that only those are encoded which are new, each one once. What is
    encoded is kept shard by shard, about a thousand rows each: a process that
    was killed goes on where it was. An encoder whose class has no ``repr`` of
    its own is not cached. Of two processes that need the same features, one
    waits for the other.

    Args:
        encoder: From a list of contents to a matrix, a tensor or array.
        contents: The contents of those that have a key. Of a sequence only
            those are taken that are not in the cache; of another iterable all
            up to the last one of these.
        keys: What tells each of the contents from others, such as a hash;
            ``None`` where there is no content.
        modality: The name of the modality, for messages.
        cache: The folder of the cache.
        chunk: The number of contents the encoder gets at once.
            (default: ``256``)

    Returns:
        ``float32`` of shape ``[len(keys), num_features]``, zero where there is
        no content.

    Raises:
        ValueError: If the encoder returns something else than a finite matrix
            with a row for each of the contents and one width for all, or a file
            in the cache is damaged.
    """
    encoding = _Encoding(encoder, contents, keys, modality, chunk)
    if not encoding.new:
        return torch.zeros(len(keys), 0)
    name = repr(encoder)
    if not is_told(encoder):
        warnings.warn(
            f'The encoder of {modality!r} cannot be told from others, so its '
            f'features are computed anew at every start; give it a `__repr__` '
            f'that names all its settings',
            stacklevel=2,
        )
        encoding.run(None)
        return encoding.x
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    folder = osp.join(cache, f'{modality}_{digest}')
    make_writable(cache)
    with FileLock(f'{folder}.lock'):
        encoding.run(Shards(folder))
    return encoding.x


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


class _Encoding(Generic[T]):
    """The features of contents, as far as they are known.

    Arguments are those of :func:`encode`.
    """

    def __init__(
        self,
        encoder: Callable[[list[T]], Matrix],
        contents: Iterable[T],
        keys: Sequence[bytes | None],
        modality: str,
        chunk: int,
    ) -> None:
        self.encoder = encoder
        self.contents = contents
        self.modality = modality
        self.chunk = chunk
        self.x = torch.empty(len(keys), 0)
        #: For each content that is not known yet its row, and its position
        #: among the contents.
        self.new: dict[bytes, tuple[int, int]] = {}
        #: Rows of a content that an earlier row has, and these.
        self._twins: list[tuple[int, int]] = []
        known = [(row, key) for row, key in enumerate(keys) if key is not None]
        for position, (row, key) in enumerate(known):
            digest = hashlib.blake2b(key, digest_size=KEY_SIZE).digest()
            first, _ = self.new.setdefault(digest, (row, position))
            if first != row:
                self._twins.append((row, first))

    def run(self, shards: Shards | None) -> None:
        """Take what shards hold, and encode the rest."""
        for keys, part in shards or ():
            places = [i for i, key in enumerate(keys) if key in self.new]
            rows = [self.new.pop(keys[i])[0] for i in places]
            if rows:
                self._put(rows, torch.from_numpy(part[places]))
        if self.new:
            self._encode(shards)
        if self._twins:
            rows, firsts = map(list, zip(*self._twins, strict=True))
            self.x[rows] = self.x[firsts]

    def _encode(self, shards: Shards | None) -> None:
        new = list(self.new.items())
        contents = self._chosen([position for _, (_, position) in new])
        size = max(_SHARD // self.chunk, 1) * self.chunk
        with tqdm(
            total=len(new),
            desc=f'Encoding {self.modality}',
            leave=False,
            disable=None,
        ) as bar:
            for start in range(0, len(new), size):
                shard = new[start : start + size]
                for first in range(0, len(shard), self.chunk):
                    part = shard[first : first + self.chunk]
                    batch = list(islice(contents, len(part)))
                    x = _checked(self.encoder(batch), batch, self.modality)
                    self._put([row for _, (row, _) in part], x)
                    bar.update(len(part))
                if shards is not None:
                    rows = [row for _, (row, _) in shard]
                    keys = [key for key, _ in shard]
                    shards.write(keys, self.x[rows].numpy())

    def _chosen(self, positions: list[int]) -> Iterator[T]:
        """Return the contents at some positions, in ascending order."""
        if isinstance(self.contents, Sequence):
            return map(self.contents.__getitem__, positions)
        wanted = np.zeros(positions[-1] + 1, dtype=bool)
        wanted[positions] = True
        return compress(self.contents, wanted.tolist())

    def _put(self, rows: list[int], part: Tensor) -> None:
        width = self.x.size(1)
        if width == 0:
            width = part.size(1)
            self.x = torch.zeros(len(self.x), width)
        if part.size(1) != width:
            raise ValueError(
                f'The encoder of {self.modality!r} returned {part.size(1)} '
                f'features after {width} before; it needs to return as many '
                f'each time, and to be told by its `__repr__` from one that '
                f'does not. Where one has been kept already, delete the folder '
                f"'features' beside 'processed'"
            )
        self.x[rows] = part


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
