"""Tables of results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean, stdev

from pyg_ckd.analysis.results import Result
from pyg_ckd.analysis.significance import Comparison, compare


def summarize(
    results: Iterable[Result],
    metrics: Sequence[str] = ('recall@10', 'recall@20', 'ndcg@10', 'ndcg@20'),
) -> list[dict[str, str]]:
    """Return a table with a row for each data set, backbone and method.

    Entries are means over seeds, with the standard deviation where there are
    several seeds. A row that is neither a base nor a teacher ends with its
    comparison against the base of the same backbone and seeds, see
    :func:`~pyg_ckd.analysis.significance.compare`: the relative change of
    Recall@20 with its interval of 95 %, or that there is none that is
    significant, and p-values, which are not adjusted for the number of rows.

    Args:
        results: Results of runs.
        metrics: The columns.

    Raises:
        ValueError: If a row to compare, or its base, has two runs of a seed,
            such as with two settings.

    Example:
        >>> from pyg_ckd.analysis import Result
        >>> runs = [Result('fake', 'VBPR', 'base', seed=0,
        ...                test={'full': {'recall@20': 0.5}})]
        >>> summarize(runs, metrics=['recall@20'])[0]['recall@20']
        '0.5000'
    """
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        key = (result.dataset, result.backbone, result.method)
        groups.setdefault(key, []).append(result)

    rows = []
    for (dataset, backbone, method), runs in groups.items():
        row = {'data set': dataset, 'backbone': backbone, 'method': method}
        row['seeds'] = str(len(runs))
        for metric in metrics:
            values = [
                run.tested[metric] for run in runs if metric in run.tested
            ]
            row[metric] = spread(values) if values else ''
        base = groups.get((dataset, backbone, 'base'), [])
        row |= _against(base if runs[0].compared else [], runs)
        row['minutes'] = f'{fmean(run.seconds for run in runs) / 60:.1f}'
        rows.append(row)
    return rows


def _against(base: Sequence[Result], other: Sequence[Result]) -> dict[str, str]:
    """Return the columns that compare a row with the base."""
    metric = 'recall@20'
    comparison = against_base(base, other, metric)
    if comparison is None:
        return {f'{metric} against base': '', 'p (users)': '', 'p (seeds)': ''}
    return {
        f'{metric} against base': comparison.verdict,
        'p (users)': p_value(comparison.p_users),
        'p (seeds)': p_value(comparison.p_seeds),
    }


def against_base(
    base: Sequence[Result], other: Sequence[Result], metric: str = 'recall@20'
) -> Comparison | None:
    """Compare runs with a base, unless no seed has a base that hits anything.

    Args:
        base: Runs of the base, none or one a seed.
        other: Runs of another method, one a seed.
        metric: What to compare.
    """
    seeds = {run.seed for run in other if metric in run.tested}
    hits = any(run.tested.get(metric) for run in base if run.seed in seeds)
    return compare(base, other, metric) if hits else None


def p_value(p: float | None) -> str:
    """Return a p-value as tables show it, and nothing if there is none.

    Example:
        >>> p_value(0.0123), p_value(1e-9), p_value(None)
        ('0.012', '< 0.001', '')
    """
    if p is None:
        return ''
    return '< 0.001' if p < 0.001 else f'{p:.3f}'


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
