"""What training refuses."""

from __future__ import annotations

from typing import Any

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
