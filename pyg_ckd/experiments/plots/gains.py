"""Gains with their intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import accumulate
from textwrap import fill
from typing import TYPE_CHECKING

from pyg_ckd._shown.page.figure import new_figure
from pyg_ckd.experiments.statistics import Comparison
from pyg_ckd.inspect.colors import COLORS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: The number of characters in a line of a name.
WIDEST = 34


def plot_gains(gains: Mapping[str, Comparison]) -> Figure:
    """Plot gains with their intervals, one row each.

    What is significant is orange, all else grey. What was cut short or is
    not comparable has a hollow dot. An end at infinity is that of the panel.

    Args:
        gains: Comparisons that were tested, by name.
    """
    names = [fill(name, WIDEST) for name in gains]
    heights = [1 + 0.6 * name.count('\n') for name in names]
    ends_of_rows = list(accumulate(heights))
    places = [e - h / 2 for e, h in zip(ends_of_rows, heights, strict=True)]
    figure = new_figure(5.0, 0.8 + 0.28 * sum(heights))
    panel = figure.subplots()
    for place, gain in zip(places, gains.values(), strict=True):
        color = COLORS['CKD'] if gain.significant else COLORS['trained alone']
        ends = [100 * end for end in (gain.low, gain.high)]
        if all(map(math.isfinite, ends)):
            panel.plot(ends, [place] * 2, color=color, lw=3)
        else:
            panel.axhline(place, color=color, lw=3)
        unsure = gain.outcome in ('cut short', 'not comparable')
        inside = 'white' if unsure else color
        panel.plot(100 * gain.gain, place, 'o', color=color, mfc=inside)
    panel.axvline(0, color='black', linewidth=0.8)
    panel.set_yticks(places, names)
    panel.tick_params('y', length=0)
    panel.set_ylim(sum(heights), 0)
    panel.set_xlabel('change against base, %')
    panel.spines[['top', 'right', 'left']].set_visible(False)
    return figure
