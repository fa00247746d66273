import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pyg_ckd.analysis import (
    Comparison,
    Result,
    bootstrap_interval,
    compare,
    holm,
    paired_test_seeds,
    paired_test_users,
)


def shop(rng, num_seeds: int, num_users: int) -> tuple[np.ndarray, np.ndarray]:
    """Metrics with few values, those of a user alike in all runs."""
    shape = (2, num_seeds, num_users)
    likes = rng.random(num_users)
    values = (rng.random(shape) < likes) * rng.choice([0.5, 1.0], shape)
    return values[0], values[1]


# Intervals ###################################################################


def test_interval_of_normal_data_is_the_analytic_one():
    rng = np.random.default_rng(0)
    base = rng.normal(1.0, 0.5, 1600)
    other = 1.1 * base + rng.normal(0, 0.2, 1600)
    interval = bootstrap_interval(base, other, resamples=3000)
    # The delta method for a ratio of two means:
    ratio = other.mean() / base.mean()
    error = np.std(other - ratio * base, ddof=1) / base.mean() / 40
    expected = ratio - 1 + 1.96 * error * np.array([-1, 1])
    assert interval == pytest.approx(expected, abs=0.1 * error)

    narrow = bootstrap_interval(base, other, 0.5, resamples=3000)
    expected = ratio - 1 + 0.6745 * error * np.array([-1, 1])
    assert narrow == pytest.approx(expected, abs=0.1 * error)


@pytest.mark.parametrize('num_seeds', [1, 2, 3])
def test_interval_is_that_of_a_naive_loop(num_seeds):
    rng = np.random.default_rng(1)
    base, other = shop(rng, num_seeds, 40)
    other *= 1 + 0.3 * np.arange(num_seeds)[:, None]  # seeds differ
    gain = other.sum() / base.sum() - 1

    of_users, of_both = [], []
    for _ in range(4000):
        users = rng.integers(40, size=40)
        seeds = rng.integers(num_seeds, size=max(num_seeds - 1, 1))
        x, y = base[:, users], other[:, users]
        of_users.append(y.sum() / x.sum() - 1)
        of_both.append(y[seeds].sum() / x[seeds].sum() - 1)
    low, high = np.percentile(of_both, [2.5, 97.5])
    users = np.var(of_users)
    seeds = 0.0
    if num_seeds > 1:
        deviation = [
            (y.mean() - (1 + gain) * x.mean()) / base.mean()
            for x, y in zip(base, other, strict=True)
        ]
        seeds = np.var(deviation, ddof=1) / num_seeds
    freedom = (users + seeds) ** 2 / (
        users**2 / 39 + seeds**2 / max(num_seeds - 1, 1)
    )
    wider = stats.t.ppf(0.975, freedom) / stats.norm.ppf(0.975)
    expected = (gain - wider * (gain - low), gain + wider * (high - gain))

    interval = bootstrap_interval(base, other, resamples=4000)
    tolerance = 0.04 * (expected[1] - expected[0])
    assert interval == pytest.approx(expected, abs=tolerance)


def coverage(rng, num_seeds: int, num_users: int, seed_share: float) -> float:
    """How often 95 % intervals hold the truth, a gain of 20 %."""
    held = 0
    for _ in range(400):
        users = rng.normal(size=num_users) * math.sqrt(
            (1 - seed_share) * num_users
        )
        seeds = rng.normal(size=(num_seeds, 1)) * math.sqrt(
            seed_share * num_seeds
        )
        base = np.ones((num_seeds, num_users))
        other = 1.2 + 0.02 * (users + seeds)
        low, high = bootstrap_interval(base, other, resamples=300)
        held += low <= 0.2 <= high
    return held / 400


@pytest.mark.parametrize(
    ('num_seeds', 'num_users', 'seed_share', 'least'),
    [
        (1, 60, 0.0, 0.90),
        (3, 40, 0.1, 0.92),
        (3, 30, 0.8, 0.89),  # the plain percentile interval: 0.84
        (2, 30, 0.5, 0.87),  # 0.82
    ],
)
def test_coverage(num_seeds, num_users, seed_share, least):
    rng = np.random.default_rng(3)
    share = coverage(rng, num_seeds, num_users, seed_share)
    assert least <= share <= 0.98


def test_seeds_alone_give_about_the_t_interval():
    rng = np.random.default_rng(4)
    base = np.ones((8, 1))
    other = 1.2 + 0.02 * rng.normal(size=(8, 1))
    test = stats.ttest_rel(other[:, 0], base[:, 0]).confidence_interval()
    interval = bootstrap_interval(base, other)
    tolerance = 0.05 * (test.high - test.low)
    assert interval == pytest.approx((test.low, test.high), abs=tolerance)


def test_same_runs_twice_are_no_second_seed():
    base, other = shop(np.random.default_rng(5), 1, 200)
    one = bootstrap_interval(base, other)
    two = bootstrap_interval(np.tile(base, (2, 1)), np.tile(other, (2, 1)))
    assert two == pytest.approx(one, abs=0.003)


def test_interval_depends_on_the_seed_alone():
    base, other = shop(np.random.default_rng(6), 2, 50)
    first = bootstrap_interval(base, other, resamples=200)
    assert bootstrap_interval(base, other, resamples=200) == first
    assert bootstrap_interval(base, other, resamples=200, seed=1) != first


def test_interval_of_no_difference_is_a_point():
    base = np.arange(5.0)
    assert bootstrap_interval(base, base, resamples=10) == (0.0, 0.0)


def test_interval_without_bounds():
    few = np.eye(20)[0]  # most resamples have no hit
    assert bootstrap_interval(few, 2 * few) == (-math.inf, math.inf)


def test_nothing_loses_more_than_all():
    base = np.ones((2, 10))
    other = np.array([[0.0], [1.0]]) * base
    low, high = bootstrap_interval(base, other)
    assert low == -1
    assert high > 1


@pytest.mark.parametrize(
    ('base', 'other', 'match'),
    [
        ([1.0, 2.0], [1.0], r'\(1, 2\) and \(1, 1\)'),
        ([], [], 'need the same shape'),
        ([[[1.0, 2.0]]], [[[1.0, 2.0]]], 'need the same shape'),
        ([1.0], [2.0], 'two users or two seeds'),
        ([0.0, 0.0], [1.0, 1.0], "positive mean of 'base' .got 0.0"),
        ([1.0, math.nan], [1.0, 1.0], 'finite'),
    ],
)
def test_interval_needs_pairs(base, other, match):
    with pytest.raises(ValueError, match=match):
        bootstrap_interval(base, other)


# Tests #######################################################################


def test_p_values_are_those_of_scipy():
    base, other = shop(np.random.default_rng(7), 4, 30)
    users = stats.wilcoxon(other.mean(axis=0), base.mean(axis=0)).pvalue
    seeds = stats.ttest_rel(base.mean(axis=1), other.mean(axis=1)).pvalue
    assert paired_test_users(base, other) == pytest.approx(users)
    assert paired_test_seeds(base, other) == pytest.approx(seeds)
    alone = stats.wilcoxon(other[0], base[0]).pvalue
    assert paired_test_users(base[0], other[0]) == pytest.approx(alone)
    assert paired_test_seeds(base[0], other[0]) is None


def test_users_without_a_difference_say_nothing():
    third = np.float32(1 / 3)
    base = np.array([[third, 0, 1], [0, third, 0], [1, 1, 0]])
    other = base[[1, 2, 0]]  # same means, added up in another order
    assert paired_test_users(base, other) == 1.0
    more = np.concatenate([base, np.ones((3, 5))], axis=1)
    gain = np.concatenate([other, np.full((3, 5), 2.0)], axis=1)
    expected = stats.wilcoxon([1.0] * 5).pvalue
    assert paired_test_users(more, gain) == pytest.approx(expected)


def test_equal_differences_of_users_are_ties():
    rng = np.random.default_rng(9)
    base = rng.integers(8, size=(3, 20)) / 8
    difference = rng.choice([-1, 1, 2], 20) / 8
    other = base.copy()
    other[1] += difference
    expected = stats.wilcoxon(difference).pvalue
    assert paired_test_users(base, other) == pytest.approx(expected)


def test_seeds_without_variation_are_not_tested():
    base = np.array([[0.1, 0.2], [0.3, 0.4]])
    assert paired_test_seeds(base, base + 0.1) is None
    assert paired_test_seeds(base, base) is None


@given(
    st.lists(st.floats(0, 1), max_size=8),
    st.floats(0.001, 0.999),
)
@settings(max_examples=60, deadline=None)
def test_holm_rejects_what_stepping_down_rejects(p_values, level):
    adjusted = holm(p_values)
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    rejected = set()
    for step, i in enumerate(order):
        if (len(p_values) - step) * p_values[i] > level:
            break
        rejected.add(i)
    assert {i for i, p in enumerate(adjusted) if p <= level} == rejected
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))


# Runs ########################################################################


def run(
    method: str,
    seed: int,
    metric: list[float],
    user: list[int] | None = None,
    name: str = 'recall@20',
) -> Result:
    user = list(range(len(metric))) if user is None else user
    users = {'user': torch.tensor(user), name: torch.tensor(metric)}
    test = {'full': {name: float(np.mean(metric))}}
    return Result('shop', 'VBPR', method, seed, test=test, users=users)


def test_runs_are_paired_by_seed_and_user():
    rng = np.random.default_rng(8)
    base, other = shop(rng, 2, 30)
    shuffled = rng.permutation(30)
    comparison = compare(
        [run('base', s, base[s].tolist()) for s in (0, 1)],
        [
            run('ckd', 2, [9.0] * 30),  # without a partner
            run('ckd', 1, other[1].tolist()),
            run('ckd', 0, other[0][shuffled].tolist(), shuffled.tolist()),
        ],
    )
    low, high = bootstrap_interval(base, other)
    assert comparison.gain == pytest.approx(other.mean() / base.mean() - 1)
    assert (comparison.low, comparison.high) == pytest.approx((low, high))
    assert comparison.p_users == pytest.approx(paired_test_users(base, other))
    assert comparison.p_seeds == pytest.approx(paired_test_seeds(base, other))
    assert (comparison.num_seeds, comparison.num_users) == (2, 30)


def test_runs_of_several_seeds_are_not_mixed_up():
    # Each seed has the same gain, but not if paired with another one:
    base = [run('base', s, [0.1 + s, 0.3 + s]) for s in (0, 1, 2)]
    other = [run('ckd', s, [0.2 + 2 * s, 0.6 + 2 * s]) for s in (2, 0, 1)]
    comparison = compare(base, other)
    assert comparison.high - comparison.low < 1e-5
    assert comparison.gain == pytest.approx(1.0)


def test_another_metric():
    base = [run('base', 0, [0.1, 0.3, 0.2], name='ndcg@10')]
    other = [run('ckd', 0, [0.2, 0.5, 0.2], name='ndcg@10')]
    assert compare(base, other, 'ndcg@10').gain == pytest.approx(0.5)


def test_runs_without_users_are_compared_over_seeds():
    base = [run('base', s, [0.2, 0.4 + s / 10]) for s in range(4)]
    other = [run('ckd', s, [0.3, 0.5 + s / 20]) for s in range(4)]
    other[2].users = {}  # one is enough
    comparison = compare(base, other)
    means = [[np.mean(r.users['recall@20'].numpy())] for r in base]
    gains = [[r.test['full']['recall@20']] for r in other]
    interval = bootstrap_interval(means, gains)
    assert (comparison.low, comparison.high) == pytest.approx(interval, 1e-5)
    assert (comparison.p_users, comparison.num_users) == (None, 0)
    assert comparison.p_seeds is not None
    assert comparison.verdict.endswith(', seeds only')


def test_one_seed_without_users_is_not_tested():
    base, other = run('base', 0, [0.2, 0.4]), run('ckd', 0, [0.3, 0.5])
    base.users = {}
    comparison = compare([base], [other])
    assert not comparison.tested
    assert not comparison.significant
    assert comparison.verdict == str(comparison) == 'not tested'


@pytest.mark.parametrize(
    ('base', 'other', 'match'),
    [
        (run('base', 0, [1.0]), run('ckd', 1, [1.0]), r'\[0\] and \[1\]'),
        (
            run('base', 3, [1.0, 1.0]),
            run('ckd', 3, [1.0, 1.0], user=[0, 7]),
            "'ckd' of seed 3 was tested on other users than 'base'",
        ),
        (
            run('base', 3, [1.0, 1.0]),
            run('ckd', 3, [1.0, 1.0, 1.0]),
            'other users',
        ),
    ],
)
def test_runs_that_cannot_be_paired(base, other, match):
    with pytest.raises(ValueError, match=match):
        compare([base], [other])


def test_each_seed_once():
    one = run('base', 0, [1.0, 2.0])
    with pytest.raises(ValueError, match=r"'other'.*got seeds \[0, 0\]"):
        compare([one], [one, one])


@pytest.mark.parametrize(
    ('gain', 'low', 'high', 'verdict'),
    [
        (0.115, 0.081, 0.15, '+11.5 % [+8.1, +15.0]'),
        (0.004, -0.01, 0.019, 'no significant gain (+0.4 % [-1.0, +1.9])'),
        (-0.004, -0.019, 0.01, 'no significant loss (-0.4 % [-1.9, +1.0])'),
        (-0.04, -0.06, -0.02, 'significant loss (-4.0 % [-6.0, -2.0])'),
        (0.1, 0.0, 0.2, 'no significant gain (+10.0 % [+0.0, +20.0])'),
        (0.114, math.nan, math.nan, 'not tested'),
    ],
)
def test_verdict(gain, low, high, verdict):
    comparison = Comparison(gain, low, high, 0.01, None, 1, 100)
    assert comparison.verdict == verdict
    assert str(comparison) in verdict
    assert comparison.significant == (not verdict.startswith(('no', 'not')))
