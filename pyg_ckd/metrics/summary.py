"""Several metrics of one ranking, at several lengths of its lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor

from pyg_ckd._ranking import Ranking
from pyg_ckd.kernels.arguments import is_number, is_whole
from pyg_ckd.metrics.accuracy import (
    average_precision,
    found_hits_ndcg,
    hit_ratio,
    ndcg,
    precision,
    recall,
    reciprocal_rank,
)
from pyg_ckd.metrics.beyond_accuracy import (
    average_popularity,
    coverage,
    gini,
    novelty,
    tail_recall,
)

Metric = Callable[[Ranking, int], Tensor]
Protocol = Literal['standard', 'ckd', 'mmrec']

#: Metrics of accuracy, one number a user.
METRICS: dict[str, Metric] = {
    'recall': recall,
    'precision': precision,
    'ndcg': ndcg,
    'map': average_precision,
    'mrr': reciprocal_rank,
    'hit_ratio': hit_ratio,
}

#: Metrics beyond accuracy: ``coverage`` and ``gini`` are of all users at once.
BEYOND: dict[str, Metric] = {
    'coverage': coverage,
    'novelty': novelty,
    'gini': gini,
    'popularity': average_popularity,
    'tail_recall': tail_recall,
}


def per_user(
    ranking: Ranking,
    ks: Sequence[int] = (10, 20),
    metrics: Iterable[str] = tuple(METRICS),
    protocol: Protocol = 'standard',
) -> dict[str, Tensor]:
    """Return metrics of each user.

    Args:
        ranking: The ranking.
        ks: The list lengths, none above that of the ranking.
        metrics: Some of the names in ``METRICS``, ``novelty``,
            ``popularity`` and ``tail_recall``.
        protocol: See :func:`~pyg_ckd.ranking.evaluate`.

    Returns:
        Values of shape ``[num_evaluated_users]`` by name, such as
        ``recall@20``, and the ids of these users as ``user``.

    Raises:
        ValueError: If an argument is unknown or out of range, or a metric is
            not one number a user.
    """
    metrics = check_metrics(ks, metrics, protocol)
    for name in ('coverage', 'gini'):
        if name in metrics:
            raise ValueError(
                f"'metrics' holds '{name}', which is one number of all users "
                f"together: leave it out, or take the means of 'evaluate'"
            )
    ranking = _evaluated(ranking, protocol)
    return {'user': ranking.user, **_values(ranking, ks, metrics, protocol)}


def means(
    ranking: Ranking,
    ks: Sequence[int] = (10, 20),
    metrics: Iterable[str] = tuple(METRICS),
    protocol: Protocol = 'standard',
) -> dict[str, float]:
    """Return means of metrics over users.

    Users whose list is empty are left out of ``novelty`` and ``popularity``,
    those without a held-out item of the tail out of ``tail_recall``. A mean
    over no user is NaN.

    Args:
        ranking: The ranking.
        ks: The list lengths, none above that of the ranking.
        metrics: Some of the names in ``METRICS`` and ``BEYOND``.
        protocol: See :func:`~pyg_ckd.ranking.evaluate`.

    Returns:
        Means by name, such as ``recall@20``.

    Raises:
        ValueError: If an argument is unknown or out of range.
    """
    metrics = check_metrics(ks, metrics, protocol)
    ranking = _evaluated(ranking, protocol)
    result = {
        name: float(value.double().nanmean())
        for name, value in _values(ranking, ks, metrics, protocol).items()
    }
    if protocol == 'mmrec':
        result = {name: round(value, 4) for name, value in result.items()}
    return result


def hits(ranking: Ranking) -> dict[str, Tensor]:
    """Return which held-out interactions are found.

    Args:
        ranking: The ranking.

    Returns:
        The interactions as ``user`` and ``item`` and one for those whose item
        is in the list of the user, else zero, as ``hit@k``, each ``[L]``.
    """
    row, item = ranking.label
    found = ranking.found.to(torch.get_default_dtype())
    return {'user': ranking.user[row], 'item': item, f'hit@{ranking.k}': found}


def check_metrics(
    ks: Sequence[int], metrics: Iterable[str], protocol: Protocol
) -> tuple[str, ...]:
    """Check what a ranking is to be measured by.

    Args:
        ks: The list lengths.
        metrics: The names of the metrics.
        protocol: The protocol.

    Returns:
        The names of the metrics.

    Raises:
        ValueError: If an argument is unknown or out of range.
    """
    if is_number(ks):
        raise ValueError(f"'ks' needs a list of lengths (got {ks}): ks=[{ks}]")
    if isinstance(metrics, str):
        raise ValueError(
            f"'metrics' needs a list of names (got '{metrics}'): "
            f"metrics=['{metrics}']"
        )
    if not ks:
        raise ValueError("'ks' needs at least one list length (got none)")
    for k in ks:
        if not is_whole(k) or k < 1:
            raise ValueError(
                f"'ks' needs whole numbers, at least 1 (got {k!r})"
            )
    metrics, known = tuple(metrics), [*METRICS, *BEYOND]
    if not metrics:
        raise ValueError(f"'metrics' needs some of {known} (got none)")
    for name in metrics:
        if name not in known:
            raise ValueError(f"'metrics' knows {known} (got '{name}')")
    if protocol not in ('standard', 'ckd', 'mmrec'):
        raise ValueError(
            f"'protocol' needs to be 'standard', 'ckd' or 'mmrec' "
            f"(got '{protocol}')"
        )
    return metrics


def _evaluated(ranking: Ranking, protocol: Protocol) -> Ranking:
    """Return the ranking of the users that the protocol counts."""
    if protocol == 'mmrec':
        ranking = ranking.select(ranking.activity > 0)
    if len(ranking.user) == 0:
        raise ValueError(
            'The ranking holds no user with training interactions, and '
            "'mmrec' counts no others"
            if protocol == 'mmrec'
            else 'The ranking holds no user'
        )
    return ranking


def _values(
    ranking: Ranking,
    ks: Sequence[int],
    metrics: Sequence[str],
    protocol: Protocol,
) -> dict[str, Tensor]:
    values = {}
    for name in metrics:
        for k in ks:
            if name == 'ndcg' and protocol == 'ckd':
                value = found_hits_ndcg(ranking, k, max(ks))
            else:
                value = (METRICS | BEYOND)[name](ranking, k)
            values[f'{name}@{k}'] = value
    return values
