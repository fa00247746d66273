"""A check of how a model uses its modalities, and of what CKD makes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, cycle
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.analysis.plots import COLORS, CYCLE
from pyg_ckd.evaluation import Split, evaluate_views, evaluation
from pyg_ckd.views import views

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pyg_ckd.distill import Teacher
    from pyg_ckd.train import CKD

QUANTILES = {'5%': 0.05, '25%': 0.25, '50%': 0.5, '75%': 0.75, '95%': 0.95}
#: A rank correlation over fewer checkpoints says nothing.
MIN_CHECKPOINTS = 4

Batch = tuple[Tensor, Tensor, Tensor]
Table = Mapping[str, Mapping[str, float]]
Curves = Mapping[str, Sequence[float]]
Rows = dict[str, list[str]]


@dataclass(frozen=True)
class Diagnosis:
    """What :func:`diagnose` found.

    ``str(diagnosis)`` is a set of tables, each with how to read it below.

    Args:
        metric (str): What was measured of views and teachers, such as
            ``val recall@20``.
        recall (dict[str, float]): Recall of each view, by its name.
        teacher (dict[str, float]): Recall of the teacher of each modality.
        num_triples (int): The number of triples that were drawn.
        progress (dict[str, dict[str, float]]): The learning progress of each
            modality, see :func:`~pyg_ckd.distill.effects`: its ``mean`` over
            triples and its quantiles ``5%``, ``25%``, ``50%``, ``75%`` and
            ``95%``.
        weight (dict[str, dict[str, float]]): The same of the weights that
            follow from it, see :func:`~pyg_ckd.distill.modality_weights`.
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
            :meth:`~pyg_ckd.train.CKD.gradient_share`.
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
        """How far the view of each modality is behind its teacher.

        A teacher that finds nothing leaves no gap.
        """
        return {
            m: _gap(self.recall[f'only({m})'], level)
            for m, level in self.teacher.items()
        }

    @property
    def agreement(self) -> dict[str, float | None]:
        """Spearman's rank correlation of weights and gaps over checkpoints.

        It is there for each modality, and for the points of all of them
        together as ``pooled``. It is :obj:`None` with fewer than four
        checkpoints, or where one of the two never changes.
        """
        return rank_agreement(self.weights, self.gaps)

    def __str__(self) -> str:
        from rich.console import Console
        from rich.table import Table as RichTable

        console = Console(
            width=80,
            color_system=None,
            force_jupyter=False,
            markup=False,
            emoji=False,
        )
        with console.capture() as capture:
            for head, rows, words in self._tables():
                table = RichTable(*head, box=None, pad_edge=False)
                for column in table.columns[1:]:
                    column.justify = 'right'
                for name, cells in rows.items():
                    table.add_row(name, *cells)
                console.print(table)
                console.print(words, end='\n\n')
            for sign in self.signs.values() or ['No sign of failure.']:
                console.print(sign)
        return '\n'.join(line.rstrip() for line in capture.get().splitlines())

    def _tables(self) -> Iterator[tuple[list[str], Rows, str]]:
        """Yield the head and the rows of each table, and how to read it."""
        num, drawn = len(self.teacher), f'{self.num_triples} triples'
        rows = {view: [f'{value:.4f}'] for view, value in self.recall.items()}
        for m, gap in self.gap.items():
            rows[f'only({m})'] += [f'{self.teacher[m]:.4f}', f'{gap:+.1%}']
        yield (
            ['view', self.metric, 'teacher', 'gap'],
            rows,
            'Gap = 1 - view / teacher. Above zero, the modality is '
            'under-trained: alone it can do more than the model makes of it.',
        )
        head = ['mean', *QUANTILES]
        yield (
            [f'progress, {drawn}', *head],
            _rows(self.progress, '.3g'),
            'The effect of a modality on a margin, relative to its reference. '
            'The lower, the further the modality lags behind.',
        )
        yield (
            [f'weight, {drawn}', *head],
            _rows(self.weight, '.2f'),
            f'The weights of a triple sum to {num}. Above 1, a modality gets '
            f'more of the distillation than the others.',
        )
        yield (
            ['progress at a bound', 'wrong sign', 'too large'],
            _rows(self.clamped, '.1%'),
            'Shares of triples whose weights rest on a bound instead of a '
            'measurement. The larger, the less the weights can be trusted.',
        )
        if self.epochs:
            points = dict.fromkeys(self.teacher, len(self.epochs))
            points['pooled'] = num * len(self.epochs)
            yield (
                ['weight against gap', 'rank correlation', 'points'],
                {
                    name: ['-' if c is None else f'{c:+.2f}', f'{points[name]}']
                    for name, c in self.agreement.items()
                },
                'Over the checkpoints of the history. Near +1, weights go to '
                'where the gap is large; at 0 or below, they do not.',
            )
        yield (
            ['gradient', 'share'],
            {'distillation': [f'{self.gradient_share:.1%}']},
            'The rest comes from the loss of the base. Near 0%, distillation '
            'changes nothing; near 100%, the base has no say.',
        )

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
        colors = dict(zip(self.teacher, cycle(CYCLE), strict=False))
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
        taught = [names.index(f'only({m})') for m in self.teacher]
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


def diagnose(
    model: nn.Module,
    data: HeteroData,
    teachers: Mapping[str, Teacher],
    *,
    history: Sequence[Mapping[str, float]] | None = None,
    split: Split = 'val',
    k: int = 20,
    num_triples: int = 8192,
    seed: int = 0,
    **ckd: Any,
) -> Diagnosis:
    r"""Find out how a model uses its modalities, and what CKD makes of it.

    The gap of a modality is what its view lacks to its teacher, and what CKD
    is to close:

    .. math::
        \mathrm{gap}_m = 1 - \frac{\mathrm{Recall@}K(\mathrm{only}(m))}
        {\mathrm{Recall@}K(T_m)}

    Progress and weights are those of :class:`~pyg_ckd.train.CKD`, on training
    triples with positives drawn uniformly from the interactions. With
    ``effect="average"`` they are averages over batches of these. The weights
    are what the effects lead to, even with ``reweight=False``. The model is
    looked at in evaluation mode, without dropout, and left as it was.

    Args:
        model: Any recommender that CKD can train, at any stage of training.
        data: The user-item graph.
        teachers: A teacher for each modality.
        history: The history of a :class:`~pyg_ckd.train.CKD` task, to compare
            weights and gaps at its checkpoints.
        split: Where recall is measured, ``"val"`` or ``"test"``.
        k: The list length of recall.
        num_triples: The number of training triples to draw.
        seed: The seed they are drawn with.
        **ckd: Settings of :class:`~pyg_ckd.train.CKD`, such as ``strength``.

    Raises:
        ValueError: If ``num_triples`` is not positive, the history is not one
            of CKD, or an argument is one that CKD or the evaluation refuses.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import VBPR
        >>> from pyg_ckd.train import CKD, fit
        >>> data = FakeMultimodal(num_users=20, num_items=30)[0]
        >>> task = CKD(VBPR.from_data(data, dim=4), data)
        >>> task = fit(task, max_epochs=1, progress=False)
        >>> found = diagnose(task.model, data, task.teachers)
        >>> list(found.gap)
        ['image', 'text']
        >>> list(found.recall)
        ['full', 'only(image)', 'only(text)']
    """
    # Lightning is slow to load, and the rest of this package needs none of it:
    from pyg_ckd.distill import modality_weights
    from pyg_ckd.train import CKD
    from pyg_ckd.train.failure_signs import failure_signs

    if num_triples < 1:
        raise ValueError(
            f"'num_triples' needs to be positive in 'diagnose' "
            f'(got {num_triples})'
        )
    gpus = range(torch.cuda.device_count())
    with torch.random.fork_rng(gpus), evaluation(model):
        torch.manual_seed(seed)
        task = CKD(model, data, teachers, **ckd)
        task.to(next(model.parameters()).device)
        task.on_fit_start()  # as in training, all goes to that device
        checkpoint = task.validation()  # sets the gates, if there are any
        batches = _batches(task, num_triples)
        progress = _progress(task, batches)  # [N, M]
        share = task.gradient_share(batches[0], task.generic_triples())
        table = evaluate_views(model, data, split, (k,), metrics=('recall',))
        level = {
            m: teacher.evaluate(
                data, split=split, ks=(k,), metrics=('recall',)
            )[f'recall@{k}']
            for m, teacher in task.teachers.items()
        }

    weight = modality_weights(progress)
    names = task.names
    for i, m in enumerate(names):
        checkpoint[f'spread_{m}'] = float((weight[:, i] - 1).abs().mean())
    checkpoint |= {'gradient_share': share}
    signs = failure_signs(checkpoint, task.teacher_level)
    weights, gaps = weights_and_gaps(history or (), task.teacher_level)
    wrong = (progress <= 1e-8).double().mean(dim=0).tolist()
    large = (progress >= 10).double().mean(dim=0).tolist()
    return Diagnosis(
        metric=f'{split} recall@{k}',
        recall={view: values[f'recall@{k}'] for view, values in table.items()},
        teacher=level,
        num_triples=num_triples,
        progress=_spread(progress, names),
        weight=_spread(weight, names),
        clamped={
            m: {'wrong sign': wrong[i], 'too large': large[i]}
            for i, m in enumerate(names)
        },
        epochs=[entry['epoch'] for entry in history or ()],
        weights=weights,
        gaps=gaps,
        gradient_share=share,
        signs=signs,
    )


def _batches(task: CKD, num: int) -> list[Batch]:
    """Draw training triples, in batches of the size that is trained with."""
    loader = task.train_dataloader()
    place = torch.randint(len(loader.keys), (num,), device=loader.keys.device)
    user = loader.keys[place] // loader.num_items
    pos = loader.keys[place] % loader.num_items
    triples = (user, pos, loader.negatives(user))
    columns = (column.split(task.batch_size) for column in triples)
    return list(zip(*columns, strict=True))


def _progress(task: CKD, batches: Sequence[Batch]) -> Tensor:
    """Return the learning progress on each triple, ``[N, M]``."""
    several = views(task.model, task.data, task.keeps)
    progress = []
    for batch in batches:
        taught = [t.margin(*batch) for t in task.teachers.values()]
        student = several.triples(*batch).margin()  # [B, V]
        progress.append(task.progress(student, torch.stack(taught, dim=-1)))
    return torch.cat(progress).cpu()


def weights_and_gaps(
    history: Sequence[Mapping[str, float]], level: Mapping[str, float]
) -> tuple[Curves, Curves]:
    """Return the weight and the gap of each modality at the checkpoints.

    Args:
        history: The history of a :class:`~pyg_ckd.train.CKD` task.
        level: Validation Recall@20 of the teacher of each modality.

    Raises:
        ValueError: If the history is not one of CKD.

    Example:
        >>> history = [{'weight_text': 1.5, 'val_recall@20/only(text)': 0.06}]
        >>> weights, gaps = weights_and_gaps(history, {'text': 0.08})
        >>> weights, gaps
        ({'text': [1.5]}, {'text': [0.25]})
    """
    try:
        weights = {m: [each[f'weight_{m}'] for each in history] for m in level}
        recall = {
            m: [each[f'val_recall@20/only({m})'] for each in history]
            for m in level
        }
    except KeyError as error:
        raise ValueError(
            f"'history' needs to be that of a CKD task, but it has an entry "
            f'without {error}'
        ) from None
    gaps = {m: [_gap(own, level[m]) for own in recall[m]] for m in level}
    return weights, gaps


def rank_agreement(weights: Curves, gaps: Curves) -> dict[str, float | None]:
    """Return Spearman's rank correlation of weights and gaps.

    Args:
        weights: The weight of each modality at the checkpoints.
        gaps: The gap of each modality at the checkpoints.

    Returns:
        A correlation for each modality, and for the points of all of them
        together as ``pooled``. It is :obj:`None` with fewer than four
        checkpoints, or where one of the two never changes.

    Example:
        >>> weights = {'text': [1.4, 1.3, 1.2, 1.1]}
        >>> rank_agreement(weights, {'text': [0.5, 0.4, 0.3, 0.2]})['text']
        1.0
    """
    from scipy.stats import spearmanr

    pairs = {m: (weights[m], gaps[m]) for m in weights}
    pairs['pooled'] = (
        list(chain(*weights.values())),
        list(chain(*gaps.values())),
    )
    fewest = min(map(len, weights.values()))
    return {
        name: float(spearmanr(*pair).statistic)
        if fewest >= MIN_CHECKPOINTS
        and min(len(set(series)) for series in pair) > 1
        else None
        for name, pair in pairs.items()
    }


def _gap(own: float, teacher: float) -> float:
    return 1 - own / teacher if teacher else 0.0


def _spread(values: Tensor, names: Sequence[str]) -> Table:
    """Return the mean and the quantiles of each column, by its name."""
    share = torch.tensor(list(QUANTILES.values()), dtype=torch.double)
    return {
        m: {
            'mean': float(column.mean()),
            **dict(
                zip(QUANTILES, column.quantile(share).tolist(), strict=True)
            ),
        }
        for m, column in zip(names, values.double().t(), strict=True)
    }


def _rows(table: Table, form: str) -> Rows:
    return {
        m: [f'{value:{form}}' for value in values.values()]
        for m, values in table.items()
    }
