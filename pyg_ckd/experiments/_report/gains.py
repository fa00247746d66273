"""What changed against the base."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from pyg_ckd._shown.page.drawn import Drawn, figures
from pyg_ckd._shown.page.section import (
    Beside,
    Block,
    Point,
    Points,
    Section,
    Text,
)
from pyg_ckd.experiments._report.material import Material
from pyg_ckd.experiments._report.words import (
    KINDS,
    SPACE,
    basis,
    changed,
    interval,
    listed,
    plural,
)
from pyg_ckd.experiments.plots import plot_gains
from pyg_ckd.experiments.rows import Key
from pyg_ckd.experiments.statistics import Comparison
from pyg_ckd.experiments.tables import METRIC

#: Outcomes of one comparison and of several, in the order of the summary.
COUNTED = {
    'gain': ('significant gain', 'significant gains'),
    'loss': ('significant loss', 'significant losses'),
    'no change': ('without a significant change',) * 2,
    'cut short': ('cut short',) * 2,
    'not comparable': ('not comparable',) * 2,
    'not tested': ('not tested',) * 2,
}


def gains_section(material: Material) -> Section:
    """Return the verdicts, and their intervals as plots."""
    reading = (
        f'The relative change of test {METRIC} against the same recommender '
        f'trained without the method, and in brackets the interval that holds '
        f'the true change with 95{SPACE}% confidence. It is significant if the '
        f'interval leaves out zero and the p-value, adjusted for the number '
        f'of comparisons on this page, is below 0.05. Training of a run that '
        f'was cut short ended at a limit of epochs, steps or time, before its '
        f'patience was used up, and nothing is claimed of it; nor is it where '
        f'more than the method differs from the base.'
    )
    compared = {backbone for _, backbone, _ in material.against}
    alone = [name for name in material.backbones if name not in compared]
    points = [Point('Nothing to compare', ', '.join(alone))] if alone else []
    own = _named(material.against)
    blocks = _blocks(own, 'gains', points)
    if material.best_bases:
        best = '; '.join(
            f'{backbone} {method}'
            for _, backbone, method in material.best_bases
        )
        blocks = [
            Text(f'Against the best base by validation ({best}):'),
            *_blocks(_named(material.against_best), 'gains-best'),
            Text('Against the base of the same objective:'),
            *blocks,
        ]
    return Section('gains', 'What changed', reading, blocks)


def _named(against: Mapping[Key, Comparison]) -> dict[str, Comparison]:
    return {
        f'{backbone}, {method}': comparison
        for (_, backbone, method), comparison in against.items()
    }


def _blocks(
    gains: Mapping[str, Comparison], name: str, others: Sequence[Point] = ()
) -> list[Block]:
    """Return a summary of comparisons, their plot, and each in words.

    Args:
        gains: The comparisons.
        name: What the plot is known by.
        others: What to say below.
    """
    tested = {method: gain for method, gain in gains.items() if gain.tested}
    bases = {basis(gain) for gain in tested.values()}
    points = [
        Point(method, _text(gain, len(bases) > 1), KINDS.get(gain.outcome, ''))
        for method, gain in tested.items()
    ]
    untested: dict[str, list[str]] = {}
    for method, gain in gains.items():
        if not gain.tested:
            untested.setdefault(changed(gain), []).append(method)
    points += [
        Point(f'{reason[0].upper()}{reason[1:]}', '; '.join(names))
        for reason, names in untested.items()
    ]
    points += others
    blocks: list[Block] = [Text(_summary(gains))] if gains else []
    if len(tested) > 1:
        text = '; '.join(
            f'{method} {interval(gain)}' for method, gain in tested.items()
        )
        plot = plot_gains(tested)
        drawn = Drawn(plot, name, '', f'Changes and intervals: {text}')
        blocks.append(Beside([figures([drawn], 'one'), Points(points)]))
    elif points:
        blocks.append(Points(points))
    return blocks


def _summary(gains: Mapping[str, Comparison]) -> str:
    """Return how many comparisons came to what."""
    count: Counter[str] = Counter(gain.outcome for gain in gains.values())
    parts = [
        f'{count[outcome]} {words[count[outcome] > 1]}'
        for outcome, words in COUNTED.items()
        if count[outcome]
    ]
    sentence = f'{plural(len(gains), "comparison")}: {listed(parts)}.'
    bases = {basis(gain) for gain in gains.values() if gain.tested}
    return f'{sentence} Over {bases.pop()}.' if len(bases) == 1 else sentence


def _text(comparison: Comparison, with_basis: bool) -> str:
    own = f' ({basis(comparison)})' if with_basis else ''
    return changed(comparison) + own
