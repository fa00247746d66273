"""What is told of experiments while they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyg_ckd.experiments.result import Result
from pyg_ckd.experiments.run import Run


class Watcher:
    """Is told what happens, and does nothing; inherit to show it."""

    def begin(self, run: Run) -> None:
        """Training of a run begins, or goes on."""

    def epoch(self, run: Run, number: int, values: Mapping[str, float]) -> None:
        """An epoch has ended.

        Args:
            run: The run.
            number: How many epochs were trained.
            values: What its evaluation gave, if there was one.
        """

    def trained(self, run: Run) -> None:
        """Training has ended; the run is evaluated next."""

    def end(self, run: Run, result: Result) -> None:
        """A run has ended; ``result.error`` says if it failed."""

    def waiting(self, runs: Sequence[Run]) -> None:
        """Other processes are at work on all runs that are left."""

    def problem(self, message: str) -> None:
        """Something is not as it should be, and work goes on."""
