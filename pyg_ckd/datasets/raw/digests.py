"""What tells files from changed ones."""

from __future__ import annotations

import hashlib
import json
import os
import os.path as osp
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pyg_ckd.datasets.raw.files import open_atomic

_CHUNK = 2**20


class Digests:
    """Digests of files and folders by content.

    A digest is kept beside the state of what it is of: names, sizes, inodes and
    times, those of the last change included, which no tool can set. Nothing is
    read again before one of them differs.

    Args:
        folder (str, optional): Where they are kept by :meth:`save`.
            (default: :obj:`None`)

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with open(f'{root}/a.txt', 'w') as file:
        ...         _ = file.write('abc')
        ...     Digests().of(f'{root}/a.txt')[:12]
        'cf4ab791c62b'
    """

    def __init__(self, folder: str | None = None) -> None:
        self.path = None if folder is None else osp.join(folder, 'digests.json')
        self._known: dict[str, Any] = {}  # state and digest of a path
        self._is_new = False
        if self.path is not None:
            with suppress(OSError, ValueError, TypeError):
                self._known = dict(json.loads(Path(self.path).read_bytes()))

    def of(self, path: str) -> str:
        """Return the digest of a file, or of a folder with all in it.

        Of folders regular files count, and nothing else.

        Args:
            path: The file or folder.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If it is neither.
        """
        state = _digest_of_text(map(repr, _states(path)))
        before = self._known.get(path)
        match before:
            case [str(known), str(digest)] if known == state:
                return digest
        digest = _digest_of_content(path)
        self._known[path] = [state, digest]
        self._is_new = True
        return digest

    def save(self) -> None:
        """Keep what is known in the folder, if it can be written."""
        if self._is_new and self.path is not None:
            with suppress(OSError), open_atomic(self.path) as file:
                file.write(json.dumps(self._known).encode())
        self._is_new = False


def _files(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the regular files of a folder, sorted, or a file itself."""
    if osp.isdir(path):
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
            kind = os.stat(entry.path).st_mode if entry.is_symlink() else 0
            if entry.is_dir():
                yield from _files(entry.path)
            elif entry.is_file() or stat.S_ISREG(kind):
                yield entry.path, entry.stat()
        return
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"'{path}' is neither a regular file nor a folder")
    yield path, found


def _states(path: str) -> Iterator[tuple[str, int, int, int, int]]:
    for name, found in _files(path):
        times = found.st_mtime_ns, found.st_ctime_ns
        yield osp.relpath(name, path), found.st_size, found.st_ino, *times


def _digest_of_text(parts: Iterator[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode('utf-8', 'surrogateescape') + b'\0')
    return digest.hexdigest()[:32]


def _digest_of_content(path: str) -> str:
    """Return a digest of names and contents."""
    digest = hashlib.blake2b(digest_size=16)
    for name, found in _files(path):
        if name != path:
            text = osp.relpath(name, path)
            digest.update(text.encode('utf-8', 'surrogateescape'))
            digest.update(found.st_size.to_bytes(8, 'little'))
        with open(name, 'rb') as file:
            while part := file.read(_CHUNK):
                digest.update(part)
    return digest.hexdigest()
