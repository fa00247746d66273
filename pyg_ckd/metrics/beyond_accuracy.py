"""Metrics beyond accuracy: which items the lists hold, and which they find."""

from __future__ import annotations

import torch
from torch import Tensor

from pyg_ckd._ranking import Ranking, check_length

#: The share of items that are the head of a catalogue, at most.
HEAD = 0.2


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


def tail_recall(ranking: Ranking, k: int) -> Tensor:
    r"""Return the share of a user's held-out tail items that is in her list.

    .. math::
        \frac{|\mathcal{L}_u \cap \mathcal{P}_u \cap \mathcal{T}|}
        {|\mathcal{P}_u \cap \mathcal{T}|}, \qquad
        \mathcal{T} = \left\{ i : |\{ j : n_j \ge n_i \}| >
        \lfloor 0.2 \, |\mathcal{I}| \rfloor \right\}

    with the held-out items :math:`\mathcal{P}_u`, the items
    :math:`\mathcal{L}_u` in the list and the training interactions
    :math:`n_i` of an item. What is not of the tail :math:`\mathcal{T}` is the
    head, the most popular 20 % of all items. Items that are equally popular
    are never divided: where the border is among them, all are of the tail, so
    that the head is the smaller.

    Args:
        ranking: The ranking.
        k: The length of the lists.

    Returns:
        One number a user, ``[N]``; NaN for a user without a held-out item of
        the tail.
    """
    check_length(ranking.k, k)
    in_tail = _in_tail(ranking)
    item = ranking.item[:, :k]
    hit = ranking.hit[:, :k] & in_tail[item.clamp(min=0)]
    row, label = ranking.label
    num_labels = torch.bincount(row[in_tail[label]], minlength=len(item))
    return hit.sum(dim=1) / num_labels


def _in_tail(ranking: Ranking) -> Tensor:
    """Return which items are of the tail, ``[num_items]``."""
    count = ranking.popularity
    num_below = torch.searchsorted(count.sort().values, count)
    num_head = int(HEAD * ranking.num_items)
    return ranking.num_items - num_below > num_head


def _mean_of_items(ranking: Ranking, k: int, value: Tensor) -> Tensor:
    """Return the mean of a value of the items in each list, ``[N]``."""
    check_length(ranking.k, k)
    item = ranking.item[:, :k]
    listed = item >= 0
    values = torch.where(listed, value[item.clamp(min=0)], 0.0)
    return values.sum(dim=1) / listed.sum(dim=1)


def _times_listed(ranking: Ranking, k: int) -> Tensor:
    """Return the number of lists that each item is in, ``[num_items]``."""
    check_length(ranking.k, k)
    item = ranking.item[:, :k]
    return torch.bincount(item[item >= 0], minlength=ranking.num_items)
