"""Regular files, and nothing else."""

from __future__ import annotations

import os
import stat
from io import BufferedReader

from pyg_ckd.datasets.raw.limits import Limits


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a regular file to read its bytes.

    A pipe would keep the reader waiting for ever, and a device never ends.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is a folder, a pipe, a socket or a device.

    Example:
        >>> open_regular('/dev/null')
        Traceback (most recent call last):
            ...
        ValueError: '/dev/null' is no regular file; pass one, or a copy in one
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(
            f"'{os.fspath(path)}' is no regular file; pass one, or a copy in "
            f'one'
        )
    # What has taken its place since is not waited for:
    file = open(path, 'rb', opener=_open_at_once)  # noqa: SIM115
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise ValueError(f"'{os.fspath(path)}' has changed while it was opened")


def read_regular(
    path: str | os.PathLike[str], limits: Limits = Limits()
) -> bytes:
    """Return the content of a regular file, such as a JSON document.

    Args:
        path: The file.
        limits: ``file`` is the most bytes. (default: ``Limits()``)

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no regular file, or larger than the limit.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with open(f'{root}/a.json', 'w') as file:
        ...         _ = file.write('{}')
        ...     read_regular(f'{root}/a.json')
        b'{}'
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limits.file:
            raise ValueError(
                f"'{os.fspath(path)}' has {size:,} bytes, more than "
                f'{limits.file:,}; {limits.remedy("file")}'
            )
        return file.read()


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, 'O_NONBLOCK', 0))
