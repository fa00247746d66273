"""Checkpoints from which training goes on exactly where it was."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.trainer.states import TrainerStatus
from torch import Tensor

from pyg_ckd.kernels.ranks import ALONE
from pyg_ckd.train.epoch_means import EpochMeans
from pyg_ckd.train.warn import warn

#: Where it is in a checkpoint.
_KEY = 'pyg_ckd'
#: Settings of checkpoints that have none.
_BEFORE = {
    'processes': 1,
    'accumulate_grad_batches': 1,
    'gradient_clip_val': None,
    'gradient_clip_algorithm': 'None',
    'limit_train_batches': '1.0',
}


class Resumable(LightningModule, ABC):
    """A module whose training goes on from a checkpoint as if never stopped.

    The loader, and what a model keeps for an epoch, are not saved, so that
    training can go on after an epoch alone.
    """

    def __init__(self) -> None:
        super().__init__()
        #: What the last training logged, one entry for each evaluation.
        self.history: list[dict[str, float]] = []
        #: Means over the steps of the epoch.
        self.means = EpochMeans()
        #: The processes that train it together.
        self.ranks = ALONE
        #: The largest number of epochs of its teachers, if one met it.
        self.teachers_cut_at: int | None = None
        self._epoch_ended = False
        self._saved: Mapping[str, Any] | None = None

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return what has to be the same when training goes on."""

    @property
    def is_resumable(self) -> bool:
        """Whether training can go on from a checkpoint that is saved now."""
        interrupted = self.trainer.state.status == TrainerStatus.INTERRUPTED
        return self._epoch_ended and not interrupted

    def on_fit_start(self) -> None:
        """Begin the history, unless it goes on."""
        if self._saved is None:
            self.history = []

    def on_train_start(self) -> None:
        """Set generators and metrics, and stop if training was over."""
        if self._saved is None:
            return
        generators = self._saved['generators']
        torch.set_rng_state(generators['cpu'])
        states: list[Tensor] = generators['cuda']
        devices = range(torch.cuda.device_count())
        for device, state in zip(devices, states, strict=False):
            torch.cuda.set_rng_state(state, device)
        self.trainer.callback_metrics.update(self._saved['metrics'])
        for stop in self.trainer.early_stopping_callbacks:
            assert isinstance(stop, EarlyStopping)
            if stop.stopped_epoch > 0 or stop.wait_count >= stop.patience:
                self.trainer.should_stop = True

    def on_train_epoch_start(self) -> None:
        """Begin the means of the epoch, with the same generators everywhere.

        Those of the first process are what a checkpoint holds.
        """
        self.ranks.share_generators(self.device)
        self.means = EpochMeans()
        self._epoch_ended = False

    def on_train_epoch_end(self) -> None:
        """Log the means of the epoch."""
        self.note_end_of_epoch()
        self.log_dict(self.means_of_all().values(), sync_dist=True)

    def means_of_all(self) -> EpochMeans:
        """Return the means so far, those of all processes."""
        means = self.means.over(self.ranks)
        if self._epoch_ended:  # nothing is added to them any more
            self.means = means
        return means

    def note_end_of_epoch(self) -> None:
        """Note whether the epoch had all its batches; limits can end it."""
        progress = self.trainer.fit_loop.epoch_loop.batch_progress
        self._epoch_ended = progress.is_last_batch

    def teardown(self, stage: str) -> None:
        """Forget the checkpoint."""
        self._saved = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save what training needs to go on, as plain values."""
        if not self.is_resumable and self.trainer.is_global_zero:
            warn(
                f'A checkpoint is saved in the midst of epoch '
                f'{self.current_epoch + 1}. Its weights can be used, but '
                f'training cannot be resumed from it: save at the end of epochs'
            )
        cuda = torch.cuda.is_available()
        checkpoint[_KEY] = {
            'resumable': self.is_resumable,
            'settings': self.settings(),
            'history': [dict(entry) for entry in self.history],
            'means': self.means.state(),
            'teachers_cut_at': self.teachers_cut_at,
            'generators': {
                'cpu': torch.get_rng_state(),
                'cuda': torch.cuda.get_rng_state_all() if cuda else [],
            },
            'metrics': dict(self.trainer.callback_metrics),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up what was saved, if training is resumed.

        Args:
            checkpoint: The checkpoint.

        Raises:
            ValueError: If the checkpoint is of another kind, was saved in the
                midst of an epoch or after more epochs than wanted, or by a
                task with other settings or data.
        """
        if not self._trainer or self.trainer.state.fn != 'fit':
            return
        if _KEY not in checkpoint:
            raise ValueError(
                "'ckpt_path' is no checkpoint of a Recommendation of this "
                'version'
            )
        saved = checkpoint[_KEY]
        self._check_epoch(checkpoint, saved['resumable'])
        for name, value in self.settings().items():
            before = {**_BEFORE, **saved['settings']}.get(name)
            if before != value:
                raise ValueError(
                    f"'ckpt_path' is of a training with other settings: "
                    f"'{name}' was {before} (got {value})"
                )
        self._warn_of_teachers(saved.get('teachers_cut_at'))
        # Before weights are loaded, lest they are rounded to what was there:
        self.trainer.precision_plugin.convert_module(self)
        self.history = [dict(entry) for entry in saved['history']]
        self.means = EpochMeans.of(saved['means'])
        self._epoch_ended = True
        self._saved = saved

    def _warn_of_teachers(self, cut_at: int | None) -> None:
        self.teachers_cut_at = cut_at
        most = self.trainer.max_epochs
        if cut_at is not None and (most is None or not 0 <= most <= cut_at):
            warn(
                f'The teachers of the checkpoint had {cut_at} epochs, as '
                f"'max_epochs' was then, and would have learned on. They are "
                f'kept as they are; begin anew to give them more'
            )

    def _check_epoch(
        self, checkpoint: Mapping[str, Any], is_resumable: bool
    ) -> None:
        """Refuse a checkpoint of the midst of an epoch, or of a later one."""
        epoch = checkpoint['epoch'] + 1
        if not is_resumable:
            raise ValueError(
                f"'ckpt_path' was saved in the midst of epoch {epoch}, from "
                f'where training cannot go on as if it had not stopped. Take '
                f'one that was saved at the end of an epoch, such as by '
                f"'SaveLast' or ModelCheckpoint(every_n_epochs=1)"
            )
        most = self.trainer.max_epochs
        if most is not None and 0 <= most < epoch:
            raise ValueError(
                f"'max_epochs' is {most}, but the checkpoint is of epoch "
                f'{epoch}: it is the number of all epochs, those before the '
                f'checkpoint included'
            )
