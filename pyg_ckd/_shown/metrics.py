"""Metrics by name, as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pyg_ckd._shown.block import Cell, Table, number


def metrics_table(
    metrics: Mapping[str, Mapping[str, float]], title: str = ''
) -> Table:
    """Return a row for each view, and a column for each metric.

    A bar is relative to the best view, if there are several.

    Args:
        metrics: Values by view and metric.
        title: What is above.

    Example:
        >>> table = metrics_table({'full': {'recall@20': 0.1}, 'none': {}})
        >>> [[cell.text for cell in row] for row in table.rows]
        [['full', '0.1000'], ['none', '']]
    """
    columns = dict.fromkeys(name for row in metrics.values() for name in row)
    most = {
        name: max(
            (
                row[name]
                for row in metrics.values()
                if math.isfinite(row.get(name, math.nan))
            ),
            default=0.0,
        )
        for name in columns
    }
    several = len(metrics) > 1
    rows = [
        [
            Cell(view),
            *(
                number(row[name], '.4f', most[name] if several else None)
                if name in row
                else Cell('')
                for name in columns
            ),
        ]
        for view, row in metrics.items()
    ]
    return Table(['view', *columns], rows, title)
