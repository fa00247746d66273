"""What training asks of the processes that do it together."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

import torch
import torch.distributed as dist
from pytorch_lightning import Trainer
from pytorch_lightning.strategies import (
    DDPStrategy,
    DeepSpeedStrategy,
    SingleDeviceStrategy,
    Strategy,
)
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pyg_ckd.kernels.ranks import Ranks
from pyg_ckd.train.on_this_rank import OnThisRank

_WHOLE = (
    'it cuts parameters into pieces, but a step reads whole tables of '
    'embeddings and propagates them over the whole graph'
)
_LOST = (
    'what its processes learn, such as the history and the best weights, is '
    'lost with them'
)
#: Why a strategy cannot work, by how its name begins; the first counts.
_REFUSED = {
    'ddp_spawn': _LOST,
    'ddp_fork': _LOST,
    'ddp_notebook': _LOST,
    'dp': 'it is no longer part of Lightning',
    'fsdp': _WHOLE,
    'deepspeed': _WHOLE,
    'model_parallel': _WHOLE,
    'xla': 'it was never tried',
    'single_xla': 'it was never tried',
    'hpu': 'it was never tried',
}
_HINT = "Pass strategy='ddp', or leave 'strategy' out for one process"


def check_strategy_name(strategy: Any) -> None:
    """Refuse a strategy that cannot work, before Lightning sets it up.

    Args:
        strategy: The argument of Lightning's trainer.

    Raises:
        ValueError: If it is the name of one; it says why.
    """
    for start, reason in _REFUSED.items():
        if isinstance(strategy, str) and strategy.startswith(start):
            raise ValueError(
                f"'strategy' cannot be '{strategy}' in 'Recommendation': "
                f'{reason}. {_HINT}'
            )


def check_strategy(trainer: Trainer) -> None:
    """Refuse strategies that cannot work, and one process of several.

    Args:
        trainer: The trainer.

    Raises:
        ValueError: If the strategy cannot work, or several processes were
            started and the trainer has one.
    """
    strategy = trainer.strategy
    if isinstance(strategy, OnThisRank):
        return
    if isinstance(strategy, SingleDeviceStrategy):
        _check_alone()
        return
    is_whole = not isinstance(strategy, DeepSpeedStrategy)
    if not isinstance(strategy, DDPStrategy) or not is_whole:
        raise ValueError(
            f"'strategy' cannot be '{type(strategy).__name__}' in "
            f"'Recommendation': {_WHOLE}, or it was never tried. {_HINT}"
        )
    if 'MultiProcessing' in type(strategy.launcher).__name__:
        raise ValueError(
            f"'strategy' cannot spawn or fork in 'Recommendation': {_LOST}. "
            f'{_HINT}, and run a script instead of a notebook'
        )


def set_defaults(strategy: Strategy) -> None:
    """Set what training needs of ``"ddp"``, unless the user has set it.

    Args:
        strategy: The strategy of the trainer.
    """
    if isinstance(strategy, DDPStrategy):
        for name, value in ddp_arguments().items():
            strategy._ddp_kwargs.setdefault(name, value)


def ddp_arguments() -> dict[str, Any]:
    """Return what training needs of ``DistributedDataParallel``.

    Parameters may be without a gradient, such as those of a modality that a
    view ablates; gradients of large tables are not copied to be sent; and
    buffers are sent before evaluations, not in each step.
    """
    known = signature(DistributedDataParallel).parameters
    buffers = 'forward_sync_buffers'  # as PyTorch calls it since 2.13
    if buffers not in known:
        buffers = 'broadcast_buffers'
    return {
        'find_unused_parameters': True,
        'gradient_as_bucket_view': True,
        buffers: False,
    }


def _check_alone() -> None:
    for name in ('WORLD_SIZE', 'SLURM_STEP_NUM_TASKS'):
        size = int(os.environ.get(name) or 1)
        if size > 1:
            raise ValueError(
                f"'Recommendation' is trained in one process, but {name} is "
                f'{size}: each would train the same and write over the others. '
                f"Pass strategy='ddp', 'devices', the processes of a machine, "
                f"and 'num_nodes', the machines, {size} processes in all; or "
                f'start one process, without torchrun or by srun --ntasks=1'
            )


def check_same_settings(ranks: Ranks, settings: Mapping[str, Any]) -> None:
    """Refuse processes that do not train the same.

    Args:
        ranks: The processes, all of which call it.
        settings: The settings and the data of this one.

    Raises:
        ValueError: If those of another differ; it names the first.
    """
    first, *others = ranks.values(dict(settings))
    for rank, other in enumerate(others, start=1):
        for name, value in first.items():
            if other[name] != value:
                raise ValueError(
                    f"Processes have to train the same, but '{name}' is "
                    f'{value} in process 0 and {other[name]} in process {rank}'
                    + (
                        ': make the data from the same files and seeds'
                        if name == 'data'
                        else ''
                    )
                )


def check_same_weights(
    ranks: Ranks, module: nn.Module, apart: Sequence[nn.Parameter] = ()
) -> None:
    """Refuse to go on if the weights of processes have come apart.

    Args:
        ranks: The processes, all of which call it.
        module: What is trained.
        apart: Parameters of which each process has other rows.

    Raises:
        ValueError: If they have; it names the first process.
    """
    if ranks.size == 1:
        return
    own = set(map(id, apart))
    same = [p for p in module.parameters() if id(p) not in own]
    with torch.no_grad():
        # As text, in which one NaN is like another:
        sums = [float(p.double().sum()).hex() for p in same]
    first, *others = ranks.values(sums)
    for rank, other in enumerate(others, start=1):
        if other != first:
            raise ValueError(
                f'The weights of process {rank} differ from those of process '
                f'0. Something changes gradients or weights differently in '
                f"each: a balance in 'after_backward', or a callback. Let it "
                f"depend on sums over all processes, see 'Step.ranks'"
            )


def share_state(ranks: Ranks, module: nn.Module) -> None:
    """Take up what a module of the first process has learned.

    Args:
        ranks: The processes, all of which call it.
        module: The module.
    """
    if ranks.size > 1:
        state = [module.state_dict() if ranks.rank == 0 else None]
        dist.broadcast_object_list(state, 0)
        assert state[0] is not None
        module.load_state_dict(state[0])
