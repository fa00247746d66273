"""Good items of users, found without looking at all items."""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_ckd.kernels.best_items import check_finite, known_places, renumbered
from pyg_ckd.ranking.faiss_index import FaissIndex

_BLOCK = 4096
_LONGEST = 2048  # What `faiss` finds at most.
#: Of so many users it is looked at what is missed, and told from there on.
_TRIED, _FEW = 256, 0.99


def near_items(
    user_emb: Tensor,
    item_emb: Tensor,
    user: Tensor,
    k: int,
    known: Tensor,
    candidates: Tensor | None = None,
    block_size: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return what :func:`best_items` does, but for items that an index misses.

    The index looks where embeddings are near, see :class:`FaissIndex`, on the
    CPU and in 32 bits. Equal scores are in any order. Of 256 users all items
    are looked at, too: a warning says what share of their lists is found if it
    is below 99 %.

    Args:
        user_emb: User embeddings of shape ``[num_users, d]``.
        item_emb: Item embeddings of shape ``[num_items, d]``.
        user: Ids of the users to find items for, ``[N]``, in any order.
        k: The length of the lists.
        known: Sorted keys ``user * num_items + item`` of what is left out,
            each once.
        candidates: The only items that may be listed, their ids ascending and
            each once, ``[C]``. All by default.
        block_size: The number of users who are looked up at once; 4,096 by
            default.

    Returns:
        Item ids and scores, each of shape ``[N, k]``, best first: -1 and
        minus infinity where no item was found.

    Raises:
        ImportError: If ``faiss`` is missing.
        ValueError: If embeddings are sparse, ``k`` is more than 2,048, or a
            score is not finite.
    """
    if user_emb.is_sparse or item_emb.is_sparse:
        raise ValueError(
            "'exact=False' needs dense embeddings, and these are sparse: leave "
            "'exact' out"
        )
    if k > _LONGEST:
        raise ValueError(
            f"'k' needs to be at most {_LONGEST:,} with 'exact=False' (got {k})"
        )
    if candidates is not None:
        known = renumbered(known, candidates, item_emb.size(0))
        item_emb = item_emb.index_select(0, candidates)
    num_items = item_emb.size(0)
    item_emb = item_emb.float().cpu()
    index = FaissIndex(item_emb)
    tried = user[:: max(1, len(user) // _TRIED)][:_TRIED]
    found = index.recall(
        user_emb.index_select(0, tried).float().cpu(),
        item_emb,
        min(k, num_items),
    )
    if found < _FEW:
        warnings.warn(
            f"'exact=False' finds {found:.1%} of the {k} best items of "
            f'{len(tried)} users, and metrics miss what it misses',
            stacklevel=5,
        )
    items, scores = [], []
    for of in user.split(block_size or _BLOCK):
        known_pairs = torch.stack(known_places(of, known, num_items))
        score, item = index.search(
            user_emb.index_select(0, of).float().cpu(),
            min(k, num_items),
            known_pairs.cpu(),
        )
        missing = item < 0
        check_finite(score.masked_fill(missing, 0.0), of.cpu())
        items.append(item)
        scores.append(score.masked_fill(missing, -torch.inf))
    item, score = torch.cat(items), torch.cat(scores)  # [N, k]
    if candidates is not None:
        item = torch.where(item < 0, -1, candidates.cpu()[item])
    rest = (0, k - item.size(1))  # more places than items
    return (
        F.pad(item, rest, value=-1).to(user.device),
        F.pad(score, rest, value=-torch.inf).to(user.device),
    )
