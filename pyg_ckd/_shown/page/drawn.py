"""Plots on the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from pyg_ckd._shown.page.section import Figure, Figures, Swatch
from pyg_ckd._shown.page.svg import to_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Plot

LINES: dict[object, str] = {'-': 'solid', '--': 'dashed', ':': 'dotted'}


class Drawn(NamedTuple):
    """A plot before it is put on the page.

    Args:
        plot (Figure): What Matplotlib drew.
        name (str): What its ids start with.
        caption (str): What is above it; the titles of panels are left out.
        text (str): What stands for it.
    """

    plot: Plot
    name: str
    caption: str
    text: str


def figures(drawn: Sequence[Drawn], layout: str = '') -> Figures:
    """Return plots with one legend for all.

    Each keeps its own where a label looks different in two of them.
    """
    legends = sorted((_legend(each.plot) for each in drawn), key=len)
    legend = list(dict.fromkeys(s for own in reversed(legends) for s in own))
    if len({swatch.label for swatch in legend}) < len(legend):
        legend = []
    items = []
    for plot, name, caption, text in drawn:
        if legend:
            plot.legends.clear()
        for panel in plot.axes:
            panel.set_title('')
        if layout == 'four':  # text remains as large in small plots
            plot.set_size_inches(3.5, 2.5)
        items.append(Figure(caption, text, Markup(to_svg(plot, name))))
    return Figures(items, legend, layout)


def _legend(plot: Plot) -> list[Swatch]:
    from matplotlib.colors import to_hex
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    found = []
    for legend in plot.legends:
        for text, handle in zip(
            legend.get_texts(), legend.legend_handles, strict=True
        ):
            label = text.get_text()
            if isinstance(handle, Line2D):
                color, line = handle.get_color(), LINES[handle.get_linestyle()]
                found.append(Swatch(label, to_hex(color), line))
            elif isinstance(handle, Patch):
                found.append(Swatch(label, to_hex(handle.get_facecolor())))
    return found
