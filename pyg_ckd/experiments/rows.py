"""Results as the rows of a table, one version of each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from typing import Any, NamedTuple, get_args

from pyg_ckd.experiments.method import Kind, Method
from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.run import Run
from pyg_ckd.experiments.sound import sound

#: A row: the data set, the backbone, and the method as it is spelled there,
#: see :func:`spelled`.
Key = tuple[str, str, str]

#: How many rows a note names.
NAMED = 6
KINDS: tuple[Kind, ...] = get_args(Kind)


def rows_of(results: Iterable[Result]) -> dict[Key, list[Result]]:
    """Return results by row, those of a row by seed.

    A row is a data set, a backbone and a method. Methods that differ, or that
    were given different names, are never one row.

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

    names = spelled(result.run.method for result in results)
    rows: dict[Key, list[Result]] = {}
    for result in sorted(results, key=place):
        run = result.run
        key = run.dataset, run.backbone, names[run.method]
        rows.setdefault(key, []).append(result)
    for runs in rows.values():
        runs.sort(key=lambda result: result.run.seed)
    return rows


def spelled(methods: Iterable[Method]) -> dict[Method, str]:
    """Return what methods are called side by side.

    Where methods that differ would read the same, what differs is added; one
    that reads so by itself, not by its name, keeps it. Methods that are the
    same and are called the same are one.

    Args:
        methods: The methods.

    Example:
        >>> wide = Method(changes={'model': {'dim': 64}}, name='base')
        >>> list(spelled([Method(), wide]).values())
        ['base', 'base (model.dim 64)']
    """
    names = {method: str(method) for method in methods}
    groups: dict[str, list[Method]] = {}
    for method, name in names.items():
        groups.setdefault(name, []).append(method)
    for name, group in groups.items():
        unnamed = [m for m in group if str(replace(m, name='')) == name]
        keeps = unnamed[:1] if _are_one(unnamed) else []
        parts = [dict(_parts(method)) for method in group]
        common = set.intersection(*(set(own.items()) for own in parts))
        for method, own in zip(group, parts, strict=True):
            kept = any(method.same_as(one) for one in keeps)
            if not kept and not _are_one(group):
                differs = [
                    f'{part} {value}'
                    for part, value in own.items()
                    if value and (part, value) not in common
                ]
                names[method] = f'{name} ({", ".join(differs) or "plain"})'
    for name in set(names.values()):
        group = [method for method in names if names[method] == name]
        if not _are_one(group):
            names |= {method: f'{name} {_digits(method)}' for method in group}
    return names


def _are_one(methods: Sequence[Method]) -> bool:
    """Return whether there are methods, and only their names differ."""
    return bool(methods) and all(methods[0].same_as(m) for m in methods)


def _parts(method: Method) -> Iterator[tuple[str, str]]:
    """Yield all of a method but its name, by full names."""

    def flat(
        values: Mapping[str, Any], above: str
    ) -> Iterator[tuple[str, str]]:
        for name, value in values.items():
            if isinstance(value, Mapping) and value:
                yield from flat(value, f'{above}{name}.')
            else:
                yield f'{above}{name}', str(value)

    own = asdict(method)
    changes = own.pop('changes')
    yield from flat({k: v for k, v in own.items() if k != 'name'}, '')
    yield from flat(changes, '')


def _digits(method: Method) -> str:
    parts = replace(method, name='').to_dict()
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:4]


def matching(methods: Iterable[Method], wanted: Method) -> Method | None:
    """Return the method that is wanted, or else one with another name."""
    alike = [method for method in methods if method.same_as(wanted)]
    return wanted if wanted in alike else next(iter(alike), None)


def current(results: Iterable[Result]) -> tuple[list[Result], list[str]]:
    """Return one version of each row, and notes on what was left out.

    Runs of a row with the same settings, data, library and teachers, whatever
    their seeds, are one version. Of those with the most seeds the latest is
    shown; a later one with fewer seeds is not complete. Failed runs belong to
    none. Of teachers that are not among the results
    nothing is known but that they are others for each seed; a note says so.
    What cannot be read is left out.

    Args:
        results: Results of runs, in the order of writing.

    Returns:
        Results with each seed of a row once, and notes for the reader.
    """
    results, notes = sound(results)
    known = {result.run.key for result in results}
    kept: set[int] = set()
    older: dict[str, int] = {}
    newer: dict[str, int] = {}
    unknown: list[str] = []
    for key, versions in versions_of(results).items():
        row = f'{key[1]} {key[2]}'
        most = max(len(version.runs) for version in versions)
        chosen = max(i for i, v in enumerate(versions) if len(v.runs) == most)
        shown = versions[chosen].runs
        kept |= {id(result) for result in shown}
        written = [version.written for version in versions]
        older[row] = sum(written[: chosen + 1]) - most
        newer[row] = sum(written[chosen + 1 :])
        if len(shown) > 1 and any(set(r.run.teachers) - known for r in shown):
            unknown.append(row)
    notes += [
        *_left_out(older, 'older', 'of other settings, data or versions'),
        *_left_out(newer, 'newer', 'of versions with fewer seeds'),
    ]
    if unknown:
        notes.append(
            f'Teachers are not among the results, and may have had other '
            f'settings for each seed: {", ".join(_few(unknown))}.'
        )
    return [result for result in _once(results) if id(result) in kept], notes


class Version(NamedTuple):
    """Runs of a row that differ in their seeds alone.

    Args:
        runs (list[Result]): The latest of each seed.
        written (int): How many there were, repetitions included.
    """

    runs: list[Result]
    written: int


def versions_of(results: Iterable[Result]) -> dict[Key, list[Version]]:
    """Return all versions of each row, the one written to last at the end.

    Args:
        results: Results of runs, in the order of writing.
    """
    results = _once(results)
    place = {id(result): number for number, result in enumerate(results)}
    by_key = {result.run.key: result.run for result in results}
    succeeded = [result for result in results if not result.error]
    found: dict[Key, list[Version]] = {}
    for key, runs in rows_of(succeeded).items():
        versions: dict[str, list[Result]] = {}
        for result in sorted(runs, key=lambda run: place[id(run)]):
            version = _version(result.run, by_key)
            versions[version] = [*versions.pop(version, []), result]
        found[key] = [
            Version(list({r.run.seed: r for r in own}.values()), len(own))
            for own in versions.values()
        ]
    return found


def failures(results: Iterable[Result]) -> list[Result]:
    """Return the failed runs that no later run of the row and seed made good.

    Args:
        results: Results of runs, in the order of writing.
    """
    results = _once(sound(results)[0])
    names = spelled(result.run.method for result in results)
    last: dict[tuple[str, str, str, int], int] = {}
    cells = [
        (run.dataset, run.backbone, names[run.method], run.seed)
        for run in (result.run for result in results)
    ]
    for place, (cell, result) in enumerate(zip(cells, results, strict=True)):
        if not result.error:
            last[cell] = place
    return [
        result
        for place, (cell, result) in enumerate(zip(cells, results, strict=True))
        if result.error and last.get(cell, -1) < place
    ]


def when(result: Result) -> datetime:
    """Return when a run ended; long ago if that is not known."""
    text = str(result.environment.get('date', ''))
    try:
        date = datetime.fromisoformat(text.replace('Z', '+00:00'))
    except ValueError:
        date = datetime.min
    return date if date.tzinfo else date.replace(tzinfo=timezone.utc)


def _once(results: Iterable[Result]) -> list[Result]:
    """Return each result once."""
    return list({id(result): result for result in results}.values())


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
    rows = _few([f'{row} ({number})' for row, number in named.items()])
    total = sum(named.values())
    runs = f'{total} {age} run{"s are" if total > 1 else " is"} left out'
    return [f'{runs}, {what}: {", ".join(rows)}.']


def _few(rows: list[str]) -> list[str]:
    if len(rows) > NAMED:
        return [*rows[:NAMED], f'and {len(rows) - NAMED} rows more']
    return rows
