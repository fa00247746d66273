"""One file an item, in a folder or a zip archive."""

from __future__ import annotations

import os
import os.path as osp
import posixpath
import warnings
import zipfile
from collections.abc import Collection, Iterator
from contextlib import suppress

from pyg_ckd.datasets.raw.spelling import likely_spelling, nfc


class ItemFiles:
    """The files of items, found by the name before their ending.

    Names are compared in composed Unicode, whichever way they are written. What
    a Mac puts beside files, named ``._*``, is ignored.

    Args:
        path (str or PathLike): A folder, with or without folders in it, or a
            zip archive. Nothing is unpacked to disk.
        endings (Collection[str]): The endings that count, such as ``'.jpg'``,
            in any case. Other files are ignored, and so is what is no file,
            such as a pipe.
        largest (int): The largest number of bytes of a file, unpacked.
            (default: 256 MiB)

    Raises:
        FileNotFoundError: If there is no such folder or archive.
        ValueError: If the archive is corrupt, or two files have the same name
            before their endings, as names are compared.

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
        self,
        path: str | os.PathLike[str],
        endings: Collection[str],
        largest: int = 2**28,
    ) -> None:
        self.path = os.fspath(path)
        self.largest = largest
        self.archive: zipfile.ZipFile | None = None
        if not osp.isdir(self.path):
            self.archive = _open_zip(self.path)
        # The file of each item, and its name in the archive.
        self.names: dict[str, str] = {}
        self._archived: dict[str, str] = {}
        for shown, name in sorted(self._list()):
            item = item_of(shown, endings)
            if item is None or item.startswith('._'):
                continue
            item = nfc(item)
            if item in self.names:
                first = self.names[item]
                both = f"'{first}' and '{shown}'"
                if nfc(first) == nfc(shown):  # They look alike.
                    both = f'{first!a} and {shown!a}'
                raise ValueError(
                    f"'{self.path}' has two files for '{item}': {both}; remove "
                    f'one of them'
                )
            self.names[item] = shown
            self._archived[item] = name

    def __contains__(self, item: str) -> bool:
        return nfc(item) in self.names

    def warn_of_others(self, items: Collection[str]) -> None:
        """Warn of files that belong to none of the items that there are."""
        others = self.names.keys() - set(map(nfc, items))
        if others:
            likely = likely_spelling(others, items)
            warnings.warn(
                f"'{self.path}': {len(others)} of {len(self.names)} files "
                f"belong to no item, such as '{self.names[min(others)]}'; a "
                f'file is named after the id of its item'
                f'{likely and f"; {likely}"}',
                stacklevel=2,
            )

    def warn_of_missing(self, names: Collection[str]) -> None:
        """Warn of files that are named, and are not there."""
        missing = sorted({name for name in names if name and name not in self})
        if missing:
            likely = likely_spelling(missing, self.names)
            warnings.warn(
                f"'{self.path}' lacks {len(missing)} of the files that are "
                f"named, such as '{missing[0]}'; their items count as having "
                f'none{likely and f"; {likely}"}',
                stacklevel=2,
            )

    def where(self, item: str) -> str:
        """Return the path of an item's file, for messages."""
        return osp.join(self.path, self.names[nfc(item)])

    def read(self, item: str) -> bytes:
        """Return the content of an item's file.

        Raises:
            ValueError: If it is damaged within its archive, or too large.
        """
        size = self._size(item)
        if size > self.largest:
            raise ValueError(
                f"'{self.where(item)}' has {size:,} bytes, more than "
                f'{self.largest:,}; is it what it should be?'
            )
        if self.archive is None:
            with open(self.where(item), 'rb') as file:
                return file.read()
        try:
            return self.archive.read(self._archived[nfc(item)])
        except Exception as error:  # Each compression raises its own kinds.
            raise ValueError(
                f"'{self.where(item)}' cannot be unpacked ({error}); make the "
                f'archive anew, without a password'
            ) from error

    def _size(self, item: str) -> int:
        """Return how large a file is, once it is unpacked."""
        if self.archive is None:
            return osp.getsize(self.where(item))
        # Nothing beyond it is unpacked:
        return self.archive.getinfo(self._archived[nfc(item)]).file_size

    def _list(self) -> Iterator[tuple[str, str]]:
        """Yield the name of each file, and its name in the archive."""
        if self.archive is not None:
            for info in self.archive.infolist():
                yield _name_in_zip(info), info.filename
            return
        for folder, _, names in os.walk(self.path):
            inside = osp.relpath(folder, self.path).replace(os.sep, '/')
            for name in names:
                if osp.isfile(osp.join(folder, name)):
                    yield posixpath.normpath(f'{inside}/{name}'), ''


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


def _name_in_zip(info: zipfile.ZipInfo) -> str:
    """Return the name of a file, also where it is UTF-8 and does not say so.

    That is how a Mac writes archives.
    """
    if not info.flag_bits & 0x800:
        with suppress(UnicodeError):
            return info.filename.encode('cp437').decode('utf-8')
    return info.filename
