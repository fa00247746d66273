"""Top-k with a rule for ties."""

from __future__ import annotations

from torch import Tensor


def stable_topk(score: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the ``k`` largest entries of each row, ties by lower index.

    :func:`torch.topk` leaves the order of equal entries open, so that results
    may differ between machines. Only rows whose last places are contested by
    equal entries are sorted whole.

    Args:
        score: Scores of shape ``[num_rows, num_columns]``.
        k: How many to return, at most ``num_columns``.

    Returns:
        Values and indices, each of shape ``[num_rows, k]``, largest first.

    Example:
        >>> import torch
        >>> stable_topk(torch.tensor([[1.0, 2.0, 2.0, 2.0]]), k=2)[1]
        tensor([[1, 2]])
    """
    beyond = min(k + 1, score.size(1))  # one more, if there is one
    value, index = score.topk(beyond, dim=1)
    contested = (value[:, k - 1 : k] == value[:, k:]).any(dim=1)
    index, order = index[:, :k].sort(dim=1)
    value, order = value.gather(1, order).sort(
        dim=1, descending=True, stable=True
    )
    index = index.gather(1, order)
    if contested.any():
        whole, place = score[contested].sort(
            dim=1, descending=True, stable=True
        )
        value[contested], index[contested] = whole[:, :k], place[:, :k]
    return value, index
