"""The model that is served now."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

from pyg_ckd.serving._folder import MANIFEST
from pyg_ckd.serving._load import load
from pyg_ckd.serving.served import Served

logger = logging.getLogger('pyg_ckd.serving')


class Live:
    """The newest saved model of a folder, taken up as soon as it is there.

    A model that is replaced serves the requests that it has begun. One that
    cannot be loaded is logged, and the former one goes on.

    Args:
        folder (str or Path): A saved model, which may be replaced by
            :func:`~pyg_ckd.serving.save`; or a folder of them, of which the
            one that was saved last counts.
        every (float, optional): How many seconds pass between two looks.
            (default: :obj:`5.0`)
        probe (int, optional): The number of cells to search, see
            :class:`~pyg_ckd.serving.FaissIndex`; all items by default.
            (default: :obj:`None`)

    Raises:
        FileNotFoundError: If there is no saved model.
        ValueError: If the newest one cannot be loaded.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every: float = 5.0,
        probe: int | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.every = every
        self.probe = probe
        self._seen = self._stamp()
        #: The model.
        self.served = self._loaded()
        #: When it was loaded, in seconds since 1970.
        self.since = time.time()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def newest(self) -> Path:
        """Return the folder of the model that was saved last."""
        if (self.folder / MANIFEST).is_file():
            return self.folder
        found = [
            (path.stat().st_mtime_ns, path.name, path.parent)
            for path in self.folder.glob(f'[!.]*/{MANIFEST}')
        ]
        if not found:
            raise FileNotFoundError(
                f"There is no saved model in '{self.folder}': save one by "
                f'task.save(folder)'
            )
        return max(found)[2]

    def look(self) -> bool:
        """Load the newest model, if there is a newer one.

        Returns:
            Whether another one is served now.
        """
        try:
            stamp = self._stamp()
            if stamp == self._seen:
                return False
            served = self._loaded()
        except (OSError, ValueError) as error:
            logger.error('The former model is kept: %s', error)
            return False
        self.served, self.since, self._seen = served, time.time(), stamp
        logger.info('Serves %s', served)
        return True

    def start(self) -> None:
        """Look for newer models from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()

    def _loaded(self) -> Served:
        served = load(self.newest())
        return served if self.probe is None else served.approximate(self.probe)

    def _stamp(self) -> tuple[str, int, int]:
        """Return what changes when another model is there."""
        path = self.newest() / MANIFEST
        stat = path.stat()
        return str(path), stat.st_mtime_ns, stat.st_ino

    def _watch(self) -> None:
        while not self._over.wait(self.every):
            self.look()
