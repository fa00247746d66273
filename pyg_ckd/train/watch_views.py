"""Validation of further views."""

from __future__ import annotations

from pytorch_lightning import Callback, LightningModule, Trainer

from pyg_ckd.train.recommendation import Recommendation
from pyg_ckd.views import Keep, check_view


class WatchViews(Callback):
    """Evaluates further views at each evaluation.

    Their validation Recall@20 is logged as ``val_recall@20/<view>``, and joins
    the history of the task. Training stays the same.

    Args:
        *keeps (frozenset[str]): The views, such as ``only('text')``.

    Raises:
        ValueError: Once it is part of a training, if one is no view of the
            data.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import VBPR
        >>> from pyg_ckd.train import fit
        >>> from pyg_ckd.views import only
        >>> data = FakeMultimodal(num_users=20, num_items=30)[0]
        >>> task = Recommendation(VBPR.from_data(data, dim=4), data)
        >>> task = fit(task, max_epochs=1, progress=False,
        ...            callbacks=[WatchViews(only('text'))])
        >>> 'val_recall@20/only(text)' in task.history[0]
        True
    """

    def __init__(self, *keeps: Keep) -> None:
        self.keeps = keeps

    def setup(
        self, trainer: Trainer, pl_module: LightningModule, stage: str
    ) -> None:
        """Let the task evaluate them, and refuse what is no view."""
        assert isinstance(pl_module, Recommendation)
        for keep in self.keeps:
            check_view(keep, pl_module.data)
        pl_module.watched = [*pl_module.watched, *self.keeps]
