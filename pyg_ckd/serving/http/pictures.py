"""The pictures of items."""

from __future__ import annotations

import os
from pathlib import Path

#: Types by how names end.
TYPES = {
    '.jpg': 'image/jpeg',
    '.jpeg': 'image/jpeg',
    '.png': 'image/png',
    '.webp': 'image/webp',
    '.gif': 'image/gif',
}


class Pictures:
    """The pictures of items in a folder, each named by its item.

    They are listed once. What is asked for is looked up in the list and never
    taken for a path, so that nothing else can be read.

    Args:
        folder (str or Path): The folder.

    Raises:
        NotADirectoryError: If it is none.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        root = Path(folder)
        if not root.is_dir():
            raise NotADirectoryError(f"'{root}' is no folder of pictures")
        self._files = {
            path.stem: path
            for path in sorted(root.iterdir())
            if path.suffix.lower() in TYPES and path.is_file()
        }

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, item: object) -> bool:
        return str(item) in self._files

    def read(self, item: object) -> tuple[bytes, str] | None:
        """Return a picture and its type, if there is one.

        Args:
            item: The item.
        """
        path = self._files.get(str(item))
        if path is None:
            return None
        return path.read_bytes(), TYPES[path.suffix.lower()]
