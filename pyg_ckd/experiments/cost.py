"""What training costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import fsum
from statistics import fmean

from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.rows import Key, current, rows_of
from pyg_ckd.experiments.run import Run
from pyg_ckd.experiments.sound import sound


def minutes_of(runs: Sequence[Result]) -> float:
    """Return how long training took, the mean over runs."""
    return fmean(run.seconds for run in runs) / 60


def minutes_with_teachers(results: Iterable[Result]) -> dict[Key, float]:
    """Return how long it took to train each row and all that it learns from.

    It is the mean over seeds of the time of a run, of the runs that it learns
    from, of those that these learn from, and so on, each counted once. Rows
    without teachers have none, and neither have those with a teacher whose
    result is not there.

    Args:
        results: Results of runs, other versions included.
    """
    results, _ = sound(results)
    by_key = {r.run.key: r for r in results if not r.error}
    found = {}
    for row, runs in rows_of(current(results)[0]).items():
        needed = [_learned_from(run.run, by_key) for run in runs]
        if any(needed) and set().union(*needed) <= by_key.keys():
            seconds = (
                fsum([run.seconds, *(by_key[key].seconds for key in own)])
                for run, own in zip(runs, needed, strict=True)
            )
            found[row] = fmean(seconds) / 60
    return found


def _learned_from(run: Run, by_key: Mapping[str, Result]) -> set[str]:
    """Return the keys of all runs without which a run would not be."""
    found: set[str] = set()
    left = list(run.teachers)
    while left:
        key = left.pop()
        if key not in found:
            found.add(key)
            left += by_key[key].run.teachers if key in by_key else ()
    return found
