"""One line of progress."""

from __future__ import annotations

import sys
import time
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_only
from tqdm import tqdm

from pyg_ckd.train.keep_best import KeepBest
from pyg_ckd.train.recommendation import Recommendation


class ProgressLine(Callback):
    """Shows one live line for the whole of a training, and one at its end.

    The live one is for terminals and notebooks; nothing is written to logs and
    pipes before the end. Both go to the stream of errors.

    Args:
        name (str): What is trained.
        best (KeepBest): What knows the best evaluation.
    """

    def __init__(self, name: str, best: KeepBest) -> None:
        self.name = name
        self.best = best
        self._start = time.monotonic()
        self._bar: Any = None

    def on_train_start(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Show the line."""
        self._start = time.monotonic()
        self._bar = tqdm(
            desc=self.name,
            total=trainer.max_epochs,
            initial=trainer.current_epoch,
            bar_format='{desc}: {n_fmt}/{total_fmt} epochs{postfix}, at most '
            '{remaining} left',
            file=sys.stderr,
            disable=not _is_live(),
            leave=False,
            dynamic_ncols=True,
        )

    def on_train_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Go on by an epoch."""
        assert isinstance(pl_module, Recommendation)
        if not self._bar.disable:
            self._bar.set_postfix_str(self._values(pl_module), refresh=False)
            self._bar.update(trainer.current_epoch + 1 - self._bar.n)

    def close(self, epochs: int) -> None:
        """Write the line that stays, if there was any training.

        Args:
            epochs: The number of epochs.
        """
        if self._bar is not None:
            self._bar.close()
        if epochs == 0 and self.best.exception is not None:
            return  # the exception says it all
        seconds = _duration(time.monotonic() - self._start)
        noun = 'epoch' if epochs == 1 else 'epochs'
        parts = [f'no evaluation in {epochs} {noun}', seconds]
        if self.best.epoch is not None:
            result = f'{_title(self.best.monitor)} {self.best.score:.4f}'
            parts = [
                f'best epoch {self.best.epoch} of {epochs}',
                result,
                seconds,
            ]
        if self.best.exception is not None:
            kind = type(self.best.exception).__name__
            parts.insert(0, f'ended by {kind}')
        if sys.stderr is None:
            return
        print(f'{self.name}: {", ".join(parts)}', file=sys.stderr, flush=True)

    def _values(self, task: Recommendation) -> str:
        parts = [f'loss {task.means.values()["loss"]:.4f}']
        if task.history and self.best.epoch is not None:
            monitor = self.best.monitor
            value = task.history[-1].get(monitor)
            shown = '' if value is None else f' {value:.4f}'
            parts.append(
                f'{_short(monitor)}{shown} (best {self.best.score:.4f} at '
                f'{self.best.epoch})'
            )
        return ', '.join(parts)


def _is_live() -> bool:
    """Return whether somebody is watching."""
    if getattr(rank_zero_only, 'rank', 0) > 0:  # one line is enough
        return False
    if sys.stderr is None:  # a process without a console
        return False
    return sys.stderr.isatty() or 'ipykernel' in sys.modules


def _short(monitor: str) -> str:
    return monitor.replace('val_', 'val ', 1)


def _title(monitor: str) -> str:
    return (
        _short(monitor)
        .replace('val ', 'validation ')
        .replace('recall', 'Recall')
        .replace('ndcg', 'NDCG')
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f'{hours} h {minutes} min'
    return f'{minutes} min {rest} s' if minutes else f'{rest} s'
