"""Counterfactual knowledge distillation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.data import RATES, fingerprint, modalities
from pyg_ckd.distill import (
    GenericLoss,
    SpecificLoss,
    Teacher,
    effects,
    modality_weights,
)
from pyg_ckd.evaluation import evaluation
from pyg_ckd.train.failure_signs import failure_signs
from pyg_ckd.train.recommendation import Batch, Recommendation
from pyg_ckd.views import distinct_views, only, views, without


class CKD(Recommendation):
    r"""Trains a recommender by counterfactual knowledge distillation.

    From the `"Modality-Balanced Learning for Multimedia Recommendation"
    <https://arxiv.org/abs/2408.06360>`_ paper. Beside the loss of
    :class:`~pyg_ckd.train.Recommendation`, each modality is distilled from a
    teacher that was trained on that modality alone:

    .. math::
        \mathcal{L} = \mathcal{L}_{\mathrm{BPR}} + \lambda \sum_m
        \mathrm{mean}_b \left( w_{mb} \left( H_{mb} + \gamma G_m \right)
        \right)

    with the specific loss :math:`H_m` on the triples of the batch
    (:class:`~pyg_ckd.distill.SpecificLoss`), the generic loss :math:`G_m` on
    fresh random triples (:class:`~pyg_ckd.distill.GenericLoss`), and weights
    :math:`w_m` that favour the modality whose effect on the student lags
    behind (:func:`~pyg_ckd.distill.effects`,
    :func:`~pyg_ckd.distill.modality_weights`). :math:`G_m` is one number a
    step, so that within a step the weights act on the specific loss alone.

    The defaults of ``reference`` and ``effect`` follow the authors' published
    code. The paper's text describes ``reference="teacher"`` and
    ``effect="average"``; its exact formula for the weights is not public.

    Each part can be left out, to see what it does: the specific loss
    (``specific=None``), the generic loss (``gamma=0``), the weights
    (``reweight=False``, all of them one).

    Args:
        model (torch.nn.Module): The student, any recommender whose scores
            depend on the item features.
        data (HeteroData): The user-item graph.
        teachers (dict[str, Teacher], optional): A teacher for each modality.
            :func:`~pyg_ckd.train.fit` trains them first if there are none.
        strength (float, optional): The weight :math:`\lambda`.
            (default: :obj:`0.01`)
        gamma (float, optional): The weight :math:`\gamma` of the generic
            loss. (default: :obj:`5.0`)
        tau (float, optional): The temperature of the generic loss.
            (default: :obj:`0.1`)
        eps (float, optional): What the generic loss adds inside its
            logarithms; ``1e-8`` is the authors' form, which lets triples go
            that are wrong by far. (default: :obj:`0.0`)
        reference (str, optional): What effects are compared with, the
            ``"student"`` or the ``"teacher"``. (default: :obj:`"student"`)
        effect (str, optional): Whether effects are taken triple by triple,
            ``"individual"``, or averaged over the batch, ``"average"``.
            (default: :obj:`"individual"`)
        num_generic (int, optional): The number of users a step draws for the
            generic loss, each with a random pair of items.
            (default: :obj:`5000`)
        specific (str, optional): The form of the specific loss, ``"hinge"``,
            ``"mse"`` or ``"kl"``, or :obj:`None` to leave it out.
            (default: :obj:`"hinge"`)
        reweight (bool, optional): Whether modalities are weighed by their
            effects. (default: :obj:`True`)
        gate (bool, optional): Whether a modality is distilled only as long as
            the student's own view of it is worse than the teacher, by
            validation Recall@20, checked anew at each evaluation. This is not
            in the paper; it is for backbones whose views overtake weak
            teachers. (default: :obj:`False`)
        skip_missing (bool, optional): Whether a triple with an item that
            lacks a modality, by ``data['item'].has_<modality>``, has no
            specific loss for that modality. (default: :obj:`False`)
        group_size (int, optional): These users are put in groups of this
            size, in which each user is compared on each pair. Looking up and
            updating users and items is what the generic loss costs; groups get
            ``group_size`` times as many triples out of it. The authors have no
            groups. (default: :obj:`1`)
        **kwargs (optional): Arguments of
            :class:`~pyg_ckd.train.Recommendation`.

    Raises:
        ValueError: If there are fewer than two modalities, a teacher is
            missing, superfluous or was trained on other data, an argument is
            out of its range, or the model's scores do not depend on the item
            features.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import VBPR
        >>> from pyg_ckd.train import fit
        >>> data = FakeMultimodal(num_users=20, num_items=30)[0]
        >>> task = CKD(VBPR.from_data(data, dim=4), data)
        >>> task = fit(task, max_epochs=1, progress=False)
        >>> task.teachers['text']
        Teacher('text', num_users=20, num_items=30, dim=8)
    """

    def __init__(
        self,
        model: nn.Module,
        data: HeteroData,
        teachers: Mapping[str, Teacher] | None = None,
        *,
        strength: float = 0.01,
        gamma: float = 5.0,
        tau: float = 0.1,
        eps: float = 0.0,
        reference: Literal['student', 'teacher'] = 'student',
        effect: Literal['individual', 'average'] = 'individual',
        specific: Literal['hinge', 'mse', 'kl'] | None = 'hinge',
        reweight: bool = True,
        gate: bool = False,
        skip_missing: bool = False,
        num_generic: int = 5000,
        group_size: int = 1,
        **kwargs: Any,
    ) -> None:
        for name in {'keep', 'watch'} & kwargs.keys():
            raise ValueError(
                f"'CKD' trains the full view, watches each modality alone and "
                f"takes no '{name}'"
            )
        names = modalities(data)
        super().__init__(model, data, watch=[only(m) for m in names], **kwargs)
        self.names = names
        if len(names) < 2:
            raise ValueError(
                f"'CKD' balances modalities and needs at least two; the data "
                f'has {names}. Train with Recommendation instead'
            )
        for name, value, allowed in (
            ('reference', reference, ('student', 'teacher')),
            ('effect', effect, ('individual', 'average')),
        ):
            if value not in allowed:
                raise ValueError(
                    f"'{name}' needs to be one of {allowed} in 'CKD' "
                    f"(got '{value}')"
                )
        users = data[RATES].edge_index[0].unique()
        if not 1 <= group_size <= min(num_generic, len(users)):
            raise ValueError(
                f"'group_size' needs to be from 1 to 'num_generic' and to the "
                f"number of users with interactions, {len(users)}, in 'CKD' "
                f'(got {group_size}, num_generic={num_generic})'
            )
        if strength < 0 or gamma < 0:
            raise ValueError(
                f"'strength' and 'gamma' need to be at least 0 in 'CKD' (got "
                f'{strength} and {gamma})'
            )
        self.strength = strength
        self.gamma = gamma
        self.reference = reference
        self.effect = effect
        self.reweight = reweight
        self.gate = gate
        self.num_generic = num_generic
        self.group_size = group_size
        self.specific_loss = SpecificLoss(specific) if specific else None
        self.generic_loss = GenericLoss(tau, eps)

        self.keeps = distinct_views(self.names)
        self._only = [self.keeps.index(only(m)) for m in self.names]
        self._without = [
            self.keeps.index(without(self.names, m)) for m in self.names
        ]
        self._users = users
        self._has = _presence(data, names) if skip_missing else None
        # The gate of each modality:
        self._open = torch.ones(len(names), device=users.device)
        self._check_model()
        self.teachers: dict[str, Teacher] = {}
        if teachers is not None:
            self.set_teachers(teachers)

    def set_teachers(self, teachers: Mapping[str, Teacher]) -> None:
        """Set the teachers, one for each modality.

        Raises:
            ValueError: If one is missing, superfluous, or was trained on
                other data.
        """
        if set(teachers) != set(self.names):
            raise ValueError(
                f"'CKD' needs one teacher for each of {self.names} "
                f'(got {sorted(teachers)})'
            )
        current = fingerprint(self.data)
        for name, teacher in teachers.items():
            if teacher.modality != name:
                raise ValueError(
                    f"The teacher given for '{name}' teaches "
                    f"'{teacher.modality}'"
                )
            teacher.check(self.data, current)
        self.teachers = {m: teachers[m] for m in self.names}

    def on_fit_start(self) -> None:
        """Move the data and the teachers to the device of the model."""
        super().on_fit_start()
        if not self.teachers:
            raise ValueError(
                "'CKD' has no teachers yet: train them with 'fit_teachers', "
                "or use 'fit', which trains them first"
            )
        self.teachers = {
            name: teacher.to(self.device)
            for name, teacher in self.teachers.items()
        }
        self._users = self._users.to(self.device)
        self._open = torch.ones(len(self.names), device=self.device)
        self._warned: set[str] = set()
        if self._has is not None:
            self._has = self._has.to(self.device)
        #: Validation Recall@20 of each teacher.
        self.teacher_level = {
            name: teacher.evaluate(
                self.data, split='val', ks=(20,), metrics=('recall',)
            )['recall@20']
            for name, teacher in self.teachers.items()
        }

    def validation(self) -> dict[str, float]:
        """Return validation metrics, and set the gates accordingly."""
        values = super().validation()
        if self.gate:
            ahead = [
                self.teacher_level[m] > values[f'val_recall@20/only({m})']
                for m in self.names
            ]
            self._open = torch.tensor(ahead, device=self.device).float()
        return values

    def on_train_epoch_end(self) -> None:
        """Keep what was logged, and warn of signs of failure, once each."""
        evaluated = self._evaluated
        super().on_train_epoch_end()
        if not evaluated:
            return
        devices = [self.device] if self.device.type == 'cuda' else []
        with torch.random.fork_rng(devices):  # training goes on as without
            batch = next(iter(self.train_dataloader()))
            share = self.gradient_share(batch, self.generic_triples())
        self.history[-1]['gradient_share'] = share
        signs = failure_signs(self.history[-1], self.teacher_level)
        for name, sign in signs.items():
            if name not in self._warned:
                self._warned.add(name)
                rank_zero_warn(f'Epoch {self.current_epoch + 1}: {sign}')

    # Loss ###################################################################

    def training_step(self, batch: Batch, batch_idx: int = 0) -> Tensor:
        """Return the loss of a batch of triples."""
        loss, parts = self.loss(batch, self.generic_triples())
        self.log('loss', loss, on_step=False, on_epoch=True, prog_bar=True)
        self.log_dict(parts, on_step=False, on_epoch=True)
        return loss

    def loss(
        self, batch: Batch, generic: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, and what it consists of.

        Args:
            batch: Training triples: users, positive and negative items, each
                of shape ``[B]``.
            generic: Random triples: users and two items for each, each of
                shape ``[G]``.

        Returns:
            The loss, and detached scalars by name: the base loss ``base``, and
            for each modality ``specific_<m>``, ``generic_<m>``, the mean
            weight ``weight_<m>`` and, if modalities are weighed, its mean
            absolute deviation from one, ``spread_<m>``.
        """
        base, distillation, parts = self.losses(batch, generic)
        return base + self.strength * distillation, parts

    def losses(
        self, batch: Batch, generic: Batch
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return the two sides of :meth:`loss`, and what they consist of.

        Args:
            batch: See :meth:`loss`.
            generic: See :meth:`loss`.

        Returns:
            The base loss, the distillation loss without its weight
            ``strength``, and scalars by name.
        """
        # Compute each embedding that the step needs once:
        user, pos, neg = (
            torch.cat(both) for both in zip(batch, generic, strict=True)
        )
        several = views(self.model, self.data, self.keeps)
        triples, random_triples = several.triples(user, pos, neg).split(
            len(batch[0])
        )
        student = triples.margin()  # [B, V]
        base = self.recommendation_loss(several, triples, student[:, 0], batch)

        teachers = [self.teachers[m] for m in self.names]
        taught = torch.stack([t.margin(*batch) for t in teachers], dim=-1)
        taught_generic = torch.stack(
            [t.crossed_margin(*generic, self.group_size) for t in teachers],
            dim=-1,
        )  # [G * group_size, M]
        alone = student[:, self._only]  # [B, M]
        generic_margin = random_triples.crossed_margin(self.group_size)

        specific = torch.zeros_like(taught)  # [B, M]
        if self.specific_loss is not None:
            specific = self.specific_loss(alone, taught)
        if self._has is not None:
            has = self._has[batch[1]] & self._has[batch[2]]  # [B, M]
            specific = specific * has
        generic_loss = self.generic_loss(
            generic_margin[:, self._only], taught_generic
        )  # [M]

        weight = torch.ones_like(taught)  # [B, M]
        if self.reweight:
            weight = modality_weights(self.progress(student, taught))
        distillation = weight * (specific + self.gamma * generic_loss)
        parts = {'base': base.detach()}
        for i, m in enumerate(self.names):
            parts[f'specific_{m}'] = specific[:, i].detach().mean()
            parts[f'generic_{m}'] = generic_loss[i].detach()
            parts[f'weight_{m}'] = weight[:, i].mean()
            if self.reweight:
                parts[f'spread_{m}'] = (weight[:, i] - 1).abs().mean()
        return base, (self._open * distillation.mean(0)).sum(), parts

    def progress(self, student: Tensor, taught: Tensor) -> Tensor:
        """Return the learning progress of each modality on each triple.

        See :func:`~pyg_ckd.distill.effects`.

        Args:
            student: Margins of the student in each of its views, ``[B, V]``.
            taught: Margins of the teachers, ``[B, M]``.

        Returns:
            The progress, ``[B, M]``.
        """
        alone = student[:, self._only]
        return effects(
            full=student[:, 0],
            without=student[:, self._without],
            reference=alone if self.reference == 'student' else taught,
            effect=self.effect,
        )

    def gradient_share(self, batch: Batch, generic: Batch) -> float:
        r"""Return the share of distillation in the gradient.

        .. math::
            \frac{\|\lambda \nabla \mathcal{L}_{\mathrm{distil}}\|}{\|\nabla
            \mathcal{L}_{\mathrm{base}}\| + \|\lambda \nabla
            \mathcal{L}_{\mathrm{distil}}\|}

        Args:
            batch: See :meth:`loss`.
            generic: See :meth:`loss`.
        """
        with torch.enable_grad():
            base, distillation, _ = self.losses(batch, generic)
            parameters = [p for p in self.parameters() if p.requires_grad]
            norms = [
                torch.nn.utils.get_total_norm(
                    g
                    for g in torch.autograd.grad(
                        side, parameters, retain_graph=True, allow_unused=True
                    )
                    if g is not None
                )
                for side in (base, self.strength * distillation)
            ]
        return float(norms[1] / (norms[0] + norms[1]))

    def generic_triples(self) -> Batch:
        """Draw training users, each at most once, and two items for each."""
        device = self._users.device
        order = torch.randperm(self._users.numel(), device=device)
        user = self._users[order[: self.num_generic]]
        pos, neg = torch.randint(
            self.data['item'].num_nodes, (2, len(user)), device=device
        )
        return user, pos, neg

    def _check_model(self) -> None:
        """Refuse a model that cannot learn, or not from the features."""
        name = self.model.__class__.__name__
        if not any(p.requires_grad for p in self.model.parameters()):
            raise ValueError(
                f'{name} has no parameters to train, so that there is nothing '
                f"'CKD' could teach it"
            )
        num_items = self.data['item'].num_nodes
        size, device = self._users.shape, self._users.device
        pos = torch.randint(num_items, size, device=device)
        other = torch.randint(1, num_items, size, device=device)
        neg = (pos + other) % num_items
        with evaluation(self.model):  # without dropout
            several = views(self.model, self.data, self.keeps)
            margin = several.triples(self._users, pos, neg).margin()
        idle = [
            m
            for m, view in zip(self.names, self._without, strict=True)
            if torch.equal(margin[:, 0], margin[:, view])
        ]
        if idle:
            raise ValueError(
                f'The scores of {name} do not change '
                f'when {" or ".join(idle)} is ablated. Such effects are zero, '
                f'so that there is nothing CKD could balance or distil. Use a '
                f'recommender whose scores depend on the features of each '
                f'modality, or data without {" and ".join(idle)}'
            )


def _presence(data: HeteroData, names: list[str]) -> Tensor:
    """Return which items have which modality, ``[num_items, M]``."""
    everything = torch.ones(data['item'].num_nodes, dtype=torch.bool)
    return torch.stack(
        [data['item'].get(f'has_{m}', everything) for m in names], dim=-1
    )
