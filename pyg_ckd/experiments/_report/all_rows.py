"""All figures, and p-values."""

from __future__ import annotations

from collections.abc import Mapping

from pyg_ckd._shown.page.section import (
    Block,
    Cell,
    Details,
    Section,
    Table,
)
from pyg_ckd.experiments._report.material import Material
from pyg_ckd.experiments._report.words import (
    KINDS,
    SPACE,
    interval,
    p_values,
)
from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.rows import Key
from pyg_ckd.experiments.statistics import Comparison
from pyg_ckd.experiments.tables import (
    BEST,
    BEYOND,
    METRIC,
    METRICS,
    best,
    mean_of,
)

TAGS = {
    'gain': 'gain',
    'loss': 'loss',
    'cut short': 'cut short',
    'not comparable': 'not comparable',
}
AGAINST_BASE = f'{METRIC} against base'
AGAINST_BEST = f'{METRIC} against best base'
#: What is said of columns that not all tables have.
TAIL = (
    ' “tail” is recall@20 of test items that are not among the most popular '
    'fifth; “coverage” is the share of all items that is in any list of 20.'
)
BEST_BASE = (
    ' The best base of a backbone has the highest validation recall@20 among '
    'its bases, whatever their objective.'
)


def rows_section(material: Material) -> Section:
    """Return the table of all rows."""
    all_runs = material.results
    winners, best_bases = best(all_runs), material.best_bases
    groups: dict[str, list[dict[str, Cell]]] = {}
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
                **{
                    name: Cell(mean_of(runs, metric).split(' ')[0])
                    for name, metric in BEYOND.items()
                },
                AGAINST_BASE: _against(material.against.get(key)),
                AGAINST_BEST: Cell(BEST)
                if key in best_bases
                else _against(material.against_best.get(key)),
            }
        )
    broken = AGAINST_BASE, AGAINST_BEST
    blocks: list[Block] = [
        Table('All figures', 'backbone', groups, broken=broken)
    ]
    for against, title in (
        (material.against, 'p-values of all comparisons'),
        (material.against_best, 'p-values against the best base'),
    ):
        tested = _p_values(against)
        if tested:
            table = Table('p-values', 'backbone', tested)
            blocks.append(Details(title, [table], printed=True))
    return Section(
        'table',
        'All figures',
        'Test metrics with all modalities, higher is better: means over '
        'seeds, ± standard deviation. A model of one modality is tested in '
        'the one view that it was trained on. Bold is the best recall or ndcg, '
        'among runs that were not cut short; whether it is more than luck, '
        'the last column says. Point at a change for its p-values.'
        + (TAIL if any(BEYOND['tail'] in r.tested for r in all_runs) else '')
        + (BEST_BASE if best_bases else ''),
        blocks,
    )


def method_cell(method: str, runs: list[Result]) -> Cell:
    """Return the name of a method, marked if a run was cut short."""
    if not any(run.cut_short for run in runs):
        return Cell(method)
    hint = 'Training ended before its patience was used up: let it train on'
    return Cell(method, hint=hint, tag='cut short')


def _p_values(
    against: Mapping[Key, Comparison],
) -> dict[str, list[dict[str, Cell]]]:
    """Return the p-values of comparisons by backbone."""
    tested: dict[str, list[dict[str, Cell]]] = {}
    for (_, backbone, method), comparison in against.items():
        if comparison.p is not None:
            row = {'method': Cell(method)}
            row |= {n: Cell(p) for n, p in p_values(comparison).items()}
            tested.setdefault(backbone, []).append(row)
    return tested


def _against(comparison: Comparison | None) -> Cell:
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
        interval(comparison).replace(', ', f',{SPACE}'),
        hint='; '.join([*hint, *comparison.remarks]),
        kind=KINDS.get(outcome, ''),
        tag=tag,
    )
