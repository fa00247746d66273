"""What is told of a search while it runs."""

from __future__ import annotations

from pyg_ckd.experiments.run import Run
from pyg_ckd.experiments.tuning.trials import Tried
from pyg_ckd.experiments.watcher import Watcher


class TuneWatcher(Watcher):
    """Is told what happens in a search, and does nothing; inherit to show it.

    Teachers are runs as any other, of which :meth:`Watcher.begin` and
    :meth:`Watcher.end` tell; :meth:`Watcher.epoch` tells of the epochs of
    trials, too.
    """

    def begin_trial(self, run: Run, number: int, trials: int) -> None:
        """A trial begins, or goes on.

        Args:
            run: What is trained.
            number: The how many-th of its method it is, from 1 on.
            trials: How many there will be.
        """

    def end_trial(self, tried: Tried, best: float | None) -> None:
        """A trial has ended.

        Args:
            tried: What came of it.
            best: The best validation of its method so far, if any.
        """
