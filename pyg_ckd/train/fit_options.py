"""What `fit_teachers` passes on to `fit`."""

from __future__ import annotations

from pathlib import Path

from pyg_ckd.train.trainer_options import TrainerOptions


class FitOptions(TrainerOptions, total=False):
    """The arguments of :func:`pyg_ckd.train.fit`, for type checkers."""

    eval_every: int | None
    max_epochs: int
    monitor: str
    patience: int
    progress: bool
    warm_start: str | Path | None
