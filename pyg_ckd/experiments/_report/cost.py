"""What training costs."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from pyg_ckd._shown.page.section import Cell, Section, Table
from pyg_ckd.experiments._report.all_rows import method_cell
from pyg_ckd.experiments._report.material import Material
from pyg_ckd.experiments.cost import minutes_of
from pyg_ckd.experiments.result import Result


def cost_section(material: Material) -> Section | None:
    """Return minutes, epochs and memory of each row."""
    if not any(result.seconds for result in material.results):
        return None
    groups: dict[str, list[dict[str, Cell]]] = {}
    for key, runs in material.rows.items():
        _, backbone, method = key
        base = material.bases.get(key)
        minutes = minutes_of(runs)
        before = minutes_of(base) if base else 0.0
        with_teachers = material.with_teachers.get(key)
        groups.setdefault(backbone, []).append(
            {
                'method': method_cell(method, runs),
                'minutes': Cell(f'{minutes:.1f}'),
                'minutes / base': _ratio(minutes, before),
                'with teachers': _number(with_teachers, '.1f'),
                'with teachers / base': _ratio(with_teachers, before),
                'epochs': Cell(f'{fmean(run.epochs for run in runs):,.0f}'),
                'peak memory, MB': _number(_memory(runs), ',.0f'),
            }
        )
    return Section(
        'cost',
        'Cost',
        'Minutes and epochs until training stopped, means over seeds, and the '
        'same relative to the base; the most memory that a seed used. Teachers '
        'are trained once and can teach again; “with teachers” adds all that '
        'a row learned from.',
        [Table('Cost', 'backbone', groups)],
    )


def _memory(runs: Sequence[Result]) -> float | None:
    known = [run.environment.get('peak_memory_mb') for run in runs]
    return max((float(most) for most in known if most), default=None)


def _ratio(cost: float | None, base: float) -> Cell:
    return _number(cost / base if cost is not None and base else None, '.2f')


def _number(value: float | None, form: str) -> Cell:
    return Cell('' if value is None else f'{value:{form}}')
