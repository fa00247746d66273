"""How CKD weighs modalities."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Literal

from pyg_ckd.experiments.method import Method
from pyg_ckd.experiments.plots.layout import add_legend, label_rows, new_panels
from pyg_ckd.experiments.plots.shown import by_backbone, shown_of
from pyg_ckd.experiments.result import Result
from pyg_ckd.inspect.colors import CYCLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Part = Literal['weight', 'specific', 'generic']


def plot_weights(
    results: Sequence[Result],
    part: Part = 'weight',
    student: Method | None = None,
) -> Figure:
    """Plot the weight of each modality over the training of CKD.

    One panel a backbone, a line a seed. Weights sum to the number of
    modalities, so that 1 is no preference; a modality that lags behind lies
    above.

    Args:
        results: Results of one data set; only students that log what is
            plotted count.
        part: What to plot of each modality: its weight, or its specific or
            generic loss, which say how far its view is from its teacher.
        student: The student to show. (default: as in :func:`plot_views`)
    """
    logging = [run for run in results if logged([run], part)]
    groups = {
        name: chosen
        for name, runs in by_backbone(logging).items()
        if (chosen := shown_of(runs, student).student)
    }
    figure, panels = new_panels(list(groups))
    shown = {}
    for panel, runs in zip(panels, groups.values(), strict=True):
        names = logged(runs, part)
        highest = 0.0
        for name, color in zip(names, cycle(CYCLE), strict=False):
            key = f'{part}_{name}'
            for run in runs:
                entries = [entry for entry in run.history if key in entry]
                values = [entry[key] for entry in entries]
                highest = max([highest, *values])
                (shown[name],) = panel.plot(
                    [entry['epoch'] for entry in entries],
                    values,
                    color=color,
                    alpha=0.8,
                )
        panel.set_ylim(bottom=0)
        if part == 'weight':
            panel.axhline(1, color='#999999', linewidth=0.8, zorder=0)
            panel.set_ylim(top=min(len(names), max(2.0, 1.1 * highest)))
        panel.set_xlabel('epoch')
    label = 'weight' if part == 'weight' else f'{part} loss'
    label_rows(panels, f'{label} of a modality')
    add_legend(figure, shown)
    return figure


def logged(runs: Sequence[Result], part: Part) -> list[str]:
    """Return the modalities of which a part was logged."""
    keys = {key for run in runs for entry in run.history for key in entry}
    prefix = f'{part}_'
    return sorted(k.removeprefix(prefix) for k in keys if k.startswith(prefix))
