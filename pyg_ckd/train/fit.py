"""Training with sensible defaults."""

from __future__ import annotations

import copy
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import (
    EarlyStopping,
    ModelCheckpoint,
    RichProgressBar,
)
from torch import nn
from torch_geometric.data import HeteroData

from pyg_ckd.graph import modalities
from pyg_ckd.distill import Teacher
from pyg_ckd.train.ckd import CKD
from pyg_ckd.train.recommendation import Recommendation
from pyg_ckd.views import only

Task = TypeVar('Task', bound=Recommendation)


def fit(
    task: Task,
    *,
    max_epochs: int = 1000,
    eval_every: int = 5,
    patience: int = 10,
    monitor: str = 'val_recall@20',
    progress: bool = True,
    **kwargs: Any,
) -> Task:
    """Train until validation Recall@20 stops rising, keep the best weights.

    A :class:`~pyg_ckd.train.CKD` task without teachers gets them first: copies
    of its model, each trained on one modality with the same settings. A model
    without parameters to train is ready as it is: it is evaluated once, as
    epoch 0 of the history.

    Args:
        task: What to train.
        max_epochs: The largest number of epochs.
        eval_every: Evaluate on validation after every so many epochs.
        patience: Stop when so many evaluations in a row, and one more, brought
            nothing better.
        monitor: The logged value to maximise.
        progress: Whether to show a progress bar.
        **kwargs: Further arguments of
            :class:`pytorch_lightning.Trainer`, such as ``accelerator``,
            ``precision`` or ``callbacks``.

    Returns:
        The task, its model with the weights of the best evaluation, in
        evaluation mode. ``task.history`` holds what was logged.

    Raises:
        ValueError: If ``max_epochs`` or ``eval_every`` is not positive, since
            no evaluation would take place.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import VBPR
        >>> data = FakeMultimodal(num_users=20, num_items=30)[0]
        >>> task = Recommendation(VBPR.from_data(data, dim=4), data)
        >>> task = fit(task, max_epochs=4, eval_every=2, progress=False)
        >>> [entry['epoch'] for entry in task.history]
        [2, 4]
    """
    for name, value in {
        'max_epochs': max_epochs,
        'eval_every': eval_every,
    }.items():
        if value < 1:
            raise ValueError(f"'{name}' needs to be positive (got {value})")
    if not any(p.requires_grad for p in task.model.parameters()):
        task.history = [{'epoch': 0, **task.validation()}]
        return task.eval()
    eval_every = min(eval_every, max_epochs)
    if isinstance(task, CKD) and not task.teachers:
        teachers = fit_teachers(
            lambda: copy.deepcopy(task.model),
            task.data,
            lr=task.lr,
            l2=task.l2,
            batch_size=task.batch_size,
            sampling=task.sampling,
            max_epochs=max_epochs,
            eval_every=eval_every,
            patience=patience,
            monitor=monitor,
            progress=progress,
            **kwargs,
        )
        task.set_teachers(teachers)

    callbacks = list(kwargs.pop('callbacks', []))
    with tempfile.TemporaryDirectory() as folder, _quiet():
        best = ModelCheckpoint(
            folder, monitor=monitor, mode='max', save_weights_only=True
        )
        # Lightning stops at the `patience`-th bad evaluation:
        stop = EarlyStopping(monitor, mode='max', patience=patience + 1)
        if progress:
            callbacks.append(RichProgressBar(leave=True))
        trainer = Trainer(
            max_epochs=max_epochs,
            check_val_every_n_epoch=eval_every,
            num_sanity_val_steps=0,
            callbacks=[*callbacks, best, stop],
            enable_progress_bar=progress,
            enable_model_summary=False,
            **{'logger': False, **kwargs},
        )
        task.train()
        trainer.fit(task)
        state = torch.load(best.best_model_path, weights_only=True)
    task.load_state_dict(state['state_dict'])
    task.eval()
    return task


def fit_teachers(
    model: Callable[[], nn.Module],
    data: HeteroData,
    *,
    lr: float = 1e-3,
    l2: float = 1e-2,
    batch_size: int = 2048,
    sampling: Any = 'interaction',
    **kwargs: Any,
) -> dict[str, Teacher]:
    """Train one teacher for each modality.

    Args:
        model: Makes a new model, ``lambda: VBPR.from_data(data)``.
        data: The user-item graph.
        lr: See :class:`~pyg_ckd.train.Recommendation`.
        l2: See :class:`~pyg_ckd.train.Recommendation`.
        batch_size: See :class:`~pyg_ckd.train.Recommendation`.
        sampling: See :class:`~pyg_ckd.train.Recommendation`.
        **kwargs: Arguments of :func:`fit`.

    Returns:
        The teachers by modality.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import VBPR
        >>> data = FakeMultimodal(num_users=20, num_items=30)[0]
        >>> teachers = fit_teachers(
        ...     lambda: VBPR.from_data(data, dim=4),
        ...     data,
        ...     max_epochs=1,
        ...     progress=False,
        ... )
        >>> sorted(teachers)
        ['image', 'text']
    """
    teachers = {}
    for name in modalities(data):
        task = Recommendation(
            model(),
            data,
            keep=only(name),
            lr=lr,
            l2=l2,
            batch_size=batch_size,
            sampling=sampling,
        )
        fit(task, **kwargs)
        teachers[name] = Teacher.from_model(task.model, data, name)
    return teachers


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what Lightning says about loaders that are as they should be."""
    logger = logging.getLogger('pytorch_lightning')
    level = logger.level
    logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', '.*does not have many workers.*')
        warnings.filterwarnings('ignore', '.*number of training batches.*')
        warnings.filterwarnings('ignore', '.*exists and is not empty.*')
        warnings.filterwarnings('ignore', '.*LeafSpec.* is deprecated.*')
        try:
            yield
        finally:
            logger.setLevel(level)
