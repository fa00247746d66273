"""The statistics of a user-item graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyg_ckd._contract.scales import scale_text, scales_remark
from pyg_ckd._shown import Block, Cell, Note, Shown, Table

FORMATS = {'density': '.3%', 'interactions_per_user': ',.2f'}


class GraphStatistics(Shown, dict[str, Any]):
    """Statistics by name, a table in notebooks and where they are printed.

    Example:
        >>> text = {'dimension': 32, 'scale': 0.98, 'missing': 0.125}
        >>> print(GraphStatistics(users=2000, modalities={'text': text}))
        users                                    2,000
        text   32 features, scale 0.98, 12.5% missing
    """

    def table(self, title: str = '') -> Table:
        """Return them as a table.

        Args:
            title: What is above it.
        """
        rows = [
            (key.replace('_', ' '), f'{value:{FORMATS.get(key, ",")}}')
            for key, value in self.items()
            if key != 'modalities'
        ]
        rows += [
            (
                name,
                f'{x["dimension"]:,} features, scale {scale_text(x["scale"])}, '
                f'{x["missing"]:.1%} missing',
            )
            for name, x in self.get('modalities', {}).items()
        ]
        return Table([], [[*map(Cell, row)] for row in rows], title)

    def remark(self) -> Note | None:
        """Return what there is to say of scales that differ, if they do."""
        known = self.get('modalities', {})
        text = scales_remark(
            {name: x['scale'] for name, x in known.items()},
            {name: x['dimension'] for name, x in known.items()},
        )
        return Note(text, warns=True) if text else None

    def _shown(self) -> Iterator[Block]:
        yield self.table()
        remark = self.remark()
        if remark:
            yield remark
