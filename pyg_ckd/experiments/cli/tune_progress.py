"""How far a search is."""

from __future__ import annotations

from rich.console import Console

from pyg_ckd.experiments.cli.progress import Display
from pyg_ckd.experiments.cli.words import duration, monitor, outcome, title
from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.run import Run
from pyg_ckd.experiments.tuning.trials import Tried
from pyg_ckd.experiments.tuning.watcher import TuneWatcher


class TuneDisplay(Display, TuneWatcher):
    """Shows the trials of a search.

    Args:
        console (Console): Where to show it.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console, 'trial')
        self._trial: tuple[Run, str] | None = None

    def begin_trial(self, run: Run, number: int, trials: int) -> None:
        """Show a trial."""
        name = f'{run.backbone} {run.method}, trial {number} of {trials}'
        self._trial = run, name
        self.follow(run, name)

    def end(self, run: Run, result: Result) -> None:
        """Write a line on a teacher, and show the trial again."""
        self.write(f'{run}{outcome(result)}')
        if self._trial:
            self.follow(*self._trial)

    def end_trial(self, tried: Tried, best: float | None) -> None:
        """Write a line that stays."""
        assert self._trial
        run, name = self._trial
        self._trial = None
        self.follow(None)
        if tried.state == 'failed':
            self.write(f'{name} failed: {" ".join(tried.reason.splitlines())}')
            return
        parts = [tried.reason] if tried.state == 'pruned' else []
        if tried.value is not None:
            parts.append(f'{title(monitor(run))} {tried.value:.4f}')
        if best is not None:
            parts.append(f'best so far {best:.4f}')
        if tried.seconds is not None:
            parts.append(duration(tried.seconds))
        self.write(f'{name}: {", ".join(parts)}')
