"""The pictures of items."""

from __future__ import annotations

import logging
import os
import os.path as osp
import threading
import time

from pyg_ckd.datasets.features.item_files import ItemFiles

logger = logging.getLogger('pyg_ckd.serving')

#: Types by how names end.
TYPES = {
    '.jpg': 'image/jpeg',
    '.jpeg': 'image/jpeg',
    '.png': 'image/png',
    '.webp': 'image/webp',
    '.gif': 'image/gif',
}


class Pictures:
    """The pictures of items, each a file named by its item.

    What is asked for is looked up in a list of the files and never taken for a
    path, so that nothing else can be read. The list is made anew when something
    is not in it, but not too often.

    Args:
        path (str or Path): A folder, with or without folders in it, or a zip
            archive.
        every (float, optional): How many seconds a list holds at least.
            (default: :obj:`30.0`)

    Raises:
        FileNotFoundError: If there is no such folder or archive.
        ValueError: If the archive is damaged, or an item has two pictures.
    """

    def __init__(
        self, path: str | os.PathLike[str], every: float = 30.0
    ) -> None:
        self.path = osp.expanduser(path)
        self.every = every
        self._files = ItemFiles(self.path, TYPES)
        self._listed = time.monotonic()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._files.names)

    def __contains__(self, item: object) -> bool:
        return str(item) in self._files

    def read(self, item: object) -> tuple[bytes, str] | None:
        """Return a picture and its type, if there is one.

        Args:
            item: The item.
        """
        if item not in self:
            self._list_anew()
        files = self._files
        if str(item) not in files:
            return None
        try:
            body = files.read(str(item))
        except FileNotFoundError:  # It was there a moment ago.
            return None
        except (OSError, ValueError) as error:
            logger.error('A picture cannot be shown: %s', error)
            return None
        ending = osp.splitext(files.where(str(item)))[1]
        return body, TYPES[ending.lower()]

    def _list_anew(self) -> None:
        is_time = time.monotonic() >= self._listed + self.every
        if not is_time or not self._lock.acquire(blocking=False):
            return  # or another request does it
        try:
            self._files = ItemFiles(self.path, TYPES)
        except (OSError, ValueError) as error:
            logger.error('The former pictures are kept: %s', error)
        finally:
            self._listed = time.monotonic()
            self._lock.release()
