r"""Metrics: functions of a ranking and the length :math:`K` of its lists.

Metrics of accuracy are one number a user. :math:`h_{up}` is one where place
:math:`p` of the list of user :math:`u` holds an item of her held-out items
:math:`\mathcal{P}_u`, else zero. A place without an item is no hit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor

from pyg_ckd._ranking import Ranking

Metric = Callable[[Ranking, int], Tensor]
Protocol = Literal['standard', 'ckd', 'mmrec']


def recall(ranking: Ranking, k: int) -> Tensor:
    r"""Return the share of a user's held-out items that is in her list.

    .. math::
        \frac{1}{|\mathcal{P}_u|} \sum_{p=1}^{K} h_{up}

    Args:
        ranking: The ranking.
        k: The length of the lists.

    Returns:
        One number a user, ``[N]``.
    """
    return _hit(ranking, k).sum(dim=1) / ranking.num_labels.clamp(min=1)


def precision(ranking: Ranking, k: int) -> Tensor:
    r"""Return the share of a list that are held-out items.

    .. math::
        \frac{1}{K} \sum_{p=1}^{K} h_{up}

    It is divided by :math:`K` where there are fewer items, too.

    Args:
        ranking: The ranking.
        k: The length of the lists.

    Returns:
        One number a user, ``[N]``.
    """
    return _hit(ranking, k).sum(dim=1) / k


def ndcg(ranking: Ranking, k: int) -> Tensor:
    r"""Return the normalised discounted cumulative gain.

    .. math::
        \frac{\sum_{p=1}^{K} h_{up} / \log_2(p + 1)}
        {\sum_{p=1}^{\min(K, |\mathcal{P}_u|)} 1 / \log_2(p + 1)}

    Args:
        ranking: The ranking.
        k: The length of the lists.

    Returns:
        One number a user, ``[N]``.
    """
    hit = _hit(ranking, k)
    discount = _places(hit).add(1).log2()
    gain = (hit / discount).sum(dim=1)
    best = discount.reciprocal().cumsum(0)
    return gain / best[ranking.num_labels.clamp(min=1, max=k) - 1]


def found_hits_ndcg(
    ranking: Ranking, k: int, max_k: int | None = None
) -> Tensor:
    r"""Return NDCG as the code of LATTICE, MICRO and CKD computes it.

    Its ideal ranking holds only the hits that are in the list, not all that
    the user has, so that a user with one of two items found can still reach
    1. It is higher than :func:`ndcg`, and there to compare with published
    tables.

    Args:
        ranking: The ranking.
        k: The length of the lists that are judged.
        max_k: The length of the lists that hits are looked for in; by
            default that of the ranking.

    Returns:
        One number a user, ``[N]``.
    """
    max_k = ranking.k if max_k is None else max_k
    _check_k(max_k, k)
    hit = _hit(ranking, max_k).to(torch.get_default_dtype())
    discount = 1 / _places(hit).add(1).log2()
    ideal = hit.sort(dim=1, descending=True).values
    gain = (hit * discount)[:, :k].sum(dim=1)
    best = (ideal * discount)[:, :k].sum(dim=1)
    return torch.where(best > 0, gain / best, 0.0)


def average_precision(ranking: Ranking, k: int) -> Tensor:
    r"""Return the mean of the precision at the places of the hits.

    .. math::
        \frac{1}{\min(K, |\mathcal{P}_u|)} \sum_{p=1}^{K} h_{up}
        \frac{1}{p} \sum_{q=1}^{p} h_{uq}

    Args:
        ranking: The ranking.
        k: The length of the lists.

    Returns:
        One number a user, ``[N]``.
    """
    hit = _hit(ranking, k)
    share = hit.cumsum(dim=1) / _places(hit)  # precision at each place
    return (share * hit).sum(dim=1) / ranking.num_labels.clamp(min=1, max=k)


def reciprocal_rank(ranking: Ranking, k: int) -> Tensor:
    r"""Return one over the place of the first hit, zero if there is none.

    .. math::
        \max_{p \le K} \frac{h_{up}}{p}

    Args:
        ranking: The ranking.
        k: The length of the lists.

    Returns:
        One number a user, ``[N]``.
    """
    hit = _hit(ranking, k)
    return (hit / _places(hit)).amax(dim=1)


def hit_ratio(ranking: Ranking, k: int) -> Tensor:
    r"""Return one for each user with a hit, zero for the others.

    .. math::
        \max_{p \le K} h_{up}

    Args:
        ranking: The ranking.
        k: The length of the lists.

    Returns:
        One number a user, ``[N]``.
    """
    return _hit(ranking, k).any(dim=1).to(torch.get_default_dtype())


def novelty(ranking: Ranking, k: int) -> Tensor:
    r"""Return the mean self-information of the items in a list, in bits.

    It is from `"Solving the apparent diversity-accuracy dilemma of
    recommender systems" <https://arxiv.org/abs/0808.2670>`_:

    .. math::
        \frac{1}{|\mathcal{L}_u|} \sum_{i \in \mathcal{L}_u} - \log_2
        \frac{\max(n_i, 1)}{\sum_j n_j}

    with :math:`n_i` the training interactions of an item and
    :math:`\mathcal{L}_u` the items in the list. An item without any counts as
    one with a single interaction.

    Args:
        ranking: The ranking.
        k: The length of the lists.

    Returns:
        One number a user, ``[N]``; NaN for a user whose list is empty.
    """
    count = ranking.popularity.clamp(min=1).to(torch.get_default_dtype())
    share = count / ranking.popularity.sum().clamp(min=1)
    return _mean_of_items(ranking, k, -share.log2())


def average_popularity(ranking: Ranking, k: int) -> Tensor:
    r"""Return the mean number of training interactions of listed items.

    .. math::
        \frac{1}{|\mathcal{L}_u|} \sum_{i \in \mathcal{L}_u} n_i

    Args:
        ranking: The ranking.
        k: The length of the lists.

    Returns:
        One number a user, ``[N]``; NaN for a user whose list is empty.
    """
    count = ranking.popularity.to(torch.get_default_dtype())
    return _mean_of_items(ranking, k, count)


def coverage(ranking: Ranking, k: int) -> Tensor:
    r"""Return the share of all items that is in any list.

    .. math::
        \frac{1}{|\mathcal{I}|} \left| \bigcup_u \mathcal{L}_u \right|

    Args:
        ranking: The ranking.
        k: The length of the lists.

    Returns:
        A single number.
    """
    listed = _times_listed(ranking, k) > 0
    return listed.double().mean()


def gini(ranking: Ranking, k: int) -> Tensor:
    r"""Return the Gini coefficient of how often items are listed.

    It is zero where all items are listed equally often, and near one where
    all lists hold the same few:

    .. math::
        \frac{\sum_{r=1}^{|\mathcal{I}|} (2r - |\mathcal{I}| - 1) \, x_r}
        {|\mathcal{I}| \sum_r x_r}

    with :math:`x_1 \le x_2 \le \dots` the number of lists that hold each item.

    Args:
        ranking: The ranking.
        k: The length of the lists.

    Returns:
        A single number; zero if all lists are empty.
    """
    times = _times_listed(ranking, k).sort().values
    num = len(times)
    weight = 2 * torch.arange(1, num + 1, device=times.device) - num - 1
    total = (num * times.sum()).clamp(min=1)
    return (weight * times).sum() / total


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
        metrics: Some of the names in :data:`METRICS`, ``novelty`` and
            ``popularity``.
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

    Users whose list is empty are left out of ``novelty`` and ``popularity``.

    Args:
        ranking: The ranking.
        ks: The list lengths, none above that of the ranking.
        metrics: Some of the names in :data:`METRICS` and :data:`BEYOND`.
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
    if isinstance(ks, int):
        raise ValueError(f"'ks' needs a list of lengths (got {ks}): ks=[{ks}]")
    if isinstance(metrics, str):
        raise ValueError(
            f"'metrics' needs a list of names (got '{metrics}'): "
            f"metrics=['{metrics}']"
        )
    if not ks:
        raise ValueError("'ks' needs at least one list length (got none)")
    for k in ks:
        if not isinstance(k, int) or k < 1:
            raise ValueError(f"'ks' needs lengths of at least 1 (got {k})")
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


def _hit(ranking: Ranking, k: int) -> Tensor:
    _check_k(ranking.k, k)
    return ranking.hit[:, :k]


def _check_k(length: int, k: int) -> None:
    if not 1 <= k <= length:
        raise ValueError(
            f"'k' needs to be from 1 to {length}, the length of the lists of "
            f'this ranking (got {k})'
        )


def _places(hit: Tensor) -> Tensor:
    """Return the numbers of the places, from 1, ``[k]``."""
    return torch.arange(
        1,
        hit.size(1) + 1,
        dtype=torch.get_default_dtype(),
        device=hit.device,
    )


def _mean_of_items(ranking: Ranking, k: int, value: Tensor) -> Tensor:
    """Return the mean of a value of the items in each list, ``[N]``."""
    _check_k(ranking.k, k)
    item = ranking.item[:, :k]
    listed = item >= 0
    values = torch.where(listed, value[item.clamp(min=0)], 0.0)
    return values.sum(dim=1) / listed.sum(dim=1)


def _times_listed(ranking: Ranking, k: int) -> Tensor:
    """Return the number of lists that each item is in, ``[num_items]``."""
    _check_k(ranking.k, k)
    item = ranking.item[:, :k]
    return torch.bincount(item[item >= 0], minlength=ranking.num_items)
