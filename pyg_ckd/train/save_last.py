"""A file to resume training from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from pyg_ckd.train.recommendation import Recommendation
from pyg_ckd.train.sharded_tables import ShardedTables


class SaveLast(Checkpoint):
    """Writes a checkpoint after each evaluation, whole or not at all.

    Where nothing is evaluated, ``fit(eval_every=None)``, it does so after each
    epoch.

    The file replaces the one before in a single move inside its folder, so
    that there is a readable one at any moment, even if the process is killed.
    Where several processes train together, the first one writes; with
    :class:`~pyg_ckd.train.ShardedTables` each does, a file of its own.

    Args:
        path (str or Path): The file.

    Example:
        >>> import tempfile
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import VBPR
        >>> from pyg_ckd.train import fit
        >>> data = FakeMultimodal(num_users=20, num_items=30)[0]
        >>> def task():
        ...     return Recommendation(VBPR.from_data(data, dim=4), data)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = f'{folder}/last.ckpt'
        ...     _ = fit(task(), max_epochs=5, progress=False,
        ...             callbacks=[SaveLast(path)])
        ...     resumed = fit(task(), max_epochs=10, progress=False,
        ...                   callbacks=[SaveLast(path)], ckpt_path=path)
        >>> [entry['epoch'] for entry in resumed.history]
        [5, 10]
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def on_train_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Save if there was an evaluation, or never is one."""
        assert isinstance(pl_module, Recommendation)
        history: list[dict[str, Any]] = pl_module.history
        epoch = trainer.current_epoch + 1
        evaluated = bool(history) and history[-1]['epoch'] == epoch
        due = evaluated or trainer.limit_val_batches == 0
        if due and pl_module.is_resumable:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            half = self.path.with_name(f'{self.path.name}.half')
            trainer.save_checkpoint(half)
            strategy = trainer.strategy
            if isinstance(strategy, ShardedTables):
                os.replace(
                    strategy.own_file(half), strategy.own_file(self.path)
                )
            elif trainer.is_global_zero:
                os.replace(half, self.path)
