"""How much there is."""

from __future__ import annotations

from pyg_ckd._shown.page.section import (
    Beside,
    Block,
    Cell,
    Details,
    Point,
    Points,
    Section,
    Table,
)
from pyg_ckd.datasets._findings import Audit
from pyg_ckd.datasets._graph_statistics import GraphStatistics

SPLITS = ('training', 'validation', 'test')


def numbers_section(numbers: GraphStatistics, found: Audit | None) -> Section:
    """Return the statistics of a graph, its splits, and what an audit says.

    Args:
        numbers: The statistics.
        found: What the audit has found, if there was one.
    """
    points, blocks = _audited(found)
    return Section(
        'numbers',
        'How much there is',
        'Users, items and interactions, those of all splits unless it says '
        'more, and whether numbers of users, splits or times give the test '
        'set away.',
        [Beside([_statistics(numbers), points]), *blocks],
    )


def _statistics(numbers: GraphStatistics) -> Table:
    known = {k: v for k, v in numbers.items() if k != 'modalities'}
    shares = {
        split: f'{numbers[split] / max(numbers["interactions"], 1):.1%}'
        for split in SPLITS
    }
    return Table(
        'Statistics',
        '',
        {
            name.text: [
                {
                    'number': Cell(value.text),
                    'share': Cell(shares.get(name.text, '')),
                }
            ]
            for name, value in GraphStatistics(known).table().rows
        },
    )


def _audited(found: Audit | None) -> tuple[Points, list[Block]]:
    """Return what an audit says, and all that it looked at."""
    if found is None:
        text = 'left out, as there are no interactions of training'
        return Points([Point('Audit', text, 'unsure')]), []
    worth = [each for each in found.findings if each.kind != 'fine']
    points = [
        Point(
            _capital(each.name),
            f'{each.text}. {_capital(each.verdict)}.',
            'loss' if each.leaks else 'unsure',
        )
        for each in worth
    ]
    if not found.leaks:
        points.insert(0, Point('', 'Nothing gives the test set away.', 'gain'))
    rows = {
        each.name: [{'found': Cell(each.text), 'verdict': Cell(each.kind)}]
        for each in found.findings
    }
    table = Table('Audit', '', rows, named=('found', 'verdict'))
    return Points(points), [Details('All that was looked at', [table])]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
