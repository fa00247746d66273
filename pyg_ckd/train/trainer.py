"""A trainer of Lightning with the defaults of this library."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from inspect import signature
from typing import Any

from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import (
    BatchSizeFinder,
    Checkpoint,
    LearningRateFinder,
    ProgressBar,
)

from pyg_ckd.train.fit_options import FitOptions
from pyg_ckd.train.processes import check_strategy, check_strategy_name

#: Arguments of Lightning that ``fit`` sets, and what there is instead.
_OWNED = {
    'check_val_every_n_epoch': "use 'eval_every'",
    'enable_model_summary': 'print(task.model) shows the model',
    'enable_progress_bar': "use 'progress'",
    'num_sanity_val_steps': 'nothing is evaluated before training',
    'reload_dataloaders_every_n_epochs': 'each epoch draws its own triples',
    'val_check_interval': "use 'eval_every', in epochs",
}
#: What belongs to the task.
_OF_TASK = {'balance', 'batch_size', 'keep', 'lr', 'objective', 'sampling'}


def make_trainer(
    own: Sequence[Callback],
    max_epochs: int,
    eval_every: int | None,
    *,
    callbacks: Callback | Sequence[Callback] | None = None,
    **kwargs: Any,
) -> Trainer:
    """Return a trainer.

    Args:
        own: The callbacks of the library, which come first.
        max_epochs: The largest number of epochs.
        eval_every: Evaluate after every so many epochs; never if it is
            ``None``.
        callbacks: The callbacks of the user.
        **kwargs: Further arguments of :class:`pytorch_lightning.Trainer`.

    Raises:
        ValueError: If an argument is one that ``fit`` sets itself, or the
            strategy cannot work.
        TypeError: If there is no such argument.
    """
    for name in kwargs.keys() & _OWNED.keys():
        raise ValueError(
            f"'{name}' is set by 'fit': {_OWNED[name]} (got {kwargs[name]!r})"
        )
    for name in kwargs.keys() & _OF_TASK:
        raise ValueError(
            f"'{name}' is an argument of Recommendation, not of 'fit' (got "
            f'{kwargs[name]!r})'
        )
    options = signature(Trainer).parameters.keys() | FitOptions.__annotations__
    for name in kwargs.keys() - options:
        near = get_close_matches(name, options, n=1)
        raise TypeError(
            f"'fit' has no argument '{name}'"
            + (f"; did you mean '{near[0]}'?" if near else '')
        )
    if kwargs.get('precision') in ('16-true', 'bf16-true'):
        raise ValueError(
            f"'precision' needs to be '32-true', '64-true' or mixed, such as "
            f"'bf16-mixed', in 'fit': sparse products know no half precision "
            f"(got '{kwargs['precision']}')"
        )
    check_strategy_name(kwargs.get('strategy'))
    if isinstance(callbacks, Callback):
        callbacks = [callbacks]
    for callback in callbacks or ():
        if not isinstance(callback, Callback):
            raise TypeError(
                f"'callbacks' needs objects of Lightning's Callback (got "
                f'{callback!r})'
            )
        if isinstance(callback, BatchSizeFinder | LearningRateFinder):
            raise ValueError(
                f"'callbacks' cannot have {type(callback).__name__} in 'fit': "
                f'it trains on trial, from checkpoints of the midst of an '
                f"epoch. 'pyg-ckd tune' searches by validation"
            )
    both = [*own, *(callbacks or [])]
    defaults: dict[str, Any] = {
        'devices': 1,
        'logger': False,
        'enable_checkpointing': any(isinstance(c, Checkpoint) for c in both),
    }
    if eval_every is None:
        defaults['limit_val_batches'] = 0
    with quiet():
        trainer = Trainer(
            max_epochs=max_epochs,
            check_val_every_n_epoch=min(eval_every or 1, max_epochs),
            num_sanity_val_steps=0,
            callbacks=both,
            enable_progress_bar=any(isinstance(c, ProgressBar) for c in both),
            enable_model_summary=False,
            **{**defaults, **kwargs},
        )
    check_strategy(trainer)
    return trainer


@contextmanager
def quiet() -> Iterator[None]:
    """Silence tips, and what is said about loaders that are as they should."""
    names = ('pytorch_lightning', 'lightning_fabric')
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for message in (
            '.*does not have many workers.*',
            '.*number of training batches.*',
            '.*LeafSpec.* is deprecated.*',
            # Of a teacher, which one of several processes trains:
            '.*sync_dist=True.*',
        ):
            warnings.filterwarnings('ignore', message)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
