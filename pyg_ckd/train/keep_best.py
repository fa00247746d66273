"""The best weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from pyg_ckd.train.recommendation import Recommendation


class KeepBest(Callback):
    """Keeps the best weights in memory, and ends training in time.

    They are those that were evaluated, which need not be those that training
    goes on with: averages that another callback puts in their place for
    validation, for instance. Of equal evaluations the first one is the best.

    Args:
        monitor (str, optional): The value to maximise.
            (default: :obj:`"val_recall@20"`)
        patience (int, optional): End training when so many evaluations in a
            row, and one more, brought nothing better. (default: :obj:`None`)

    Raises:
        ValueError: After the first evaluation, if there is no such value; and
            if training is resumed that had another ``monitor`` or
            ``patience``.
    """

    def __init__(
        self, monitor: str = 'val_recall@20', patience: int | None = None
    ) -> None:
        self.monitor = monitor
        self.patience = patience
        #: The value of the best evaluation, its epoch and its weights.
        self.score = -math.inf
        self.epoch: int | None = None
        self.weights: dict[str, Any] = {}
        #: How many evaluations since then brought nothing better.
        self.waited = 0
        #: What ended training before its time.
        self.exception: BaseException | None = None
        self._evaluated: dict[str, Any] = {}

    def on_train_start(self, trainer: Trainer, *args: Any) -> None:
        """Do not go on if training had come to its end before it stopped."""
        self._stop(trainer)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any
    ) -> None:
        """Copy the weights that have just been evaluated."""
        if _fits(trainer):
            self._evaluated = {
                name: _copied(value)
                for name, value in pl_module.state_dict().items()
            }

    def on_validation_end(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Compare, and keep the better."""
        if not _fits(trainer):
            return
        value = self._value(trainer, pl_module)
        if value > self.score:
            self.score, self.weights = value, self._evaluated
            self.epoch = trainer.current_epoch + 1
            self.waited = 0
        else:
            self.waited += 1
        self._evaluated = {}
        self._stop(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: Any
    ) -> None:
        """Remember what ended training."""
        self.exception = exception

    def restore(self, module: nn.Module) -> None:
        """Load the best weights, if there was an evaluation.

        Args:
            module: The task.
        """
        if self.epoch is not None:
            module.load_state_dict(self.weights)

    def _value(self, trainer: Trainer, task: LightningModule) -> float:
        # The history is exact, what was logged is rounded:
        assert isinstance(task, Recommendation)
        values: dict[str, Any] = {
            **trainer.callback_metrics,
            **task.history[-1],
        }
        return monitored(values, self.monitor)

    def _stop(self, trainer: Trainer) -> None:
        if self.patience is not None and self.waited > self.patience:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """Return what is kept, for checkpoints."""
        return {
            'monitor': self.monitor,
            'patience': self.patience,
            'score': self.score,
            'epoch': self.epoch,
            'weights': self.weights,
            'waited': self.waited,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what a checkpoint has kept.

        Args:
            state_dict: What :meth:`state_dict` returned.

        Raises:
            ValueError: If it was kept by other rules.
        """
        rules = {'monitor': self.monitor, 'patience': self.patience}
        for name, now in rules.items():
            before = state_dict[name]
            if before != now:
                raise ValueError(
                    f"'ckpt_path' is of a training with other settings: "
                    f"'{name}' was {before!r} (got {now!r})"
                )
        self.score = state_dict['score']
        self.epoch = state_dict['epoch']
        self.weights = {k: _copied(v) for k, v in state_dict['weights'].items()}
        self.waited = state_dict['waited']


def monitored(values: Mapping[str, Any], monitor: str) -> float:
    """Return the value that is maximised.

    Args:
        values: What is known after an evaluation.
        monitor: Its name.

    Raises:
        ValueError: If there is no such value.
    """
    if monitor not in values:
        known = sorted(name for name in values if name != 'epoch')
        raise ValueError(
            f"'monitor' needs to be a value that is known after an "
            f"evaluation, one of {known} (got '{monitor}')"
        )
    return float(values[monitor])


def _fits(trainer: Trainer) -> bool:
    return trainer.state.fn == 'fit' and not trainer.sanity_checking


def _copied(value: Any) -> Any:
    """Return a copy of a part of a state, in main memory."""
    if isinstance(value, Tensor):
        return value.detach().to('cpu', copy=True)
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_copied(part) for part in value]
    return value
