r"""Metrics of accuracy, one number a user.

:math:`h_{up}` is one where place :math:`p` of the list of user :math:`u` holds
an item of her held-out items :math:`\mathcal{P}_u`, else zero. A place without
an item is no hit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pyg_ckd._ranking import Ranking, check_length


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
    check_length(max_k, k)
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


def _hit(ranking: Ranking, k: int) -> Tensor:
    check_length(ranking.k, k)
    return ranking.hit[:, :k]


def _places(hit: Tensor) -> Tensor:
    """Return the numbers of the places, from 1, ``[k]``."""
    return torch.arange(
        1,
        hit.size(1) + 1,
        dtype=torch.get_default_dtype(),
        device=hit.device,
    )
