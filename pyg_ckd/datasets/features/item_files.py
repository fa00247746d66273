"""One file an item, in a folder or a zip archive."""

from __future__ import annotations

import os
import os.path as osp
import posixpath
import stat
import warnings
import zipfile
from collections.abc import Collection, Iterator
from contextlib import suppress

from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.regular_file import open_regular
from pyg_ckd.datasets.raw.spelling import likely_spelling, nfc, two_of
from pyg_ckd.datasets.raw.zip_member import unpacked


class ItemFiles:
    """The files of items, found by the name before their ending.

    Names are compared in composed Unicode, whichever way they are written. What
    a Mac puts beside files, named ``._*``, is ignored.

    Args:
        path (str or PathLike): A folder, with or without folders in it, or a
            zip archive. Nothing is unpacked to disk, so that only the last part
            of a name counts, wherever the others lead.
        endings (Collection[str]): The endings that count, such as ``'.jpg'``,
            in any case. Other files are ignored, and so is what is no file,
            such as a pipe.
        limits (Limits): The most bytes of a file and of an archive, unpacked.
            (default: ``Limits()``)

    Raises:
        FileNotFoundError: If there is no such folder or archive.
        ValueError: If the archive is corrupt or unpacks to far more than its
            size, or two files have the same name before their endings, as names
            are compared.

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
        limits: Limits = Limits(),
    ) -> None:
        self.path = os.fspath(path)
        self.limits = limits
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
        if self.archive is not None:
            packed = osp.getsize(self.path)
            limits.check_unpacked(
                self.path, packed, sum(map(self._size, self.names))
            )

    def __contains__(self, item: str) -> bool:
        return nfc(item) in self.names

    def compare_ids(
        self, items: Collection[str], known: Collection[str] = ()
    ) -> None:
        """Warn of files of no item, and of items that seem to miss theirs.

        Args:
            items: The items whose files are wanted.
            known: All items that there are. Where that is not known, files of
                others are passed over, unless items are found among them in
                another spelling.

        Where a folder ignores the case of letters, as those of Windows and of
        most Macs do, items whose ids differ by case alone share one file. That
        such an item has none, and its twin has one, is warned of as well.
        """
        self._warn_of_twins(items)
        others = self.names.keys() - set(map(nfc, known or items))
        missing = [item for item in items if item not in self]
        likely = likely_spelling(missing, others)
        if not others or not (known or likely):
            return
        text = (
            f"'{self.path}': {len(others)} of {len(self.names)} files belong "
            f'to no item, such as '
            f'{two_of([self.names[item] for item in others])}'
        )
        if missing:
            has = 'has' if len(missing) == 1 else 'have'
            text += (
                f', and {len(missing)} of {len(items)} items {has} none, such '
                f'as {two_of(missing)}'
            )
        text += '; a file is named after the id of its item'
        warnings.warn(f'{text}{likely and f"; {likely}"}', stacklevel=2)

    def _warn_of_twins(self, items: Collection[str]) -> None:
        """Warn of items that seem to share the file of another."""
        owner = {nfc(item).casefold(): item for item in items if item in self}
        lost = {
            item: owner[key]
            for item in items
            if item not in self and (key := nfc(item).casefold()) in owner
        }
        if lost:
            item, twin = next(iter(lost.items()))
            has = 'item has' if len(lost) == 1 else 'items have'
            warnings.warn(
                f"'{self.path}': {len(lost)} {has} no file, but another item "
                f'has one whose id differs by the case of letters alone, such '
                f'as {item!r} and {twin!r}; if they were written to a folder '
                f'that ignores case, one took the place of the other, so pass '
                f'a zip archive that was made elsewhere',
                stacklevel=3,
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
        size, most = self._size(item), self.limits.file
        if size > most:
            raise ValueError(
                f"'{self.where(item)}' has {size:,} bytes, more than {most:,}; "
                f'{self.limits.remedy("file")}'
            )
        if self.archive is None:
            with open_regular(self.where(item)) as file:
                return file.read()
        return self._unpack(self.archive, item)

    def _unpack(self, archive: zipfile.ZipFile, item: str) -> bytes:
        info = archive.getinfo(self._archived[nfc(item)])
        if not _is_file(info):
            raise ValueError(
                f"'{self.where(item)}' is a link or no file; make the archive "
                f'anew, with the file that it leads to'
            )
        try:
            return unpacked(archive, info)
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
    open_regular(path).close()
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # Damaged names and numbers raise other kinds.
        raise ValueError(
            f"'{path}' is neither a folder nor a whole zip archive ({error})"
        ) from error


def _is_file(info: zipfile.ZipInfo) -> bool:
    """Return whether a part of an archive is no link, pipe or the like."""
    # Of systems that know no such things, the kind is 0:
    return stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)


def _name_in_zip(info: zipfile.ZipInfo) -> str:
    r"""Return the name of a file, with ``/`` between folders.

    A Mac writes UTF-8 and does not say so; Windows may write ``\``.
    """
    name = info.filename
    if not info.flag_bits & 0x800:
        with suppress(UnicodeError):
            name = name.encode('cp437').decode('utf-8')
    return name.replace('\\', '/') if info.create_system == 0 else name
