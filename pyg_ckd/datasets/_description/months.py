"""When interactions were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd._contract.arrays import as_tensor
from pyg_ckd._shown.colors import CYCLE
from pyg_ckd._shown.page.drawn import Drawn, figures
from pyg_ckd._shown.page.figure import new_figure
from pyg_ckd._shown.page.section import Section
from pyg_ckd.graph import RATES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: The names of times by what they are of, and of the edges they belong to.
TIMES = {
    'training': ('time', 'edge_index'),
    'validation': ('val_edge_label_time', 'val_edge_label_index'),
    'test': ('test_edge_label_time', 'test_edge_label_index'),
}
#: What a time is believed to be, in seconds since 1970: 1990 to 2100.
FIRST, LAST = 631_152_000, 4_102_444_800
#: Fewer months than that are shown by days.
FEW = 4
#: At most so many are named.
TICKS = 6


class Months(NamedTuple):
    """Interactions a month, or a day.

    Args:
        start (NDArray): When each begins, ascending, ``datetime64[D]``.
        counts (dict): For each split the number of each.
        unit (str): ``'month'`` or ``'day'``.
    """

    start: NDArray[np.datetime64]
    counts: dict[str, NDArray[np.int64]]
    unit: str


def times_of(data: HeteroData) -> dict[str, Tensor]:
    """Return the times of interactions by split, where they are known.

    Args:
        data: A user-item graph.
    """
    if RATES not in data.edge_types:
        return {}
    rates, found = data[RATES], {}
    for split, (name, edges) in TIMES.items():
        time, pairs = (as_tensor(rates.get(key)) for key in (name, edges))
        if time is None or pairs is None or time.shape != pairs.shape[1:]:
            continue
        if len(time):
            found[split] = time.detach().cpu().double()
    return found


def months_of(times: Mapping[str, Tensor]) -> Months | None:
    """Return how many interactions there were in which month.

    Args:
        times: Times by split, in seconds since 1970.

    Returns:
        Months, days if they are few, or ``None`` if a time is none from 1990
        to 2100, so that they are likely no such seconds.

    Example:
        >>> time = torch.tensor([978300760.0, 978302109.0])
        >>> months_of({'training': time}).start
        array(['2000-12-31'], dtype='datetime64[D]')
    """
    every = torch.cat([*times.values()]) if times else torch.empty(0)
    if not len(every) or not bool(((every >= FIRST) & (every < LAST)).all()):
        return None
    ends = np.array([every.min(), every.max()]).astype('datetime64[s]')
    first, last = ends.astype('datetime64[M]')
    by_day = int((last - first).astype(int)) + 1 < FEW
    kind = 'datetime64[D]' if by_day else 'datetime64[M]'
    first, last = ends.astype(kind).astype(int)
    counts = {
        split: np.bincount(
            _number(time, kind) - first, minlength=last - first + 1
        )
        for split, time in times.items()
    }
    start = np.arange(first, last + 1).astype(kind).astype('datetime64[D]')
    return Months(start, counts, 'day' if by_day else 'month')


def months_section(data: HeteroData) -> Section | None:
    """Return when interactions were, if the graph knows it.

    Args:
        data: A user-item graph.
    """
    times = times_of(data)
    if not times:
        return None
    title, name = 'When interactions were', 'months'
    months = months_of(times)
    if months is None:
        low, high = torch.cat([*times.values()]).aminmax()
        return Section(
            name,
            title,
            f'Times go from {low:,.6g} to {high:,.6g}, which are no seconds '
            f'since 1970 from 1990 on, as dates are: there are no months to '
            f'show. What they order is not affected.',
            [],
        )
    total = np.sum([*months.counts.values()], axis=0)
    busiest = int(total.argmax())
    text = (
        f'Interactions a {months.unit}, from {months.start[0]} to '
        f'{months.start[-1]}; most, {total[busiest]:,}, from '
        f'{months.start[busiest]} on.'
    )
    lacking = [split for split in TIMES if split not in times]
    note = f' Times of {" and ".join(lacking)} are not known.' * bool(lacking)
    return Section(
        name,
        title,
        f'Interactions a {months.unit}, by split. Where test is not the '
        f'latest, a model may learn from what came after it.{note}',
        [figures([Drawn(_plot(months), 'months', '', text)], 'one')],
    )


def _number(time: Tensor, kind: str) -> NDArray[np.int64]:
    """Return the numbers of months or days since 1970."""
    seconds = time.numpy().astype('datetime64[s]')
    return seconds.astype(kind).astype(np.int64)


def _plot(months: Months) -> Figure:
    from matplotlib.patches import Patch

    figure = new_figure(5.4, 3.2)
    panel = figure.subplots()
    kind = 'datetime64[D]' if months.unit == 'day' else 'datetime64[M]'
    end = (months.start[-1:].astype(kind) + 1).astype('datetime64[D]')
    edges = np.concatenate([months.start, end])
    below = np.zeros(len(edges))
    handles = []
    for (split, count), color in zip(
        months.counts.items(), CYCLE, strict=False
    ):
        above = below + np.append(count, count[-1])
        panel.fill_between(
            edges, below, above, step='post', color=color, linewidth=0
        )
        handles.append(Patch(color=color, label=split))
        below = above
    ticks = months.start[:: -(-len(months.start) // TICKS)]
    panel.set_xticks(ticks, ticks.astype(kind).astype(str))
    panel.yaxis.set_major_formatter('{x:,.0f}')
    panel.set_ylim(bottom=0)
    panel.set_ylabel(f'interactions a {months.unit}')
    panel.spines[['top', 'right']].set_visible(False)
    figure.legend(
        handles=handles, loc='outside upper center', ncols=3, frameon=False
    )
    return figure
