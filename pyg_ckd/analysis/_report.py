"""The report that people look at: one page of HTML, complete in itself."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from torch_geometric.data import HeteroData

from pyg_ckd.analysis.plots import (
    Side,
    degree_changes,
    paired_runs,
    plot_curves,
    plot_degrees,
    plot_gains,
    plot_views,
    plot_weights,
    to_svg,
)
from pyg_ckd.analysis.results import Result
from pyg_ckd.analysis.significance import Comparison
from pyg_ckd.analysis.tables import against_base, spread, summarize
from pyg_ckd.datasets.files import open_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = ('recall@10', 'recall@20', 'ndcg@10', 'ndcg@20')
METRIC = 'recall@20'  # the one that is compared and plotted
PARTS: tuple[tuple[Literal['weight', 'specific'], str], ...] = (
    ('weight', 'weights'),
    ('specific', 'specific losses'),
)
INTERVALS = (
    'Intervals come from 10,000 bootstrap resamples of users and, where there '
    'are several, of seeds, widened for few seeds by Student’s distribution. '
    'With one seed they say what other users would give with these trained '
    'models, and nothing about training them again. p over users is that of '
    'Wilcoxon’s signed-rank test, p over seeds that of the paired t-test. '
    'Neither is adjusted for the number of comparisons: of twenty that change '
    'nothing, one is expected to look significant.'
)

Runs = Sequence[Result]


@dataclass
class _Section:
    """A section of the page; what is empty is left out."""

    name: str
    title: str
    reading: str
    points: list[tuple[str, str, str]] = field(default_factory=list)
    table: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    figures: list[tuple[str, Markup]] = field(default_factory=list)
    entries: list[tuple[str, str]] = field(default_factory=list)
    layout: str = ''  # a row has `one` or `two` figures, else what fits

    @property
    def columns(self) -> list[str]:
        """The columns of the table that are not empty."""
        rows = [row for rows in self.table.values() for row in rows]
        columns = dict.fromkeys(column for row in rows for column in row)
        return [name for name in columns if any(row.get(name) for row in rows)]


def report(
    results: Iterable[Result],
    path: str | os.PathLike[str],
    title: str = '',
    about: Sequence[str] = (),
    data: HeteroData | None = None,
) -> Path:
    """Write a page of HTML that shows what came out.

    The page is complete in itself: it loads nothing, adapts to phones, dark
    screens and paper, and is the same for the same results. A section is left
    out where the results lack what it needs. No gain is shown without its
    interval.

    Args:
        results: Results of one data set.
        path: The file to write. It is either whole or not there.
        title: The title. (default: the name of the data set)
        about: How the results came about, a sentence or more each.
        data: The user-item graph, for the sections on users and items with
            few and many interactions, which need metrics of each user, and
            hits, as well.

    Raises:
        ValueError: If there are no results, or of several data sets, or
            several runs of a method with the same seed.

    Example:
        >>> import tempfile
        >>> test = {'full': {'recall@20': 0.1}}
        >>> runs = [Result('shop', 'VBPR', 'base', seed=0, test=test)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report(runs, f'{folder}/report.html').name
        'report.html'
    """
    from matplotlib import rc_context

    runs = list(results)
    names = sorted({run.dataset for run in runs})
    if len(names) != 1:
        raise ValueError(
            f"'results' needs to be of one data set (got {names or 'none'})"
        )
    groups: dict[str, list[Result]] = {}
    for run in runs:
        groups.setdefault(run.backbone, []).append(run)
    gains = _gains(groups)
    with rc_context({'text.parse_math': False}):  # names are no formulas
        sections = [
            _headline(groups, gains),
            _table(groups, gains),
            _views(groups),
            _weights(groups),
            _curves(groups),
            _degrees(groups, data, 'user'),
            _degrees(groups, data, 'item'),
            _costs(groups),
            _settings(groups, about),
        ]
    seeds = ', '.join(map(str, sorted({run.seed for run in runs})))
    environment = Environment(
        autoescape=True, trim_blocks=True, undefined=StrictUndefined
    )
    source = files('pyg_ckd.analysis').joinpath('report.html.jinja')
    page = environment.from_string(source.read_text('utf-8')).render(
        title=title or f'Results: {names[0]}',
        subtitle=f'Data set: {names[0]}. Recommenders: {len(groups)}. '
        f'Seeds: {seeds}.',
        sections=[section for section in sections if section],
    )
    with open_atomic(path) as file:
        file.write(page.encode())
    return Path(path)


def _gains(groups: dict[str, list[Result]]) -> dict[str, Comparison | None]:
    """Compare methods with the base, by backbone and method if not CKD.

    It is :obj:`None` if there is not what an interval needs.
    """
    gains = {}
    for name, runs in groups.items():
        for method, own in _by_method(runs).items():
            if own[0].compared:
                gain = against_base(_of(runs, 'base'), own, METRIC)
                gains[_label(name, method)] = (
                    gain if gain and gain.tested else None
                )
    return gains


def _label(backbone: str, method: str) -> str:
    return backbone if method == 'ckd' else f'{backbone} {method}'


def _headline(
    groups: dict[str, list[Result]], gains: dict[str, Comparison | None]
) -> _Section:
    section = _Section(
        'gains',
        'What CKD did',
        f'The relative change of test {METRIC} against the same recommender '
        f'trained without CKD, and in brackets the interval that holds the '
        f'true change with 95 % confidence. It is significant if the interval '
        f'leaves out zero. An interval needs several seeds, or metrics of each '
        f'user; without it no change is named. A name by itself stands for '
        f'CKD as it is by default.',
        points=[_verdict(name, gain) for name, gain in gains.items()],
    )
    alone = [
        name
        for name, runs in groups.items()
        if _of(runs, 'base') and not any(run.compared for run in runs)
    ]
    if alone:
        section.points.append(('', 'Without CKD', ', '.join(alone)))
    tested = {name: gain for name, gain in gains.items() if gain}
    if tested:
        text = '; '.join(
            f'{name} {_interval(gain)}' for name, gain in tested.items()
        )
        section.layout = 'one'
        section.figures.append(
            _figure(
                plot_gains(tested), 'gains', f'Changes and intervals: {text}'
            )
        )
    return section


def _verdict(name: str, gain: Comparison | None) -> tuple[str, str, str]:
    """Return how to mark a backbone, its name and what CKD did to it."""
    if gain is None:
        return '', name, 'not tested'
    tested = f'{gain.num_seeds} seed{"s" if gain.num_seeds > 1 else ""}'
    if gain.num_users:
        tested += f', {gain.num_users:,} users'
    if not gain.significant:
        return '', name, f'{_interval(gain)}, not significant ({tested})'
    if gain.gain > 0:
        return 'gain', name, f'{_interval(gain)}, significant ({tested})'
    loss, low, high = (
        f'{-100 * value:.1f}' for value in (gain.gain, gain.high, gain.low)
    )
    text = f'a loss of {loss} % [{low}, {high}], significant ({tested})'
    return 'loss', name, text


def _interval(gain: Comparison) -> str:
    return str(gain).replace('-', '−')


def _table(
    groups: dict[str, list[Result]], gains: dict[str, Comparison | None]
) -> _Section:
    section = _Section(
        'table',
        'All figures',
        'Test metrics with all modalities, higher is better: means over '
        'seeds, ± standard deviation. A teacher is tested in the one view that '
        'it was trained on. p is the chance of a difference at least this '
        'large if the method changed nothing, over users and over seeds.',
    )
    for name, runs in groups.items():
        section.table[name] = summarize(runs, METRICS)
        for row in section.table[name]:
            del row['data set'], row['backbone']
            label = _label(name, row['method'])
            if label in gains:
                gain = gains[label]
                against = _interval(gain) if gain else 'not tested'
                row[f'{METRIC} against base'] = against
    return section


def _mean(tests: Iterable[dict[str, float]], metric: str = METRIC) -> str:
    values = [test[metric] for test in tests if metric in test]
    return spread(values) if values else ''


def _views(groups: dict[str, list[Result]]) -> _Section | None:
    section = _Section(
        'views',
        'Each modality alone',
        f'Test {METRIC} with all modalities (full) and with each alone. Where '
        f'the base is below the model that was trained alone on a modality, '
        f'that modality was left behind: this is the imbalance that CKD is '
        f'made for. Bars are means over seeds, dots are seeds.',
    )
    for number, (name, group) in enumerate(groups.items()):
        runs = [run for run in group if METRIC in run.tested]
        if not _depends_on_modalities(runs):
            continue
        views = sorted({view for run in runs for view in run.test})
        shown = ['full', *(view for view in views if view.startswith('only'))]
        section.table[name] = [
            {
                'method': method,
                **{
                    view: _mean(run.test.get(view, {}) for run in own)
                    for view in shown
                },
            }
            for method, own in _by_method(runs).items()
        ]
        text = f'{name}: test {METRIC} of each view, as in the table above.'
        section.figures.append(
            _figure(plot_views(runs, METRIC), f'views-{number}', text)
        )
    return section if section.figures else None


def _depends_on_modalities(runs: Runs) -> bool:
    """Return whether a view of any run differs from the trained one."""
    return any(
        view.startswith('only') and metrics != run.tested
        for run in runs
        for view, metrics in run.test.items()
    )


def _weights(groups: dict[str, list[Result]]) -> _Section | None:
    section = _Section(
        'weights',
        'Weights and distances to teachers over training',
        'One plot shows the mean weight of each modality in the distillation. '
        'Weights come from the counterfactual effects; 1 is no preference, and '
        'a modality that lags behind gets more. The other shows the specific '
        'loss: how far the view of a modality is behind its teacher on '
        'training triples; 0 has caught up. A line is a seed.',
        layout='two',
    )
    for number, (name, group) in enumerate(groups.items()):
        runs = [run for run in _of(group, 'ckd') if _has_weights(run)]
        if not runs:
            continue
        for part, what in PARTS:
            last = {
                key.removeprefix(f'{part}_'): value
                for key, value in runs[0].history[-1].items()
                if key.startswith(f'{part}_')
            }
            ends = ', '.join(f'{m} {value:.2f}' for m, value in last.items())
            section.figures.append(
                _figure(
                    plot_weights(runs, part),
                    f'{part}-{number}',
                    f'{name}: {what} of modalities over training, at the end '
                    f'of seed {runs[0].seed}: {ends}.',
                )
            )
    return section if section.figures else None


def _has_weights(run: Result) -> bool:
    return bool(run.history) and any(
        key.startswith('weight_') for key in run.history[0]
    )


def _curves(groups: dict[str, list[Result]]) -> _Section | None:
    key = f'val_{METRIC}'
    section = _Section(
        'curves',
        'Learning curves',
        f'Validation {METRIC} in training, with CKD (solid) and without '
        f'(dashed), a colour for each view. A view that falls behind in the '
        f'base and not with CKD is what CKD is about. Dotted: what the teacher '
        f'of that modality ended with. Means over seeds, as far as all of them '
        f'were trained.',
    )
    for number, (name, group) in enumerate(groups.items()):
        runs = [run for run in group if run.history and key in run.history[0]]
        if not _of(runs, 'ckd'):
            continue
        best = ', '.join(
            f'{method} {max(entry[key] for entry in own[0].history):.4f}'
            for method, own in _by_method(runs).items()
        )
        section.figures.append(
            _figure(
                plot_curves(runs, key),
                f'curves-{number}',
                f'{name}: validation {METRIC} over training, at best: {best}.',
            )
        )
    return section if section.figures else None


def _degrees(
    groups: dict[str, list[Result]], data: HeteroData | None, side: Side
) -> _Section | None:
    of_users = side == 'user'
    what = 'recall@20' if of_users else 'hit@20'
    section = _Section(
        f'{side}s',
        f'{side.title()}s with few and many interactions',
        f'The mean difference of test {what}, CKD less base, for {side}s in '
        f'groups of about the same size, from few training interactions to '
        f'many. Lines are 1.96 standard errors of the mean to both sides: '
        f'where one crosses zero, the group may as well have seen no change.',
    )
    if not of_users:
        section.reading += (
            ' A hit@20 is a test interaction whose item is among the first 20 '
            'of the user; groups are of test interactions, by how popular '
            'their item is, from the tail to the head.'
        )
    for number, (name, runs) in enumerate(groups.items()):
        if data is None or not paired_runs(runs, side):
            continue
        text = '; '.join(
            f'{label} interactions {float(change.mean()):+.4f}'
            for label, change in degree_changes(runs, data, side)
        )
        section.figures.append(
            _figure(
                plot_degrees(runs, data, side),
                f'{side}s-{number}',
                f'{name}: change of {what} of {side}s with {text}.',
            )
        )
    return section if section.figures else None


def _costs(groups: dict[str, list[Result]]) -> _Section | None:
    section = _Section(
        'cost',
        'Cost',
        'Minutes and epochs until training stopped, means over seeds, and the '
        'same relative to the base. Teachers are trained once and can be used '
        'again.',
    )
    for name, runs in groups.items():
        methods = {
            method: (
                fmean(run.seconds for run in own) / 60,
                fmean(run.epochs for run in own),
            )
            for method, own in _by_method(runs).items()
        }
        teachers = [methods[m] for m in methods if m.startswith('teacher')]
        if teachers and 'ckd' in methods:
            parts = [*teachers, methods['ckd']]
            minutes, epochs = (sum(each) for each in zip(*parts, strict=True))
            methods['ckd and its teachers'] = (minutes, epochs)
        base = methods.get('base', (0.0, 0.0))
        section.table[name] = [
            {
                'method': method,
                'minutes': f'{cost[0]:.1f}',
                'minutes / base': _ratio(cost[0], base[0]),
                'epochs': f'{cost[1]:.0f}',
                'epochs / base': _ratio(cost[1], base[1]),
            }
            for method, cost in methods.items()
        ]
    known = any(run.seconds for runs in groups.values() for run in runs)
    return section if known else None


def _ratio(cost: float, base: float) -> str:
    return f'{cost / base:.2f}' if base else ''


def _settings(
    groups: dict[str, list[Result]], about: Sequence[str]
) -> _Section:
    section = _Section(
        'settings',
        'Settings and protocol',
        'How the results and their intervals came about. Teachers have the '
        'settings of the base.',
        points=[('', '', line) for line in [*about, INTERVALS]],
    )
    for name, runs in groups.items():
        for method, own in _by_method(runs).items():
            if not method.startswith('teacher') and own[0].settings:
                section.entries.append(
                    (f'{name}, {method}', json.dumps(own[0].settings))
                )
    return section


def _of(runs: Runs, method: str) -> list[Result]:
    return [run for run in runs if run.method == method]


def _by_method(runs: Runs) -> dict[str, list[Result]]:
    methods: dict[str, list[Result]] = {}
    for run in runs:
        methods.setdefault(run.method, []).append(run)
    return methods


def _figure(figure: Figure, name: str, text: str) -> tuple[str, Markup]:
    return text, Markup(to_svg(figure, name))
