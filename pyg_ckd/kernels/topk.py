"""Top-k with a rule for ties."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_CHUNK = 128  # Columns of which only the largest is looked at first.


def stable_topk(score: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the ``k`` largest entries of each row, ties by lower index.

    :func:`torch.topk` leaves the order of equal entries open, so that results
    may differ between machines. Only rows whose last places are contested by
    equal entries are sorted whole. Of many columns, only those are looked at
    that are in the ``k`` chunks with the largest maxima: all others have ``k``
    entries before them.

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
    if score.size(1) > 4 * _CHUNK * k:
        return _topk_of_chunks(score, k)
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


def _topk_of_chunks(score: Tensor, k: int) -> tuple[Tensor, Tensor]:
    num_rows, num = score.shape
    whole = num - num % _CHUNK  # the columns after it are always looked at
    chunks = score[:, :whole].unflatten(1, (-1, _CHUNK))
    best = stable_topk(chunks.amax(dim=2), k)[1].sort(dim=1).values
    row = torch.arange(num_rows, device=score.device).unsqueeze(1)
    part = chunks[row, best].flatten(1)  # [num_rows, k * _CHUNK]
    value, place = stable_topk(torch.cat([part, score[:, whole:]], dim=1), k)
    first = F.pad(best * _CHUNK, (0, 1), value=whole)  # [num_rows, k + 1]
    return value, first.gather(1, place // _CHUNK) + place % _CHUNK
