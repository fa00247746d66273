"""Regular files, and nothing else."""

from __future__ import annotations

import os
import stat
from io import BufferedReader


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


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, 'O_NONBLOCK', 0))
