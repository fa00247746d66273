"""Features on disk, by what they are of."""

from __future__ import annotations

import hashlib
import io
import os
import os.path as osp
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pyg_ckd.datasets.raw.files import open_atomic

#: The bytes of a key.
KEY_SIZE = 16


class Shards:
    """Rows of features in a folder, each known by the digest of a content.

    Each shard is a file ``.npy`` of records of a ``key`` and of features ``x``,
    which NumPy can map to memory. It is written whole or not at all, so that
    all that was written before a process was killed is there for the next one.

    Args:
        folder: The folder. It is made when the first shard is written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     shards = Shards(root)
        ...     shards.write([b'0123456789abcdef'], np.array([[1.0, 2.0]]))
        ...     list(shards)
        [([b'0123456789abcdef'], array([[1., 2.]], dtype=float32))]
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __iter__(self) -> Iterator[tuple[list[bytes], NDArray[np.float32]]]:
        """Yield the keys and the features of each shard, one at a time.

        Raises:
            ValueError: If a file is damaged.
        """
        if osp.isdir(self.folder):
            for name in sorted(os.listdir(self.folder)):
                if name.endswith('.npy'):
                    yield _read(osp.join(self.folder, name))

    def write(self, keys: Sequence[bytes], x: NDArray[np.floating]) -> None:
        """Add a shard.

        Args:
            keys: Digests of 16 bytes, of contents that no shard has.
            x: Their features, ``[len(keys), num_features]``.

        Raises:
            OSError: If writing fails, such as on a full disk.
        """
        rows = np.empty(len(x), _dtype(x.shape[1]))
        rows['key'] = np.frombuffer(b''.join(keys), f'V{KEY_SIZE}')
        rows['x'] = x
        name = hashlib.sha256(rows['key'].tobytes()).hexdigest()[:16]
        # `numpy.save` may not notice that the disk is full:
        whole = io.BytesIO()
        np.save(whole, rows)
        with open_atomic(osp.join(self.folder, f'{name}.npy')) as file:
            file.write(whole.getbuffer())


def _dtype(num_features: int) -> np.dtype[np.void]:
    return np.dtype([('key', f'V{KEY_SIZE}'), ('x', '<f4', (num_features,))])


def _read(path: str) -> tuple[list[bytes], NDArray[np.float32]]:
    try:
        with open(path, 'rb') as file:
            rows = np.load(file, allow_pickle=False)
            is_whole = not file.read(1)
        (num_features,) = rows['x'].shape[1:]
        is_whole &= rows.ndim == 1 and rows.dtype == _dtype(num_features)
    except (OSError, MemoryError):
        raise
    except Exception:  # NumPy raises many kinds on a damaged file.
        is_whole = False
    if not is_whole:
        raise ValueError(f"'{path}' is damaged; delete it to compute it anew")
    return rows['key'].tolist(), rows['x']
