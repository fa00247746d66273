"""Validation of further views."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from pyg_ckd.graph import modalities
from pyg_ckd.ranking import evaluate_views
from pyg_ckd.train.recommendation import Recommendation
from pyg_ckd.views import Keep, check_view, view_name


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
        """Refuse what is no view of the data."""
        assert isinstance(pl_module, Recommendation)
        for keep in self.keeps:
            check_view(keep, pl_module.data)

    def on_validation_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Evaluate the views."""
        assert isinstance(pl_module, Recommendation)
        if trainer.sanity_checking:
            return
        with trainer.precision_plugin.val_step_context():
            values = self._values(pl_module)
        pl_module.log_dict(values, batch_size=1)
        if trainer.state.fn == 'fit':
            pl_module.history[-1].update(values)

    def _values(self, task: Recommendation) -> dict[str, float]:
        data, names = task.data, modalities(task.data)
        result: dict[str, Any] = evaluate_views(
            task.recommender,
            data,
            split='val',
            ks=(20,),
            metrics=('recall',),
            keeps=self.keeps,
        )
        views = [view_name(keep, names) for keep in self.keeps]
        return {f'val_recall@20/{v}': result[v]['recall@20'] for v in views}
