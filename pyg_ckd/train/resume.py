"""What a checkpoint holds, so that training goes on exactly where it was."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.trainer.states import TrainerStatus
from torch import Tensor, nn

from pyg_ckd.balance import Balance
from pyg_ckd.nn import Recommender
from pyg_ckd.objectives import Objective
from pyg_ckd.train.epoch_means import EpochMeans
from pyg_ckd.views import Keep

#: Where it is in a checkpoint.
KEY = 'pyg_ckd'


class Task(Protocol):
    """What is looked at in a :class:`~pyg_ckd.train.Recommendation`."""

    recommender: Recommender
    objective: Objective | None
    balance: Balance | None
    keep: Keep
    lr: float
    batch_size: int
    fingerprint: str
    history: list[dict[str, float]]
    means: EpochMeans
    epoch_ended: bool
    trainer: Trainer

    @property
    def current_epoch(self) -> int:
        """The number of finished epochs."""

    @property
    def sampling(self) -> str:
        """Where positives come from."""


@dataclass(frozen=True)
class Resume:
    """What is taken up once training starts.

    Args:
        generators (dict[str, Any]): The states of torch's generators.
        metrics (dict[str, Tensor]): What callbacks can monitor.
    """

    generators: Mapping[str, Any]
    metrics: Mapping[str, Tensor]

    def go_on(self, trainer: Trainer) -> None:
        """Set generators and metrics, and stop if training was over.

        Args:
            trainer: The trainer.
        """
        torch.set_rng_state(self.generators['cpu'])
        states: list[Tensor] = self.generators['cuda']
        devices = range(torch.cuda.device_count())
        for device, state in zip(devices, states, strict=False):
            torch.cuda.set_rng_state(state, device)
        trainer.callback_metrics.update(self.metrics)
        for stop in trainer.early_stopping_callbacks:
            assert isinstance(stop, EarlyStopping)
            if stop.stopped_epoch > 0 or stop.wait_count >= stop.patience:
                trainer.should_stop = True


def is_last_batch(trainer: Trainer) -> bool:
    """Return whether the epoch has no further batch; limits can end it before.

    Args:
        trainer: The trainer.
    """
    return trainer.fit_loop.epoch_loop.batch_progress.is_last_batch


def is_resumable(task: Task) -> bool:
    """Return whether a checkpoint that is saved now can be resumed.

    The loader, and what a model keeps for an epoch, are not saved, so that
    training can go on after an epoch alone.

    Args:
        task: What is trained.
    """
    interrupted = task.trainer.state.status == TrainerStatus.INTERRUPTED
    return task.epoch_ended and not interrupted


def state(task: Task) -> dict[str, Any]:
    """Return what is saved, as plain values.

    Args:
        task: What is trained.
    """
    resumable = is_resumable(task)
    if not resumable:
        warnings.warn(
            f'A checkpoint is saved in the midst of epoch '
            f'{task.current_epoch + 1}. Its weights can be used, but training '
            f'cannot be resumed from it: save at the end of epochs',
            stacklevel=2,
        )
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        'resumable': resumable,
        'settings': _settings(task),
        'history': [dict(entry) for entry in task.history],
        'means': task.means.state(),
        'generators': {'cpu': torch.get_rng_state(), 'cuda': cuda},
        'metrics': dict(task.trainer.callback_metrics),
    }


def load(task: Task, checkpoint: Mapping[str, Any]) -> Resume:
    """Take up what was saved, if training can go on from it exactly.

    Args:
        task: What is to be trained.
        checkpoint: The checkpoint.

    Raises:
        ValueError: If the checkpoint is of another kind, was saved in the
            midst of an epoch, or by a task with other settings or data.
    """
    if KEY not in checkpoint:
        raise ValueError(
            "'ckpt_path' is no checkpoint of a Recommendation of this version"
        )
    saved = checkpoint[KEY]
    if not saved['resumable']:
        raise ValueError(
            f"'ckpt_path' was saved in the midst of epoch "
            f'{checkpoint["epoch"] + 1}, from where training cannot go on as '
            f'if it had not stopped. Take one that was saved at the end of an '
            f"epoch, such as by 'SaveLast' or "
            f'ModelCheckpoint(every_n_epochs=1)'
        )
    for name, value in _settings(task).items():
        before = saved['settings'].get(name)
        if before != value:
            raise ValueError(
                f"'ckpt_path' is of a training with other settings: '{name}' "
                f'was {before} (got {value})'
            )
    # Before weights are loaded, lest they are rounded to what was there:
    assert isinstance(task, nn.Module)
    task.trainer.precision_plugin.convert_module(task)
    task.history = [dict(entry) for entry in saved['history']]
    task.means = EpochMeans.of(saved['means'])
    task.epoch_ended = True
    return Resume(saved['generators'], saved['metrics'])


def _settings(task: Task) -> dict[str, Any]:
    """Return what has to be the same."""
    return {
        'model': task.recommender.name,
        'objective': repr(task.objective),
        'balance': type(task.balance).__name__,
        'keep': sorted(task.keep),
        'lr': task.lr,
        'batch_size': task.batch_size,
        'sampling': task.sampling,
        'eval_every': task.trainer.check_val_every_n_epoch,
        'precision': task.trainer.precision,
        'data': task.fingerprint,
    }
