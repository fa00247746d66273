"""All figures, and p-values."""

from __future__ import annotations

from pyg_ckd.experiments._report.material import Material
from pyg_ckd.experiments._report.section import (
    Block,
    Cell,
    Details,
    Section,
    Table,
)
from pyg_ckd.experiments._report.words import KINDS, interval, p_values
from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.rows import Key
from pyg_ckd.experiments.tables import METRIC, METRICS, best, mean_of

TAGS = {
    'gain': 'gain',
    'loss': 'loss',
    'cut short': 'cut short',
    'not comparable': 'not comparable',
}


def rows_section(material: Material) -> Section:
    """Return the table of all rows."""
    winners = best(material.results)
    groups: dict[str, list[dict[str, Cell]]] = {}
    tested: dict[str, list[dict[str, Cell]]] = {}
    for key, runs in material.rows.items():
        _, backbone, method = key
        groups.setdefault(backbone, []).append(
            {
                'method': method_cell(method, runs),
                'seeds': Cell(str(len(runs))),
                **{
                    metric: Cell(
                        mean_of(runs, metric),
                        kind='best' if key in winners[metric] else '',
                    )
                    for metric in METRICS
                },
                f'{METRIC} against base': _against(material, key),
            }
        )
        comparison = material.against.get(key)
        if comparison and comparison.p is not None:
            row = {'method': Cell(method)}
            row |= {n: Cell(p) for n, p in p_values(comparison).items()}
            tested.setdefault(backbone, []).append(row)
    blocks: list[Block] = [Table('All figures', 'backbone', groups)]
    if tested:
        table = Table('p-values', 'backbone', tested)
        details = Details('p-values of all comparisons', [table], printed=True)
        blocks.append(details)
    return Section(
        'table',
        'All figures',
        'Test metrics with all modalities, higher is better: means over '
        'seeds, ± standard deviation. A model of one modality is tested in '
        'the one view that it was trained on. Bold is the best of a column, '
        'among runs that were not cut short; whether it is more than luck, '
        'the last column says. Point at a change for its p-values.',
        blocks,
    )


def method_cell(method: str, runs: list[Result]) -> Cell:
    """Return the name of a method, marked if a run was cut short."""
    if not any(run.cut_short for run in runs):
        return Cell(method)
    hint = 'Training ended before its patience was used up: let it train on'
    return Cell(method, hint=hint, tag='cut short')


def _against(material: Material, key: Key) -> Cell:
    comparison = material.against.get(key)
    if comparison is None:
        return Cell('')
    if not comparison.tested:
        return Cell('not tested', hint=comparison.reason)
    shown = {name: p for name, p in p_values(comparison).items() if p}
    hint = [f'{name} {p}' for name, p in shown.items()]
    outcome = comparison.outcome
    tag = TAGS.get(outcome, '')
    if outcome in ('gain', 'loss') and comparison.scope:
        tag += f' {comparison.scope}'
    return Cell(
        interval(comparison),
        hint='; '.join([*hint, *comparison.remarks]),
        kind=KINDS.get(outcome, ''),
        tag=tag,
    )
