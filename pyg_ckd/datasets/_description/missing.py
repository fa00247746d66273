"""Which items lack which modality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyg_ckd._shown.colors import CYCLE
from pyg_ckd._shown.page.drawn import Drawn, figures
from pyg_ckd._shown.page.figure import new_figure
from pyg_ckd._shown.page.section import Block, Cell, Section, Table, Text
from pyg_ckd.datasets._description.item_names import short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: How many combinations are shown.
MOST = 12


def missing_section(has: Mapping[str, Tensor]) -> Section | None:
    """Return which items lack what.

    Args:
        has: For each modality which items have it, ``[num_items]``.
    """
    if not has or not all(map(len, has.values())):
        return None
    lacking = {m: float((~own).double().mean()) for m, own in has.items()}
    title, name = 'What is missing', 'missing'
    if not any(lacking.values()):
        text = 'Every item has every modality.'
        return Section(name, title, text, [])
    shown = '; '.join(f'{m} {share:.1%}' for m, share in lacking.items())
    plot = Drawn(
        _plot(lacking), 'missing', '', f'Share of items without: {shown}.'
    )
    found = overlaps(has)
    rows = {
        _without(names): [
            {
                'items': Cell(f'{count:,}'),
                'share': Cell(f'{count / len(next(iter(has.values()))):.1%}'),
            }
        ]
        for names, count in found[:MOST]
    }
    blocks: list[Block] = [
        figures([plot], 'one'),
        Table('What items lack', 'what is missing', rows),
    ]
    left = found[MOST:]
    if left:
        items = sum(count for _, count in left)
        blocks.append(Text(f'{len(left):,} more, of {items:,} items.'))
    return Section(
        name,
        title,
        'The share of items without each modality, and what is missing '
        'together: items without anything are known by their interactions '
        'alone. Where an item lacks a modality, data sets here give it the '
        'mean of the others. A graph of features makes such items neighbours '
        'of each other; this page leaves them out.',
        blocks,
    )


def overlaps(has: Mapping[str, Tensor]) -> list[tuple[tuple[str, ...], int]]:
    """Return what is missing together, and of how many items, the most first.

    Args:
        has: For each modality which items have it, ``[num_items]``.

    Example:
        >>> has = {'text': torch.tensor([True, False, False]),
        ...        'image': torch.tensor([True, True, False])}
        >>> overlaps(has)
        [((), 1), (('text',), 1), (('text', 'image'), 1)]
    """
    lacks = ~torch.stack([*has.values()], dim=1)  # [num_items, num_modalities]
    kinds, count = lacks.unique(dim=0, return_counts=True)
    found = [
        (tuple(m for m, lack in zip(has, kind, strict=True) if lack), number)
        for kind, number in zip(kinds.tolist(), count.tolist(), strict=True)
    ]
    return sorted(found, key=lambda pair: (-pair[1], len(pair[0]), pair[0]))


def _without(names: tuple[str, ...]) -> str:
    return ', '.join(names) if names else 'nothing'


def _plot(lacking: Mapping[str, float]) -> Figure:
    figure = new_figure(5.0, 0.8 + 0.35 * len(lacking))
    panel = figure.subplots()
    places = range(len(lacking))
    bars = panel.barh(places, [*lacking.values()], 0.6, color=CYCLE[0])
    panel.bar_label(bars, [f'{x:.1%}' for x in lacking.values()], padding=4)
    panel.set_yticks(places, [short(name, 24) for name in lacking])
    panel.invert_yaxis()
    panel.set_xlim(0, min(1.0, 1.2 * max(lacking.values())) * 1.1)
    panel.xaxis.set_major_formatter(lambda share, _: f'{share:.0%}')
    panel.set_xlabel('share of items without it')
    panel.spines[['top', 'right']].set_visible(False)
    return figure
