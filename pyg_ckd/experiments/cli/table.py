"""The table of results for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.rows import current, rows_of
from pyg_ckd.experiments.tables import (
    BEYOND,
    METRIC,
    Comparisons,
    summarize,
)

CAPTION = '* cut short by a limit before patience was used up: let it train on'


def terminal_table(
    results: Sequence[Result],
    title: str,
    against: Comparisons | None = None,
    against_best: Comparisons | None = None,
) -> RenderableType:
    """Return the columns of most interest, narrow enough for a terminal.

    There is room for one comparison: where a backbone has several bases it is
    that with the best of them.

    Args:
        results: Results of one data set; failed ones count for nothing.
        title: What to print above.
        against: What :func:`~pyg_ckd.experiments.comparisons` returned
            for them. (default: it is called)
        against_best: The same for the best of several bases.
    """
    rows = summarize(results, [METRIC], against, against_best)
    beyond = [name for name in BEYOND if any(row[name] for row in rows)]
    base, best = f'{METRIC} against base', f'{METRIC} against best base'
    several = {row['backbone'] for row in rows if row.get(best)}
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
    table.add_column('method', min_width=18, overflow='fold')
    for name in (METRIC, *beyond):
        table.add_column(name, no_wrap=True)
    table.add_column('against best base' if several else 'against base')
    previous = ''
    for row in rows:
        if row['backbone'] != previous:
            table.add_section()
            table.add_row(Text(row['backbone'], style='bold'))
        key = row['data set'], row['backbone'], row['method']
        mark = '*' if key in cut_short else ''
        change = row[best if row['backbone'] in several else base]
        cells = (
            row[METRIC] + mark,
            *(row[column].split(' ')[0] for column in beyond),
            change.replace(' (', '\n(', 1),
        )
        method = Padding(Text(row['method']), (0, 0, 0, 2))
        table.add_row(method, *map(Text, cells))  # brackets are no markup
        previous = row['backbone']
    return Group(table, Text(CAPTION)) if cut_short else table
