"""What a run gave."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor

from pyg_ckd._shown import Block, Note, Shown
from pyg_ckd.experiments.plain import check_kinds, kinds_of
from pyg_ckd.experiments.run import Run


@dataclass
class Result(Shown):
    """What a run gave.

    ``str(result)`` is a table of the metrics of each view, and so is what a
    notebook shows.

    Args:
        run (Run): The run.
        test (dict): Test metrics of each view, such as
            ``test['only(text)']['recall@20']``, and of lists of 20 those beyond
            accuracy. A teacher has the one view it was trained on. Empty if it
            was not tested.
        val (dict): Validation metrics of the trained view.
        history (list): What was logged in each evaluation.
        epochs (int): The epoch of the last evaluation.
        seconds (float): How long training took, interruptions left out.
        knocked_out (dict): Test metrics with modalities replaced, see
            :func:`~pyg_ckd.inspect.knock_out`.
        environment (dict): Versions, revision, device, threads, peak memory
            and date.
        error (str): Why the run failed, if it did; it then has nothing else.
        users (dict): Test metrics of each user in the trained view, as
            :func:`~pyg_ckd.metrics.per_user` returns them. Without
            them, gains are tested over seeds only.
        hits (dict): Which test interactions the trained view finds, as
            :func:`~pyg_ckd.metrics.hits` returns them.
    """

    run: Run
    test: dict[str, dict[str, float]] = field(default_factory=dict)
    val: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    epochs: int = 0
    seconds: float = 0.0
    knocked_out: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    error: str = ''
    users: dict[str, Tensor] = field(
        default_factory=dict, repr=False, compare=False
    )
    hits: dict[str, Tensor] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def trained_view(self) -> str:
        """The view that was trained, ``full`` or ``only(<modality>)``."""
        method = self.run.method
        return f'only({method.modality})' if method.modality else 'full'

    @property
    def tested(self) -> dict[str, float]:
        """Test metrics of the trained view."""
        return self.test.get(self.trained_view, {})

    @property
    def best_epoch(self) -> int:
        """The epoch of the best validation, 0 if there is none."""
        limits = self.run.settings.get('fit') or {}
        monitor = limits.get('monitor', 'val_recall@20')
        best = max(
            self.history,
            key=lambda entry: entry.get(monitor, -math.inf),
            default={'epoch': 0},
        )
        return round(best['epoch'])

    @property
    def cut_short(self) -> bool:
        """Whether a limit ended training before its patience was used up.

        Where the patience is not known, as of results of version 0.1: whether
        the last evaluation that the limit allowed was the best.
        """
        limits = self.run.settings.get('fit') or {}
        if not self.history or self.history[-1]['epoch'] == 0:
            return False
        since = sum(x['epoch'] > self.best_epoch for x in self.history)
        if 'patience' in limits:
            return bool(since <= limits['patience'])
        most, every = limits.get('max_epochs'), limits.get('eval_every', 1)
        return since == 0 and most is not None and self.epochs + every > most

    def _shown(self) -> Iterator[Block]:
        """Yield the metrics, how long it took, and warnings."""
        from pyg_ckd._shown.metrics import metrics_table

        run = self.run
        name = f'{run.backbone} {run.method}, seed {run.seed}, on {run.dataset}'
        if self.test:
            yield metrics_table(self.test, f'{name}: test')
        elif self.val:
            val = {self.trained_view: self.val}
            yield metrics_table(val, f'{name}: validation')
        else:
            yield Note(name)
        if self.error:
            yield Note(f'Failed: {self.error}', warns=True)
        else:
            yield Note(
                f'{self.epochs} epochs, the best is {self.best_epoch}; '
                f'{self.seconds / 60:.1f} minutes.'
            )
        if self.cut_short:
            yield Note('Cut short by a limit: let it train on.', warns=True)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without those of users and hits."""
        return {
            'key': self.run.key,
            'run': self.run.to_dict(),
            **{
                one.name: getattr(self, one.name)
                for one in fields(self)
                if one.name not in ('run', 'users', 'hits')
            },
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Result:
        """Return the result of plain values.

        Raises:
            ValueError: If they are those of no result.
        """
        if not isinstance(values, Mapping) or 'run' not in values:
            old = isinstance(values, Mapping) and 'backbone' in values
            hint = (
                '; it is of version 0.1, see convert_results.py' if old else ''
            )
            raise ValueError(f'no result{hint}')
        kept = {k: v for k, v in values.items() if k not in ('key', 'run')}
        check_kinds(kept, kinds_of(cls), 'no result')
        if any('epoch' not in entry for entry in kept.get('history', ())):
            raise ValueError("no result: 'history' has an entry of no epoch")
        try:
            result = cls(Run.from_dict(values['run']), **kept)
        except TypeError as error:
            raise ValueError(f'no result: {error}') from error
        if values.get('key') != result.run.key:
            raise ValueError(
                f"the key '{values.get('key')}' is not that of its run, "
                f"'{result.run.key}'"
            )
        return result
