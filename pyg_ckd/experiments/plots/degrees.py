"""What changes for users and items of few and many interactions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.experiments.method import Method
from pyg_ckd.experiments.plots.layout import label_rows, new_panels
from pyg_ckd.experiments.plots.shown import by_backbone, shown_of
from pyg_ckd.experiments.result import Result
from pyg_ckd.graph import RATES
from pyg_ckd.kernels.arguments import check_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Side = Literal['user', 'item']
#: The number of characters of a name that fits beside a panel.
LONGEST = 20
VALUES = {'user': 'recall@20', 'item': 'hit@20'}


def plot_degrees(
    results: Sequence[Result],
    data: HeteroData,
    side: Side = 'user',
    student: Method | None = None,
) -> Figure:
    """Plot what changes for users, or items, of few and many interactions.

    One panel a backbone. Users, or the items of test interactions, are in up
    to four groups of about the same size, by their number of training
    interactions. A bar is the mean difference of a student and its base over a
    group and over the seeds that both have; its line is the interval of 1.96
    standard errors of the mean.

    Args:
        results: Results of one data set, with metrics of each user, or hits.
        data: The user-item graph.
        side: ``"user"`` for Recall@20 of users, ``"item"`` for the share of
            test interactions whose item is found among the first 20.
        student: The student to show. (default: as in :func:`plot_views`)
    """
    groups = by_backbone(results)
    figure, panels = new_panels(list(groups))
    names = set()
    for panel, runs in zip(panels, groups.values(), strict=True):
        shown = shown_of(runs, student)
        names.add(shown.name)
        changes = degree_changes(runs, data, side, student=student)
        for place, (_, change) in enumerate(changes):
            panel.bar(
                place,
                float(change.mean()),
                0.7,
                yerr=1.96 * _standard_error(change),
                color=shown.color,
                capsize=3,
            )
        ticks = [f'{label}\n({len(change):,})' for label, change in changes]
        panel.axhline(0, color='black', linewidth=0.8)
        panel.set_xticks(range(len(ticks)), ticks)
        counted = 'users' if side == 'user' else 'test interactions'
        panel.set_xlabel(f'training interactions of the {side} ({counted})')
    name = names.pop() if len(names) == 1 else 'student'
    what = f'{name} − base' if len(name) <= LONGEST else 'change'
    label_rows(panels, f'test {VALUES[side]}, {what}')
    return figure


def degree_changes(
    runs: Sequence[Result],
    data: HeteroData,
    side: Side = 'user',
    num_groups: int = 4,
    student: Method | None = None,
) -> list[tuple[str, Tensor]]:
    """Return what a student changes, in groups of users or items by degree.

    Args:
        runs: Results of one backbone, with metrics of each user, or hits.
        data: The user-item graph.
        side: ``"user"`` or ``"item"``, see :func:`plot_degrees`.
        num_groups: The number of groups, which are of about the same size;
            users or items of the same degree are in the same group, so that
            there may be fewer.
        student: The student. (default: as in :func:`plot_views`)

    Returns:
        For each group its degrees, such as ``3–5``, and the differences of the
        student and its base of its users, or of the test interactions with its
        items; means over seeds.

    Raises:
        ValueError: If ``num_groups`` is not positive, no seed has metrics of
            each user, or hits, of both, or runs were not tested on the same
            users or items, or on others than those of the data.
    """
    check_whole('degree_changes', num_groups=num_groups)
    pairs = [
        (_values(base, side), _values(other, side))
        for base, other in paired_runs(runs, side, student)
    ]
    if not pairs:
        raise ValueError(
            f"'runs' needs a base and a student of the same seed with metrics "
            f'of each {side} (got none)'
        )
    node = pairs[0][0][0]
    if any(not torch.equal(own, node) for pair in pairs for own, _ in pair):
        raise ValueError(
            f"'runs' were tested on different {side}s; keep those of one data "
            f'set and split'
        )
    if int(node.max()) >= data[side].num_nodes:
        raise ValueError(
            f"'data' needs to be what 'runs' were tested on: it has "
            f'{data[side].num_nodes} {side}s (got {side} {int(node.max())})'
        )
    changes = torch.stack([other[1] - base[1] for base, other in pairs])
    change = changes.mean(dim=0)
    ends = data[RATES].edge_index[0 if side == 'user' else 1]
    degree = ends.bincount(minlength=data[side].num_nodes)[node]

    shares = torch.linspace(0, 1, num_groups + 1)[1:-1]
    bounds = degree.float().quantile(shares, interpolation='lower').unique()
    group = torch.bucketize(degree.float(), bounds)
    members = [group == number for number in group.unique()]
    return [(_span(degree[own]), change[own]) for own in members]


def paired_runs(
    runs: Sequence[Result], side: Side, student: Method | None = None
) -> list[tuple[Result, Result]]:
    """Return base and student of each seed that has values of both.

    Args:
        runs: Results of one backbone.
        side: ``"user"`` for metrics of users, ``"item"`` for hits.
        student: The student. (default: as in :func:`plot_views`)
    """
    shown = shown_of(runs, student)
    base, other = (
        {r.run.seed: r for r in own if VALUES[side] in _table(r, side)}
        for own in (shown.base, shown.student)
    )
    return [(base[seed], other[seed]) for seed in sorted(base.keys() & other)]


def _table(result: Result, side: Side) -> dict[str, Tensor]:
    return result.users if side == 'user' else result.hits


def _values(result: Result, side: Side) -> tuple[Tensor, Tensor]:
    """Return users and their recall, or items and whether they are found.

    They are in the order of ids, whatever order they were tested in.
    """
    table = {name: x.cpu() for name, x in _table(result, side).items()}
    keys = [table[name] for name in (side, 'user') if name in table]
    order = torch.from_numpy(np.lexsort([key.numpy() for key in keys]))
    return table[side][order], table[VALUES[side]][order]


def _standard_error(values: Tensor) -> float:
    """Return the standard error of the mean, 0 of a single value."""
    if len(values) < 2:
        return 0.0
    return float(values.std()) / len(values) ** 0.5


def _span(values: Tensor) -> str:
    low, high = int(values.min()), int(values.max())
    return f'{low}' if low == high else f'{low}–{high}'
