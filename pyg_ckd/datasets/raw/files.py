"""Files and folders that are either whole or not there."""

from __future__ import annotations

import os
import os.path as osp
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO
from uuid import uuid4


@contextmanager
def open_atomic(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a temporary file that takes the place of ``path`` once complete.

    Args:
        path: The file to write. Its folder is created if needed.

    Raises:
        PermissionError: If the folder cannot be written.
        FileExistsError: If there is a device, pipe or socket of that name.
        OSError: If writing fails, such as on a full disk.

    Whatever is raised inside, no temporary file is left, and a file that was
    there before is as it was.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with open_atomic(f'{root}/a.txt') as file:
        ...         _ = file.write(b'whole')
        ...     os.listdir(root)
        ['a.txt']
    """
    folder = osp.dirname(osp.abspath(path))
    make_writable(folder)
    if osp.exists(path) and not (osp.isfile(path) or osp.isdir(path)):
        raise FileExistsError(
            f"'{os.fspath(path)}' is there already, and is no file; choose "
            f'another name'
        )
    temporary = f'{os.fspath(path)}.{uuid4().hex}'
    try:
        with open(temporary, 'xb') as file:
            yield file
        os.replace(temporary, path)
    except OSError as error:
        raise not_written(path, error) from error
    except RuntimeError as error:
        # `torch.save` raises one when it cannot write:
        if isinstance(error.__context__, OSError):
            raise not_written(path, error.__context__) from error
        raise
    finally:
        with suppress(FileNotFoundError):
            os.remove(temporary)


@contextmanager
def new_folder(folder: str | os.PathLike[str]) -> Iterator[tuple[str, str]]:
    """Open a temporary folder that takes the place of ``folder`` at the end.

    Returns the path of the temporary folder and the name of ``folder``.
    """
    folder = osp.abspath(osp.expanduser(folder))
    if osp.lexists(folder) and not (osp.isdir(folder) and _is_empty(folder)):
        raise FileExistsError(
            f"'{folder}' is there already; remove it, or write to another "
            f'folder'
        )
    temporary = f'{folder}.{uuid4().hex}'
    try:
        os.makedirs(temporary)
        yield temporary, osp.basename(folder)
        os.rename(temporary, folder)
    except OSError as error:
        raise not_written(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def make_writable(folder: str) -> None:
    """Create a folder, or raise an error that names the way out."""
    with suppress(OSError):
        os.makedirs(folder, exist_ok=True)
    if not osp.isdir(folder) or not os.access(folder, os.W_OK):
        raise PermissionError(
            f"'{folder}' cannot be written; pass a directory that can be as "
            f"'root' or 'processed_root'"
        )


def is_of_system(error: Exception) -> bool:
    """Return whether an error is one of the system, not of what a file holds.

    PyTorch raises an :class:`OSError` without a name for files that end too
    soon.

    Args:
        error: What reading a file has raised.

    Example:
        >>> is_of_system(OSError(22, 'Invalid argument'))
        False
        >>> is_of_system(PermissionError(13, 'Permission denied', 'a.pt'))
        True
    """
    if isinstance(error, OSError):
        return error.filename is not None
    return isinstance(error, MemoryError)


def not_written(path: str | os.PathLike[str], error: OSError) -> OSError:
    """Return an error that names the file and the way out."""
    message = (
        f"'{os.fspath(path)}' could not be written ({error.strerror or error})"
        f'; make room, or choose another folder'
    )
    # `numpy.save` gives no number:
    return OSError(error.errno, message) if error.errno else OSError(message)


def _is_empty(folder: str) -> bool:
    return not os.listdir(folder)
