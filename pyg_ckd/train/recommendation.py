"""Training of a recommender."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, final

import numpy as np
import torch
from pytorch_lightning import Trainer
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.balance import CKD, Balance, Teach
from pyg_ckd.graph import check, modalities
from pyg_ckd.kernels.arguments import check_number, check_whole
from pyg_ckd.kernels.ranks import ALONE, Ranks
from pyg_ckd.nn import Recommender, as_recommender
from pyg_ckd.nn.door import Trained, check_output, matched, module_of
from pyg_ckd.nn.sharded import Sharded
from pyg_ckd.objectives import Batch, Objective
from pyg_ckd.ranking import recommend
from pyg_ckd.serving import save
from pyg_ckd.train.checks import check_dense, check_parts
from pyg_ckd.train.digests import digest_of_all
from pyg_ckd.train.losses import Losses, compute_losses
from pyg_ckd.train.processes import (
    check_same_settings,
    check_same_weights,
    check_strategy,
    set_defaults,
    share_state,
)
from pyg_ckd.train.resumable import Resumable
from pyg_ckd.train.sharded_tables import ShardedTables, check_fits
from pyg_ckd.train.sharded_teacher import ShardedTeacher
from pyg_ckd.train.shared_out import SharedOut
from pyg_ckd.train.titles import title
from pyg_ckd.train.validation import Once, validation
from pyg_ckd.triplet_loader import TripletLoader
from pyg_ckd.views import Keep, check_view, full, view_name


@final
class Recommendation(Resumable, Trained):
    r"""Trains a recommender, or one view of it.

    .. math::
        \mathcal{L} = \mathcal{L}_{\mathrm{objective}} +
        R_{\mathrm{model}} + \mathcal{L}_{\mathrm{balance}}

    with what the model adds itself, if anything
    (:meth:`~pyg_ckd.nn.Recommender.regularization`), and what a balance adds,
    such as :class:`~pyg_ckd.balance.CKD`.

    Args:
        model (torch.nn.Module): Any recommender with ``user_emb, item_emb =
            model(data)``.
        data (HeteroData): The user-item graph.
        objective (Objective, optional): What a step minimises. By default it
            is the loss that the model brings, such as that of
            :class:`~pyg_ckd.nn.BM3`, or else
            :class:`~pyg_ckd.objectives.BPR`. (default: :obj:`None`)
        balance (Balance, optional): What keeps modalities in balance. The
            task works on a copy. (default: :obj:`None`)
        keep (frozenset[str], optional): The view to train, such as
            ``only('text')`` for a teacher; all modalities by default.
        lr (float, optional): The learning rate of Adam.
            (default: :obj:`0.001`)
        batch_size (int, optional): The number of triples in a batch, of each
            process where several train together. (default: :obj:`2048`)
        sampling (str, optional): ``"interaction"`` or ``"user"``, see
            :class:`TripletLoader`. (default: :obj:`"interaction"`)

    Raises:
        ValueError: If the graph breaks its contract, see
            :func:`~pyg_ckd.graph.check`, the model returns anything but
            embeddings of all users and items, ``keep`` is no view, or the
            balance does not apply.
        TypeError: If ``objective`` or ``balance`` is a class, a name, or
            something else.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import VBPR
        >>> from pyg_ckd.train import fit
        >>> data = FakeMultimodal(num_users=20, num_items=30)[0]
        >>> task = Recommendation(VBPR.from_data(data, dim=4), data)
        >>> task = fit(task, max_epochs=1, progress=False)
        >>> item, score = task.recommend(7, k=3)
        >>> item.shape
        torch.Size([1, 3])
    """

    def __init__(
        self,
        model: nn.Module,
        data: HeteroData,
        objective: Objective | None = None,
        balance: Balance | None = None,
        *,
        keep: Keep | None = None,
        lr: float = 1e-3,
        batch_size: int = 2048,
        sampling: Literal['user', 'interaction'] = 'interaction',
    ) -> None:
        super().__init__()
        check_parts(objective=objective, balance=balance)
        self.data = self._home = data = check(data)
        names = modalities(data)
        self.recommender = as_recommender(model)
        self.objective = objective
        self.balance = copy.deepcopy(balance)
        self.keep = full(names) if keep is None else check_view(keep, data)
        self.sampling = sampling
        #: The epoch whose weights it has, once it was trained by ``fit``.
        self.best_epoch: int | None = None
        #: Further views that are evaluated in the next training.
        self.watched: list[Keep] = []
        #: What the line of progress calls it.
        self.title = title(self.recommender.name, self.keep, names, balance)
        #: How often ``fit`` was asked to evaluate, maybe less often than it
        #: does if there are few epochs.
        self.eval_every: int | None = None
        #: How several processes train teachers, set by ``fit``.
        self.teach: Teach | None = None
        self._began = False
        self._is_first = True
        check_number('Recommendation', 'positive', lr=lr)
        check_whole(self.__class__.__name__, batch_size=batch_size)
        TripletLoader(data, batch_size, sampling)  # checks both
        # Checkpoints hold plain numbers, none of NumPy:
        self.lr, self.batch_size = float(lr), int(batch_size)
        if not _is_meta(self.recommender):
            check_output(self.recommender, data)
        if self.balance is None:
            return
        if self.keep != full(names):
            raise ValueError(
                f"'keep' needs to be the full view where there is a 'balance' "
                f"in 'Recommendation' (got {sorted(self.keep)})"
            )
        self.balance.attach(self.recommender, data)

    @property
    def model(self) -> nn.Module:
        """The module that is trained, as it was passed."""
        return module_of(self.recommender)

    #: What tells its data from others.
    fingerprint = cached_property(lambda self: digest_of_all(self._home))

    # Loss ###################################################################

    def training_step(self, batch: Batch, batch_idx: int = 0) -> Tensor:
        """Return the loss of a batch of triples."""
        losses = self._losses(batch, self.ranks)
        total = losses.total
        self.means.add({'loss': total, **losses.scalars}, len(batch[0]))
        return total

    def losses(self, batch: Batch) -> Losses:
        """Return the loss of a batch of triples, and what it consists of.

        It is that of a process by itself, also while several train together.
        """
        return self._losses(batch, ALONE)

    def _losses(self, batch: Batch, ranks: Ranks) -> Losses:
        trained = self.recommender, self.data, self.keep
        parts = self.objective, self.balance
        return compute_losses(*trained, *parts, batch, ranks)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Let the balance change the gradients, once for those of a step."""
        check_dense(self.recommender)
        if self.balance is not None:
            self.balance.after_backward()

    # Hooks of Lightning #####################################################

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam over all parameters."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        # The fused kind unscales gradients itself, which forbids clipping:
        mixed = self._trainer and self.trainer.precision.endswith('-mixed')
        fused = not mixed and self.device.type in ('cpu', 'cuda')
        return torch.optim.Adam(parameters, lr=self.lr, fused=fused)

    def train_dataloader(self) -> TripletLoader:
        """Return the loader of triples."""
        return TripletLoader(
            self.data, self.batch_size, self.sampling, self.ranks
        )

    def val_dataloader(self) -> Once:
        """Return one batch; validation ranks all items for all users."""
        return Once()

    def setup(self, stage: str) -> None:
        """Find the processes that train together, and have teachers trained."""
        check_strategy(self.trainer)
        set_defaults(self.trainer.strategy)
        self.shard(self.trainer)
        self.ranks = Ranks(self.trainer.global_rank, self.trainer.world_size)
        self._is_first = self.ranks.rank == 0
        device = self.trainer.strategy.root_device
        if self.ranks.size > 1:
            check_same_settings(self.ranks, self.settings())
            self.ranks.share_generators(device)
        if isinstance(self.recommender, Sharded):
            assert isinstance(self.trainer.strategy, ShardedTables)
            self.trainer.strategy.cut(self, self.recommender, self.ranks)
        elif self.balance is not None and self.ranks.size > 1:
            if stage == 'fit' and self.teach is not None:
                views, model = self.balance.teacher_views, self.recommender
                self.balance.prepare(
                    SharedOut(self.teach, views, model, self.ranks, device)
                )
            share_state(self.ranks, self.balance)

    def shard(self, trainer: Trainer) -> None:
        """Have tables cut by rows in training, if the trainer does so.

        Args:
            trainer: The trainer.

        Raises:
            ValueError: If something does not fit that, or tables that were cut
                or are not there yet are to be trained by another strategy.
        """
        if isinstance(trainer.strategy, ShardedTables):
            check_fits(trainer, self.objective, self.balance)
            if not isinstance(self.recommender, Sharded):
                self.recommender = Sharded(self.recommender)
        elif isinstance(self.recommender, Sharded) or _is_meta(
            self.recommender
        ):
            raise ValueError(
                f"'strategy' needs to be ShardedTables() for "
                f"'{self.recommender.name}', whose tables are cut by rows, or "
                f'are on the device meta and not there yet'
            )

    def on_fit_start(self) -> None:
        """Move the data to the device and the dtype of the model."""
        self.data = matched(self._home, self.recommender)
        if isinstance(self.recommender, Sharded) and isinstance(
            self.balance, CKD
        ):
            users, device = self.recommender.shards['user'], self.device
            self.balance.teachers.replace(
                lambda teacher: ShardedTeacher.of(teacher, users, device)
            )
        if self.balance is not None:
            self.balance.begin(self.data)
            self._began = True
        super().on_fit_start()

    def teardown(self, stage: str) -> None:
        """Take up the data where it was; Lightning does so with the model."""
        self.data, self.ranks, self.teach = self._home, ALONE, None
        if self.balance is not None and self._began:
            self.balance.begin(self.data)
        self.watched = []
        super().teardown(stage)

    def on_train_epoch_start(self) -> None:
        """Let the model prepare the epoch."""
        super().on_train_epoch_start()
        self.recommender.start_epoch(self.data, self.keep)

    def on_train_epoch_end(self) -> None:
        """Refuse to go on if training has diverged, and log the epoch."""
        self._check_finite()
        super().on_train_epoch_end()

    def on_validation_start(self) -> None:
        """Refuse to evaluate a model that has diverged."""
        self.data = matched(self.data, self.recommender)
        self._check_finite()
        self.ranks.share_buffers(self)
        check_same_weights(self.ranks, self, self._own_rows())

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Evaluate, log it, and let the balance learn from it."""
        values = self.validation()
        self.log_dict(values, batch_size=1, sync_dist=True)
        if self.trainer.state.fn == 'fit' and not self.trainer.sanity_checking:
            self.note_end_of_epoch()
            means = self.means_of_all().values()
            entry = {'epoch': self.current_epoch + 1, **means}
            self.history.append({**entry, **values})
            if self.balance is not None:
                self.balance.validated(values)

    def settings(self) -> dict[str, Any]:
        """Return what has to be the same when training goes on."""
        return {
            'model': repr(self.recommender),
            'objective': repr(self.objective),
            'balance': repr(self.balance),
            'keep': sorted(self.keep),
            'lr': self.lr,
            'batch_size': self.batch_size,
            'sampling': self.sampling,
            'eval_every': self.eval_every
            or self.trainer.check_val_every_n_epoch,
            'precision': self.trainer.precision,
            'accumulate_grad_batches': self.trainer.accumulate_grad_batches,
            'gradient_clip_val': self.trainer.gradient_clip_val,
            'gradient_clip_algorithm': str(
                self.trainer.gradient_clip_algorithm
            ),
            # 1 is one batch, 1.0 are all:
            'limit_train_batches': repr(self.trainer.limit_train_batches),
            'processes': self.ranks.size,
            'data': self.fingerprint,
        }

    def validation(self) -> dict[str, float]:
        """Return validation metrics, see :func:`validation`."""
        needed = () if self.balance is None else self.balance.watched
        watched = list(dict.fromkeys([*needed, *self.watched]))
        # In full precision, in which models are evaluated after training:
        with torch.autocast(self.device.type, enabled=False):
            return validation(
                self.recommender, self.data, self.keep, watched, self.ranks
            )

    def _own_rows(self) -> list[nn.Parameter]:
        """Return the parameters of which each process has other rows."""
        model = self.recommender
        return model.own_parameters() if isinstance(model, Sharded) else []

    def _check_finite(self) -> None:
        view = view_name(self.keep, modalities(self.data))
        where = f"'{self.recommender.name}' in the view {view}"
        self.means_of_all().check_finite(where, self.current_epoch + 1)

    # Use ####################################################################

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Do what :func:`pyg_ckd.serving.save` does.

        Of several processes that have trained it together, the first does.
        Where tables were cut by rows, all have to call it.
        """
        model: Trained = self
        if isinstance(self.recommender, Sharded):
            whole = self.recommender.gathered()
            if whole is not None:
                model = Trained()
                model.recommender, model.keep = whole, self.keep
        if self._is_first:
            save(model, self._home, folder)

    def recommend(
        self,
        user: int | Sequence[int] | np.ndarray | Tensor,
        k: int = 10,
        *,
        candidates: Sequence[Any] | np.ndarray | Tensor | None = None,
        exclude_known: bool = True,
        view: Keep | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return what :func:`pyg_ckd.ranking.recommend` does."""
        return recommend(
            self.model,
            self.data,
            user,
            k,
            candidates=candidates,
            exclude_known=exclude_known,
            view=self.keep if view is None else view,
        )


def _is_meta(recommender: Recommender) -> bool:
    """Return whether parameters are not there yet."""
    return any(p.is_meta for p in recommender.parameters())
