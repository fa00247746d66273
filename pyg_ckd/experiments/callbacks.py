"""Callbacks of the engine."""

from __future__ import annotations

import time
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from pyg_ckd.experiments.run import Run
from pyg_ckd.experiments.watcher import Watcher
from pyg_ckd.train import Recommendation


class Clock(Callback):
    """Measures how long training takes, interruptions left out.

    What checkpoints hold counts; what was lost after the last one does not.
    """

    def __init__(self) -> None:
        self._before = 0.0
        self._start: float | None = None
        self._end: float | None = None

    @property
    def seconds(self) -> float:
        """How long training took until now, or until it ended."""
        if self._start is None:
            return self._before
        end = time.perf_counter() if self._end is None else self._end
        return self._before + end - self._start

    def on_fit_start(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Start."""
        self._start, self._end = time.perf_counter(), None

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop."""
        self._end = time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        """Return the time for a checkpoint."""
        return {'seconds': self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._before = state_dict['seconds']


class Tell(Callback):
    """Tells a watcher of each epoch of a run."""

    def __init__(self, run: Run, watcher: Watcher) -> None:
        self.run = run
        self.watcher = watcher
        #: Whether an epoch has begun.
        self.began = False

    def on_train_epoch_start(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Note that training has begun, or goes on."""
        self.began = True

    def on_train_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Tell of the epoch, with its evaluation if there was one."""
        assert isinstance(pl_module, Recommendation)
        number = trainer.current_epoch + 1
        last = pl_module.history[-1] if pl_module.history else {}
        values = last if last.get('epoch') == number else {}
        self.watcher.epoch(self.run, number, values)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell that training has ended."""
        self.watcher.trained(self.run)
