"""A table of results."""

from __future__ import annotations

from collections.abc import Iterator

from pyg_ckd._shown import Block, Cell, Note, Shown, Table

#: The columns that hold words; equal neighbours of the first are shown once.
WORDS = ('data set', 'backbone', 'method')
MERGED = 2


class Summary(Shown, list[dict[str, str]]):
    """Rows of a table, which is what notebooks show and ``print`` prints.

    Columns that are empty are not shown.

    Example:
        >>> print(Summary([{'method': 'base', 'recall@20': '0.0612', 'p': ''}]))
        method  recall@20
        base       0.0612
    """

    def _shown(self) -> Iterator[Block]:
        columns = [
            name
            for name in dict.fromkeys(name for row in self for name in row)
            if any(row.get(name) for row in self)
        ]
        if not columns:
            yield Note('No results.')
            return
        words = [
            place
            for place, name in enumerate(columns)
            if name in WORDS or name.endswith(' base')
        ]
        rows = [[Cell(row.get(name, '')) for name in columns] for row in self]
        merged = MERGED if tuple(columns[:MERGED]) == WORDS[:MERGED] else 0
        yield Table(columns, rows, words=words, merged=merged)
