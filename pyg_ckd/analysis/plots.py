"""Plots of results."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from io import StringIO
from itertools import cycle
from statistics import fmean
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.analysis.results import Result
from pyg_ckd.graph import RATES

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pyg_ckd.analysis.significance import Comparison

#: Colours that remain apart for the colour-blind and in grey.
COLORS = {'trained alone': '#999999', 'base': '#56b4e9', 'CKD': '#d55e00'}
CYCLE = ('#0072b2', '#c98500', '#009e73', '#cc79a7', '#882255', '#56b4e9')

Side = Literal['user', 'item']

#: The number of panels in a row.
COLUMNS = 3


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
    figure, panels = _panels(backbones)
    for panel, backbone in zip(panels, backbones, strict=True):
        runs = [run for run in results if run.backbone == backbone]
        _view_bars(panel, runs, metric)
    for panel in panels[::COLUMNS]:
        panel.set_ylabel(f'test {metric}')
    shown = {
        label: handle
        for panel in panels
        for handle, label in zip(
            *panel.get_legend_handles_labels(), strict=True
        )
    }
    _legend(figure, {label: shown[label] for label in COLORS if label in shown})
    return figure


def _view_bars(panel: Axes, runs: Sequence[Result], metric: str) -> None:
    views = sorted(
        {view for run in runs for view in run.test if view.startswith('only')}
    )
    width = 0.26
    labelled = set()
    for place, view in enumerate(['full', *views]):
        bars = {
            label: [
                run.test[view][metric]
                for run in runs
                if view in run.test and _kind(run) == label
            ]
            for label in COLORS
        }
        bars = {label: values for label, values in bars.items() if values}
        for number, (label, values) in enumerate(bars.items()):
            x = place + (number - (len(bars) - 1) / 2) * width
            panel.bar(
                x,
                fmean(values),
                width * 0.92,
                color=COLORS[label],
                label=None if label in labelled else label,
            )
            labelled.add(label)
            panel.plot([x] * len(values), values, '.', color='black', ms=4)
    panel.set_xticks(range(1 + len(views)), ['full', *views])
    panel.set_xlim(-0.6, len(views) + 0.6)
    if len(views) > 2:
        panel.tick_params('x', rotation=30)


def _kind(run: Result) -> str | None:
    """Return the label of a run; a variant such as ``ckd[gate]`` has none."""
    if run.method.startswith('teacher'):
        return 'trained alone'
    return {'base': 'base', 'ckd': 'CKD'}.get(run.method)


def plot_weights(
    results: Sequence[Result],
    part: Literal['weight', 'specific', 'generic'] = 'weight',
) -> Figure:
    """Plot the weight of each modality over the training of CKD.

    One panel a backbone, a line a seed. Weights sum to the number of
    modalities, so that 1 is no preference; a modality that lags behind lies
    above.

    Args:
        results: Results of one data set.
        part: What to plot of each modality: its weight, or its specific or
            generic loss, which say how far its view is from its teacher.
    """
    runs = [run for run in results if run.method == 'ckd' and run.history]
    backbones = list(dict.fromkeys(run.backbone for run in runs))
    figure, panels = _panels(backbones)
    shown = {}
    for panel, backbone in zip(panels, backbones, strict=True):
        own = [run for run in runs if run.backbone == backbone]
        names = [key for key in own[0].history[0] if key.startswith(f'{part}_')]
        for name, color in zip(sorted(names), cycle(CYCLE), strict=False):
            for run in own:
                (shown[name.removeprefix(f'{part}_')],) = panel.plot(
                    [entry['epoch'] for entry in run.history],
                    [entry[name] for entry in run.history],
                    color=color,
                    alpha=0.8,
                )
        panel.set_ylim(bottom=0)
        if part == 'weight':
            panel.axhline(1, color='#999999', linewidth=0.8, zorder=0)
            panel.set_ylim(top=len(names))
        panel.set_xlabel('epoch')
    label = 'weight' if part == 'weight' else f'{part} loss'
    for panel in panels[::COLUMNS]:
        panel.set_ylabel(f'{label} of a modality')
    _legend(figure, shown)
    return figure


def plot_curves(
    results: Sequence[Result], metric: str = 'val_recall@20'
) -> Figure:
    """Plot how good each view is over training, with and without CKD.

    One panel a backbone, a colour a view. A line is the mean over seeds, as
    far as all of them were trained; a dotted line is the level that the
    teacher ended at.

    Args:
        results: Results of one data set.
        metric: What to plot, as it is called in the history; of a view, it is
            followed by the view, such as ``val_recall@20/only(text)``.
    """
    from matplotlib.lines import Line2D

    backbones = list(dict.fromkeys(run.backbone for run in results))
    figure, panels = _panels(backbones)
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
    for panel, backbone in zip(panels, backbones, strict=True):
        runs = [run for run in results if run.backbone == backbone]
        for view, color in colors.items():
            key = metric if view == 'full' else f'{metric}/{view}'
            for method, style in (('base', '--'), ('ckd', '-')):
                own = [run for run in runs if run.method == method]
                panel.plot(*_mean_curve(own, key), style, color=color)
            levels = [
                run.val[metric.removeprefix('val_')]
                for run in runs
                if run.method == view.replace('only', 'teacher') and run.val
            ]
            if levels:
                panel.axhline(fmean(levels), color=color, linestyle=':')
    for panel in panels:
        panel.set_xlabel('epoch')
    for panel in panels[::COLUMNS]:
        panel.set_ylabel(metric.replace('val_', 'validation '))
    shown = {view: Line2D([], [], color=c) for view, c in colors.items()}
    shown['CKD'] = Line2D([], [], color='#999999')
    shown['base'] = Line2D([], [], color='#999999', linestyle='--')
    shown['teacher'] = Line2D([], [], color='#999999', linestyle=':')
    _legend(figure, shown)
    return figure


def _mean_curve(
    runs: Sequence[Result], key: str
) -> tuple[list[float], list[float]]:
    """Return epochs, and means over seeds as far as all were trained."""
    curves = [
        {entry['epoch']: entry[key] for entry in run.history if key in entry}
        for run in runs
    ]
    epochs = sorted(set.intersection(*map(set, curves))) if curves else []
    return epochs, [fmean(curve[epoch] for curve in curves) for epoch in epochs]


def plot_gains(gains: Mapping[str, Comparison]) -> Figure:
    """Plot gains with their intervals, one row each.

    Args:
        gains: Comparisons by backbone.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((4.4, 0.8 + 0.28 * len(gains)), layout='constrained')
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    for place, gain in enumerate(gains.values()):
        color = COLORS['CKD'] if gain.significant else COLORS['trained alone']
        ends = [100 * gain.low, 100 * gain.high]
        panel.plot(ends, [place] * 2, color=color, lw=3)
        panel.plot(100 * gain.gain, place, 'o', color=color)
    panel.axvline(0, color='black', linewidth=0.8)
    panel.set_yticks(range(len(gains)), list(gains))
    panel.set_ylim(len(gains) - 0.5, -0.5)
    panel.set_xlabel('change against base, %')
    panel.spines[['top', 'right', 'left']].set_visible(False)
    return figure


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
    figure, (panel,) = _panels([''])
    methods: dict[str, dict[float, list[float]]] = {}
    for level, runs in levels.items():
        for run in runs:
            values = methods.setdefault(run.method, {}).setdefault(level, [])
            values.append(run.test[run.trained_view][metric])
    for (method, curve), color in zip(
        methods.items(), cycle(CYCLE), strict=False
    ):
        style = ':' if method.startswith('teacher') else '-'
        means = [fmean(values) for values in curve.values()]
        panel.plot(list(curve), means, style, color=color, label=method)
        for level, values in curve.items():
            panel.plot([level] * len(values), values, '.', color=color, ms=4)
    panel.set_xlabel(label)
    panel.set_ylabel(f'test {metric}')
    handles, names = panel.get_legend_handles_labels()
    _legend(figure, dict(zip(names, handles, strict=True)))
    return figure


def plot_degrees(
    results: Sequence[Result], data: HeteroData, side: Side = 'user'
) -> Figure:
    """Plot what CKD changes for users, or items, of few and many interactions.

    One panel a backbone. Users, or the items of test interactions, are in up
    to four groups of about the same size, by their number of training
    interactions. A bar is the mean difference of CKD and base over a group and
    over the seeds that both have; its line is the interval of 1.96 standard
    errors of the mean.

    Args:
        results: Results of one data set, with metrics of each user, or hits.
        data: The user-item graph.
        side: ``"user"`` for Recall@20 of users, ``"item"`` for the share of
            test interactions whose item is found among the first 20.
    """
    backbones = list(dict.fromkeys(run.backbone for run in results))
    figure, panels = _panels(backbones)
    for panel, backbone in zip(panels, backbones, strict=True):
        runs = [run for run in results if run.backbone == backbone]
        ticks = []
        for place, (label, change) in enumerate(
            degree_changes(runs, data, side)
        ):
            panel.bar(
                place,
                float(change.mean()),
                0.7,
                yerr=1.96 * float(change.std()) / len(change) ** 0.5,
                color=COLORS['CKD'],
                capsize=3,
            )
            ticks.append(f'{label}\n({len(change):,})')
        panel.axhline(0, color='black', linewidth=0.8)
        panel.set_xticks(range(len(ticks)), ticks)
        counted = 'users' if side == 'user' else 'test interactions'
        panel.set_xlabel(f'training interactions of the {side} ({counted})')
    what = 'recall@20' if side == 'user' else 'hit@20'
    for panel in panels[::COLUMNS]:
        panel.set_ylabel(f'test {what}, CKD − base')
    return figure


def degree_changes(
    runs: Sequence[Result],
    data: HeteroData,
    side: Side = 'user',
    num_groups: int = 4,
) -> list[tuple[str, Tensor]]:
    """Return what CKD changes, in groups of users or items by degree.

    Args:
        runs: Results of one backbone, with metrics of each user, or hits.
        data: The user-item graph.
        side: ``"user"`` or ``"item"``, see :func:`plot_degrees`.
        num_groups: The number of groups, which are of about the same size;
            users or items of the same degree are in the same group, so that
            there may be fewer.

    Returns:
        For each group its degrees, such as ``3–5``, and the differences of CKD
        and base of its users, or of the test interactions with its items;
        means over seeds.

    Raises:
        ValueError: If no seed has metrics of each user, or hits, of both, or
            runs were not tested on the same users or items.
    """
    pairs = [
        (_values(base, side), _values(ckd, side))
        for base, ckd in paired_runs(runs, side)
    ]
    if not pairs:
        raise ValueError(
            f"'runs' needs a base and a CKD run of the same seed with metrics "
            f'of each {side} (got none)'
        )
    node = pairs[0][0][0]
    if any(not torch.equal(own, node) for pair in pairs for own, _ in pair):
        raise ValueError(
            f"'runs' were tested on different {side}s; keep those of one data "
            f'set and split'
        )
    changes = torch.stack([ckd[1] - base[1] for base, ckd in pairs])
    change = changes.mean(dim=0)
    ends = data[RATES].edge_index[0 if side == 'user' else 1]
    degree = ends.bincount(minlength=data[side].num_nodes)[node]

    shares = torch.linspace(0, 1, num_groups + 1)[1:-1]
    bounds = degree.float().quantile(shares, interpolation='lower').unique()
    group = torch.bucketize(degree.float(), bounds)
    members = [group == number for number in group.unique()]
    return [(_span(degree[own]), change[own]) for own in members]


def paired_runs(
    runs: Sequence[Result], side: Side
) -> list[tuple[Result, Result]]:
    """Return base and CKD of each seed that has values of both.

    Args:
        runs: Results of one backbone.
        side: ``"user"`` for metrics of users, ``"item"`` for hits.
    """
    base, ckd = (
        {
            run.seed: run
            for run in runs
            if run.method == method
            and (run.users if side == 'user' else run.hits)
        }
        for method in ('base', 'ckd')
    )
    return [(base[seed], ckd[seed]) for seed in sorted(base.keys() & ckd)]


def _values(run: Result, side: Side) -> tuple[Tensor, Tensor]:
    """Return users and their recall, or items and whether they are found."""
    if side == 'item':
        return run.hits['item'], run.hits['hit@20']
    order = run.users['user'].argsort()
    return run.users['user'][order], run.users['recall@20'][order]


def _span(values: Tensor) -> str:
    low, high = int(values.min()), int(values.max())
    return f'{low}' if low == high else f'{low}–{high}'


def _panels(titles: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel for each title, in rows of `COLUMNS`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(max(len(titles), 1), COLUMNS)
    rows = -(-max(len(titles), 1) // columns)
    size = (columns * 3.6 + 0.8, rows * 2.9 + 0.5)
    figure = Figure(size, layout='constrained')
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel, title in zip(panels, titles, strict=False):
        panel.set_title(title)
        panel.spines[['top', 'right']].set_visible(False)
    for panel in panels[len(titles) :]:
        panel.remove()
    return figure, list(panels[: len(titles)])


def _legend(figure: Figure, shown: Mapping[str, Artist]) -> None:
    """Put one legend above all panels."""
    columns = len(shown)
    if len(figure.axes) == 1 and columns > COLUMNS:
        columns = 2
    figure.legend(
        shown.values(),
        shown.keys(),
        loc='outside upper center',
        ncols=max(columns, 1),
        frameon=False,
    )


def to_svg(figure: Figure, name: str) -> str:
    """Return a figure as an SVG element to be put into a page.

    Text stays text, in the font of the page. Black becomes ``currentColor``
    and any other colour, such as ``#d55e00``, a variable with this default,
    ``var(--d55e00, #d55e00)``, so that a style sheet can set both for dark
    screens. The same figure gives the same text.

    Args:
        figure: The figure.
        name: What the ids in the element start with; they are unique in a page
            if this is.
    """
    from matplotlib import rc_context

    file = StringIO()
    with rc_context({'svg.fonttype': 'none', 'svg.hashsalt': 'pyg_ckd'}):
        figure.savefig(file, format='svg', transparent=True)
    svg = file.getvalue()
    # Leave out the header, and what has a date or styles the whole page:
    svg = svg[svg.index('<svg') :]
    svg = re.sub(r'<(metadata|style).*?</\1>', '', svg, flags=re.DOTALL)
    svg = re.sub(
        r' (xmlns(:xlink)?|width|height)="[^"]*(pt|http[^"]*)"', '', svg
    )
    svg = re.sub(r'( id="| xlink:href="#|url\(#)', rf'\1{name}-', svg)
    svg = svg.replace(' xlink:href=', ' href=')
    svg = svg.replace(': #000000', ': currentColor')
    return re.sub(r': #([0-9a-f]{6})\b', r': var(--\1, #\1)', svg)
