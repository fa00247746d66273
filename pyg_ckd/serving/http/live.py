"""The model that is served now."""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from pyg_ckd.kernels.arguments import check_number
from pyg_ckd.serving._folder import MANIFEST
from pyg_ckd.serving._load import load
from pyg_ckd.serving.served import Served

logger = logging.getLogger('pyg_ckd.serving')


class Live:
    """The newest saved model of a folder, taken up as soon as it is there.

    A model that is replaced serves the requests that it has begun. One that
    cannot be loaded is logged, and the former one goes on, or at the beginning
    the one that was saved before it.

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
        ValueError: If none can be loaded.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every: float = 5.0,
        probe: int | None = None,
    ) -> None:
        self.folder = Path(folder)
        check_number('Live', 'positive', every=every)
        self.every = every
        self.probe = probe
        self._seen = self._broken = _stamp(self.newest())
        #: The model.
        self.served = self._first()
        #: When it was loaded.
        self.since = datetime.now(timezone.utc)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def newest(self) -> Path:
        """Return the folder of the model that was saved last."""
        return self._found()[0]

    def look(self) -> bool:
        """Load the newest model, if there is a newer one.

        Returns:
            Whether another one is served now.
        """
        try:
            folder = self.newest()
            stamp = _stamp(folder)
            if stamp in (self._seen, self._broken):
                return False
            self._broken = stamp  # told once
            served = self._loaded(folder)
        except (OSError, ValueError) as error:
            logger.error('The former model is kept: %s', error)
            return False
        self._seen = stamp
        self.served, self.since = served, datetime.now(timezone.utc)
        logger.info('Serves %s of %s', served, folder.name)
        return True

    def start(self) -> None:
        """Look for newer models from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()

    def _first(self) -> Served:
        """Return the newest model that can be loaded."""
        first, *others = self._found()
        try:
            return self._loaded(first)
        except (OSError, ValueError) as error:
            for folder in others:
                with suppress(OSError, ValueError):
                    served = self._loaded(folder)
                    logger.error('An older model is served: %s', error)
                    return served
            raise

    def _found(self) -> list[Path]:
        """Return the folders of saved models, the newest first."""
        if (self.folder / MANIFEST).is_file():
            return [self.folder]
        found = [
            (path.stat().st_mtime_ns, path.name, path.parent)
            for path in self.folder.glob(f'[!.]*/{MANIFEST}')
        ]
        if not found:
            raise FileNotFoundError(
                f"There is no saved model in '{self.folder}': save one by "
                f'task.save(folder)'
            )
        return [folder for *_, folder in sorted(found, reverse=True)]

    def _loaded(self, folder: Path) -> Served:
        served = load(folder)
        return served if self.probe is None else served.approximate(self.probe)

    def _watch(self) -> None:
        while not self._over.wait(self.every):
            self.look()


def _stamp(folder: Path) -> tuple[str, int, int]:
    """Return what changes when another model is there."""
    stat = (folder / MANIFEST).stat()
    return str(folder), stat.st_mtime_ns, stat.st_ino
