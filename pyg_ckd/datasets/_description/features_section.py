"""Whether features mean anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyg_ckd._contract.scales import scale_text
from pyg_ckd._shown.colors import CYCLE
from pyg_ckd._shown.page.drawn import Drawn, figures
from pyg_ckd._shown.page.figure import new_figure
from pyg_ckd._shown.page.section import Block, Cell, Points, Section, Table
from pyg_ckd.datasets._description.item_names import short
from pyg_ckd.datasets._description.lift import FeatureLift
from pyg_ckd.datasets._description.modality import K, Modality
from pyg_ckd.datasets._description.verdicts import verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def features_section(
    found: Sequence[Modality], numbers: Mapping[str, Mapping[str, Any]]
) -> Section:
    """Return what is found of the features of all modalities.

    Args:
        found: The modalities.
        numbers: Their statistics, by name.
    """
    title, name = 'Do features mean anything?', 'features'
    if not found:
        text = (
            'Items have no features: the graph has no modality, an attribute '
            "data['item'].x_<modality>."
        )
        return Section(name, title, text, [])
    lifts = {m.name: m.lift for m in found if m.lift is not None}
    blocks: list[Block] = [Points([verdict(m) for m in found])]
    if lifts:
        text = '; '.join(
            f'{m} {lift.found}, at random {lift.at_random}'
            for m, lift in lifts.items()
        )
        plot = Drawn(_plot(lifts), 'lifts', '', f'Multiples of chance: {text}.')
        blocks.append(figures([plot], 'one'))
    blocks.append(_table(found, numbers))
    return Section(
        name,
        title,
        f'Items that are alike should interest the same users. Counted are the '
        f'users that an item has in common with its {K} nearest neighbours by '
        f'the cosine of a modality, in training, as a multiple of what two '
        f'items as popular as these have in common by chance, which is 1 over '
        f'all pairs of items. Intervals hold 95 % of resamples of items. '
        f'With features handed out to other items at random, 20 times, it has '
        f'to be about 1; the range is shown.{_sampled(found)}',
        blocks,
    )


def _sampled(found: Sequence[Modality]) -> str:
    parts = [
        f'{m.lift.sampled:,} of {m.lift.num_items:,} for {m.name}'
        for m in found
        if m.lift and m.lift.sampled < m.lift.num_items
    ]
    if not parts:
        return ''
    return (
        f' Items are drawn by a fixed seed, {", ".join(parts)}; their '
        f'neighbours are those among all.'
    )


def _table(
    found: Sequence[Modality], numbers: Mapping[str, Mapping[str, Any]]
) -> Table:
    return Table(
        'Modalities',
        'modality',
        {
            m.name: [
                {
                    'features': Cell(f'{m.x.size(1):,}'),
                    'scale': Cell(scale_text(numbers[m.name]['scale'])),
                    'missing': Cell(f'{numbers[m.name]["missing"]:.1%}'),
                    'only zeros': Cell(f'{m.num_zero:,}'),
                    'equal to others': Cell(
                        f'{m.num_equal:,}',
                        hint='items whose features another has to the bit',
                    ),
                    'most of them equal': Cell(
                        f'{len(m.equal[0]) if m.equal else 0:,}'
                    ),
                    'neighbours, times chance': Cell(
                        str(m.lift.found) if m.lift else ''
                    ),
                    'at random': Cell(str(m.lift.at_random) if m.lift else ''),
                }
            ]
            for m in found
        },
    )


def _plot(lifts: Mapping[str, FeatureLift]) -> Figure:
    figure = new_figure(5.0, 1.0 + 0.4 * len(lifts))
    panel = figure.subplots()
    kinds = {
        'features as they are': (CYCLE[0], [x.found for x in lifts.values()]),
        'handed out at random': (
            '#999999',
            [x.at_random for x in lifts.values()],
        ),
    }
    for label, (color, values) in kinds.items():
        places = range(len(values))
        panel.hlines(
            places, [x.low for x in values], [x.high for x in values], color
        )
        panel.plot([x.value for x in values], places, 'o', color=color)
        panel.plot([], [], '-', color=color, label=label)
    panel.axvline(1, color='black', linewidth=0.8)
    panel.set_yticks(range(len(lifts)), [short(name, 24) for name in lifts])
    panel.set_ylim(len(lifts) - 0.5, -0.5)
    panel.set_xlim(left=0)
    panel.set_xlabel('users in common with nearest neighbours, times chance')
    panel.spines[['top', 'right']].set_visible(False)
    figure.legend(loc='outside upper center', ncols=2, frameon=False)
    return figure
