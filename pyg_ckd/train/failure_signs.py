"""Signs that distillation does not help, while it trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import nn

from pyg_ckd.balance import CKD, failure_signs
from pyg_ckd.train._gradient_share import gradient_share
from pyg_ckd.train.modes import modes_of_frozen, set_modes
from pyg_ckd.train.recommendation import Recommendation
from pyg_ckd.train.warn import warn
from pyg_ckd.views import view_name


class FailureSigns(Callback):
    """Looks for signs that distillation does not help, and warns once of each.

    Of teachers with nothing left to teach it warns when that is all of them;
    :func:`~pyg_ckd.inspect.diagnose` tells it of each.

    At each evaluation, the share of distillation in the gradient joins the
    history of the task as ``gradient_share``, and
    :func:`pyg_ckd.balance.failure_signs` are looked for. Training stays the
    same. :func:`~pyg_ckd.train.fit` brings it along where the balance is
    :class:`~pyg_ckd.balance.CKD`.
    """

    def __init__(self) -> None:
        self._warned: list[str] = []
        self._modes: dict[nn.Module, bool] = {}

    def on_train_start(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Note the modes of what is frozen, before all is evaluated."""
        self._modes = modes_of_frozen(pl_module)

    def on_validation_end(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Look at the model that has just been evaluated."""
        assert isinstance(pl_module, Recommendation)
        task, balance = pl_module, pl_module.balance
        if trainer.state.fn != 'fit' or trainer.sanity_checking:
            return
        if not isinstance(balance, CKD):
            return
        with (
            _undisturbed(task, self._modes),
            trainer.precision_plugin.train_step_context(),
        ):
            batch = task.train_dataloader().sample(task.batch_size)
            share = gradient_share(task, batch)
        entry = task.history[-1]
        entry['gradient_share'] = share
        # A gate does by itself what is to be tried:
        level = {} if balance.gate else balance.teacher_level
        names = balance.names
        if not trainer.is_global_zero:
            return
        signs = failure_signs(
            entry, {view_name(k, names): value for k, value in level.items()}
        )
        outdone = [name for name in signs if name.startswith('teacher')]
        some_still_teach = len(outdone) < len(level)
        for name, sign in signs.items():
            if name in outdone and some_still_teach:
                continue
            if name not in self._warned:
                self._warned.append(name)
                epoch = trainer.current_epoch + 1
                warn(f'Epoch {epoch}: {sign}')

    def state_dict(self) -> dict[str, Any]:
        """Return what has been said, for checkpoints."""
        return {'warned': list(self._warned)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what has been said."""
        self._warned = list(state_dict['warned'])


@contextmanager
def _undisturbed(
    task: Recommendation, modes: Mapping[nn.Module, bool]
) -> Iterator[None]:
    """Train for a while, but for parts of other modes, and leave no trace."""
    devices = [task.device] if task.device.type == 'cuda' else []
    idle = [module for module in task.modules() if not module.training]
    buffers = [(buffer, buffer.clone()) for buffer in task.buffers()]
    task.train()
    set_modes(modes)
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        for module in idle:
            module.training = False
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
