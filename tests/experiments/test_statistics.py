import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pyg_ckd.experiments.method import METHODS, Method
from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.run import Run
from pyg_ckd.experiments.statistics import (
    Comparison,
    bootstrap_interval,
    compare,
    holm,
    paired_test_seeds,
    paired_test_users,
)
from pyg_ckd.experiments.statistics.bootstrap import (
    FEW,
    resample_users,
    resampled_gain,
)


def shop(rng, num_seeds: int, num_users: int) -> tuple[np.ndarray, np.ndarray]:
    """Metrics with few values, those of a user alike in all runs."""
    shape = (2, num_seeds, num_users)
    likes = rng.random(num_users)
    values = (rng.random(shape) < likes) * rng.choice([0.5, 1.0], shape)
    return values[0], values[1]


# Users without a metric ######################################################


def test_users_without_a_metric_are_left_out():
    rng = np.random.default_rng(3)
    base, other = shop(rng, 2, 60)
    other += 0.1
    known = rng.random(60) < 0.5

    def runs(method: Method, values: np.ndarray, users: np.ndarray):
        return [
            Result(
                Run('shop', 'VBPR', method, seed),
                test={'full': {'tail_recall@20': float(row[known].mean())}},
                users={
                    'user': torch.from_numpy(users),
                    'tail_recall@20': torch.from_numpy(row),
                },
            )
            for seed, row in enumerate(values)
        ]

    user = np.arange(60)
    methods = Method(), METHODS['ckd']
    blank = np.where(known, 0.0, np.nan)
    found = compare(
        runs(methods[0], base + blank, user),
        runs(methods[1], other + blank, user),
        'tail_recall@20',
    )
    assert found.num_users == known.sum()
    gain = other[:, known].sum() / base[:, known].sum() - 1
    assert found.gain == pytest.approx(gain)
    interval = bootstrap_interval(base[:, known], other[:, known])
    assert (found.low, found.high) == interval


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
    for _ in range(12_000):
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

    interval = bootstrap_interval(base, other, resamples=12_000)
    tolerance = 0.045 * (expected[1] - expected[0])
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


# Resampling ##################################################################


def naive_means(values: np.ndarray, resamples: int, rng) -> np.ndarray:
    """Means over users drawn one by one."""
    num_users = values.shape[1]
    users = rng.integers(num_users, size=(resamples, num_users))
    return values[:, users].mean(axis=2).T


@pytest.mark.parametrize(
    'sizes',
    [
        [1] * 40,  # all rare
        [FEW + 10, 2 * FEW],  # none
        [100, 40, FEW + 1, FEW, 3, 2, 1, 1, 1],
    ],
)
def test_users_are_resampled_as_one_by_one(sizes):
    rng = np.random.default_rng(10)
    kinds = rng.random((3, len(sizes)))
    values = np.repeat(kinds, sizes, axis=1)[:, rng.permutation(sum(sizes))]
    drawn = resample_users(values, 20_000, np.random.default_rng(0))
    naive = naive_means(values, 20_000, np.random.default_rng(0))
    assert drawn.shape == naive.shape == (20_000, 3)
    spread = naive.std(axis=0)
    assert drawn.mean(axis=0) == pytest.approx(
        values.mean(axis=1), abs=0.03 * spread.max()
    )
    # Means of rows that vary together do so in the resamples:
    exact = np.cov(values, bias=True) / values.shape[1]
    assert np.cov(drawn.T) == pytest.approx(exact, abs=0.04 * exact.max())
    assert np.cov(drawn.T) == pytest.approx(
        np.cov(naive.T), abs=0.04 * exact.max()
    )
    levels = [0.005, 0.025, 0.5, 0.975, 0.995]
    for row in range(3):
        assert np.quantile(drawn[:, row], levels) == pytest.approx(
            np.quantile(naive[:, row], levels), abs=0.25 * spread[row]
        )


def test_as_many_users_are_drawn_as_there_are():
    # A row of ones next to others adds up to one in each resample:
    values = np.random.default_rng(11).random((2, 90)).round(1)
    values = np.concatenate([values, np.ones((1, 90))])
    values[:, :50] = values[:, :1]
    drawn = resample_users(values, 3000, np.random.default_rng(0))
    assert drawn[:, 2] == pytest.approx(np.ones(3000), abs=1e-12)


def test_means_are_of_whole_users():
    # Users of one kind count one, of a second a thousand, so that the mean
    # says how many were drawn of each:
    for sizes in ([40, 50], [3, 87], [1, 2]):
        values = np.repeat([[1.0, 1000.0]], sizes, axis=1)
        drawn = resample_users(values, 2000, np.random.default_rng(0))
        total = (drawn[:, 0] * sum(sizes)).round(6)
        ones, thousands = total % 1000, total // 1000
        assert (ones + thousands == sum(sizes)).all()
        share = thousands.mean() / sum(sizes)
        assert share == pytest.approx(sizes[1] / sum(sizes), abs=0.02)


def test_resamples_in_blocks(monkeypatch):
    values = np.random.default_rng(13).random((2, 30)).round(1)
    whole = resample_users(values, 500, np.random.default_rng(0))
    path = 'pyg_ckd.experiments.statistics.bootstrap.BLOCK'
    monkeypatch.setattr(path, 100)
    parts = resample_users(values, 500, np.random.default_rng(0))
    assert parts.shape == whole.shape
    assert parts.mean(axis=0) == pytest.approx(whole.mean(axis=0), abs=0.01)


# The p-value of an interval ###################################################


@pytest.mark.parametrize('num_seeds', [1, 3])
@pytest.mark.parametrize('effect', [0.01, 0.03, -0.04])
def test_p_is_the_level_at_which_the_interval_touches_zero(num_seeds, effect):
    rng = np.random.default_rng(14)
    base = rng.normal(1.0, 0.3, (num_seeds, 400))
    other = base * (1 + effect) + rng.normal(0, 0.3, base.shape)
    p = resampled_gain(base, other, resamples=4000).p
    low, high = 0.0, 1.0
    for _ in range(12):  # bisection
        confidence = (low + high) / 2
        ends = bootstrap_interval(base, other, confidence, 4000)
        if ends[0] > 0 or ends[1] < 0:
            low = confidence
        else:
            high = confidence
    assert p == pytest.approx(1 - low, rel=0.1, abs=0.02)


def test_p_of_normal_data_is_the_analytic_one():
    rng = np.random.default_rng(15)
    base = rng.normal(1.0, 0.5, 2500)
    other = 1.02 * base + rng.normal(0, 0.4, 2500)
    ratio = other.mean() / base.mean()
    error = np.std(other - ratio * base, ddof=1) / base.mean() / 50
    expected = 2 * stats.norm.sf(abs(ratio - 1) / error)
    assert resampled_gain(base, other).p == pytest.approx(expected, rel=0.2)


def test_p_of_seeds_alone_is_about_that_of_the_t_test():
    rng = np.random.default_rng(16)
    base = np.ones((6, 1))
    other = 1.02 + 0.02 * rng.normal(size=(6, 1))
    expected = stats.ttest_rel(other[:, 0], base[:, 0]).pvalue
    assert resampled_gain(base, other).p == pytest.approx(expected, rel=0.1)


def test_p_counts_seeds_that_p_over_users_does_not():
    rng = np.random.default_rng(17)
    base = rng.random((3, 2000))
    # Each seed changes all users alike, up, up and down:
    other = base * np.array([[1.2], [1.1], [0.9]])
    found = resampled_gain(base, other)
    assert paired_test_users(base, other) < 1e-10
    assert found.p > 0.3
    assert found.low < 0 < found.high


def test_p_is_small_beyond_the_number_of_resamples():
    base = np.random.default_rng(18).random(3000)
    noise = 1 + 0.1 * np.random.default_rng(19).random(3000)
    assert 0 <= resampled_gain(base, base * noise).p < 1e-20


def test_p_of_no_difference_and_of_no_bounds_is_one():
    base = np.random.default_rng(20).random((2, 50))
    assert resampled_gain(base, base).p == 1
    # The same sum in another order differs by rounding alone:
    assert resampled_gain(base, base[::-1]).p > 0.3
    few = np.eye(20)[0]
    assert resampled_gain(few, 2 * few) == (-math.inf, math.inf, 1)


# Tests #######################################################################


def test_p_values_are_those_of_scipy():
    base, other = shop(np.random.default_rng(7), 4, 30)
    moved = (other - base).mean(axis=0)
    users = stats.wilcoxon(moved[moved != 0]).pvalue
    seeds = stats.ttest_rel(base.mean(axis=1), other.mean(axis=1)).pvalue
    assert paired_test_users(base, other) == pytest.approx(users)
    assert paired_test_seeds(base, other) == pytest.approx(seeds)
    alone = other[0] - base[0]
    alone = stats.wilcoxon(alone[alone != 0]).pvalue
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


BASE, CKD = METHODS['base'], METHODS['ckd']


def run(
    method: Method,
    seed: int,
    metric: list[float],
    user: list[int] | None = None,
    name: str = 'recall@20',
    **kwargs: object,
) -> Result:
    """A result with the metric of each user; keywords are those of a run."""
    user = list(range(len(metric))) if user is None else user
    users = {'user': torch.tensor(user), name: torch.tensor(metric)}
    test = {'full': {name: float(np.mean(metric))}}
    planned = Run('shop', 'VBPR', method, seed, **kwargs)
    return Result(planned, test=test, users=users)


def test_runs_are_paired_by_seed_and_user():
    rng = np.random.default_rng(8)
    base, other = shop(rng, 2, 30)
    shuffled = rng.permutation(30)
    comparison = compare(
        [run(BASE, s, base[s].tolist()) for s in (0, 1)],
        [
            run(CKD, 2, [9.0] * 30),  # without a partner
            run(CKD, 1, other[1].tolist()),
            run(CKD, 0, other[0][shuffled].tolist(), shuffled.tolist()),
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
    base = [run(BASE, s, [0.1 + s, 0.3 + s]) for s in (0, 1, 2)]
    other = [run(CKD, s, [0.2 + 2 * s, 0.6 + 2 * s]) for s in (2, 0, 1)]
    comparison = compare(base, other)
    assert comparison.high - comparison.low < 1e-5
    assert comparison.gain == pytest.approx(1.0)


def test_another_metric():
    base = [run(BASE, 0, [0.1, 0.3, 0.2], name='ndcg@10')]
    other = [run(CKD, 0, [0.2, 0.5, 0.2], name='ndcg@10')]
    assert compare(base, other, 'ndcg@10').gain == pytest.approx(0.5)


def test_runs_without_users_are_compared_over_seeds():
    base = [run(BASE, s, [0.2, 0.4 + s / 10]) for s in range(4)]
    other = [run(CKD, s, [0.3, 0.5 + s / 20]) for s in range(4)]
    other[2].users = {}  # one is enough
    comparison = compare(base, other)
    means = [[np.mean(r.users['recall@20'].numpy())] for r in base]
    gains = [[r.tested['recall@20']] for r in other]
    interval = bootstrap_interval(means, gains)
    assert (comparison.low, comparison.high) == pytest.approx(interval, 1e-5)
    assert (comparison.p_users, comparison.num_users) == (None, 0)
    assert comparison.p_seeds is not None
    assert comparison.p == pytest.approx(resampled_gain(means, gains).p, 1e-5)
    assert comparison.verdict.endswith(', over seeds only, p 0.065)')


@pytest.mark.parametrize(
    ('base', 'other'),
    [
        ((0.3, 0.3, 0.3), (0.3001, 0.3001, 0.3001)),
        ((0.30, 0.31), (0.3001, 0.3101)),  # the same change
        ((0.2, 0.4, 0.3), (0.22, 0.44, 0.33)),  # the same share
    ],
)
def test_seeds_without_spread_are_not_tested(base, other):
    def runs(method: Method, values: tuple[float, ...]) -> list[Result]:
        found = [run(method, seed, [x]) for seed, x in enumerate(values)]
        for result in found:
            result.users = {}
        return found

    comparison = compare(runs(BASE, base), runs(CKD, other))
    assert comparison.outcome == 'not tested'
    assert comparison.p is None
    assert comparison.verdict == (
        'not tested: the change is the same for all seeds'
    )
    pair = [[x] for x in base], [[x] for x in other]
    assert all(math.isnan(end) for end in bootstrap_interval(*pair))


def test_one_seed_without_users_is_not_tested():
    base, other = run(BASE, 0, [0.2, 0.4]), run(CKD, 0, [0.3, 0.5])
    base.users = {}
    comparison = compare([base], [other])
    assert not comparison.tested
    assert not comparison.significant
    assert comparison.verdict == str(comparison) == 'not tested'


@pytest.mark.parametrize(
    ('base', 'other', 'match'),
    [
        (run(BASE, 0, [1.0]), run(CKD, 1, [1.0]), r'\[0\] and \[1\]'),
        (
            run(BASE, 3, [1.0, 1.0]),
            run(CKD, 3, [1.0, 1.0], user=[0, 7]),
            "'CKD' of seed 3 was tested on other users than 'base'",
        ),
        (
            run(BASE, 3, [1.0, 1.0]),
            run(CKD, 3, [1.0, 1.0, 1.0]),
            'other users',
        ),
    ],
)
def test_runs_that_cannot_be_paired(base, other, match):
    with pytest.raises(ValueError, match=match):
        compare([base], [other])


def test_each_seed_once():
    one = run(BASE, 0, [1.0, 2.0])
    with pytest.raises(ValueError, match=r"'other'.*got seeds \[0, 0\]"):
        compare([one], [one, one])


@pytest.mark.parametrize(
    ('gain', 'low', 'high', 'verdict', 'outcome'),
    [
        (0.115, 0.081, 0.15, '+11.5 % [+8.1, +15.0]', 'gain'),
        (
            0.004,
            -0.01,
            0.019,
            'no significant gain (+0.4 % [-1.0, +1.9])',
            'no change',
        ),
        (
            -0.004,
            -0.019,
            0.01,
            'no significant loss (-0.4 % [-1.9, +1.0])',
            'no change',
        ),
        (
            -0.04,
            -0.06,
            -0.02,
            'significant loss (-4.0 % [-6.0, -2.0])',
            'loss',
        ),
        (
            0.1,
            0.0,
            0.2,
            'no significant gain (+10.0 % [+0.0, +20.0])',
            'no change',
        ),
        (0.114, math.nan, math.nan, 'not tested', 'not tested'),
    ],
)
def test_verdict(gain, low, high, verdict, outcome):
    comparison = Comparison(gain, low, high, 0.01, 0.01, 2, 100)
    assert comparison.verdict == verdict
    assert comparison.outcome == outcome
    assert str(comparison) in verdict
    assert comparison.significant == (outcome in ('gain', 'loss'))


GAIN = Comparison(0.115, 0.081, 0.15, 0.01, 0.01, 2, 100)


@pytest.mark.parametrize(
    ('change', 'verdict'),
    [
        ({'num_seeds': 1}, '+11.5 % [+8.1, +15.0], over users only'),
        ({'num_users': 0}, '+11.5 % [+8.1, +15.0], over seeds only'),
        (
            {'cut_short': True},
            'cut short, let it train on (+11.5 % [+8.1, +15.0])',
        ),
        (
            {'cut_short': True, 'gain': -0.1, 'low': -0.2, 'high': -0.05},
            'cut short, let it train on (-10.0 % [-20.0, -5.0])',
        ),
        (
            {'caveats': ('versions 1 and 2 of the library', 'more')},
            '+11.5 % [+8.1, +15.0]; versions 1 and 2 of the library; more',
        ),
        (
            {'p_adjusted': 0.0612, 'family': 2},
            'no significant gain (+11.5 % [+8.1, +15.0], adjusted p 0.061)',
        ),
        (
            {'p_adjusted': 0.05},
            'no significant gain (+11.5 % [+8.1, +15.0], p 0.05)',
        ),
    ],
)
def test_verdict_says_what_it_rests_on(change, verdict):
    comparison = replace(GAIN, **change)
    assert comparison.verdict == verdict
    claims = not {'cut_short', 'p_adjusted'} & change.keys()
    assert comparison.significant == claims


def test_significant_by_interval_and_adjusted_p():
    assert GAIN.significant
    assert (GAIN.p, GAIN.p_adjusted, GAIN.family) == (0.01, 0.01, 1)
    assert replace(GAIN, p_adjusted=0.049).significant
    assert not replace(GAIN, p_adjusted=0.051).significant
    assert not replace(GAIN, low=-0.001).significant


def test_what_could_not_be_tested_says_why():
    comparison = Comparison.untested('the users differ')
    assert comparison.verdict == 'not tested: the users differ'
    assert (comparison.outcome, comparison.p) == ('not tested', None)
    assert not comparison.significant


# What makes a comparison unfair ###############################################


def late(result: Result, best: int, epochs: int = 10) -> Result:
    """A result whose best validation came at an evaluation, of two."""
    values = [0.2, 0.1] if best == 5 else [0.1, 0.2]
    result.history = [
        {'epoch': epoch, 'val_recall@20': value}
        for epoch, value in zip((5, 10), values, strict=True)
    ]
    result.epochs = epochs
    return result


@pytest.mark.parametrize('place', [None, 0, 1, 2, 3])
def test_one_run_that_was_cut_short_is_enough(place):
    fit = {'settings': {'fit': {'max_epochs': 10}}}
    more = [0.1 * (1 + i % 7) for i in range(60)]
    less = [0.6 * value for value in more]
    base = [run(BASE, s, less, **fit) for s in (0, 1)]
    ckd = [run(CKD, s, more, **fit) for s in (0, 1)]
    for number, result in enumerate([*base, *ckd]):
        late(result, best=10 if number == place else 5)
    comparison = compare(base, ckd)
    assert comparison.low > 0.5
    assert comparison.cut_short == (place is not None)
    assert comparison.outcome == ('gain' if place is None else 'cut short')


def test_a_run_without_a_partner_does_not_cut_short():
    fit = {'settings': {'fit': {'max_epochs': 10}}}
    base = [late(run(BASE, 0, [0.1, 0.2], **fit), 5)]
    ckd = [run(CKD, s, [0.2, 0.3], **fit) for s in (0, 1)]
    late(ckd[1], best=10)
    assert not compare(base, ckd).cut_short


def test_versions_that_differ_are_named():
    base = run(BASE, 0, [0.1, 0.2], version='0.1.0')
    ckd = run(CKD, 0, [0.2, 0.3], version='0.2.0')
    text = 'versions 0.1.0 and 0.2.0 of the library'
    assert compare([base], [ckd]).unlike == (text,)
    assert compare([base], [base]).unlike == ()


def test_settings_that_differ_are_named_unless_meant():
    def caveats(method: Method, **settings: object) -> tuple[str, ...]:
        plain = {'model': {'dim': 8}, 'train': {}, 'objective': {'l2': 0}}
        base = run(BASE, 0, [0.1, 0.2], settings=plain)
        other = run(method, 0, [0.2, 0.3], settings={**plain, **settings})
        return compare([base], [other]).unlike

    wide = {'model': {'dim': 16}, 'train': {'lr': 1}}
    assert caveats(CKD) == ()
    assert caveats(CKD, balance={'name': 'CKD'}) == ()
    assert caveats(CKD, **wide) == ('other settings of model, train',)
    meant = Method.student('CKD', changes={'model': {'dim': 16}})
    assert caveats(meant, **wide) == ('other settings of train',)
    deep = {'model': {'dim': 16, 'num_layers': 9}}
    assert caveats(meant, **deep) == ('other settings of model',)
    l2 = {'objective': {'l2': 1}}
    assert caveats(CKD, **l2) == ('other settings of objective',)
    assert caveats(Method(objective='Softmax'), **l2) == ()
    assert caveats(Method(changes={'BPR': {'l2': 1}}), **l2) == ()
    extra = {'extra': {'standardize': True}}
    assert caveats(CKD, **extra) == ('other settings of extra',)
    assert caveats(Method(changes=extra), **extra) == ()
    # Each objective may have settings of its own:
    assert caveats(Method(objective='Softmax'), **wide, **extra) == ()


def test_an_ensemble_has_no_settings_that_could_differ():
    settings = {'model': {'dim': 8}, 'extra': {'standardize': True}}
    base = run(BASE, 0, [0.1, 0.2], settings=settings)
    ensemble = run(METHODS['ensemble'], 0, [0.2, 0.3], settings={})
    assert compare([base], [ensemble]).unlike == ()


def test_runs_of_other_data_are_not_compared():
    base = run(BASE, 0, [0.1, 0.2], data='aa')
    ckd = run(CKD, 0, [0.2, 0.3], data='bb')
    match = r"'base' and 'CKD' were trained on different data \(aa and bb\)"
    with pytest.raises(ValueError, match=match):
        compare([base], [ckd])
    old = run(CKD, 0, [0.2, 0.3])  # of unknown data
    assert compare([base], [old]).tested


def test_p_is_that_over_users_with_one_seed():
    base, other = shop(np.random.default_rng(21), 2, 50)
    runs = [
        [run(method, s, values[s].tolist()) for s in (0, 1)]
        for method, values in ((BASE, base), (CKD, other))
    ]
    one = compare(runs[0][:1], runs[1][:1])
    assert one.p == one.p_users == paired_test_users(base[:1], other[:1])
    two = compare(*runs)
    assert two.p == resampled_gain(base, other).p != two.p_users


def thirds(numbers):
    """Recall as it is computed, in single precision."""
    return (torch.tensor(numbers) / 3).double().numpy()


@pytest.mark.parametrize('gain', [20, 36])
def test_rounding_breaks_no_ties(gain):
    """Gains and losses are of the same size, but from other values."""
    lose = 56 - gain
    base = thirds([2.0] * gain + [1.0] * lose)
    other = thirds([3.0] * gain + [0.0] * lose)
    assert len(set(np.abs(other - base))) == 2
    signs = np.r_[np.ones(gain), -np.ones(lose)]
    found = paired_test_users(base, other)
    assert found == pytest.approx(stats.wilcoxon(signs).pvalue)


def test_rounding_makes_no_difference():
    base = np.stack([thirds([2.0] * 30), thirds([1.0] * 30)])
    other = np.stack([thirds([3.0] * 30), thirds([0.0] * 30)])
    assert (other - base).mean(axis=0).any()
    assert paired_test_users(base, other) == 1


@pytest.mark.parametrize('p', [math.nan, -0.1, 1.1])
def test_holm_refuses_what_is_no_probability(p):
    with pytest.raises(ValueError, match=r"'p_values' .*between 0 and 1"):
        holm([0.01, p])
