"""Small pictures of items, to be put into a page."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO

from pyg_ckd.datasets.features.item_files import ItemFiles
from pyg_ckd.datasets.features.pictures import PICTURES, open_picture
from pyg_ckd.datasets.raw.limits import Limits

#: Of pixels, and of JPEG.
LONGEST_SIDE, QUALITY = 192, 70


class Thumbnails:
    """The pictures of items, found by their ids and shrunk.

    An id is looked up in a list of the files and never taken for a path, so
    that nothing else can be read.

    Args:
        path (str or PathLike): A folder, with or without folders in it, or a
            zip archive, that holds a picture for each item, named by its id.
        limits (Limits): How large pictures may be. (default: ``Limits()``)

    Raises:
        FileNotFoundError: If there is no such folder or archive.
        ValueError: If the archive is damaged, or an item has two pictures.
    """

    def __init__(
        self, path: str | os.PathLike[str], limits: Limits = Limits()
    ) -> None:
        self.files = ItemFiles(os.path.expanduser(path), PICTURES, limits)
        #: What was wrong with pictures that were asked for.
        self.problems: dict[str, str] = {}
        self._known: dict[str, str] = {}

    def compare(self, items: Sequence[str]) -> None:
        """Refuse pictures that are all of other items.

        Args:
            items: The ids of all items.

        Raises:
            ValueError: If no item has a picture.
        """
        if items and not any(item in self.files for item in items):
            files = sorted(self.files.names.values())
            such = f', such as {files[0]!r}' if files else ''
            raise ValueError(
                f"'{self.files.path}' has no picture of any item: it holds "
                f'{len(files):,} pictures{such}, and items are called '
                f'{items[0]!r} and the like; name pictures after items'
            )

    def uri(self, item: str) -> str:
        """Return a picture as a URI, empty if there is none that is whole.

        Args:
            item: The id of the item.
        """
        if item not in self.files:
            return ''
        if item not in self._known:
            self._known[item] = self._read(item)
        return self._known[item]

    def _read(self, item: str) -> str:
        try:
            picture = open_picture(self.files, item, LONGEST_SIDE)
        except (OSError, ValueError) as error:
            self.problems[item] = str(error)
            return ''
        file = BytesIO()
        picture.save(file, 'JPEG', quality=QUALITY)
        return f'data:image/jpeg;base64,{b64encode(file.getvalue()).decode()}'
