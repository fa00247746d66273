"""What a check of a model has found, as tables and as a plot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from types import MappingProxyType
from typing import TYPE_CHECKING

from pyg_ckd._shown import Block, Cell, Note, Shown, number
from pyg_ckd._shown import Table as BlockTable
from pyg_ckd.inspect.agreement import Curves, gap, rank_agreement
from pyg_ckd.inspect.colors import COLORS, CYCLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUANTILES = {'5%': 0.05, '25%': 0.25, '50%': 0.5, '75%': 0.75, '95%': 0.95}

Table = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, repr=False)
class Diagnosis(Shown):
    """What :func:`~pyg_ckd.inspect.diagnose` found.

    ``str(diagnosis)`` is a set of tables, each with how to read it below, and
    so is what a notebook shows.

    Args:
        metric (str): What was measured of views and teachers, such as
            ``val recall@20``.
        recall (dict[str, float]): Recall of each view, by its name.
        teacher (dict[str, float]): Recall of each teacher, by the name of the
            view that it teaches.
        num_triples (int): The number of triples that were drawn.
        progress (dict[str, dict[str, float]]): The learning progress of each
            modality, see :func:`~pyg_ckd.balance.effects`: its ``mean`` over
            triples and its quantiles ``5%``, ``25%``, ``50%``, ``75%`` and
            ``95%``.
        weight (dict[str, dict[str, float]]): The same of the weights that
            follow from it, see :func:`~pyg_ckd.balance.modality_weights`.
        clamped (dict[str, dict[str, float]]): The share of triples with the
            progress at its lower bound, ``wrong sign``, since the effect is
            zero or against the sign of its reference; and of those with the
            progress at its upper bound, ``too large``.
        epochs (list[float]): The checkpoints of the history.
        weights (dict[str, list[float]]): The mean weight of each modality at
            the checkpoints.
        gaps (dict[str, list[float]]): The gap of each modality at the
            checkpoints, by validation Recall@20.
        gradient_share (float): The share of distillation in the gradient, see
            :func:`~pyg_ckd.train.gradient_share`.
        signs (dict[str, str]): Signs that distillation does not help.
    """

    metric: str
    recall: Mapping[str, float]
    teacher: Mapping[str, float]
    num_triples: int
    progress: Table
    weight: Table
    clamped: Table
    epochs: Sequence[float]
    weights: Curves
    gaps: Curves
    gradient_share: float
    signs: Mapping[str, str]

    @property
    def gap(self) -> dict[str, float]:
        """How far each view that is taught is behind its teacher.

        A teacher that finds nothing leaves no gap.
        """
        return {
            view: gap(self.recall[view], level)
            for view, level in self.teacher.items()
        }

    @property
    def agreement(self) -> dict[str, float | None]:
        """Spearman's rank correlation of weights and gaps over checkpoints.

        It is there for each modality, and for the points of all of them
        together as ``pooled``. It is :obj:`None` with fewer than four
        checkpoints, or where one of the two never changes.
        """
        return rank_agreement(self.weights, self.gaps)

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        from pyg_ckd._shown.text import to_text

        return to_text(self._shown(), width=80)

    def _shown(self) -> Iterator[Block]:
        """Yield tables, each with how to read it, and the signs."""
        num, drawn = len(self.weight), f'{self.num_triples} triples'
        best = max([*self.recall.values(), *self.teacher.values()], default=0)
        rows = {
            view: [number(value, '.4f', best)]
            for view, value in self.recall.items()
        }
        for view, lack in self.gap.items():
            rows[view] += [
                number(self.teacher[view], '.4f', best),
                number(lack, '+.1%', 1, signed=True),
            ]
        yield _table(
            ['view', self.metric, 'teacher', 'gap'],
            rows,
            'Gap = 1 - view / teacher. Above zero, the view is under-trained: '
            'its modalities can do more than the model makes of them, unless '
            'the teacher knows from interactions alone what it is ahead by.',
        )
        head = ['mean', *QUANTILES]
        yield _table(
            [f'progress, {drawn}', *head],
            _rows(self.progress, '.3g'),
            'The effect of a modality on a margin, relative to its reference. '
            'The lower, the further the modality lags behind.',
        )
        yield _table(
            [f'weight, {drawn}', *head],
            _rows(self.weight, '.2f', {'mean': num}),
            f'The weights of a triple sum to {num}. Above 1, a modality gets '
            f'more of the distillation than the others.',
        )
        yield _table(
            ['progress at a bound', 'wrong sign', 'too large'],
            _rows(self.clamped, '.1%', {'wrong sign': 1, 'too large': 1}),
            'Shares of triples whose weights rest on a bound instead of a '
            'measurement. The larger, the less the weights can be trusted.',
        )
        if self.epochs:
            points = dict.fromkeys(self.weight, len(self.epochs))
            points['pooled'] = num * len(self.epochs)
            yield _table(
                ['weight against gap', 'rank correlation', 'points'],
                {
                    name: [
                        Cell('-')
                        if c is None
                        else number(c, '+.2f', 1, signed=True),
                        Cell(f'{points[name]}'),
                    ]
                    for name, c in self.agreement.items()
                },
                'Over the checkpoints of the history. Near +1, weights go to '
                'where the gap is large; at 0 or below, they do not.',
            )
        yield _table(
            ['gradient', 'share'],
            {'distillation': [number(self.gradient_share, '.1%', 1)]},
            'The rest comes from the loss of the base. Near 0%, distillation '
            'changes nothing; near 100%, the base has no say.',
        )
        for sign in self.signs.values():
            yield Note(sign, warns=True)
        if not self.signs:
            yield Note('No sign of failure.')

    def plot(self) -> Figure:
        """Plot views beside teachers, weights, and weights and gaps over time.

        A weight is a thin bar from its 5% to its 95% quantile, a thick one
        from 25% to 75%, a dot at the median and a stroke at the mean. The
        last panel is left out if there was no history.
        """
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        num = 3 if self.epochs else 2
        size = (3.8 * num, 2.2 + 0.25 * len(self.recall))
        figure = Figure(size, layout='constrained')
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, num)
        for panel in panels:
            panel.spines[['top', 'right']].set_visible(False)
        colors = dict(zip(self.weight, cycle(CYCLE), strict=False))
        self._plot_views(panels[0])
        self._plot_weights(panels[1], colors)
        if self.epochs:
            self._plot_history(panels[2], colors)
        figure.legend(
            loc='outside lower center', ncols=2 * num + 1, frameon=False
        )
        return figure

    def _plot_views(self, panel: Axes) -> None:
        names = list(self.recall)
        taught = [names.index(view) for view in self.teacher]
        for places, values, height, label, color in (
            (range(len(names)), self.recall, -0.38, 'model', COLORS['CKD']),
            (taught, self.teacher, 0.38, 'teacher', COLORS['trained alone']),
        ):
            panel.barh(
                places,
                list(values.values()),
                height,
                align='edge',
                color=color,
                label=label,
            )
        panel.set_yticks(range(len(names)), names)
        panel.invert_yaxis()
        panel.locator_params('x', nbins=5)
        panel.set_xlabel(self.metric)

    def _plot_weights(self, panel: Axes, colors: Mapping[str, str]) -> None:
        for place, (m, color) in enumerate(colors.items()):
            weight = self.weight[m]
            panel.hlines(place, weight['5%'], weight['95%'], color, lw=2)
            panel.hlines(
                place, weight['25%'], weight['75%'], color, lw=9, label=m
            )
            panel.plot(weight['50%'], place, 'o', color='white', mec='black')
            panel.plot(weight['mean'], place, '|', color='black', ms=16)
        panel.axvline(1, color='#999999', linewidth=0.8, zorder=0)
        panel.set_yticks(range(len(colors)), list(colors))
        panel.set_ylim(len(colors) - 0.5, -0.5)
        panel.set_xlim(0, len(colors))
        panel.set_xlabel('weight')

    def _plot_history(self, panel: Axes, colors: Mapping[str, str]) -> None:
        other = panel.twinx()
        for m, color in colors.items():
            panel.plot(self.epochs, self.weights[m], color=color)
            other.plot(self.epochs, self.gaps[m], '--', color=color)
        for style, label in (('-', 'weight'), ('--', 'gap')):
            panel.plot([], [], style, color='black', label=label)
        panel.set_ylim(0, len(colors))
        panel.set_xlabel('epoch')
        panel.set_ylabel('mean weight')
        other.set_ylabel('gap to the teacher')
        other.spines['top'].set_visible(False)


def _table(
    head: list[str], rows: Mapping[str, list[Cell]], reading: str
) -> BlockTable:
    named = [[Cell(name), *cells] for name, cells in rows.items()]
    return BlockTable(head, named, reading=reading)


def _rows(
    table: Table, form: str, most: Mapping[str, float] = MappingProxyType({})
) -> dict[str, list[Cell]]:
    return {
        m: [
            number(value, form, most.get(name))
            for name, value in values.items()
        ]
        for m, values in table.items()
    }
