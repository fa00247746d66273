"""Rankings of all items for the users that are evaluated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd._ranking import Ranking
from pyg_ckd.graph import RATES, check, interaction_keys, modalities
from pyg_ckd.kernels.arguments import check_whole
from pyg_ckd.kernels.best_items import best_items
from pyg_ckd.kernels.ranks import ALONE, Ranks
from pyg_ckd.nn.door import (
    as_recommender,
    check_finite,
    checked_embeddings,
    default_view,
    matched,
)
from pyg_ckd.nn.evaluating import evaluating
from pyg_ckd.ranking._ids import candidate_ids
from pyg_ckd.views import (
    Keep,
    check_view,
    distinct_views,
    view_name,
)

Split = Literal['val', 'test']


def rank(
    model: nn.Module,
    data: HeteroData,
    split: Split = 'test',
    k: int = 20,
    *,
    view: Keep | None = None,
    candidates: Sequence[int] | np.ndarray | Tensor | None = None,
    exclude_known: bool = True,
    block_size: int | None = None,
) -> Ranking:
    r"""Return the best items of all users with a held-out item.

    Items of a user's training are left out of her list, validation items are
    not, at test either. Equal scores are ordered by lower item id.

    All metrics of :mod:`pyg_ckd.metrics` read the ranking, so that a model
    which is judged in several ways is ranked once.

    Args:
        model: Any recommender with ``user_emb, item_emb = model(data)``.
            Embeddings may be sparse (COO) tensors.
        data: The user-item graph.
        split: ``"val"`` or ``"test"``.
        k: The length of the lists. Places that no item is left for are
            filled with -1.
        view: The modalities to keep; all by default.
        candidates: Ids of the only items that may be listed; all by default.
            Held-out items that are not among them count as not found.
        exclude_known: Whether items of a user's training are left out.
        block_size: The number of users whose scores are held at once; by
            default as many as fill 30 MiB, or 256 MiB of a GPU.

    Raises:
        ValueError: If an argument is unknown or out of range, the split is
            empty, the graph is not one that can be ranked, or the model's
            embeddings are not finite.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.metrics import recall
        >>> from pyg_ckd.nn import VBPR
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> ranking = rank(VBPR.from_data(data), data, k=5)
        >>> ranking
        Ranking(20 users, 10 items, k=5)
        >>> recall(ranking, k=5).shape
        torch.Size([20])
    """
    _check_split(split)
    data = check(data, splits=(split,))
    keep = default_view(model, data) if view is None else view
    rankings = _rankings(
        model, data, split, k, [keep], candidates, exclude_known, block_size
    )
    return rankings[0]


def rank_views(
    model: nn.Module,
    data: HeteroData,
    split: Split = 'test',
    k: int = 20,
    keeps: Sequence[Keep] | None = None,
    *,
    candidates: Sequence[int] | np.ndarray | Tensor | None = None,
    exclude_known: bool = True,
    block_size: int | None = None,
) -> dict[str, Ranking]:
    """Return a ranking in each of several views, in one pass of the model.

    Args:
        model: See :func:`rank`.
        data: See :func:`rank`.
        split: See :func:`rank`.
        k: See :func:`rank`.
        keeps: The views, each a set of modalities; by default the full one,
            each modality alone and all but each.
        candidates: See :func:`rank`.
        exclude_known: See :func:`rank`.
        block_size: See :func:`rank`.

    Returns:
        The result of :func:`rank` for each view, by its name, such as
        ``full`` and ``only(text)``.

    Raises:
        ValueError: See :func:`rank`.
    """
    _check_split(split)
    data = check(data, splits=(split,))
    names = modalities(data)
    keeps = distinct_views(names) if keeps is None else keeps
    rankings = _rankings(
        model, data, split, k, keeps, candidates, exclude_known, block_size
    )
    labels = [view_name(keep, names) for keep in keeps]
    return dict(zip(labels, rankings, strict=True))


def rank_part(
    model: nn.Module,
    data: HeteroData,
    split: Split,
    k: int,
    keeps: Sequence[Keep],
    ranks: Ranks,
) -> dict[str, Ranking]:
    """Do what :func:`rank_views` does, for the users of one process.

    They are every so many of those with a held-out item, and may be none.

    Args:
        model: See :func:`rank`.
        data: See :func:`rank`.
        split: See :func:`rank`.
        k: See :func:`rank`.
        keeps: See :func:`rank_views`.
        ranks: The processes that share the users.
    """
    data = check(data, splits=(split,))
    rankings = _rankings(model, data, split, k, keeps, None, True, ranks=ranks)
    labels = [view_name(keep, modalities(data)) for keep in keeps]
    return dict(zip(labels, rankings, strict=True))


def embeddings(
    model: nn.Module, data: HeteroData, keeps: Sequence[Keep]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the embeddings of several views, in one pass of the model.

    Use it inside :func:`evaluating`.

    Args:
        model: Any recommender with ``user_emb, item_emb = model(data)``.
        data: The user-item graph, where the model is and in its precision.
        keeps: The views, each a set of modalities to keep.

    Raises:
        ValueError: If a view keeps what the items do not have, or embeddings
            are not finite.
    """
    names = modalities(data)
    keeps = [check_view(keep, data) for keep in keeps]
    recommender = as_recommender(model)
    views = recommender.views(data, keeps)
    for place, keep in enumerate(keeps):
        name = f'{recommender.name} in the view {view_name(keep, names)}'
        pair = checked_embeddings(views.embedding(place), data, name)
        check_finite(*pair, name)
        yield pair


def _rankings(
    model: nn.Module,
    data: HeteroData,
    split: Split,
    k: int,
    keeps: Sequence[Keep],
    candidates: Sequence[int] | np.ndarray | Tensor | None,
    exclude_known: bool,
    block_size: int | None = None,
    ranks: Ranks = ALONE,
) -> list[Ranking]:
    """Return a ranking in each view, of a graph that has been checked."""
    model = as_recommender(model)
    data = matched(data, model)
    check_whole('rank', k=k)
    if block_size is not None:
        check_whole('rank', block_size=block_size)
        block_size = int(block_size)
    num_users, num_items = data['user'].num_nodes, data['item'].num_nodes
    known_user, known_item = data[RATES].edge_index
    if candidates is not None:
        candidates = candidate_ids(candidates, num_items, known_item.device)
    label_user, label_item = _held_out(data, split)
    user, row = label_user.unique(return_inverse=True)
    if ranks.size > 1:
        user = user[ranks.rank :: ranks.size]
        own = row % ranks.size == ranks.rank
        row, label_item = row[own] // ranks.size, label_item[own]
    activity = torch.bincount(known_user, minlength=num_users)[user]
    popularity = torch.bincount(known_item, minlength=num_items)
    known = known_keys(data, exclude_known)
    with evaluating(model):
        return [
            Ranking(
                user=user,
                item=best_items(
                    *embedding, user, k, known, candidates, block_size
                )[0],
                label=torch.stack([row, label_item]),
                num_items=num_items,
                popularity=popularity,
                activity=activity,
            )
            for embedding in embeddings(model, data, keeps)
        ]


def _held_out(data: HeteroData, split: Split) -> tuple[Tensor, Tensor]:
    """Return the held-out users and items, each pair once, by user."""
    user, item = data[RATES][f'{split}_edge_label_index']
    num_items = data['item'].num_nodes
    key = torch.unique(user * num_items + item)
    return key // num_items, key % num_items


def known_keys(data: HeteroData, exclude: bool) -> Tensor:
    """Return the keys of what is not recommended, each once."""
    keys = interaction_keys(data)
    return torch.unique_consecutive(keys) if exclude else keys[:0]


def _check_split(split: Split) -> None:
    if split not in ('val', 'test'):
        raise ValueError(f"'split' needs to be 'val' or 'test' (got '{split}')")
