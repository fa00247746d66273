"""What `fit` passes on to Lightning."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from os import PathLike
from typing import Any, Literal

from pytorch_lightning import Callback
from pytorch_lightning.accelerators import Accelerator
from pytorch_lightning.loggers import Logger
from pytorch_lightning.profilers import Profiler
from pytorch_lightning.strategies import Strategy
from typing_extensions import TypedDict


class TrainerOptions(TypedDict, total=False):
    """The arguments of :class:`pytorch_lightning.Trainer` that `fit` takes.

    Type checkers read it: one that is misspelt is an error to them.
    """

    accelerator: str | Accelerator
    accumulate_grad_batches: int
    barebones: bool
    benchmark: bool | None
    callbacks: Callback | Sequence[Callback] | None
    default_root_dir: str | PathLike[str] | None
    detect_anomaly: bool
    deterministic: bool | Literal['warn'] | None
    devices: list[int] | str | int
    enable_autolog_hparams: bool
    enable_checkpointing: bool | None
    fast_dev_run: int | bool
    gradient_clip_algorithm: str | None
    gradient_clip_val: float | None
    inference_mode: bool
    limit_predict_batches: float | None
    limit_test_batches: float | None
    limit_train_batches: float | None
    limit_val_batches: float | None
    log_every_n_steps: int | None
    logger: Logger | Sequence[Logger] | bool | None
    max_steps: int
    max_time: str | timedelta | dict[str, int] | None
    min_epochs: int | None
    min_steps: int | None
    model_registry: str | None
    num_nodes: int
    overfit_batches: float
    plugins: Any
    precision: str | int | None
    profiler: Profiler | str | None
    strategy: str | Strategy
    sync_batchnorm: bool
    use_distributed_sampler: bool
