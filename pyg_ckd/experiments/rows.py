"""Results as the rows of a table, one version of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import get_args

from pyg_ckd.experiments.method import Kind, Method
from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.run import Run

#: A row: the data set, the backbone, and the method as it is spelled.
Key = tuple[str, str, str]

#: How many rows a note names.
NAMED = 6
KINDS: tuple[Kind, ...] = get_args(Kind)


def key_of(run: Run) -> Key:
    """Return the row that a run belongs to."""
    return run.dataset, run.backbone, str(run.method)


def rows_of(results: Iterable[Result]) -> dict[Key, list[Result]]:
    """Return results by row, those of a row by seed.

    Data sets and backbones are in the order in which they come first, methods
    of a backbone by their kind: base, teachers, students, ensemble.
    """
    results = list(results)
    datasets = list(dict.fromkeys(r.run.dataset for r in results))
    backbones = list(dict.fromkeys(r.run.backbone for r in results))

    def place(result: Result) -> tuple[int, int, int]:
        run = result.run
        return (
            datasets.index(run.dataset),
            backbones.index(run.backbone),
            KINDS.index(run.method.kind),
        )

    rows: dict[Key, list[Result]] = {}
    for result in sorted(results, key=place):
        rows.setdefault(key_of(result.run), []).append(result)
    for runs in rows.values():
        runs.sort(key=lambda result: result.run.seed)
    return rows


def matching(methods: Iterable[Method], wanted: Method) -> Method | None:
    """Return the method that is wanted, or else one with another name."""
    alike = [method for method in methods if method.same_as(wanted)]
    return wanted if wanted in alike else next(iter(alike), None)


def current(results: Iterable[Result]) -> tuple[list[Result], list[str]]:
    """Return one version of each row, and notes on what was left out.

    Runs of a row with the same settings, data, library and teachers, whatever
    their seeds, are one version. Of those with the most seeds the latest is
    shown; a later one with fewer seeds is not complete. Failed runs belong to
    none, see :func:`failures`.

    Args:
        results: Results of runs.

    Returns:
        Results with each seed of a row once, and notes for the reader.
    """
    results, age = _aged(results)
    by_key = {result.run.key: result.run for result in results}
    kept: set[int] = set()
    older: dict[str, int] = {}
    newer: dict[str, int] = {}
    succeeded = [result for result in results if not result.error]
    for (_, backbone, method), runs in rows_of(succeeded).items():
        versions: dict[str, dict[int, Result]] = {}
        for result in sorted(runs, key=lambda run: age[id(run)]):
            version = _version(result.run, by_key)
            seeds = versions.pop(version, {})  # to the end
            versions[version] = {**seeds, result.run.seed: result}
        ordered = list(versions.values())
        most = max(map(len, ordered))
        chosen = max(i for i, v in enumerate(ordered) if len(v) == most)
        later = sum(len(version) for version in ordered[chosen + 1 :])
        kept |= {id(result) for result in ordered[chosen].values()}
        older[f'{backbone} {method}'] = len(runs) - most - later
        newer[f'{backbone} {method}'] = later
    notes = [
        *_left_out(older, 'older', 'of other settings, data or versions'),
        *_left_out(newer, 'newer', 'of versions with fewer seeds'),
    ]
    return [result for result in results if id(result) in kept], notes


def failures(results: Iterable[Result]) -> list[Result]:
    """Return the failed runs that no later run of the row and seed made good.

    Args:
        results: Results of runs.
    """
    results, age = _aged(results)
    good: dict[tuple[Key, int], int] = {}
    for result in results:
        if not result.error:
            cell = key_of(result.run), result.run.seed
            good[cell] = max(good.get(cell, -1), age[id(result)])
    return [
        result
        for result in results
        if result.error
        and good.get((key_of(result.run), result.run.seed), -1)
        < age[id(result)]
    ]


def when(result: Result) -> datetime:
    """Return when a run ended; long ago if that is not known."""
    text = str(result.environment.get('date', ''))
    try:
        date = datetime.fromisoformat(text.replace('Z', '+00:00'))
    except ValueError:
        date = datetime.min
    return date if date.tzinfo else date.replace(tzinfo=timezone.utc)


def _aged(results: Iterable[Result]) -> tuple[list[Result], dict[int, int]]:
    """Return each result once, and its age by id: the higher, the later.

    Those of the same date, or without one, are in the order of writing.
    """
    once = list({id(result): result for result in results}.values())
    ordered = sorted(once, key=when)
    return once, {id(result): place for place, result in enumerate(ordered)}


def _version(run: Run, by_key: Mapping[str, Run]) -> str:
    """Return what runs of all seeds of a version share."""
    teachers = (
        _version(by_key[key], by_key) if key in by_key else ''
        for key in run.teachers
    )
    return replace(run, seed=0, teachers=tuple(teachers)).key


def _left_out(count: Mapping[str, int], age: str, what: str) -> list[str]:
    """Return a note on runs that are left out, if there are any."""
    named = {row: number for row, number in count.items() if number}
    if not named:
        return []
    rows = [f'{row} ({number})' for row, number in named.items()]
    if len(rows) > NAMED:
        rows = [*rows[:NAMED], f'and {len(rows) - NAMED} rows more']
    total = sum(named.values())
    runs = f'{total} {age} run{"s are" if total > 1 else " is"} left out'
    return [f'{runs}, {what}: {", ".join(rows)}.']
