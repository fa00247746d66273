"""Metrics of several views."""

from __future__ import annotations

from collections.abc import Iterator

from pyg_ckd._shown import Shown, Table


class ViewMetrics(Shown, dict[str, dict[str, float]]):
    """Metrics by view, a table in notebooks and where they are printed.

    Example:
        >>> print(ViewMetrics({'full': {'recall@20': 0.0612}}))
        view  recall@20
        full     0.0612
    """

    def _shown(self) -> Iterator[Table]:
        from pyg_ckd._shown.metrics import metrics_table

        yield metrics_table(self)
