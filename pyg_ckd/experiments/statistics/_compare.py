"""Comparing the runs of two methods."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.statistics.bootstrap import resampled_gain
from pyg_ckd.experiments.statistics.comparison import Comparison
from pyg_ckd.experiments.statistics.differences import unlike
from pyg_ckd.experiments.statistics.p_values import (
    paired_test_seeds,
    paired_test_users,
)
from pyg_ckd.experiments.statistics.pairs import Array, relative_gain


def compare(
    base: Sequence[Result], other: Sequence[Result], metric: str = 'recall@20'
) -> Comparison:
    """Compare the runs of two methods on the test split.

    Runs are paired by seed, and users by their id. A run whose seed the other
    method lacks is left out, and so is a user of whom the metric is NaN.

    Args:
        base: Runs of the one method, one a seed.
        other: Runs of the other one.
        metric: What to compare, in the view that was trained.

    Raises:
        ValueError: If no seed is in both, a seed is there twice, the runs were
            trained on different data or tested on different users, or the
            base's metric is zero.

    Example:
        >>> import torch
        >>> from pyg_ckd.experiments import Method, Result, Run
        >>> user = torch.arange(100)
        >>> def result(method: Method, recall: torch.Tensor) -> Result:
        ...     test = {'full': {'recall@20': recall.mean().item()}}
        ...     users = {'user': user, 'recall@20': recall}
        ...     run = Run('shop', 'VBPR', method, seed=0)
        ...     return Result(run, test=test, users=users)
        >>> base = result(Method(), (user % 4 == 0).float())
        >>> ckd = result(Method.student('CKD'), (user % 3 == 0).float())
        >>> print(compare([base], [ckd]).verdict)
        no significant gain (+36.0 % [-12..., +113...], over users only)
    """
    base_runs, other_runs = _by_seed(base, 'base'), _by_seed(other, 'other')
    seeds = sorted(base_runs.keys() & other_runs.keys())
    if not seeds:
        raise ValueError(
            f"'base' and 'other' have no seed in common "
            f'(got {sorted(base_runs)} and {sorted(other_runs)})'
        )
    runs = [by_seed[s] for by_seed in (base_runs, other_runs) for s in seeds]
    _check_data(runs)
    with_users = all(metric in run.users for run in runs)
    if with_users:
        values = _users_metric(runs, metric)  # [2 * num_seeds, num_users]
    else:
        values = np.array([[run.tested[metric]] for run in runs])
    both = base_values, other_values = np.split(values, 2)

    low = high = math.nan
    p = p_users = None
    reason = ''
    if with_users:
        p = p_users = paired_test_users(base_values, other_values)
    if with_users or len(seeds) > 1:
        low, high, p_interval = resampled_gain(base_values, other_values)
        if math.isnan(low):
            reason = 'the change is the same for all seeds'
        elif len(seeds) > 1:
            p = p_interval
    differ = [
        what
        for seed in seeds
        for what in unlike(base_runs[seed].run, other_runs[seed].run)
    ]
    return Comparison(
        gain=relative_gain(base_values, other_values),
        low=low,
        high=high,
        p_users=p_users,
        p_seeds=None if reason else paired_test_seeds(*both),
        num_seeds=len(seeds),
        num_users=values.shape[1] if with_users else 0,
        p=p,
        cut_short=any(run.cut_short for run in runs),
        unlike=tuple(dict.fromkeys(differ)),
        reason=reason,
    )


def _by_seed(runs: Sequence[Result], argument: str) -> dict[int, Result]:
    by_seed = {result.run.seed: result for result in runs}
    if len(by_seed) < len(runs):
        raise ValueError(
            f"'{argument}' needs one run for each seed (got seeds "
            f'{sorted(result.run.seed for result in runs)}); keep those of one '
            f'setting'
        )
    return by_seed


def _check_data(runs: Sequence[Result]) -> None:
    data = {result.run.data: result.run for result in runs if result.run.data}
    if len(data) > 1:
        one, other, *_ = data.values()
        raise ValueError(
            f"'{one.method}' and '{other.method}' were trained on different "
            f'data ({one.data} and {other.data}); train both on the same'
        )


def _users_metric(runs: Sequence[Result], metric: str) -> Array:
    """Return a metric of shape ``[num_runs, num_users]``, by user id.

    Users that have none in any run are left out.
    """
    ids, rows = [], []
    for result in runs:
        user = result.users['user'].cpu().numpy()
        order = user.argsort()
        ids.append(user[order])
        rows.append(result.users[metric].double().cpu().numpy()[order])
        if not np.array_equal(ids[0], ids[-1]):
            run, first = result.run, runs[0].run
            raise ValueError(
                f"The run '{run.method}' of seed {run.seed} was tested on "
                f"other users than '{first.method}' of seed {first.seed}"
            )
    values = np.stack(rows)
    return values[:, ~np.isnan(values).all(axis=0)]
