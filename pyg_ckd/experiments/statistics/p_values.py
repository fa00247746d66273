"""Whether a difference may be chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from pyg_ckd.experiments.statistics.pairs import paired


def paired_test_users(base: ArrayLike, other: ArrayLike) -> float:
    """Return the p-value of Wilcoxon's signed-rank test over users.

    Metrics are averaged over seeds first; users without a difference say
    nothing and are left out. Differences count to the sixth digit, so that
    rounding makes none, and equal ones stay equal. The test asks whether
    differences lie symmetrically about zero, where
    :func:`bootstrap_interval` asks for the mean. Many small gains and a few
    large losses may be told apart by only one of the two. Like the interval
    with one seed, it says nothing about training the models again.

    Args:
        base: As in :func:`bootstrap_interval`.
        other: As in :func:`bootstrap_interval`.

    Example:
        >>> paired_test_users([0, 0, 0, 0, 0.5], [0.1, 0.2, 0.3, 0.4, 1])
        0.0625
    """
    base, other = paired(base, other)
    # Not a difference of means, whose rounding would be larger:
    difference = (other - base).mean(axis=0).round(6)
    difference = difference[difference != 0]
    if not len(difference):
        return 1.0
    return float(stats.wilcoxon(difference).pvalue)


def paired_test_seeds(base: ArrayLike, other: ArrayLike) -> float | None:
    """Return the p-value of the paired t-test over the means of seeds.

    It asks whether training again, with another seed, would give a difference
    on *these* users. Two or three seeds rarely suffice for a small p-value.

    Args:
        base: As in :func:`bootstrap_interval`.
        other: As in :func:`bootstrap_interval`.

    Returns:
        The p-value, or ``None`` where the test has nothing to go by: with
        fewer than two seeds, or with the same difference for all of them.

    Example:
        >>> base = [[0.10], [0.11], [0.10]]
        >>> paired_test_seeds(base, [[0.13], [0.13], [0.12]])
        0.020
    """
    base, other = paired(base, other)
    if len(base) < 2:
        return None
    base_mean, other_mean = base.mean(axis=1), other.mean(axis=1)
    if np.ptp(other_mean - base_mean) <= 1e-12 * np.abs(base_mean).max():
        return None
    return float(stats.ttest_rel(other_mean, base_mean).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    r"""Return p-values adjusted for their number, by Holm's method.

    Of twenty comparisons without any difference, one has :math:`p < 0.05`. The
    :math:`i`-th smallest of :math:`n` p-values becomes

    .. math::
        \tilde p_{(i)} = \max_{j \le i} \min(1, (n - j + 1)\, p_{(j)})

    Rejecting where :math:`\tilde p < 0.05` makes any false rejection at all
    unlikely (5 %), however the comparisons depend on each other.

    Args:
        p_values: One for each comparison.

    Returns:
        The adjusted ones, in the same order.

    Raises:
        ValueError: If one is not between 0 and 1.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    for p in p_values:
        if not 0 <= p <= 1:
            raise ValueError(
                f"'p_values' need to be between 0 and 1 in 'holm' (got {p!r})"
            )
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def p_value(p: float | None) -> str:
    """Return a p-value as tables show it, and nothing if there is none.

    Example:
        >>> p_value(0.0123), p_value(1e-9), p_value(None)
        ('0.012', '< 0.001', '')
    """
    if p is None:
        return ''
    return '< 0.001' if p < 0.001 else f'{p:.3f}'
