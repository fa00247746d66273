"""The table of results for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.rows import current, rows_of
from pyg_ckd.experiments.tables import Comparisons, summarize

CAPTION = '* cut short by a limit before patience was used up: let it train on'


def terminal_table(
    results: Sequence[Result], title: str, against: Comparisons | None = None
) -> RenderableType:
    """Return the columns of most interest, narrow enough for a terminal.

    Args:
        results: Results of one data set; failed ones count for nothing.
        title: What to print above.
        against: What :func:`~pyg_ckd.experiments.comparisons` returned
            for them. (default: it is called)
    """
    cut_short = {
        key
        for key, runs in rows_of(current(results)[0]).items()
        if any(run.cut_short for run in runs)
    }
    table = Table(
        title=title,
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for name in ('backbone', 'method', 'recall@20'):
        table.add_column(name, no_wrap=True)
    table.add_column('against base')
    previous = ''
    for row in summarize(results, against=against):
        if previous not in ('', row['backbone']):
            table.add_section()
        name = '' if row['backbone'] == previous else row['backbone']
        key = row['data set'], row['backbone'], row['method']
        mark = '*' if key in cut_short else ''
        change = row['recall@20 against base'].replace(' (', '\n(', 1)
        cells = (name, row['method'], row['recall@20'] + mark, change)
        table.add_row(*map(Text, cells))  # in which brackets are no markup
        previous = row['backbone']
    return Group(table, Text(CAPTION)) if cut_short else table
