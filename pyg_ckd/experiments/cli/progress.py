"""How far runs are: one live display on terminals, lines elsewhere."""

from __future__ import annotations

import time
import warnings
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text
from typing_extensions import Self

from pyg_ckd.experiments.cli.words import (
    duration,
    monitor,
    number_of,
    outcome,
    title,
)
from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.run import Run
from pyg_ckd.experiments.store import Store
from pyg_ckd.experiments.watcher import Watcher


class Display(Watcher):
    """Shows what is trained, and writes lines that stay.

    On a terminal the last lines are live: the epoch, the best validation and
    the time of the run at work. Elsewhere there are only lines that stay.

    Args:
        console (Console): Where to show it.
        noun (str, optional): What other processes train.
            (default: :obj:`"cell"`)
    """

    def __init__(self, console: Console, noun: str = 'cell') -> None:
        self.console = console
        self.noun = noun
        self._waiting = 0
        self._run: Run | None = None
        self._name = ''
        self._start = 0.0
        self._epoch, self._is_trained = 0, False
        self._best: tuple[float, int] | None = None
        self._live: Live | None = None
        self._warnings = warnings.catch_warnings()

    def __enter__(self) -> Self:
        self._warnings.__enter__()
        warnings.showwarning = self._warned
        self._live = Live(
            get_renderable=self.shown,
            console=self.console,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
        )
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._live
        self._live.stop()
        self._warnings.__exit__(kind, error, trace)

    def begin(self, run: Run) -> None:
        """Show a run."""
        self.follow(run, str(run))

    def epoch(self, run: Run, number: int, values: Mapping[str, float]) -> None:
        """Show an epoch."""
        self._epoch = number
        value = values.get(monitor(run))
        if value is not None and (self._best is None or value > self._best[0]):
            self._best = value, number

    def trained(self, run: Run) -> None:
        """Show that it is evaluated."""
        self._is_trained = True

    def waiting(self, runs: Sequence[Run]) -> None:
        """Say how many are left to other processes, if that has changed."""
        if len(runs) != self._waiting:
            self._waiting = len(runs)
            if not self.console.is_terminal:
                self.write(self._wait())

    def problem(self, message: str) -> None:
        """Write it down."""
        run = f' of {self._name}' if self._run else ''
        self.write(f'note{run}: {message}')

    def follow(self, run: Run | None, name: str = '') -> None:
        """Show another run from now on.

        Args:
            run: The run, if any.
            name: What to call it.
        """
        self._run, self._name, self._start = run, name, time.monotonic()
        self._epoch, self._best, self._waiting = 0, None, 0
        self._is_trained = False

    def write(self, line: str) -> None:
        """Write a line that stays."""
        self.console.print(line)

    def shown(self) -> RenderableType:
        """Return what is live."""
        return Text(self._at_work(), overflow='ellipsis', no_wrap=True)

    def _warned(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        """Write down what a run warns of, without the line of code."""
        kind = '' if category is UserWarning else f'{category.__name__}: '
        self.problem(f'{kind}{message}')

    def _wait(self) -> str:
        what = number_of(self._waiting, self.noun)
        return f'waiting for {what} that other processes train'

    def _at_work(self) -> str:
        if self._waiting:
            return self._wait()
        if self._run is None:
            return ''
        doing = 'evaluating' if self._is_trained else f'epoch {self._epoch}'
        parts = [f'{self._name}: {doing}']
        if self._best:
            score, epoch = self._best
            name = title(monitor(self._run))
            parts.append(f'best {name} {score:.4f} at {epoch}')
        parts.append(duration(time.monotonic() - self._start))
        return ', '.join(parts)


class GridDisplay(Display):
    """Shows how many cells of a grid are finished, by whatever process.

    Args:
        console (Console): Where to show it.
        runs (list[Run]): All runs, finished ones included.
        store (Store): Where results are kept.
        again (set[str], optional): The keys of runs that failed before and are
            tried again. (default: :obj:`()`)
    """

    def __init__(
        self,
        console: Console,
        runs: Sequence[Run],
        store: Store,
        again: Collection[str] = (),
    ) -> None:
        super().__init__(console)
        self.store = store
        self.keys = {run.key for run in runs}
        self._again = set(again)
        self._bar = Progress(
            TextColumn('cells'),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._cells = self._bar.add_task('', total=len(self.keys))
        self._count()

    @property
    def done(self) -> int:
        """How many cells are finished, failed ones included."""
        return int(self._bar.tasks[0].completed)

    def begin(self, run: Run) -> None:
        """Show a run."""
        super().begin(run)
        self._count()
        if self.store.checkpoint(run.key).exists():
            self.write(f'{run} goes on where it stopped')

    def end(self, run: Run, result: Result) -> None:
        """Write a line that stays."""
        self.follow(None)
        self._again.discard(run.key)
        self._count()
        self.write(f'{self.done}/{len(self.keys)} {run}{outcome(result)}')

    def waiting(self, runs: Sequence[Run]) -> None:
        """Say how many are left to other processes, if that has changed."""
        self._count()
        super().waiting(runs)

    def shown(self) -> RenderableType:
        """Return what is live."""
        return Group(self._bar, super().shown())

    def _count(self) -> None:
        finished = {
            result.run.key
            for result in self.store.results()
            if result.run.key not in self._again
        }
        self._bar.update(self._cells, completed=len(self.keys & finished))
