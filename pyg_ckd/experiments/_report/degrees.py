"""Users and items with few and many interactions."""

from __future__ import annotations

from torch_geometric.data import HeteroData

from pyg_ckd._shown.page.drawn import Drawn, figures
from pyg_ckd._shown.page.section import (
    Block,
    Point,
    Points,
    Section,
)
from pyg_ckd.experiments._report.material import Material
from pyg_ckd.experiments._report.words import signed
from pyg_ckd.experiments.plots import degree_changes, plot_degrees
from pyg_ckd.experiments.plots.degrees import VALUES, Side, paired_runs
from pyg_ckd.experiments.plots.shown import shown_of

ITEMS = (
    ' A hit@20 is a test interaction whose item is among the first 20 of the '
    'user; groups are of test interactions, by how popular their item is, '
    'from the tail to the head.'
)


def degrees_section(
    material: Material, data: HeteroData | None, side: Side
) -> Section | None:
    """Return what changed by the number of training interactions.

    Args:
        material: The results.
        data: The user-item graph, if it is known.
        side: ``"user"`` or ``"item"``.
    """
    if data is None:
        return None
    drawn, left_out = [], []
    for number, (backbone, runs) in enumerate(material.plotted.items()):
        if not paired_runs(runs, side):
            continue
        try:
            changes = degree_changes(runs, data, side)
        except ValueError as error:
            left_out.append(Point(backbone, f'left out: {error}', 'unsure'))
            continue
        if len(changes) < 2:
            continue
        text = '; '.join(
            f'{label} interactions {signed(f"{float(change.mean()):+.4f}")}'
            for label, change in changes
        )
        name = shown_of(runs).name
        drawn.append(
            Drawn(
                plot_degrees(runs, data, side),
                f'{side}s-{number}',
                f'{backbone}, {name}',
                f'{backbone}: change of {VALUES[side]} of {side}s with {text}.',
            )
        )
    blocks: list[Block] = []
    if left_out:
        blocks.append(Points(left_out))
    if drawn:
        blocks.append(figures(drawn))
    if not blocks:
        return None
    return Section(
        f'{side}s',
        f'{side.title()}s with few and many interactions',
        f'The mean difference of test {VALUES[side]}, the method less its '
        f'base, for {side}s in groups of about the same size, from few '
        f'training interactions to many. Lines are 1.96 standard errors of the '
        f'mean to both sides: where one crosses zero, the group may as well '
        f'have seen no change.' + (ITEMS if side == 'item' else ''),
        blocks,
    )
