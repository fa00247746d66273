"""The bases that rows of a table are compared with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.rows import (
    Key,
    current,
    matching,
    rows_of,
    versions_of,
)
from pyg_ckd.experiments.sound import sound
from pyg_ckd.experiments.statistics import unlike

#: The metric that is compared, and by which validation chooses.
METRIC = 'recall@20'

Rows = Mapping[Key, Sequence[Result]]


def bases_of(results: Iterable[Result]) -> dict[Key, list[Result]]:
    """Return the runs that each row is compared with, if it has a base.

    They are those of the same data set and backbone whose method is the
    :attr:`~pyg_ckd.experiments.Method.reference`, whatever it is called. Of
    several versions it is the one that differs in nothing but the method, and
    has the most seeds in common; where there is none, the current one.

    Args:
        results: Results of runs, other versions included.
    """
    results, _ = sound(results)
    rows = rows_of(current(results)[0])
    chosen: dict[Key, Key] = {}
    for key, runs in rows.items():
        reference = runs[0].run.method.reference
        others = {
            rows[other][0].run.method: other
            for other in rows
            if other[:2] == key[:2] and other != key
        }
        base = matching(others, reference) if reference else None
        if base is not None:
            chosen[key] = others[base]
    return _runs_of(results, rows, chosen)


def best_bases_of(results: Iterable[Result]) -> dict[Key, list[Result]]:
    """Return the runs of the best base of each row, see :func:`best_bases`.

    The best base has none itself, and neither have teachers. Of several
    versions it is the one that :func:`bases_of` would choose.

    Args:
        results: Results of runs, other versions included.
    """
    results, _ = sound(results)
    rows = rows_of(current(results)[0])
    best = best_bases(rows)
    chosen = {
        key: best[_place(key, runs)]
        for key, runs in rows.items()
        if runs[0].run.method.kind != 'teacher'
        and best.get(_place(key, runs), key) != key
    }
    return _runs_of(results, rows, chosen)


def best_bases(rows: Rows) -> dict[tuple[str, ...], Key]:
    """Return the best of several bases of a data set and a backbone.

    It is the one with the highest mean validation Recall@20 over the seeds
    that all of them have; of equal ones, the first. Bases without validation
    do not compete, and neither do those with other data, such as standardised
    features. Where there are fewer than two bases, or no seed is in all, there
    is no best one.

    Args:
        rows: The runs of each row.

    Returns:
        The best base by data set, backbone and fingerprint of the data.
    """
    bases: dict[tuple[str, ...], dict[Key, dict[int, float]]] = {}
    for key, runs in rows.items():
        val = {r.run.seed: r.val[METRIC] for r in runs if METRIC in r.val}
        if runs[0].run.method.kind == 'base' and val:
            bases.setdefault(_place(key, runs), {})[key] = val
    found = {}
    for place, vals in bases.items():
        seeds = set.intersection(*(set(val) for val in vals.values()))
        if len(vals) > 1 and seeds:
            means = {key: fmean(v[s] for s in seeds) for key, v in vals.items()}
            found[place] = max(means, key=means.__getitem__)
    return found


def _place(key: Key, runs: Sequence[Result]) -> tuple[str, ...]:
    """Return what a row has in common with bases that it is compared with."""
    return *key[:2], runs[0].run.data


def _runs_of(
    results: Sequence[Result], rows: Rows, chosen: Mapping[Key, Key]
) -> dict[Key, list[Result]]:
    """Return the runs of the base that was chosen for each row."""
    versions = versions_of(results)
    shown = {id(result) for runs in rows.values() for result in runs}
    return {
        key: _fairest([v.runs for v in versions[base]], rows[key], shown)
        for key, base in chosen.items()
    }


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
