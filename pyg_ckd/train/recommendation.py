"""Training of a recommender by Bayesian personalised ranking."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torch_geometric.data import HeteroData

from pyg_ckd.data import modalities
from pyg_ckd.evaluation import evaluate_views, recommend
from pyg_ckd.transforms import AblateModality
from pyg_ckd.triplet_loader import TripletLoader
from pyg_ckd.views import Keep, Triples, Views, full, view_name, views

Batch = tuple[Tensor, Tensor, Tensor]


class Recommendation(LightningModule):
    r"""Trains a recommender, or one view of it, by BPR.

    .. math::
        \mathcal{L} = -\mathrm{mean} \log \sigma\left(s(u, i) - s(u,
        j)\right) + \frac{\lambda_2}{2 B} \sum \left(\|\mathbf{u}_u\|^2 +
        \|\mathbf{i}_i\|^2 + \|\mathbf{i}_j\|^2\right) + R

    over the triples :math:`(u, i, j)` of a batch of size :math:`B`, with
    the final embeddings of users and items and the model's own
    ``model.regularization``, if it has any, as :math:`R`. From the `"BPR:
    Bayesian Personalized Ranking from Implicit Feedback"
    <https://arxiv.org/abs/1205.2618>`_ paper. A model with a method ``loss``
    has that minimised instead, see :class:`~pyg_ckd.nn.Recommender`.

    Args:
        model (torch.nn.Module): Any recommender with ``user_emb, item_emb =
            model(data)``.
        data (HeteroData): The user-item graph.
        keep (frozenset[str], optional): The view to train, such as
            ``only('text')`` for a teacher; all modalities by default.
        lr (float, optional): The learning rate of Adam.
            (default: :obj:`0.001`)
        l2 (float, optional): The weight :math:`\lambda_2`.
            (default: :obj:`0.01`)
        batch_size (int, optional): The number of triples in a batch.
            (default: :obj:`2048`)
        sampling (str, optional): ``"interaction"`` or ``"user"``, see
            :class:`~pyg_ckd.train.TripletLoader`.
            (default: :obj:`"interaction"`)
        watch (sequence[frozenset[str]], optional): Further views whose
            validation Recall@20 is logged, as
            ``"val_recall@20/only(text)"``. (default: none)

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import VBPR
        >>> from pyg_ckd.train import fit
        >>> data = FakeMultimodal(num_users=20, num_items=30)[0]
        >>> task = Recommendation(VBPR.from_data(data, dim=4), data)
        >>> task = fit(task, max_epochs=1, progress=False)
        >>> item, score = task.recommend(torch.tensor([7]), k=3)
        >>> item.shape
        torch.Size([1, 3])
    """

    def __init__(
        self,
        model: nn.Module,
        data: HeteroData,
        *,
        keep: Keep | None = None,
        lr: float = 1e-3,
        l2: float = 1e-2,
        batch_size: int = 2048,
        sampling: Literal['user', 'interaction'] = 'interaction',
        watch: Sequence[Keep] = (),
    ) -> None:
        super().__init__()
        names = modalities(data)
        self.model = model
        self.keep = full(names) if keep is None else keep
        self.lr = lr
        self.l2 = l2
        self.batch_size = batch_size
        self.sampling = sampling
        self.watch = list(watch)
        #: What was logged, one entry for each evaluation.
        self.history: list[dict[str, float]] = []
        self._evaluated = False
        self._set_data(data)

    def _set_data(self, data: HeteroData) -> None:
        dropped = [m for m in modalities(data) if m not in self.keep]
        self.data = data
        self._seen = AblateModality(*dropped)(data)

    # Loss ###################################################################

    def training_step(self, batch: Batch, batch_idx: int = 0) -> Tensor:
        """Return the loss of a batch of triples."""
        several = views(self.model, self.data, [self.keep])
        triples = several.triples(*batch)
        margin = triples.margin()[:, 0]
        loss = self.recommendation_loss(several, triples, margin, batch)
        self.log('loss', loss, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def recommendation_loss(
        self, several: Views, triples: Triples, margin: Tensor, batch: Batch
    ) -> Tensor:
        """Return the loss of the trained view: BPR, or the model's own.

        Args:
            several: The views, the trained one first.
            triples: The embeddings of the batch, the trained view first.
            margin: Margins of the trained view, ``[B]``.
            batch: Users, positive and negative items, each ``[B]``.
        """
        own = getattr(self.model, 'loss', None)
        if own:
            return own(self._seen, several, *batch)
        user, pos, neg = triples.embedding()
        squares = user.square().sum() + pos.square().sum() + neg.square().sum()
        loss = -F.logsigmoid(margin).mean()
        loss = loss + self.l2 / 2 * squares / len(margin)
        regularization = getattr(self.model, 'regularization', None)
        if regularization:
            loss = loss + regularization(self._seen, several, *batch)
        return loss

    # Lightning ##############################################################

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam over the model's parameters."""
        return torch.optim.Adam(self.model.parameters(), lr=self.lr, fused=True)

    def train_dataloader(self) -> TripletLoader:
        """Return the loader of triples."""
        return TripletLoader(self.data, self.batch_size, self.sampling)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return one batch; validation ranks all items for all users."""
        return DataLoader(TensorDataset(torch.zeros(1)))

    def on_fit_start(self) -> None:
        """Start a new history, and move the data to the model's device."""
        self.history = []
        self._at_home = self.data
        self._set_data(copy.copy(self.data).to(self.device))

    def on_fit_end(self) -> None:
        """Take up the data where it was; Lightning does so with the model."""
        self._set_data(self._at_home)

    def on_train_epoch_start(self) -> None:
        """Let the model prepare the epoch."""
        start_epoch = getattr(self.model, 'start_epoch', None)
        if start_epoch:
            start_epoch(self._seen)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log Recall@20 and NDCG@20 of the trained view on validation."""
        for name, value in self.validation().items():
            self.log(name, value, prog_bar='/' not in name, batch_size=1)

    def validation(self) -> dict[str, float]:
        """Return validation metrics: of the trained view, and watched ones.

        They are ``val_recall@20`` and ``val_ndcg@20``, and
        ``val_recall@20/<view>`` for each watched view.
        """
        result = evaluate_views(
            self.model,
            self.data,
            split='val',
            ks=(20,),
            metrics=('recall', 'ndcg'),
            keeps=[self.keep, *self.watch],
        )
        names = modalities(self.data)
        trained = result[view_name(self.keep, names)]
        values = {f'val_{name}': value for name, value in trained.items()}
        for keep in self.watch:
            name = view_name(keep, names)
            values[f'val_recall@20/{name}'] = result[name]['recall@20']
        return values

    def on_validation_epoch_end(self) -> None:
        """Note that this epoch is one for the history."""
        self._evaluated = not self.trainer.sanity_checking

    def on_train_epoch_end(self) -> None:
        """Keep what was logged; the loss is known only now."""
        if self._evaluated:
            logged = self.trainer.callback_metrics.items()
            entry = {name: float(value) for name, value in logged}
            self.history.append({'epoch': self.current_epoch + 1, **entry})
        self._evaluated = False

    # Use ####################################################################

    def recommend(self, user: Tensor, k: int = 10) -> tuple[Tensor, Tensor]:
        """Return the ``k`` best items of users and their scores.

        See :func:`pyg_ckd.evaluation.recommend`.
        """
        return recommend(self.model, self.data, user, k, view=self.keep)
