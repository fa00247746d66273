"""Results as they can be read, whatever a file says."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from pyg_ckd.experiments.plain import fits
from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.run import Run

#: A larger number is no metric, no epoch and no time.
LARGEST = 1e12
METRICS = dict[str, float]
KNOCKED_OUT = {
    'base': METRICS,
    'rows': dict[str, dict[str, METRICS]],
    'depends': dict[str, bool],
}


def sound(results: Iterable[Result]) -> tuple[list[Result], list[str]]:
    """Return results without what cannot be read, and notes on it.

    A store keeps what it is given: numbers that are not finite, tables without
    ids, names that are no text. Such parts are left out here, once for all
    tables and pages. What is sound is returned as it is.

    Args:
        results: Results of runs.
    """
    found, odd = [], dict[str, None]()
    for result in results:
        parts = _sound_parts(result)
        if parts:
            odd[f'{parts.get("run", result.run)} ({", ".join(parts)})'] = None
            result = replace(result, **parts)
        found.append(result)
    notes = [f'What cannot be read is left out: {"; ".join(odd)}.']
    return found, notes if odd else []


def _sound_parts(result: Result) -> dict[str, Any]:
    """Return the parts of a result that had to be changed."""
    history = [_finite(entry) for entry in result.history]
    memory = {'peak_memory_mb': result.environment.get('peak_memory_mb')}
    known = {k: v for k, v in result.environment.items() if k not in memory}
    parts: dict[str, Any] = {
        'test': _finite(result.test),
        'val': _finite(result.val),
        'history': [entry for entry in history if 'epoch' in entry],
        'epochs': result.epochs if _is_number(result.epochs) else 0,
        'seconds': result.seconds if _is_number(result.seconds) else 0.0,
        'knocked_out': _knocked_out(result.knocked_out),
        'environment': result.environment
        if memory['peak_memory_mb'] is None
        or _is_number(memory['peak_memory_mb'])
        else known,
        'error': _text(result.error),
    }
    parts = {k: v for k, v in parts.items() if v != getattr(result, k)}
    for name, ids in (('users', ('user',)), ('hits', ('item',))):
        if not _has_ids(getattr(result, name), ids):
            parts[name] = {}
    run = _run(replace(result, **parts))
    return parts if run is result.run else {**parts, 'run': run}


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values without numbers that are none, at any depth."""
    return {
        name: _finite(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if isinstance(value, bool | str | Mapping) or _is_number(value)
    }


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and math.isfinite(value) and abs(value) <= LARGEST


def _knocked_out(values: Mapping[str, Any]) -> dict[str, Any]:
    parts = {'depends': {}, **values}
    fit = all(fits(parts.get(k), kind) for k, kind in KNOCKED_OUT.items())
    return _finite(values) if fit else {}


def _has_ids(table: Mapping[str, Tensor], ids: Iterable[str]) -> bool:
    """Return whether a table is empty, or has ids and one shape."""
    if not table:
        return True
    shapes = {tuple(column.shape) for column in table.values()}
    return shapes != {(0,)} and all(
        name in table
        and len(shapes) == 1
        and not table[name].is_floating_point()
        for name in ids
    )


def _run(result: Result) -> Run:
    """Return the run with names that can be written and limits that are."""
    run = result.run
    names = [run.dataset, run.backbone, run.method.name, run.method.modality]
    texts = [_text(name) for name in names]
    if texts != names:
        method = replace(run.method, name=texts[2], modality=texts[3])
        run = replace(run, dataset=texts[0], backbone=texts[1], method=method)
    try:
        _ = result.cut_short
    except (AttributeError, TypeError, ValueError, OverflowError):
        settings = {k: v for k, v in run.settings.items() if k != 'fit'}
        run = replace(run, settings=settings)
    return run


def _text(text: str) -> str:
    """Return a text that can be written as UTF-8."""
    return text.encode('utf-8', 'backslashreplace').decode()
