"""Views over training."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from pyg_ckd.experiments.method import Method
from pyg_ckd.experiments.plots.layout import add_legend, label_rows, new_panels
from pyg_ckd.experiments.plots.shown import by_backbone, shown_of
from pyg_ckd.experiments.result import Result
from pyg_ckd.inspect.colors import CYCLE

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure


Style = Literal['-', '--', ':']


def plot_curves(
    results: Sequence[Result],
    metric: str = 'val_recall@20',
    student: Method | None = None,
) -> Figure:
    """Plot how good each view is over training, with and without balancing.

    One panel a backbone, a colour a view. A line is the mean over seeds, as
    far as all of them were trained; a dotted line is the level that the
    teacher ended at.

    Args:
        results: Results of one data set.
        metric: What to plot, as it is called in the history; of a view, it is
            followed by the view, such as ``val_recall@20/only(text)``.
        student: The student to show. (default: as in :func:`plot_views`)
    """
    from matplotlib.lines import Line2D

    groups = by_backbone(results)
    figure, panels = new_panels(list(groups))
    views = {
        key.removeprefix(f'{metric}/')
        for run in results
        for entry in run.history
        for key in entry
        if key.startswith(f'{metric}/only')
    }
    views |= {run.trained_view for run in results} - {'full'}
    colors = {'full': 'black'}
    colors |= dict(zip(sorted(views), cycle(CYCLE), strict=False))
    styles: dict[str, Style] = {}
    for panel, runs in zip(panels, groups.values(), strict=True):
        shown = shown_of(runs, student)
        for view, color in colors.items():
            key = metric if view == 'full' else f'{metric}/{view}'
            lines: tuple[tuple[str, list[Result], Style], ...] = (
                ('base', shown.base, '--'),
                (shown.name, shown.student, '-'),
            )
            for name, own, style in lines:
                epochs, means = mean_curve(own, key)
                if epochs:
                    panel.plot(epochs, means, style, color=color)
                    styles[name] = style
            levels = [
                run.val[metric.removeprefix('val_')]
                for run in shown.teachers
                if run.trained_view == view and run.val
            ]
            if levels:
                panel.axhline(fmean(levels), color=color, linestyle=':')
                styles['trained alone'] = ':'
        panel.set_xlabel('epoch')
    label_rows(panels, metric.replace('val_', 'validation '))
    handles: dict[str, Artist] = {
        view: Line2D([], [], color=color) for view, color in colors.items()
    }
    for name, style in styles.items():
        handles[name] = Line2D([], [], color='#999999', linestyle=style)
    add_legend(figure, handles)
    return figure


def mean_curve(
    runs: Sequence[Result], key: str
) -> tuple[list[float], list[float]]:
    """Return epochs, and means over seeds as far as all were trained."""
    curves = [
        {entry['epoch']: entry[key] for entry in run.history if key in entry}
        for run in runs
    ]
    epochs = sorted(set.intersection(*map(set, curves))) if curves else []
    return epochs, [fmean(curve[epoch] for curve in curves) for epoch in epochs]
