"""Files that may be packed by gzip."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

from pyg_ckd.datasets.raw.regular_file import open_regular


def is_packed(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is packed, by its name.

    Example:
        >>> is_packed('sales.csv.gz'), is_packed('sales.csv')
        (True, False)
    """
    return os.fspath(path).lower().endswith('.gz')


@contextmanager
def open_unpacked(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file to read its bytes, unpacked where it ends in ``.gz``.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no regular file, or what is read is damaged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with gzip.open(f'{root}/a.csv.gz', 'wt') as file:
        ...         _ = file.write('user,item')
        ...     with open_unpacked(f'{root}/a.csv.gz') as file:
        ...         file.read()
        b'user,item'
    """
    with open_regular(path) as file:
        if not is_packed(path):
            yield file
            return
        try:
            with gzip.open(file) as unpacked:
                yield cast('IO[bytes]', unpacked)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"'{os.fspath(path)}' is a damaged or cut gzip file ({error}); "
                f'get or pack it anew'
            ) from error
