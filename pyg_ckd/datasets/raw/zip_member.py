"""Files in zip archives."""

from __future__ import annotations

import os
import posixpath
import zipfile
from functools import partial

from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.regular_file import open_regular

_CHUNK = 4096


def read_member(
    archive: str | os.PathLike[str], name: str, limits: Limits = Limits()
) -> bytes:
    """Return the content of a file in a zip archive, in whichever folder.

    Nothing is unpacked to disk.

    Args:
        archive: The archive.
        name: The name of the file, without folders.
        limits: How large the file may be. (default: ``Limits()``)

    Raises:
        FileNotFoundError: If there is no such archive, or it lacks the file.
        ValueError: If the archive is damaged, holds several such files, or the
            file is larger than ``limits.file``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with zipfile.ZipFile(f'{root}/a.zip', 'w') as file:
        ...         file.writestr('inside/b.txt', 'text')
        ...     read_member(f'{root}/a.zip', 'b.txt')
        b'text'
    """
    archive = os.fspath(archive)
    try:
        with open_regular(archive) as content, zipfile.ZipFile(content) as file:
            found = [
                info
                for info in file.infolist()
                if posixpath.basename(info.filename) == name
            ]
            if len(found) == 1:
                _check_size(archive, found[0], limits)
                return unpacked(file, found[0])
    except (FileNotFoundError, _TooLarge):
        raise
    except Exception as error:  # Each compression raises its own kinds.
        raise ValueError(
            f"'{archive}' is not a whole zip archive without a password "
            f'({error}); delete it to get it anew'
        ) from error
    if found:
        names = ' and '.join(info.filename for info in found)
        raise ValueError(f"'{archive}' holds {names}; remove one of them")
    raise FileNotFoundError(f"'{archive}' holds no file '{name}'")


def unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Return the content of a file in an archive, no more than it states.

    The stated size may be wrong, and reading all at once unpacks beyond it.

    Args:
        archive: The archive.
        info: The file.
    """
    with archive.open(info) as file:
        return b''.join(iter(partial(file.read, _CHUNK), b''))


class _TooLarge(ValueError):
    pass


def _check_size(archive: str, info: zipfile.ZipInfo, limits: Limits) -> None:
    if info.file_size > limits.file:
        raise _TooLarge(
            f"'{archive}': '{info.filename}' has {info.file_size:,} bytes, "
            f'more than {limits.file:,}; {limits.remedy("file")}'
        )
