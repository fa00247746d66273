"""What training refuses."""

from __future__ import annotations

from pytorch_lightning import Trainer

from pyg_ckd.nn import Recommender


def check_one_process(trainer: Trainer) -> None:
    """Refuse several processes, and one that is not this.

    Each of several would draw the same batches, and what another process
    learns and logs is lost.

    Args:
        trainer: The trainer.

    Raises:
        ValueError: If it starts processes.
    """
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
