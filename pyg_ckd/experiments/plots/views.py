"""How good each view is."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from pyg_ckd.experiments.method import Method
from pyg_ckd.experiments.plots.layout import (
    add_legend,
    label_groups,
    label_rows,
    labelled,
    new_panels,
)
from pyg_ckd.experiments.plots.shown import Shown, by_backbone, shown_of
from pyg_ckd.experiments.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: The width of a bar.
WIDTH = 0.26


def plot_views(
    results: Sequence[Result],
    metric: str = 'recall@20',
    student: Method | None = None,
) -> Figure:
    """Plot how good each view is, before and after balancing.

    One panel a backbone. For each modality: a teacher trained on it alone,
    and the view of the base and of the student that sees only this modality. A
    base below the teacher shows modality imbalance. Bars are means over seeds,
    dots single seeds.

    Args:
        results: Results of one data set.
        metric: What to plot.
        student: The student to show, such as ``METHODS['ogm-ge']``.
            (default: plain CKD, or else CKD of any kind, or else the first
            student of the backbone)
    """
    groups = by_backbone(results)
    figure, panels = new_panels(list(groups))
    for panel, runs in zip(panels, groups.values(), strict=True):
        _view_bars(panel, shown_of(runs, student), metric)
    label_rows(panels, f'test {metric}')
    shown = labelled(panels)
    first = [label for label in ('trained alone', 'base') if label in shown]
    order = dict.fromkeys([*first, *shown])
    add_legend(figure, {label: shown[label] for label in order})
    return figure


def views_of(runs: Sequence[Result]) -> list[str]:
    """Return the full view and those of single modalities, by name."""
    views = {view for run in runs for view in run.test}
    return ['full', *sorted(v for v in views if v.startswith('only'))]


def _view_bars(panel: Axes, shown: Shown, metric: str) -> None:
    parts = shown.parts
    views = views_of([run for _, runs in parts.values() for run in runs])
    named = set()
    for place, view in enumerate(views):
        bars = {
            label: [run.test[view][metric] for run in runs if view in run.test]
            for label, (_, runs) in parts.items()
        }
        bars = {label: values for label, values in bars.items() if values}
        for number, (label, values) in enumerate(bars.items()):
            x = place + (number - (len(bars) - 1) / 2) * WIDTH
            panel.bar(
                x,
                fmean(values),
                WIDTH * 0.92,
                color=parts[label][0],
                label=None if label in named else label,
            )
            named.add(label)
            panel.plot([x] * len(values), values, '.', color='black', ms=4)
    label_groups(panel, views)
    panel.set_xlim(-0.6, len(views) - 0.4)
