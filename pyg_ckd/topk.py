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
    value, index = score.topk(k, dim=1)
    index, order = index.sort(dim=1)
    value, order = value.gather(1, order).sort(
        dim=1, descending=True, stable=True
    )
    index = index.gather(1, order)

    last = value[:, -1:]
    contested = (score == last).sum(1) > (value == last).sum(1)
    if contested.any():
        whole, place = score[contested].sort(
            dim=1, descending=True, stable=True
        )
        value[contested], index[contested] = whole[:, :k], place[:, :k]
    return value, index
