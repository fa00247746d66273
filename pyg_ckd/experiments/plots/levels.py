"""Methods at levels of something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from statistics import fmean
from typing import TYPE_CHECKING

from pyg_ckd.experiments.method import Method
from pyg_ckd.experiments.plots.layout import add_legend, labelled, new_panels
from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.rows import spelled
from pyg_ckd.inspect.colors import CYCLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_levels(
    levels: Mapping[float, Sequence[Result]],
    label: str,
    metric: str = 'recall@20',
) -> Figure:
    """Plot how good each method is at each level of something.

    A line a method, means over seeds, with dots for single seeds: of the
    trained view, and of the view of one modality for its teacher.

    Args:
        levels: Results of one backbone at each level, such as the share of
            items that lack a modality.
        label: What the level is.
        metric: What to plot.
    """
    figure, (panel,) = new_panels([''])
    methods: dict[Method, dict[float, list[float]]] = {}
    for level, results in levels.items():
        for result in results:
            if metric in result.tested:
                curve = methods.setdefault(result.run.method, {})
                curve.setdefault(level, []).append(result.tested[metric])
    names = spelled(methods)
    for (method, curve), color in zip(
        methods.items(), cycle(CYCLE), strict=False
    ):
        style = ':' if method.kind == 'teacher' else '-'
        means = [fmean(values) for values in curve.values()]
        panel.plot(list(curve), means, style, color=color, label=names[method])
        for level, values in curve.items():
            panel.plot([level] * len(values), values, '.', color=color, ms=4)
    panel.set_xlabel(label)
    panel.set_ylabel(f'test {metric}')
    add_legend(figure, labelled([panel]))
    return figure
