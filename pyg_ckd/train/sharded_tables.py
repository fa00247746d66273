"""Training by several processes, with tables of embeddings cut by rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
import torch.distributed as dist
from pytorch_lightning import LightningModule, Trainer, callbacks
from pytorch_lightning.strategies import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from pyg_ckd.balance import CKD, Balance, SoftCrossEntropy
from pyg_ckd.kernels.ranks import Ranks
from pyg_ckd.nn.sharded import Sharded
from pyg_ckd.objectives import BPR, Objective

#: The second one is not in all releases of Lightning.
_AVERAGING = tuple(
    getattr(callbacks, name)
    for name in ('StochasticWeightAveraging', 'WeightAveraging')
    if hasattr(callbacks, name)
)


class ShardedTables(DDPStrategy):
    r"""Trains as ``strategy='ddp'`` does, with tables cut by rows.

    Of the tables of users and items, each of :math:`n` processes has
    :math:`1 / n` of the rows, of their gradients and of the states of Adam. A
    step fetches the rows of its users and items from the processes that have
    them, and sends their gradients back. What else a model has, graphs,
    features and interactions are whole in each process.

    It is for :class:`~pyg_ckd.nn.VBPR`, and for
    :class:`~pyg_ckd.nn.LightGCN` in :class:`~pyg_ckd.nn.Sampled`, trained by
    :class:`~pyg_ckd.objectives.BPR` with or without
    :class:`~pyg_ckd.balance.CKD`. A model that does not fit into one process
    is made on the device ``meta``::

        with torch.device('meta'):
            model = VBPR.from_data(data)
        task = Recommendation(model, data)
        task = fit(task, devices=2, strategy=ShardedTables())
        task.save(folder)  # by all processes

    Afterwards a process still has its own rows, and cannot recommend by
    itself: ``task.save`` gathers the model in the first process.

    Each process writes a checkpoint of its own rows: the first one the file
    itself, process :math:`r` one with ``.r`` behind its name.

    Args:
        **kwargs (optional): Arguments of Lightning's ``DDPStrategy``.

    Raises:
        ValueError: In training, if the model is another one, or the objective,
            the balance or an argument of the trainer does not fit.

    Example:
        >>> ShardedTables().own_file('last.ckpt')
        'last.ckpt'
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._kwargs = kwargs

    def again(self) -> ShardedTables:
        """Return one for another training, with the same arguments."""
        return ShardedTables(**self._kwargs)

    def cut(
        self, task: LightningModule, recommender: Sharded, ranks: Ranks
    ) -> None:
        """Cut the tables of a task, and leave their gradients to themselves.

        Args:
            task: The task.
            recommender: Its recommender.
            ranks: The processes, all of which call it.
        """
        recommender.cut(ranks, self.root_device)
        own = set(map(id, recommender.own_parameters()))
        names = [name for name, p in task.named_parameters() if id(p) in own]
        # Heeded by Lightning, too, when it evaluates:
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(
            task, names
        )
        self._has_more = any(
            p.requires_grad and id(p) not in own for p in task.parameters()
        )

    def configure_ddp(self) -> None:
        """Average the gradients of what is no table, if there is more."""
        if self._has_more:
            super().configure_ddp()

    def own_file(self, path: str | Path) -> str:
        """Return the file of a checkpoint that this process writes.

        Args:
            path: That of the first process.
        """
        return f'{path}.{self.global_rank}' if self.global_rank else str(path)

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: Any, *args: Any, **kw: Any
    ) -> None:
        """Write the checkpoint of this process."""
        self.checkpoint_io.save_checkpoint(
            checkpoint, self.own_file(filepath), *args, **kw
        )

    def remove_checkpoint(self, filepath: Any) -> None:
        """Remove the checkpoint of this process."""
        self.checkpoint_io.remove_checkpoint(self.own_file(filepath))

    def load_checkpoint(
        self, checkpoint_path: Any, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """Read the checkpoint of this process, by all of them.

        Raises:
            ValueError: If the file of one is missing or cut off, or is of
                another moment than that of the first.
        """
        path = self.own_file(checkpoint_path)
        checkpoint: dict[str, Any] = {}
        moment: Any = None
        if is_zipfile(path):
            # Executes nothing in it, whatever the version of Lightning:
            checkpoint = torch.load(path, map_location='cpu', weights_only=True)
            saved = checkpoint.get('pyg_ckd', {})
            moment = checkpoint['global_step'], saved.get('history')
        moments: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(moments, moment)
        for rank, other in enumerate(moments):
            if other is None or other != moments[0]:
                what = 'of another moment than that of process 0'
                raise ValueError(
                    f"'ckpt_path' needs a file of each process, "
                    f"'{checkpoint_path}' of the first and "
                    f"'{checkpoint_path}.r' of process r, saved at the same "
                    f'moment, but that of process {rank} is '
                    f'{what if other else "missing or cut off"}'
                )
        return checkpoint


def check_fits(
    trainer: Trainer, objective: Objective | None, balance: Balance | None
) -> None:
    """Refuse what does not fit tables that are cut by rows.

    Args:
        trainer: The trainer.
        objective: What a step minimises.
        balance: What keeps modalities in balance.

    Raises:
        ValueError: If something does not; it names the argument.
    """
    if objective is not None and type(objective) is not BPR:
        raise ValueError(
            f"'objective' needs to be BPR() where tables are cut by rows (got "
            f"{objective!r}): others were never tried. Or take strategy='ddp'"
        )
    if balance is not None and type(balance) is not CKD:
        raise ValueError(
            f"'balance' needs to be CKD() or None where tables are cut by rows "
            f'(got {balance!r}): others look at whole tables or at all '
            f"gradients. Or take strategy='ddp'"
        )
    on_random = balance.on_random if isinstance(balance, CKD) else None
    if on_random is not None and (
        type(on_random) is not SoftCrossEntropy or on_random.relative
    ):
        raise ValueError(
            f"'on_random' needs to be SoftCrossEntropy() with relative=False, "
            f'or None, in a CKD whose tables are cut by rows (got '
            f'{on_random!r}): it would look at all users or items of a teacher'
        )
    if trainer.gradient_clip_val:
        raise ValueError(
            f"'gradient_clip_val' needs to be None where tables are cut by "
            f'rows (got {trainer.gradient_clip_val}): each process would clip '
            f'by the norm of its own rows'
        )
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, _AVERAGING):
            raise ValueError(
                f"'callbacks' cannot have {type(callback).__name__} where "
                f'tables are cut by rows: it copies whole tables. Or take '
                f"strategy='ddp'"
            )
    if trainer.precision == '16-mixed':
        raise ValueError(
            "'precision' cannot be '16-mixed' where tables are cut by rows: "
            'a process would leave out a step by its own rows alone. Take '
            "'bf16-mixed' or '32-true'"
        )
