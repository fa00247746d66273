"""What training refuses."""

from __future__ import annotations

import os
from typing import Any

from pytorch_lightning import Trainer

from pyg_ckd.balance import Balance
from pyg_ckd.nn import Recommender
from pyg_ckd.objectives import Objective

_PARTS: dict[str, tuple[type, str]] = {
    'objective': (Objective, 'BPR()'),
    'balance': (Balance, 'CKD()'),
}


def check_parts(**given: Any) -> None:
    """Refuse parts of a task that are something else.

    Args:
        **given: The objective and the balance.

    Raises:
        TypeError: If one is a class, a name, or was passed as the other.
    """
    for name, value in given.items():
        kind, example = _PARTS[name]
        if value is None or isinstance(value, kind):
            continue
        is_class = isinstance(value, type)
        given_kind = value if is_class else type(value)
        shown = f'the class {value.__name__}' if is_class else described(value)
        hint = ''
        for right, (other, _) in _PARTS.items():
            if issubclass(given_kind, other):
                hint = f': write {right}={given_kind.__name__}(...)'
        raise TypeError(
            f"'{name}' needs to be an object of the class {kind.__name__}, "
            f"such as {example}, in 'Recommendation' (got {shown}){hint}"
        )


def described(value: Any) -> str:
    """Return what messages call a value of another type than wanted.

    Args:
        value: The value.
    """
    return repr(value) if isinstance(value, str) else type(value).__name__


def check_one_process(trainer: Trainer) -> None:
    """Refuse several processes, and one that is not this.

    Each of several would draw the same batches, and what another process
    learns and logs is lost.

    Args:
        trainer: The trainer.

    Raises:
        ValueError: If it starts processes.
    """
    for name in ('WORLD_SIZE', 'SLURM_STEP_NUM_TASKS'):
        if int(os.environ.get(name) or 1) > 1:
            raise ValueError(
                f"'Recommendation' trains in one process, but {name} is "
                f'{os.environ[name]}: each would train the same and write over '
                f'the others. Start one process, such as without torchrun or '
                f'by srun --ntasks=1'
            )
    if trainer.world_size > 1 or trainer.strategy.launcher is not None:
        raise ValueError(
            f"'Recommendation' trains in this process alone, on one device "
            f"(got 'devices' and 'num_nodes' for {trainer.world_size} "
            f"processes, 'strategy' {type(trainer.strategy).__name__}): each "
            f'would draw the same batches. Pass devices=1 and leave '
            f"'strategy' out"
        )


def check_dense(recommender: Recommender) -> None:
    """Refuse sparse gradients.

    Args:
        recommender: The recommender, after a backward pass.

    Raises:
        ValueError: If a parameter has one; it names the first.
    """
    for name, parameter in recommender.named_parameters():
        if parameter.grad is not None and parameter.grad.is_sparse:
            name = name.removeprefix('module.')
            raise ValueError(
                f"The gradient of '{name}' of '{recommender.name}' is sparse, "
                f'which Adam does not take: make the embedding with '
                f'sparse=False'
            )
