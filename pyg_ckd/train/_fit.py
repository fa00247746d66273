"""Training with sensible defaults."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from pytorch_lightning import Callback
from typing_extensions import Unpack

from pyg_ckd.balance import CKD
from pyg_ckd.datasets.raw.files import is_of_system
from pyg_ckd.graph import check, modalities
from pyg_ckd.kernels.allocator import memory_reused_if_small
from pyg_ckd.kernels.arguments import is_whole
from pyg_ckd.nn import FixedEmbeddings, Recommender
from pyg_ckd.nn.door import matched
from pyg_ckd.nn.evaluating import evaluating
from pyg_ckd.nn.sharded import Sharded
from pyg_ckd.serving import warm_start as begin_from
from pyg_ckd.train.checks import described
from pyg_ckd.train.failure_signs import FailureSigns
from pyg_ckd.train.keep_best import KeepBest, monitored
from pyg_ckd.train.left_usable import left_usable
from pyg_ckd.train.modes import modes_of_frozen, set_modes
from pyg_ckd.train.on_this_rank import OnThisRank
from pyg_ckd.train.progress_line import ProgressLine
from pyg_ckd.train.recommendation import Recommendation
from pyg_ckd.train.scales import warn_of_scales
from pyg_ckd.train.sharded_tables import ShardedTables
from pyg_ckd.train.titles import teacher_title
from pyg_ckd.train.trainer import make_trainer, quiet
from pyg_ckd.train.trainer_options import TrainerOptions
from pyg_ckd.train.warn import warn
from pyg_ckd.views import Keep

#: The arguments of Lightning for a process by itself.
_ALONE: dict[str, Any] = {'devices': 1, 'num_nodes': 1, 'plugins': None}


def fit(
    task: Recommendation,
    *,
    max_epochs: int = 1000,
    eval_every: int | None = 5,
    patience: int = 10,
    monitor: str = 'val_recall@20',
    progress: bool = True,
    ckpt_path: str | Path | None = None,
    warm_start: str | Path | None = None,
    **kwargs: Unpack[TrainerOptions],
) -> Recommendation:
    """Train until validation Recall@20 stops rising, keep the best weights.

    A balance that needs teachers gets them first: copies of the model, each
    trained in one view with the same settings. Callbacks, loggers and
    checkpoints are for the task alone, limits for each training. A model
    without parameters to train is ready as it is: it is evaluated once, as
    epoch 0 of the history. While it trains, memory that a step frees stays
    with the process if that has at most 1 GB so far
    (:func:`~pyg_ckd.kernels.memory_reused`). Parts none of whose parameters is
    trained keep their mode: a frozen encoder in evaluation mode stays in it.
    Validation is in full precision, whatever training is in.

    However training ends, by itself, by a limit such as ``max_time``, an error
    or Ctrl+C, the task has the best weights afterwards, is in evaluation mode
    and can be used. Errors and :class:`KeyboardInterrupt` are raised
    nonetheless. If there was no evaluation it has the last weights, and a
    warning says so.

    With ``ckpt_path`` training goes on where a checkpoint was saved, as if it
    had not stopped, and on CPUs to the last bit: make the task as before, and
    pass the same arguments again; ``max_epochs`` may be larger. Teachers are
    those of the checkpoint, and a warning says so if fewer epochs cut them
    short.
    :class:`~pyg_ckd.train.SaveLast` writes such a file; those of Lightning's
    ``ModelCheckpoint`` serve as well, if they were saved at the end of an
    epoch. A script that may be stopped at any time and started again says::

        path = Path('last.ckpt')
        fit(
            task,
            callbacks=SaveLast(path),
            ckpt_path=path if path.exists() else None,
        )

    With ``strategy='ddp'`` several processes train together, each on batches
    of its own: ``devices`` on this machine, on ``num_nodes`` machines. A
    script is then run by each of them, from its start to its end, and all get
    the same task; teachers are trained by one process each, at the same time.
    With ``strategy=ShardedTables()`` each has some of the rows of the tables,
    see :class:`~pyg_ckd.train.ShardedTables`.

    With ``eval_every=None`` nothing is evaluated: training takes
    ``max_epochs``, that of teachers, too, and the task has the last weights.
    That is for a model on all interactions, see
    :class:`~pyg_ckd.transforms.TrainOnAll`.

    Where the features of the modalities that the model learns from differ in
    scale, more than tenfold, a warning says so, once.

    Args:
        task (Recommendation): What to train.
        max_epochs (int, optional): The largest number of epochs.
            (default: :obj:`1000`)
        eval_every (int, optional): Evaluate on validation after every so many
            epochs, or never if it is :obj:`None`. (default: :obj:`5`)
        patience (int, optional): Stop when so many evaluations in a row, and
            one more, brought nothing better. (default: :obj:`10`)
        monitor (str, optional): The logged value to maximise.
            (default: :obj:`"val_recall@20"`)
        progress (bool, optional): Whether to show a line of progress.
            (default: :obj:`True`)
        ckpt_path (str or Path, optional): The file of a checkpoint to resume.
            (default: :obj:`None`)
        warm_start (str or Path, optional): The folder of a saved model, from
            whose weights training begins, see
            :func:`~pyg_ckd.serving.warm_start`. (default: :obj:`None`)
        **kwargs (optional): Further arguments of
            :class:`pytorch_lightning.Trainer`, such as ``accelerator``,
            ``precision``, ``max_time``, ``callbacks`` or ``logger``.

    Returns:
        The task. ``task.history`` holds what was logged, ``task.best_epoch``
        the epoch whose weights it has.

    Raises:
        ValueError: If an argument is out of its range, or one of Lightning's
            that ``fit`` sets itself; if the data has no validation split;
            if ``strategy`` cannot work; if ``ckpt_path`` cannot be resumed;
            and if training diverged.
        RuntimeError: If another process could not train its teacher.
        TypeError: If ``task`` is no :class:`~pyg_ckd.train.Recommendation`.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import VBPR
        >>> data = FakeMultimodal(num_users=20, num_items=30)[0]
        >>> task = Recommendation(VBPR.from_data(data, dim=4), data)
        >>> task = fit(task, max_epochs=4, eval_every=2, progress=False)
        >>> [entry['epoch'] for entry in task.history]
        [2, 4]
    """
    if not isinstance(task, Recommendation):
        raise TypeError(
            f"'task' needs to be a Recommendation (got {described(task)}): "
            f'fit(Recommendation(model, data))'
        )
    _check_numbers(max_epochs, eval_every, patience)
    # Neither Lightning nor checkpoints take numbers of NumPy:
    max_epochs, patience = int(max_epochs), int(patience)
    eval_every = None if eval_every is None else int(eval_every)
    if not monitor.startswith('val_'):
        raise ValueError(
            f"'monitor' is maximised, and needs to be a validation metric in "
            f"'fit', such as 'val_recall@20' (got '{monitor}')"
        )
    if None not in (ckpt_path, warm_start):
        raise ValueError(
            "'warm_start' and 'ckpt_path' exclude each other in 'fit': a "
            'training either begins anew or goes on'
        )
    if ckpt_path is not None:
        _check_file(ckpt_path)
    if eval_every is not None:
        check(task.data, splits=('val',))
    elif task.balance is not None and task.balance.needs_validation:
        raise ValueError(
            f"'{task.balance!r}' learns from validation, so that 'eval_every' "
            f"needs to be a number in 'fit'"
        )
    best = KeepBest(monitor, patience)
    line = ProgressLine(task.title, best)
    own: list[Callback] = [best, line] if progress else [best]
    is_sharded = isinstance(kwargs.get('strategy'), ShardedTables)
    if isinstance(task.balance, CKD) and not is_sharded:
        own.insert(0, FailureSigns())
    trainer = make_trainer(own, max_epochs, eval_every, **kwargs)
    is_first = trainer.is_global_zero
    if not any(p.requires_grad for p in task.recommender.parameters()):
        if warm_start is not None or ckpt_path is not None:
            name = 'ckpt_path' if warm_start is None else 'warm_start'
            raise ValueError(
                f"'{name}' needs a training to go on with, but "
                f"'{task.recommender.name}' has no parameters to train: leave "
                f'it out'
            )
        task.best_epoch = 0
        if eval_every is not None:
            history = [{'epoch': 0, **task.validation()}]
            best.epoch, best.score = 0, monitored(history[0], monitor)
            task.history = history
        if progress:
            line.close(0)
        return task.eval()
    if warm_start is not None and is_sharded:
        raise ValueError(
            "'warm_start' needs whole tables in 'fit', which ShardedTables "
            'cuts: call pyg_ckd.serving.warm_start(model, data, folder) before '
            'the task is made, with a model that is not on meta'
        )
    task.shard(trainer)
    if warm_start is not None:
        begin_from(task.model, task.data, warm_start)
    if ckpt_path is None and is_first:
        warn_of_scales(task)
    modes = modes_of_frozen(task)
    task.eval()
    set_modes(modes)
    if task.balance is not None and ckpt_path is None:
        arguments = {
            'max_epochs': max_epochs,
            'eval_every': eval_every,
            'patience': patience,
            'monitor': monitor,
            'progress': progress,
            **kwargs,
        }
        strategy = trainer.strategy
        if isinstance(strategy, ShardedTables):
            # One teacher after the other, by all processes:
            task.balance.prepare(
                lambda keep: _taught_apart(
                    task, keep, {**arguments, 'strategy': strategy.again()}
                )
            )
        elif trainer.world_size == 1:
            task.balance.prepare(lambda keep: _taught(task, keep, arguments))
        else:  # once the processes have found each other
            arguments.update(_ALONE)
            arguments['strategy'] = OnThisRank(strategy.root_device)
            task.teach = lambda keep: _taught(task, keep, arguments)

    task.eval_every = eval_every
    task.train()
    set_modes(modes)
    with left_usable(task, best):
        try:
            with quiet(), memory_reused_if_small():
                trainer.fit(task, ckpt_path=ckpt_path)
        except SystemExit:
            # What Lightning makes of Ctrl+C:
            if not isinstance(best.exception, KeyboardInterrupt):
                raise
        finally:
            task.best_epoch = best.epoch or trainer.current_epoch
            if progress and is_first:
                line.close(trainer.current_epoch)
    if isinstance(best.exception, KeyboardInterrupt):
        raise KeyboardInterrupt
    if best.epoch is None and eval_every is not None and is_first:
        warn(
            f'Training of {task.title} ended before its first evaluation, so '
            f'that it has its last weights'
        )
    return task


def _taught(
    task: Recommendation, keep: Keep, arguments: Mapping[str, Any]
) -> Recommender:
    """Train a copy of the model of a task in one view."""
    arguments = dict(arguments)
    for name in ('callbacks', 'logger', 'enable_checkpointing'):
        arguments.pop(name, None)
    if arguments['monitor'] not in ('val_recall@20', 'val_ndcg@20'):
        # Such as that of a view that only the student has:
        arguments['monitor'] = 'val_recall@20'
    teacher = Recommendation(
        copy.deepcopy(task.model),
        task.data,
        task.objective,
        keep=keep,
        lr=task.lr,
        batch_size=task.batch_size,
        sampling=task.sampling,
    )
    names = modalities(task.data)
    teacher.title = teacher_title(task.recommender.name, keep, names)
    teacher = fit(teacher, **arguments)
    trainer = teacher._trainer  # none if it has nothing to train
    if trainer and trainer.current_epoch == arguments['max_epochs']:
        task.teachers_cut_at = arguments['max_epochs']
    return teacher.recommender


def _taught_apart(
    task: Recommendation, keep: Keep, arguments: Mapping[str, Any]
) -> Recommender:
    """Train a copy in one view, and return its own users and all items."""
    model = _taught(task, keep, arguments)
    assert isinstance(model, Sharded)
    with evaluating(model):
        own = model.own_embeddings(matched(task.data, model), keep)
    return FixedEmbeddings(*own)


def _check_numbers(
    max_epochs: int, eval_every: int | None, patience: int
) -> None:
    for name, value in (
        ('max_epochs', max_epochs),
        ('eval_every', 1 if eval_every is None else eval_every),
    ):
        if not is_whole(value) or value < 1:
            raise ValueError(
                f"'{name}' needs to be a positive number of epochs in 'fit' "
                f'(got {value!r})'
            )
    if not is_whole(patience) or patience < 0:
        raise ValueError(
            f"'patience' needs to be a number of evaluations in 'fit', at "
            f'least 0 (got {patience!r})'
        )


def _check_file(path: str | Path) -> None:
    """Refuse a file that is no whole checkpoint, or holds more than values.

    Lightning up to 2.5 would execute what is in it, and later ones do so with
    files of other machines.
    """
    if not Path(path).is_file():
        raise ValueError(
            f"'ckpt_path' needs to be the file of a checkpoint in 'fit' (got "
            f"'{path}', where there is none)"
        )
    if not is_zipfile(path):
        raise ValueError(
            f"'ckpt_path' is no whole checkpoint (got '{path}'): the file was "
            f'cut off, or is something else'
        )
    try:
        torch.load(path, map_location='cpu', mmap=True, weights_only=True)
    except Exception as error:  # PyTorch raises many kinds on a broken file.
        if is_of_system(error):
            raise
        raise ValueError(
            f"'ckpt_path' is no whole checkpoint of tensors and plain values "
            f"(got '{path}'), and nothing else in it is executed"
        ) from error
