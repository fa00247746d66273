"""What several runs gave."""

from __future__ import annotations

from collections.abc import Iterator

from pyg_ckd._shown import Block, Cell, Note, Shown, Table
from pyg_ckd.experiments.result import Result


class Results(Shown, list[Result]):
    """Results, which notebooks show and ``print`` prints as a table of runs.

    Example:
        >>> from pyg_ckd.experiments import Method, Run
        >>> run = Run('shop', 'VBPR', Method(), seed=0)
        >>> print(Results([Result(run, test={'full': {'recall@20': 0.0612}})]))
        data set  backbone  method  seed  recall@20  epochs  minutes
        shop      VBPR      base       0     0.0612       0      0.0
    """

    def _shown(self) -> Iterator[Block]:
        from pyg_ckd.experiments.tables import METRICS

        if not self:
            yield Note('No results.')
            return
        columns = [m for m in METRICS if any(m in r.tested for r in self)]
        names = columns or [m for m in METRICS if any(m in r.val for r in self)]
        remarks = [_remark(result) for result in self]
        rows = []
        for result, remark in zip(self, remarks, strict=True):
            run = result.run
            values = result.tested if columns else result.val
            texts = [
                run.dataset,
                run.backbone,
                str(run.method),
                str(run.seed),
                *(f'{values[m]:.4f}' if m in values else '' for m in names),
                str(result.epochs),
                f'{result.seconds / 60:.1f}',
            ]
            if any(remarks):
                texts.append(remark)
            rows.append([Cell(text) for text in texts])
        shown = names if columns else [f'val {name}' for name in names]
        head = ['data set', 'backbone', 'method', 'seed', *shown]
        head += ['epochs', 'minutes', *['remark'] * any(remarks)]
        words = [*range(3), *[len(head) - 1] * any(remarks)]
        yield Table(head, rows, words=words, merged=3)


def _remark(result: Result) -> str:
    if result.error:
        return f'failed: {result.error}'
    return 'cut short' if result.cut_short else ''
