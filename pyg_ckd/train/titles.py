"""What the line of progress calls a training."""

from __future__ import annotations

from collections.abc import Sequence

from pyg_ckd.balance import Balance
from pyg_ckd.views import Keep, full, view_name


def title(
    model: str, keep: Keep, names: Sequence[str], balance: Balance | None
) -> str:
    """Return the title of a task.

    Args:
        model: The name of the model.
        keep: The view it is trained in.
        names: The modalities of the data.
        balance: What keeps modalities in balance, if anything.
    """
    if balance is not None:
        return f'{model} + {type(balance).__name__}'
    if keep == full(names):
        return model
    return f'{model}, {view_name(keep, names)}'


def teacher_title(model: str, keep: Keep, names: Sequence[str]) -> str:
    """Return the title of a teacher.

    Args:
        model: The name of the model.
        keep: The view it is trained in.
        names: The modalities of the data.
    """
    return f'{model}, teacher of {view_name(keep, names)}'
