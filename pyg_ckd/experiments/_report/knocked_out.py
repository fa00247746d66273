"""Is each modality used?"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from pyg_ckd._shown.page.section import Cell, Section, Table
from pyg_ckd.experiments._report.all_rows import method_cell
from pyg_ckd.experiments._report.material import Material
from pyg_ckd.experiments._report.words import percent
from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.tables import METRIC

#: How many modalities fit beside each other.
FIT = 4


def knocked_out_section(material: Material) -> Section | None:
    """Return what features of a modality are worth to each row."""
    rows = {
        key: known
        for key, runs in material.rows.items()
        if (known := [run for run in runs if _base(run)])
    }
    if not rows:
        return None
    kinds: dict[str, list[str]] = {}
    for runs in rows.values():
        for run in runs:
            for modality, row in run.knocked_out['rows'].items():
                own = kinds.setdefault(modality, [])
                own += [kind for kind in row if kind not in own]
    names = list(kinds)
    tables = []
    for start in range(0, len(names), FIT):
        part = names[start : start + FIT]
        groups: dict[str, list[dict[str, Cell]]] = {}
        for (_, backbone, method), runs in rows.items():
            row = {'method': method_cell(method, runs)}
            for name in part:
                for kind in kinds[name]:
                    row[f'{name}: {kind}'] = _change(runs, name, kind)
            groups.setdefault(backbone, []).append(row)
        above = {
            name: [f'{name}: {kind}' for kind in kinds[name]] for name in part
        }
        tables.append(Table('Features replaced', 'backbone', groups, above))
    return Section(
        'knocked-out',
        'Is each modality used?',
        f'The relative change of test {METRIC} when the features of a '
        f'modality are replaced in the trained model: by noise of the same '
        f'mean and spread, by their mean, or by those of other items. Near 0 % '
        f'the model does not use the modality; the further below, the more it '
        f'rests on it. A dash: no score depends on the features. Means over '
        f'seeds.',
        tables,
    )


def _base(result: Result) -> float:
    return float(result.knocked_out.get('base', {}).get(METRIC, 0.0))


def _change(runs: Sequence[Result], modality: str, kind: str) -> Cell:
    """Return the mean change over seeds, or a dash if there cannot be one."""
    found = [run.knocked_out for run in runs]
    if not any(each.get('depends', {}).get(modality, True) for each in found):
        return Cell('–', hint='No score depends on these features')
    changes = [
        row[kind][METRIC] / _base(run) - 1
        for run in runs
        if METRIC
        in (row := run.knocked_out['rows'].get(modality, {})).get(kind, {})
    ]
    return Cell(percent(fmean(changes)) if changes else '')
