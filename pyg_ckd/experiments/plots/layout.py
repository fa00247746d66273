"""Panels and legends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING

from pyg_ckd._shown.page.figure import new_figure

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: The number of panels in a row.
COLUMNS = 3
#: The number of characters in a line of a title, and of a label.
TITLE, LABEL = 32, 28


def new_panels(titles: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel for each title, in rows of `COLUMNS`."""
    columns = min(max(len(titles), 1), COLUMNS)
    rows = -(-max(len(titles), 1) // columns)
    figure = new_figure(columns * 3.6 + 0.8, rows * 2.9 + 0.5)
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel, title in zip(panels, titles, strict=False):
        panel.set_title(fill(title, TITLE))
        panel.spines[['top', 'right']].set_visible(False)
    for panel in panels[len(titles) :]:
        panel.remove()
    return figure, list(panels[: len(titles)])


def label_rows(panels: Sequence[Axes], text: str) -> None:
    """Label the first panel of each row."""
    for panel in panels[::COLUMNS]:
        panel.set_ylabel(text)


def label_groups(panel: Axes, names: Sequence[str]) -> None:
    """Name groups along the horizontal axis, aslant where they are long."""
    names = [fill(name, LABEL) for name in names]
    if sum(map(len, names)) > LABEL or len(names) > COLUMNS:
        panel.set_xticks(
            range(len(names)),
            names,
            rotation=30,
            ha='right',
            rotation_mode='anchor',
        )
    else:
        panel.set_xticks(range(len(names)), names)


def add_legend(figure: Figure, shown: Mapping[str, Artist]) -> None:
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


def labelled(panels: Iterable[Axes]) -> dict[str, Artist]:
    """Return what has a label in any panel, each label once."""
    return {
        label: handle
        for panel in panels
        for handle, label in zip(
            *panel.get_legend_handles_labels(), strict=True
        )
    }
