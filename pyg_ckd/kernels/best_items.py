"""The best items of users by the products of their embeddings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_ckd.kernels.topk import stable_topk

_BYTES = 30 * 2**20
_BYTES_OF_GPU = 2**28
_WIDTH = 2**16


def scores(user_emb: Tensor, item_emb: Tensor, user: Tensor) -> Tensor:
    """Return the products of some users with all items, dense.

    Args:
        user_emb: User embeddings of shape ``[num_users, d]``, dense or sparse
            (COO).
        item_emb: Item embeddings of shape ``[num_items, d]``, dense or
            sparse.
        user: Ids of the users, ``[N]``.

    Returns:
        Scores of shape ``[N, num_items]``.

    Raises:
        ValueError: If a score is not finite.
    """
    score = _product(user_emb, _columns(item_emb), user)
    _check_finite(score, user)
    return score


def best_items(
    user_emb: Tensor,
    item_emb: Tensor,
    user: Tensor,
    k: int,
    known: Tensor,
    candidates: Tensor | None = None,
    block_size: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the items with the highest scores, ties by lower item id.

    Args:
        user_emb: User embeddings of shape ``[num_users, d]``, dense or sparse
            (COO).
        item_emb: Item embeddings of shape ``[num_items, d]``, dense or
            sparse.
        user: Ids of the users to rank items for, ``[N]``, in any order.
        k: The length of the lists.
        known: Sorted keys ``user * num_items + item`` of what is left out,
            each once.
        candidates: The only items that may be listed, their ids: the same for
            all users, ascending and each once, ``[C]``; or for each user,
            ``[N, C]``, in any order and filled up with -1. All by default.
        block_size: The number of users whose scores are held at once; by
            default as many as fill 30 MiB with the scores of up to 65,536
            items, more of which are taken in turn unless they are sparse, and
            256 MiB of a GPU. From 32 MiB on, glibc maps each block anew, which
            took a third of the time; below 8 MiB, products were slower.

    Returns:
        Item ids and scores, each of shape ``[N, k]``, best first: -1 and
        minus infinity where a user has no item left.

    Raises:
        ValueError: If a score is not finite.

    Example:
        >>> item, score = best_items(
        ...     user_emb=torch.tensor([[1.0], [-1.0]]),
        ...     item_emb=torch.tensor([[1.0], [2.0], [3.0]]),
        ...     user=torch.tensor([1, 0]),
        ...     k=3,
        ...     known=torch.tensor([0 * 3 + 2]),
        ... )
        >>> item
        tensor([[ 0,  1,  2],
                [ 1,  0, -1]])
    """
    shared = candidates is not None and candidates.dim() == 1
    if candidates is not None and shared:
        known = _renumbered(known, candidates, item_emb.size(0))
        item_emb = item_emb.index_select(0, candidates)
    num_columns = item_emb.size(0)
    length = min(k, num_columns)
    tiles = _tiles(item_emb)
    if block_size is None:
        size = item_emb.element_size() * max(1, min(num_columns, _WIDTH))
        on_cpu = item_emb.device.type == 'cpu'
        block_size = (_BYTES if on_cpu else _BYTES_OF_GPU) // size

    blocks = []
    for rows in torch.arange(len(user), device=user.device).split(block_size):
        of = user[rows]
        row, column = _known_places(of, known, num_columns)
        if candidates is None or shared:
            closed = None
            left = num_columns - torch.bincount(row, minlength=len(of))
        else:
            closed = _closed(candidates[rows], num_columns)
            closed[row, column] = True
            left = num_columns - closed.sum(dim=1)

        best = []
        for first, columns in tiles:
            score = _product(user_emb, columns, of)  # [block, width]
            after = first + score.size(1)
            if closed is None:
                here = (first <= column) & (column < after)
                score[row[here], column[here] - first] = -torch.inf
            else:
                score.masked_fill_(closed[:, first:after], -torch.inf)
            score, item = stable_topk(score, min(length, score.size(1)))
            best.append((score, first + item))
        score, item = (torch.cat(x, dim=1) for x in zip(*best, strict=True))
        if len(tiles) > 1:
            score, place = stable_topk(score, length)
            item = item.gather(1, place)  # [block, length]

        place = torch.arange(length, device=item.device)
        gone = place >= left.unsqueeze(1)  # [block, length]
        _check_finite(score.masked_fill(gone, 0.0), of)
        if candidates is not None and shared:
            item = candidates[item]
        blocks.append((item.masked_fill(gone, -1), score))

    items, values = zip(*blocks, strict=True)
    rest = (0, k - length)  # more places than columns
    return (
        F.pad(torch.cat(items), rest, value=-1),
        F.pad(torch.cat(values), rest, value=-torch.inf),
    )


def _columns(item_emb: Tensor) -> Tensor:
    """Return the transpose, ready for several products if it is sparse."""
    return item_emb.t().coalesce() if item_emb.is_sparse else item_emb.t()


def _tiles(item_emb: Tensor) -> list[tuple[int, Tensor]]:
    """Return the first item and the transpose of each part of the items."""
    columns = _columns(item_emb)
    if columns.is_sparse:
        return [(0, columns)]
    parts = columns.split(_WIDTH, dim=1)
    return [(n * _WIDTH, part) for n, part in enumerate(parts)]


def _product(user_emb: Tensor, columns: Tensor, user: Tensor) -> Tensor:
    return (user_emb.index_select(0, user) @ columns).to_dense()


def _known_places(
    user: Tensor, known: Tensor, num_columns: int
) -> tuple[Tensor, Tensor]:
    """Return the row and the column of all that these users know."""
    start = torch.searchsorted(known, user * num_columns)
    count = torch.searchsorted(known, (user + 1) * num_columns) - start
    row = torch.repeat_interleave(count)
    offset = torch.arange(len(row), device=row.device)
    offset = offset - (count.cumsum(0) - count)[row]
    return row, known[start[row] + offset] % num_columns


def _renumbered(known: Tensor, candidates: Tensor, num_items: int) -> Tensor:
    """Return the keys of known candidates, these numbered by their place."""
    place = candidates.new_full((num_items,), -1)
    place[candidates] = torch.arange(len(candidates), device=place.device)
    user, at = known // num_items, place[known % num_items]
    return (user * len(candidates) + at)[at >= 0]


def _closed(candidates: Tensor, num_columns: int) -> Tensor:
    """Return what is not among the candidates of each user."""
    closed = torch.ones(
        (len(candidates), num_columns + 1),  # the last column is for -1
        dtype=torch.bool,
        device=candidates.device,
    )
    closed.scatter_(1, candidates % (num_columns + 1), value=False)
    return closed[:, :num_columns]


def _check_finite(score: Tensor, user: Tensor) -> None:
    finite = score.isfinite().all(dim=1)
    if not finite.all():
        raise ValueError(
            f'A score of user {int(user[~finite][0])} is not finite, but the '
            f'embeddings are: their product overflows {score.dtype}. Make '
            f'them smaller or their type wider'
        )
