"""How many interactions users and items have."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from pyg_ckd._shown.colors import CYCLE
from pyg_ckd._shown.page.drawn import Drawn, figures
from pyg_ckd._shown.page.figure import new_figure
from pyg_ckd._shown.page.section import Point, Points, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Degrees(NamedTuple):
    """Interactions of training of users, or of items, in figures.

    Args:
        mean (float): Their mean.
        median (float): Their median.
        most (int): The largest number.
        none (int): How many have none.
        gini (float): How unequal they are, from 0, all the same, to 1.
    """

    mean: float
    median: float
    most: int
    none: int
    gini: float

    @classmethod
    def of(cls, degree: Tensor) -> Degrees:
        """Return the figures of numbers of interactions.

        Args:
            degree: Of each user or item, ``[num_nodes]``.

        Example:
            >>> Degrees.of(torch.tensor([0, 1, 1, 6]))
            Degrees(mean=2.0, median=1.0, most=6, none=1, gini=0.5625)
        """
        num = len(degree)
        if not num:
            return cls(0.0, 0.0, 0, 0, 0.0)
        ordered = degree.sort().values
        middle = ordered[(num - 1) // 2] + ordered[num // 2]
        return cls(
            float(degree.double().mean()),
            float(middle) / 2,
            int(ordered[-1]),
            int((degree == 0).sum()),
            _gini(ordered),
        )


def degrees_section(user: Tensor, item: Tensor) -> Section | None:
    """Return how many interactions users and items have.

    Args:
        user: The interactions of training of each user, ``[num_users]``.
        item: Those of each item, ``[num_items]``.
    """
    sides = {'user': user, 'item': item}
    if not any(bool(degree.any()) for degree in sides.values()):
        return None
    points, drawn = [], []
    for (side, degree), color in zip(sides.items(), CYCLE, strict=False):
        found = Degrees.of(degree)
        text = (
            f'median {found.median:,g}, mean {found.mean:,.1f}, at most '
            f'{found.most:,}; {found.none:,} without any; Gini coefficient '
            f'{found.gini:.2f}'
        )
        points.append(Point(f'{side.title()}s', text))
        drawn.append(
            Drawn(
                _plot(degree, side, found.median, color),
                f'{side}s',
                f'{side.title()}s',
                f'The share of {side}s with so many interactions of training '
                f'or more: {text}.',
            )
        )
    return Section(
        'degrees',
        'Users and items with few and many interactions',
        'The share of users, and of items, that have so many interactions of '
        'training or more, both axes logarithmic. A straight line is a power '
        'law: few have most. The dashed line is the median. The Gini '
        'coefficient is 0 where all have the same number, and close to 1 where '
        'a few have nearly all.',
        [Points(points), figures(drawn)],
    )


def shares(degree: Tensor) -> tuple[Tensor, Tensor]:
    """Return the share of users or items with so many interactions or more.

    Args:
        degree: Of each, ``[num_nodes]``.

    Returns:
        Each number of interactions above 0 that occurs, ascending, and the
        shares.

    Example:
        >>> shares(torch.tensor([0, 1, 1, 6]))
        (tensor([1, 6]), tensor([0.7500, 0.2500], dtype=torch.float64))
    """
    value, count = degree[degree > 0].unique(return_counts=True)
    return value, count.flip(0).cumsum(0).flip(0).double() / len(degree)


def _plot(degree: Tensor, side: str, median: float, color: str) -> Figure:
    figure = new_figure(4.4, 3.2)
    panel = figure.subplots()
    value, share = shares(degree)
    style = '-' if len(value) > 1 else 'o'
    panel.plot(value.numpy(), share.numpy(), style, color=color)
    panel.set_xscale('log')
    panel.set_yscale('log')
    panel.set_ylim(min(0.1, float(share.min()) / 1.5), 1.5)
    if median > 0:
        panel.axvline(median, color='#999999', linestyle='--', linewidth=0.9)
    panel.set_xlabel('training interactions, at least')
    panel.set_ylabel(f'share of {side}s')
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter('{x:,g}')
        axis.set_minor_formatter('')
    panel.spines[['top', 'right']].set_visible(False)
    return figure


def _gini(ordered: Tensor) -> float:
    total, num = float(ordered.sum()), len(ordered)
    if not total:
        return 0.0
    rank = torch.arange(1, num + 1, dtype=torch.double)
    weighted = float((rank * ordered).sum())
    return 2 * weighted / (num * total) - (num + 1) / num
