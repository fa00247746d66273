"""Tables of results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, stdev

from pyg_ckd.experiments.bases import (
    METRIC,
    bases_of,
    best_bases,
    best_bases_of,
)
from pyg_ckd.experiments.cost import minutes_of, minutes_with_teachers
from pyg_ckd.experiments.method import is_off
from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.rows import (
    Key,
    current,
    failures,
    rows_of,
)
from pyg_ckd.experiments.sound import sound
from pyg_ckd.experiments.statistics import (
    Comparison,
    compare,
    holm,
)
from pyg_ckd.experiments.statistics.p_values import p_value
from pyg_ckd.experiments.summary import Summary

__all__ = [
    'BEST',
    'BEYOND',
    'METRIC',
    'METRICS',
    'against_base',
    'bases_of',
    'best',
    'best_bases',
    'best_bases_of',
    'comparisons',
    'current',
    'failures',
    'mean_of',
    'p_value',
    'spread',
    'summarize',
    'values_of',
]

#: The columns of tables.
METRICS = ('recall@10', 'recall@20', 'ndcg@10', 'ndcg@20')
#: Columns beyond them, and their metrics.
BEYOND = {'tail': 'tail_recall@20', 'coverage': 'coverage@20'}

#: What is said of the best base in place of a comparison.
BEST = 'best base'

Comparisons = Mapping[Key, Comparison]


def summarize(
    results: Iterable[Result],
    metrics: Sequence[str] = METRICS,
    against: Comparisons | None = None,
    against_best: Comparisons | None = None,
) -> list[dict[str, str]]:
    """Return a table with a row for each data set, backbone and method.

    Entries are means over seeds, with the standard deviation where there are
    several seeds; ``tail`` is Recall@20 of items that few know, see
    :func:`~pyg_ckd.metrics.tail_recall`, and ``coverage`` the share of items
    that is in any list of 20. A row that has a base has its comparison against
    the runs of the same backbone and seeds, see :func:`comparisons`: the
    relative change of Recall@20 with its interval of 95 %, or why there is none
    to speak of. The p-values beside it are not adjusted; the verdict is. Where
    a backbone has several bases, rows are compared with the best of them, too,
    see :func:`best_bases`. ``minutes`` are those of a run, and ``with
    teachers`` those of all runs that it took.

    Of several versions of a row there is the current one, see :func:`current`;
    failed runs count for nothing. Notebooks show the rows as a table, and so
    does ``print``.

    Args:
        results: Results of runs.
        metrics: The columns.
        against: What :func:`comparisons` returned for the same results, so
            that nothing is resampled twice. (default: it is called)
        against_best: The same for the bases of :func:`best_bases_of`.

    Example:
        >>> from pyg_ckd.experiments import Method, Result, Run
        >>> run = Run('fake', 'VBPR', Method(), seed=0)
        >>> results = [Result(run, test={'full': {'recall@20': 0.5}})]
        >>> summarize(results, metrics=['recall@20'])[0]['recall@20']
        '0.5000'
    """
    results = list(results)
    if against is None:
        against = comparisons(results)
    if against_best is None:
        against_best = comparisons(results, bases=best_bases_of(results))
    by_key = rows_of(current(results)[0])
    best_keys = best_bases(by_key).values()
    with_teachers = minutes_with_teachers(results)
    rows = []
    for key, runs in by_key.items():
        row = dict(zip(('data set', 'backbone', 'method'), key, strict=True))
        row['seeds'] = str(len(runs))
        row |= {metric: mean_of(runs, metric) for metric in metrics}
        row |= {name: mean_of(runs, each) for name, each in BEYOND.items()}
        comparison = against.get(key)
        row |= {
            f'{METRIC} against base': comparison.verdict if comparison else '',
            'p (users)': p_value(comparison.p_users if comparison else None),
            'p (seeds)': p_value(comparison.p_seeds if comparison else None),
        }
        if best_keys:
            comparison = against_best.get(key)
            verdict = comparison.verdict if comparison else ''
            is_best = key in best_keys
            row[f'{METRIC} against best base'] = BEST if is_best else verdict
        row['minutes'] = f'{minutes_of(runs):.1f}'
        minutes = with_teachers.get(key)
        row['with teachers'] = '' if minutes is None else f'{minutes:.1f}'
        rows.append(row)
    return Summary(rows)


def comparisons(
    results: Iterable[Result],
    metric: str = METRIC,
    bases: Mapping[Key, Sequence[Result]] | None = None,
) -> dict[Key, Comparison]:
    """Compare each row with its base, adjusted for the number of rows.

    A row is a data set, a backbone and a method, and its base has the same
    data set and backbone, and the method's
    :attr:`~pyg_ckd.experiments.Method.reference` as its method. All comparisons
    of a call are one family: their p-values are adjusted together by
    :func:`holm`.

    What is adjusted is the p-value over users (Wilcoxon) with one seed. With
    several seeds it is that of the interval, over users and seeds. A change is
    :attr:`~Comparison.significant` if the interval of 95 % leaves out zero and
    the adjusted p-value is below 0.05.

    Args:
        results: Results of runs; those on one page, other versions included.
        metric: What to compare, in the view that was trained.
        bases: The runs that rows are compared with, such as those of
            :func:`best_bases_of`. (default: those of :func:`bases_of`)

    Returns:
        Comparisons by data set, backbone and method. Rows without a base have
        none; those that cannot be compared say why.
    """
    results, _ = sound(results)
    kept, _ = current(results)
    shown = {result.run.key for result in kept}
    by_key = {result.run.key: result for result in results}
    if bases is None:
        bases = bases_of(results)
    found = {}
    for key, other in rows_of(kept).items():
        base = bases.get(key, [])
        comparison = against_base(base, other, metric)
        if comparison is None:
            continue
        caveats = list(comparison.caveats)
        if not all(run.run.key in shown for run in base):
            caveats.append('against a base that is not the one of the table')
        teachers = {teacher for run in other for teacher in run.run.teachers}
        if any(by_key[t].cut_short for t in teachers if t in by_key):
            caveats.append('its teachers were cut short')
        found[key] = replace(comparison, caveats=tuple(caveats))
    counted = {key: c.p for key, c in found.items() if c.p is not None}
    adjusted = holm(list(counted.values()))
    for key, p in zip(counted, adjusted, strict=True):
        found[key] = replace(found[key], p_adjusted=p, family=len(counted))
    return found


def against_base(
    base: Sequence[Result], other: Sequence[Result], metric: str = METRIC
) -> Comparison | None:
    """Compare runs with a base, if they have one with the same seed.

    Args:
        base: Runs of the base, none or one a seed.
        other: Runs of another method, one a seed.
        metric: What to compare.

    Returns:
        The comparison; one that cannot be made says why.
    """
    base = [run for run in base if metric in run.tested]
    other = [run for run in other if metric in run.tested]
    if not {r.run.seed for r in base} & {r.run.seed for r in other}:
        return None
    try:
        if all(is_off(run.run.settings.get('balance')) for run in other):
            raise ValueError('switched off, so that it is the base')
        return compare(base, other, metric)
    except ValueError as error:
        return Comparison.untested(str(error))


def best(
    results: Iterable[Result], metrics: Sequence[str] = METRICS
) -> dict[str, set[Key]]:
    """Return the rows with the highest mean of each metric.

    Rows with a run that was cut short do not compete, and neither do rows of a
    data set that has only one. Rows whose means read the same are all best.

    Args:
        results: Results of runs.
        metrics: The metrics.

    Returns:
        By metric, the best rows of each data set.
    """
    kept, _ = current(results)
    rows = rows_of(kept)
    found: dict[str, set[Key]] = {metric: set() for metric in metrics}
    for dataset in dict.fromkeys(key[0] for key in rows):
        own = {key: runs for key, runs in rows.items() if key[0] == dataset}
        for metric in metrics if len(own) > 1 else ():
            means = {
                key: round(fmean(values), 4)
                for key, runs in own.items()
                if (values := values_of(runs, metric))
                and not any(run.cut_short for run in runs)
            }
            most = max(means.values(), default=None)
            found[metric] |= {key for key in means if means[key] == most}
    return found


def values_of(runs: Sequence[Result], metric: str) -> list[float]:
    """Return a test metric of each run that has it."""
    return [run.tested[metric] for run in runs if metric in run.tested]


def mean_of(runs: Sequence[Result], metric: str) -> str:
    """Return the mean of a test metric as tables show it."""
    values = values_of(runs, metric)
    return spread(values) if values else ''


def spread(values: Sequence[float], form: str = '.4f') -> str:
    """Return the mean, and the standard deviation if there are several.

    Example:
        >>> spread([0.1, 0.3])
        '0.2000 ± 0.1414'
    """
    text = f'{fmean(values):{form}}'
    if len(values) > 1:
        text += f' ± {stdev(values):{form.lstrip("+")}}'
    return text
