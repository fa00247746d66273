"""Metrics of a model: one ranking, read in several ways."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.kernels.ranks import Ranks
from pyg_ckd.metrics import (
    METRICS,
    Protocol,
    check_metrics,
    hits,
    means,
    per_user,
)
from pyg_ckd.ranking._rank import Split, rank, rank_part, rank_views
from pyg_ckd.ranking._view_metrics import ViewMetrics
from pyg_ckd.views import Keep


def evaluate(
    model: nn.Module,
    data: HeteroData,
    split: Split = 'test',
    ks: Sequence[int] = (10, 20),
    *,
    metrics: Iterable[str] = tuple(METRICS),
    view: Keep | None = None,
    protocol: Protocol = 'standard',
    candidates: Sequence[int] | np.ndarray | Tensor | None = None,
    block_size: int | None = None,
) -> dict[str, float]:
    r"""Rank all items for all users and return mean metrics.

    Items of a user's training are left out of her ranking, validation items
    are not, at test either. Users without a held-out item are skipped. Recall
    is the share of a user's held-out items in her top :math:`K`. Equal scores
    are ordered by lower item id.

    Protocols differ in published code:

    - ``"standard"``: NDCG with the ideal ranking of all held-out items;
    - ``"ckd"``: NDCG of CKD's authors
      (:func:`~pyg_ckd.metrics.found_hits_ndcg`), higher, and for comparison
      with their tables only;
    - ``"mmrec"``: as ``"standard"``, but without the users that have no
      training interaction, and rounded to four decimals.

    Args:
        model: Any recommender with ``user_emb, item_emb = model(data)``.
            Embeddings may be sparse (COO) tensors.
        data: The user-item graph.
        split: ``"val"`` or ``"test"``.
        ks: The list lengths :math:`K`.
        metrics: Some of ``recall``, ``precision``, ``ndcg``, ``map``, ``mrr``
            and ``hit_ratio``, which are the default, and of ``coverage``,
            ``novelty``, ``gini``, ``popularity`` and ``tail_recall``, which
            look beyond accuracy.
        view: The modalities to keep; all by default.
        protocol: See above.
        candidates: Ids of the only items that may be listed; all by default.
        block_size: The number of users whose scores are held at once; by
            default as many as fill 30 MiB, or 256 MiB of a GPU.

    Returns:
        Means over users by name, such as ``recall@20``.

    Raises:
        ValueError: If an argument is unknown or out of range, the split is
            empty, or the model's embeddings are not finite.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import VBPR
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> result = evaluate(VBPR.from_data(data), data, ks=(5,))
        >>> sorted(result)[:3]
        ['hit_ratio@5', 'map@5', 'mrr@5']
    """
    metrics = check_metrics(ks, metrics, protocol)
    ranking = rank(
        model,
        data,
        split,
        max(ks),
        view=view,
        candidates=candidates,
        block_size=block_size,
    )
    return means(ranking, ks, metrics, protocol)


def evaluate_users(
    model: nn.Module,
    data: HeteroData,
    split: Split = 'test',
    ks: Sequence[int] = (10, 20),
    *,
    metrics: Iterable[str] = tuple(METRICS),
    view: Keep | None = None,
    protocol: Protocol = 'standard',
    candidates: Sequence[int] | np.ndarray | Tensor | None = None,
    block_size: int | None = None,
) -> dict[str, Tensor]:
    """Return the metrics of each user, for paired tests and breakdowns.

    Arguments are those of :func:`evaluate`; ``coverage`` and ``gini`` are not
    numbers of a user.

    Returns:
        Values of shape ``[num_evaluated_users]`` by name, such as
        ``recall@20``, and the ids of these users as ``user``.
    """
    metrics = check_metrics(ks, metrics, protocol)
    ranking = rank(
        model,
        data,
        split,
        max(ks),
        view=view,
        candidates=candidates,
        block_size=block_size,
    )
    return per_user(ranking, ks, metrics, protocol)


def evaluate_views(
    model: nn.Module,
    data: HeteroData,
    split: Split = 'test',
    ks: Sequence[int] = (10, 20),
    *,
    metrics: Iterable[str] = tuple(METRICS),
    keeps: Sequence[Keep] | None = None,
    protocol: Protocol = 'standard',
    candidates: Sequence[int] | np.ndarray | Tensor | None = None,
    block_size: int | None = None,
) -> dict[str, dict[str, float]]:
    """Evaluate several views of a model in one pass through it.

    Arguments are those of :func:`evaluate`, but for ``keeps`` in place of
    ``view``: the views, each a set of modalities; by default the full one,
    each modality alone and all but each.

    Returns:
        The result of :func:`evaluate` for each view, by its name, such as
        ``full`` and ``only(text)``; notebooks show a table, and so does
        ``print``.
    """
    metrics = check_metrics(ks, metrics, protocol)
    rankings = rank_views(
        model,
        data,
        split,
        max(ks),
        keeps,
        candidates=candidates,
        block_size=block_size,
    )
    return ViewMetrics(
        (name, means(ranking, ks, metrics, protocol))
        for name, ranking in rankings.items()
    )


def evaluate_among(
    ranks: Ranks,
    model: nn.Module,
    data: HeteroData,
    split: Split,
    ks: Sequence[int],
    metrics: Iterable[str],
    keeps: Sequence[Keep],
) -> dict[str, dict[str, float]]:
    """Evaluate several views, each process some of the users.

    Args:
        ranks: The processes, all of which call it.
        model: See :func:`evaluate_views`.
        data: See :func:`evaluate_views`.
        split: See :func:`evaluate_views`.
        ks: See :func:`evaluate_views`.
        metrics: Those that are one number a user.
        keeps: See :func:`evaluate_views`.

    Returns:
        The result of :func:`evaluate_views`, the same in all processes: sums
        over users in double precision, divided by their number.
    """
    if ranks.size == 1:
        return evaluate_views(
            model, data, split, ks, metrics=metrics, keeps=keeps
        )
    metrics = check_metrics(ks, metrics, 'standard')
    rankings = rank_part(model, data, split, max(ks), keeps, ranks)
    result = {}
    for name, ranking in rankings.items():
        values = per_user(ranking, ks, metrics)
        del values['user']
        of_all = torch.stack(list(values.values())).double()  # [metrics, N]
        count = (~of_all.isnan()).sum(dim=1)
        sums = torch.stack([of_all.nansum(dim=1), count.double()])
        total, number = ranks.sum(sums).tolist()
        pairs = zip(values, total, number, strict=True)
        result[name] = {key: x / n if n else math.nan for key, x, n in pairs}
    return result


def evaluate_hits(
    model: nn.Module,
    data: HeteroData,
    split: Split = 'test',
    k: int = 20,
    *,
    view: Keep | None = None,
    candidates: Sequence[int] | np.ndarray | Tensor | None = None,
    block_size: int | None = None,
) -> dict[str, Tensor]:
    """Return which held-out interactions are found, for breakdowns by item.

    Arguments are those of :func:`rank`.

    Returns:
        The interactions as ``user`` and ``item``, sorted by both, and one for
        those whose item is among the ``k`` best of the user, else zero, as
        ``hit@k``; each of shape ``[num_held_out]``.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import VBPR
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> found = evaluate_hits(VBPR.from_data(data), data, k=10)
        >>> found['hit@10'].unique()
        tensor([1.])
    """
    ranking = rank(
        model,
        data,
        split,
        k,
        view=view,
        candidates=candidates,
        block_size=block_size,
    )
    return hits(ranking)
