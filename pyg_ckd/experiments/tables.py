"""Tables of results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, stdev

from pyg_ckd.experiments.method import is_off
from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.rows import (
    Key,
    current,
    failures,
    matching,
    rows_of,
    versions_of,
)
from pyg_ckd.experiments.sound import sound
from pyg_ckd.experiments.statistics import (
    Comparison,
    compare,
    holm,
    unlike,
)
from pyg_ckd.experiments.statistics.p_values import p_value
from pyg_ckd.experiments.summary import Summary

__all__ = [
    'METRICS',
    'against_base',
    'bases_of',
    'best',
    'comparisons',
    'current',
    'failures',
    'p_value',
    'spread',
    'summarize',
]

#: The columns of tables.
METRICS = ('recall@10', 'recall@20', 'ndcg@10', 'ndcg@20')
#: The metric that is compared.
METRIC = 'recall@20'

Comparisons = Mapping[Key, Comparison]


def summarize(
    results: Iterable[Result],
    metrics: Sequence[str] = METRICS,
    against: Comparisons | None = None,
) -> list[dict[str, str]]:
    """Return a table with a row for each data set, backbone and method.

    Entries are means over seeds, with the standard deviation where there are
    several seeds. A row that has a base ends with its comparison against the
    runs of the same backbone and seeds, see :func:`comparisons`: the relative
    change of Recall@20 with its interval of 95 %, or why there is none to
    speak of. The p-values beside it are not adjusted; the verdict is. Of
    several versions of a row there is the current one, see :func:`current`;
    failed runs count for nothing. Notebooks show the rows as a table, and so
    does ``print``.

    Args:
        results: Results of runs.
        metrics: The columns.
        against: What :func:`comparisons` returned for the same results, so
            that nothing is resampled twice. (default: it is called)

    Example:
        >>> from pyg_ckd.experiments import Method, Result, Run
        >>> run = Run('fake', 'VBPR', Method(), seed=0)
        >>> results = [Result(run, test={'full': {'recall@20': 0.5}})]
        >>> summarize(results, metrics=['recall@20'])[0]['recall@20']
        '0.5000'
    """
    results = list(results)
    kept, _ = current(results)
    if against is None:
        against = comparisons(results)
    rows = []
    for key, runs in rows_of(kept).items():
        row = dict(zip(('data set', 'backbone', 'method'), key, strict=True))
        row['seeds'] = str(len(runs))
        row |= {metric: mean_of(runs, metric) for metric in metrics}
        comparison = against.get(key)
        row |= {
            f'{METRIC} against base': comparison.verdict if comparison else '',
            'p (users)': p_value(comparison.p_users if comparison else None),
            'p (seeds)': p_value(comparison.p_seeds if comparison else None),
        }
        row['minutes'] = f'{fmean(run.seconds for run in runs) / 60:.1f}'
        rows.append(row)
    return Summary(rows)


def comparisons(
    results: Iterable[Result], metric: str = METRIC
) -> dict[Key, Comparison]:
    """Compare each row with its base, adjusted for the number of rows.

    A row is a data set, a backbone and a method, and its base has the same
    data set and backbone, and the method's
    :attr:`~pyg_ckd.experiments.Method.reference` as its method. All comparisons
    are one family: their p-values are adjusted together by :func:`holm`.

    What is adjusted is the p-value over users (Wilcoxon) with one seed. With
    several seeds it is that of the interval, over users and seeds. A change is
    :attr:`~Comparison.significant` if the interval of 95 % leaves out zero and
    the adjusted p-value is below 0.05.

    Args:
        results: Results of runs; those on one page, other versions included.
        metric: What to compare, in the view that was trained.

    Returns:
        Comparisons by data set, backbone and method. Rows without a base have
        none; those that cannot be compared say why.
    """
    results, _ = sound(results)
    kept, _ = current(results)
    shown = {id(result) for result in kept}
    by_key = {result.run.key: result for result in results}
    rows, bases = rows_of(kept), bases_of(results)
    found = {}
    for key, other in rows.items():
        base = bases.get(key, [])
        comparison = against_base(base, other, metric)
        if comparison is None:
            continue
        caveats = list(comparison.caveats)
        if not all(id(run) in shown for run in base):
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


def bases_of(results: Iterable[Result]) -> dict[Key, list[Result]]:
    """Return the runs that each row is compared with, if it has a base.

    They are those of the same data set and backbone whose method is the
    :attr:`~pyg_ckd.experiments.Method.reference`, whatever it is called. Of
    several versions it is the one that differs in nothing but the method, see
    :func:`~pyg_ckd.experiments.statistics.unlike`, and has the most seeds in
    common; where there is none, the current one.

    Args:
        results: Results of runs, other versions included.
    """
    results, _ = sound(results)
    kept, _ = current(results)
    shown = {id(result) for result in kept}
    versions = versions_of(results)
    rows = rows_of(kept)
    found: dict[Key, list[Result]] = {}
    for key, runs in rows.items():
        reference = runs[0].run.method.reference
        others = {
            rows[other][0].run.method: versions[other]
            for other in rows
            if other[:2] == key[:2] and other != key
        }
        base = matching(others, reference) if reference else None
        if base is None:
            continue
        candidates = [version.runs for version in others[base]]
        found[key] = _fairest(candidates, runs, shown)
    return found


def _fairest(
    bases: Sequence[list[Result]], other: Sequence[Result], shown: set[int]
) -> list[Result]:
    """Return the version of a base that runs are compared with.

    Args:
        bases: All versions, the latest at the end.
        other: The runs.
        shown: What ids the results have that tables show.
    """
    seeds = {result.run.seed for result in other}

    def rank(base: Sequence[Result]) -> tuple[int, bool]:
        alike = not unlike(base[0].run, other[0].run)
        common = seeds & {result.run.seed for result in base}
        return len(common) * alike, id(base[0]) in shown

    return max(reversed(bases), key=rank)


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
