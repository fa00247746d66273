"""Plots of results."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from pyg_ckd.analysis.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours that remain apart for the colour-blind and in grey.
COLORS = {'trained alone': '#999999', 'base': '#56b4e9', 'CKD': '#d55e00'}
CYCLE = ('#0072b2', '#e69f00', '#009e73', '#cc79a7')


def plot_views(results: Sequence[Result], metric: str = 'recall@20') -> Figure:
    """Plot how good each view is, before and after CKD.

    One panel a backbone. For each modality: a teacher trained on it alone,
    and the view of the base and of the CKD student that sees only this
    modality. A base below the teacher shows modality imbalance. Bars are means
    over seeds, dots single seeds.

    Args:
        results: Results of one data set.
        metric: What to plot.
    """
    backbones = list(dict.fromkeys(run.backbone for run in results))
    figure, panels = _panels(len(backbones), width=3.6)
    for panel, backbone in zip(panels, backbones, strict=True):
        runs = [run for run in results if run.backbone == backbone]
        _view_bars(panel, runs, metric)
        panel.set_title(backbone)
    panels[0].set_ylabel(f'test {metric}')
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc='outside upper center',
        ncols=len(labels),
        frameon=False,
    )
    return figure


def _view_bars(panel: Axes, runs: Sequence[Result], metric: str) -> None:
    views = sorted(
        {view for run in runs for view in run.test if view.startswith('only')}
    )
    width = 0.26
    for offset, (label, color) in enumerate(COLORS.items()):
        labelled = False
        for place, view in enumerate(['full', *views]):
            values = [
                run.test[view][metric]
                for run in runs
                if view in run.test and _kind(run) == label
            ]
            if not values:
                continue
            x = place + (offset - 1) * width
            if view == 'full':  # no teacher: two bars, side by side
                x -= width / 2
            panel.bar(
                x,
                fmean(values),
                width * 0.92,
                color=color,
                label=None if labelled else label,
            )
            labelled = True
            panel.plot([x] * len(values), values, '.', color='black', ms=4)
    panel.set_xticks(range(1 + len(views)), ['full', *views])
    panel.spines[['top', 'right']].set_visible(False)


def _kind(run: Result) -> str:
    if run.method.startswith('teacher'):
        return 'trained alone'
    return 'CKD' if run.method == 'ckd' else 'base'


def plot_weights(results: Sequence[Result]) -> Figure:
    """Plot the weight of each modality over the training of CKD.

    One panel a backbone, a line a seed. Weights sum to the number of
    modalities, so that 1 is no preference; a modality that lags behind lies
    above.

    Args:
        results: Results of one data set.
    """
    runs = [run for run in results if run.method == 'ckd']
    backbones = list(dict.fromkeys(run.backbone for run in runs))
    figure, panels = _panels(len(backbones), width=3.2)
    for panel, backbone in zip(panels, backbones, strict=True):
        own = [run for run in runs if run.backbone == backbone]
        names = [key for key in own[0].history[0] if key.startswith('weight_')]
        for name, color in zip(sorted(names), CYCLE, strict=False):
            for i, run in enumerate(own):
                panel.plot(
                    [entry['epoch'] for entry in run.history],
                    [entry[name] for entry in run.history],
                    color=color,
                    alpha=0.8,
                    label=None if i else name.removeprefix('weight_'),
                )
        panel.axhline(1, color='#999999', linewidth=0.8, zorder=0)
        panel.set_title(backbone)
        panel.set_xlabel('epoch')
        panel.set_ylim(bottom=0)
        panel.spines[['top', 'right']].set_visible(False)
    panels[0].set_ylabel('weight of a modality')
    panels[0].legend(frameon=False)
    return figure


def _panels(count: int, width: float) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((max(count, 1) * width + 0.8, 3.4), layout='constrained')
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, max(count, 1), squeeze=False)[0]
    return figure, list(panels)
