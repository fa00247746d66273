"""Each modality alone."""

from __future__ import annotations

from collections.abc import Sequence

from pyg_ckd._shown.page.drawn import Drawn, figures
from pyg_ckd._shown.page.section import Cell, Details, Section, Table
from pyg_ckd.experiments._report.all_rows import method_cell
from pyg_ckd.experiments._report.material import Material
from pyg_ckd.experiments.plots import plot_views
from pyg_ckd.experiments.plots.views import views_of
from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.tables import METRIC, spread


def views_section(material: Material) -> Section | None:
    """Return how good each view is, as plots and as a table."""
    drawn, groups = [], {}
    for number, (backbone, group) in enumerate(material.plotted.items()):
        runs = [run for run in group if METRIC in run.tested]
        if not _depends_on_modalities(runs):
            continue
        groups[backbone] = [
            {
                'method': method_cell(method, own),
                **{view: Cell(_mean(own, view)) for view in views_of(runs)},
            }
            for method, own in material.methods(backbone).items()
        ]
        text = f'{backbone}: test {METRIC} of each view, as in the table below.'
        plot = plot_views(runs, METRIC)
        drawn.append(Drawn(plot, f'views-{number}', backbone, text))
    if not drawn:
        return None
    table = Table('Each modality alone', 'backbone', groups)
    return Section(
        'views',
        'Each modality alone',
        f'Test {METRIC} with all modalities (full) and with each alone. Where '
        f'the base is below the model that was trained alone on a modality, '
        f'that modality was left behind: this is the imbalance that CKD is '
        f'made for. Bars are means over seeds, dots are seeds.',
        [figures(drawn), Details('The same as a table', [table])],
    )


def _mean(runs: Sequence[Result], view: str) -> str:
    tests = [run.test.get(view, {}) for run in runs]
    values = [test[METRIC] for test in tests if METRIC in test]
    return spread(values) if values else ''


def _depends_on_modalities(runs: Sequence[Result]) -> bool:
    """Return whether a view of any run differs from the trained one."""
    return any(
        view.startswith('only') and metrics != run.tested
        for run in runs
        for view, metrics in run.test.items()
    )
