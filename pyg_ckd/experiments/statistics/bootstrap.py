"""Intervals by resampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from pyg_ckd.experiments.statistics.pairs import Array, paired, relative_gain
from pyg_ckd.kernels.arguments import as_seed, check_whole, is_number

#: Users that agree in all values are drawn together if they are more than
#: this; one by one, fewer are faster.
FEW = 30
#: How many numbers are drawn at once; more do not fit the cache.
BLOCK = 2**17
#: A gain that is smaller is due to rounding.
NOTHING = 1e-12


class Resampled(NamedTuple):
    """What resampling says about a gain.

    Args:
        low (float): The lower end of its interval.
        high (float): The upper end.
        p (float): The p-value of no gain, by the same resamples.
    """

    low: float
    high: float
    p: float


def bootstrap_interval(
    base: ArrayLike,
    other: ArrayLike,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    r"""Return a confidence interval of the relative gain.

    .. math::
        g = \frac{\sum_{s,u} y_{su}}{\sum_{s,u} x_{su}} - 1

    with the metric :math:`x_{su}` of the base and :math:`y_{su}` of the other
    method, for seed :math:`s` and user :math:`u`. In each resample users are
    drawn with replacement, the same ones for both methods and all seeds, and
    seeds are drawn independently of them. :math:`g` is computed from what was
    drawn, and :math:`[q, q']` holds the middle 95 % of it. The interval is

    .. math::
        \left[ g - c\,(g - q),\; g + c\,(q' - g) \right], \qquad
        c = t_{\nu} / z

    **What it covers.** With one seed, what other users of the same kind would
    give with *these two trained models*, and nothing about training them again.
    With several, also what other seeds would give. Never what another split,
    other settings or another shop would give.

    **How exact it is.** The plain percentile interval (:math:`c = 1`, as many
    seeds drawn as there are) is what many papers use. Thousands of users are
    enough for it: a ratio of two means is then close to normal, and the errors
    of the two ends (skewness, bias), which the BCa and the studentised
    bootstrap remove, are small against its width. Three seeds are not: their
    bootstrap variance is too small by a third, and the quantiles are those of
    a normal distribution, not of Student's. Therefore one seed fewer is drawn
    than there are, which makes the variance unbiased (Rao and Wu, 1988), and
    the interval is widened by :math:`c`, the ratio of the quantiles of
    Student's and the normal distribution, where :math:`\nu` are the degrees of
    freedom of Welch and Satterthwaite for the two sources of variance. With
    many users and one seed, :math:`c` is 1. In simulations with 200 users,
    intervals of 95 % held the truth in 92 to 98 % of the cases with three seeds
    and more, and in 88 to 97 % with two, least where seeds vary more than users
    do. A single user (:math:`x_s` is then the mean of a run) gives about the
    interval of the paired t-test over seeds.

    Args:
        base: The metric of each user, of shape ``[num_users]`` or
            ``[num_seeds, num_users]``.
        other: That of the other method, of the same shape.
        confidence: The share of cases in which the interval is to hold the
            truth.
        resamples: How often to resample. The ends are infinite if the base has
            no hit at all in one of them. With a single user and the same
            change in all seeds nothing varies, and both are ``nan``.
        seed: The random seed of resampling.

    Raises:
        ValueError: If the shapes differ, there is neither a second user nor a
            second seed, values are not finite, those of the base add up to
            nothing, ``confidence`` is not between 0 and 1, ``resamples`` is
            not positive, or ``seed`` is no whole number from 0 on.

    Example:
        >>> base = np.tile([0.0, 0.0, 1.0], 200)
        >>> other = np.tile([0.0, 0.5, 1.0], 200)
        >>> bootstrap_interval(base, other)
        (0.41, 0.61)
    """
    found = resampled_gain(base, other, confidence, resamples, seed)
    return found.low, found.high


def resampled_gain(
    base: ArrayLike,
    other: ArrayLike,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Resampled:
    r"""Return the interval of :func:`bootstrap_interval` and its p-value.

    .. math::
        p = 2\, P(T_\nu > |g| / \sigma)

    with the standard deviation :math:`\sigma` of the resampled gains and the
    degrees of freedom :math:`\nu` of the interval. It covers what the interval
    covers: over users with one seed, over users and seeds with several. Unlike
    a count of resamples beyond zero, it is not bounded by their number, which
    an adjustment for many comparisons needs.

    Args:
        base: As in :func:`bootstrap_interval`.
        other: As in :func:`bootstrap_interval`.
        confidence: As in :func:`bootstrap_interval`.
        resamples: As in :func:`bootstrap_interval`.
        seed: As in :func:`bootstrap_interval`.
    """
    base, other = paired(base, other)
    num_seeds, num_users = base.shape
    check_whole('bootstrap_interval', resamples=resamples)
    if not is_number(confidence) or not 0 < confidence < 1:
        raise ValueError(
            f"'confidence' needs to be in (0, 1) (got {confidence!r})"
        )
    if base.size == 1:
        raise ValueError('An interval needs two users or two seeds (got one)')
    gain = relative_gain(base, other)
    if num_users == 1 and _is_constant(base, other, gain):
        return Resampled(math.nan, math.nan, math.nan)
    rng = np.random.default_rng(as_seed('bootstrap_interval', seed))

    # Users are drawn once for all, seeds on top of them:
    means = resample_users(np.concatenate([base, other]), resamples, rng)
    base_mean, other_mean = np.split(means, 2, axis=1)  # [resamples, num_seeds]
    drawn = rng.multinomial(
        max(num_seeds - 1, 1), np.full(num_seeds, 1 / num_seeds), resamples
    )
    with np.errstate(divide='ignore', invalid='ignore'):
        of_users = other_mean.sum(axis=1) / base_mean.sum(axis=1) - 1
        base_mean, other_mean = drawn * base_mean, drawn * other_mean
        of_both = other_mean.sum(axis=1) / base_mean.sum(axis=1) - 1
    if not np.isfinite(of_both).all():
        return Resampled(-math.inf, math.inf, 1.0)

    # Student's distribution instead of the normal one:
    variances = [(of_users.var(), num_users - 1)] if num_users > 1 else []
    if num_seeds > 1:
        of_seeds = (other - (1 + gain) * base).mean(axis=1) / base.mean()
        variances += [(of_seeds.var(ddof=1) / num_seeds, num_seeds - 1)]
    freedom = _satterthwaite(variances)
    tail = (1 - confidence) / 2
    wider = stats.t.isf(tail, freedom) / stats.norm.isf(tail)
    low, high = np.quantile(of_both, [tail, 1 - tail])
    # A metric that is not negative cannot lose more than all:
    low = max(gain - wider * (gain - low), -1.0)
    high = gain + wider * (high - gain)

    if abs(gain) < NOTHING:
        return Resampled(float(low), float(high), 1.0)
    with np.errstate(divide='ignore'):
        p = 2 * stats.t.sf(abs(gain) / of_both.std(), freedom)
    return Resampled(float(low), float(high), float(p))


def resample_users(
    values: Array, resamples: int, rng: np.random.Generator
) -> Array:
    """Return means over users drawn with replacement.

    Args:
        values: Of shape ``[num_rows, num_users]``.
        resamples: How often to draw.
        rng: What draws them.

    Returns:
        Means of shape ``[resamples, num_rows]``.
    """
    # Users that agree in all values are of one kind. How often a kind is drawn
    # is binomial; the users of rare kinds are drawn one by one:
    kinds, kind, count = np.unique(
        values, axis=1, return_inverse=True, return_counts=True
    )
    num_users, is_rare = values.shape[1], count <= FEW
    rare_kind = (np.cumsum(is_rare) - 1)[kind.ravel()]  # of each user
    rare_users = rare_kind[is_rare[kind.ravel()]]
    num_rare = int(is_rare.sum())
    share = np.append(count[~is_rare], len(rare_users)) / num_users
    kinds = np.concatenate([kinds[:, ~is_rare], kinds[:, is_rare]], axis=1)

    block = max(1, BLOCK // max(kinds.shape[1], len(rare_users)))
    blocks = []
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = rng.multinomial(num_users, share, size)
        if num_rare:
            total = int(drawn[:, -1].sum())
            users = rng.integers(len(rare_users), size=total, dtype=np.uint32)
            first = (num_rare * np.arange(size)).repeat(drawn[:, -1])
            times = np.bincount(
                first + rare_users[users], minlength=size * num_rare
            ).reshape(size, num_rare)
            drawn = np.concatenate([drawn[:, :-1], times], axis=1)
        else:
            drawn = drawn[:, :-1]
        blocks.append(drawn @ kinds.T / num_users)
    return np.concatenate(blocks)


def _is_constant(base: Array, other: Array, gain: float) -> bool:
    """Return whether the change, or the relative one, is the same in all."""
    tiny = NOTHING * np.abs(base).max()
    changes = (other - base, other - (1 + gain) * base)
    return any(bool(np.ptp(change) <= tiny) for change in changes)


def _satterthwaite(variances: Sequence[tuple[float, int]]) -> float:
    """Return the degrees of freedom of a sum of independent variances.

    Args:
        variances: Each with its own degrees of freedom.
    """
    total = sum(variance for variance, _ in variances)
    if total == 0:
        return math.inf
    return total**2 / sum(v**2 / freedom for v, freedom in variances)
