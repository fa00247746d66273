"""One file an item, in a folder or a zip archive."""

from __future__ import annotations

import os
import os.path as osp
import posixpath
import warnings
import zipfile
from collections.abc import Collection, Iterator


class ItemFiles:
    """The files of items, found by the name before their ending.

    Args:
        path (str or PathLike): A folder, with or without folders in it, or a
            zip archive. Nothing is unpacked to disk.
        endings (Collection[str]): The endings that count, such as ``'.jpg'``,
            in any case. Other files are ignored.

    Raises:
        FileNotFoundError: If there is no such folder or archive.
        ValueError: If the archive is corrupt, or two files have the same name
            before their endings.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with open(f'{root}/cup.JPG', 'wb') as file:
        ...         _ = file.write(b'pixels')
        ...     files = ItemFiles(root, {'.jpg'})
        ...     'cup' in files, files.read('cup')
        (True, b'pixels')
    """

    def __init__(
        self, path: str | os.PathLike[str], endings: Collection[str]
    ) -> None:
        self.path = os.fspath(path)
        self.archive: zipfile.ZipFile | None = None
        if not osp.isdir(self.path):
            self.archive = _open_zip(self.path)
        self.names: dict[str, str] = {}
        for name in sorted(self._list()):
            item = item_of(name, endings)
            if item is None:
                continue
            if item in self.names:
                raise ValueError(
                    f"'{self.path}' has two files for '{item}': "
                    f"'{self.names[item]}' and '{name}'; remove one of them"
                )
            self.names[item] = name

    def __contains__(self, item: str) -> bool:
        return item in self.names

    def warn_of_others(self, items: Collection[str]) -> None:
        """Warn of files that belong to none of the items that there are."""
        others = self.names.keys() - set(items)
        if others:
            warnings.warn(
                f"'{self.path}': {len(others)} of {len(self.names)} files "
                f"belong to no item, such as '{self.names[min(others)]}'; a "
                f'file is named after the id of its item',
                stacklevel=2,
            )

    def warn_of_missing(self, names: Collection[str]) -> None:
        """Warn of files that are named, and are not there."""
        missing = sorted({n for n in names if n and n not in self.names})
        if missing:
            warnings.warn(
                f"'{self.path}' lacks {len(missing)} of the files that are "
                f"named, such as '{missing[0]}'; their items count as having "
                f'none',
                stacklevel=2,
            )

    def where(self, item: str) -> str:
        """Return the path of an item's file, for messages."""
        return osp.join(self.path, self.names[item])

    def read(self, item: str) -> bytes:
        """Return the content of an item's file.

        Raises:
            ValueError: If it is damaged within its archive.
        """
        if self.archive is None:
            with open(self.where(item), 'rb') as file:
                return file.read()
        try:
            return self.archive.read(self.names[item])
        except Exception as error:  # Each compression raises its own kinds.
            raise ValueError(
                f"'{self.where(item)}' cannot be unpacked ({error}); make the "
                f'archive anew, without a password'
            ) from error

    def _list(self) -> Iterator[str]:
        if self.archive is not None:
            yield from self.archive.namelist()
            return
        for folder, _, names in os.walk(self.path):
            inside = osp.relpath(folder, self.path).replace(os.sep, '/')
            yield from (posixpath.normpath(f'{inside}/{n}') for n in names)


def item_of(name: str, endings: Collection[str]) -> str | None:
    """Return the item that a file is of, ``None`` if its ending is no such.

    Example:
        >>> item_of('red/cup.JPG', {'.jpg'})
        'cup'
    """
    item, ending = posixpath.splitext(posixpath.basename(name))
    return item if ending.lower() in endings else None


def _open_zip(path: str) -> zipfile.ZipFile:
    if not osp.exists(path):
        raise FileNotFoundError(f"There is no folder or zip archive '{path}'")
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"'{path}' is neither a folder nor a whole zip archive ({error})"
        ) from error
