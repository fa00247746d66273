"""What is shown, as plain text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.table import Table as RichTable

from pyg_ckd._shown.block import Block, Note, Table


def to_text(blocks: Iterable[Block], width: int | None = None) -> str:
    """Return tables and notes as plain text.

    Args:
        blocks: What is shown, with an empty line between tables and the rest.
        width: Where lines break; nowhere by default.

    Example:
        >>> from pyg_ckd._shown import Cell
        >>> rows = [[Cell('full'), Cell('0.0612')], [Cell('text'), Cell('0')]]
        >>> print(to_text([Table(['view', 'recall'], rows), Note('Low.')]))
        view  recall
        full  0.0612
        text       0
        <BLANKLINE>
        Low.
    """
    console = Console(
        width=width or 10_000,
        color_system=None,
        force_jupyter=False,
        markup=False,
        emoji=False,
        highlight=False,
    )
    with console.capture() as capture:
        above: Block | None = None
        for block in blocks:
            if isinstance(above, Table):
                console.print()
            if isinstance(block, Note):
                console.print(block.text)
            else:
                for line in _parts(block):
                    console.print(line)
            above = block
    return '\n'.join(line.rstrip() for line in capture.get().splitlines())


def _parts(table: Table) -> Iterator[RichTable | str]:
    if table.title:
        yield table.title
        yield ''
    yield _grid(table)
    if table.reading:
        yield table.reading


def _grid(block: Table) -> RichTable:
    head = block.head or [''] * max(map(len, block.rows), default=0)
    table = RichTable(
        *head, box=None, pad_edge=False, show_header=bool(block.head)
    )
    for place, column in enumerate(table.columns):
        column.justify = 'left' if place in block.words else 'right'
    for row, cells in enumerate(block.rows):
        table.add_row(
            *(
                '' if block.repeats(row, column) else cell.text
                for column, cell in enumerate(cells)
            )
        )
    return table
