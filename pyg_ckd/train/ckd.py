"""Counterfactual knowledge distillation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
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
        num_generic (int, optional): The number of random triples a step.
            (default: :obj:`5000`)
        num_pairs (int, optional): The number of random pairs of items that a
            step compares ``num_generic / num_pairs`` users on, each user on
            each pair. ``None``, the authors' way, gives each of
            ``num_generic`` users a pair of her own; it costs far more, since
            all these users and items have to be looked up and updated. Users
            and items are uniform either way. (default: :obj:`None`)
        **kwargs (optional): Arguments of
            :class:`~pyg_ckd.train.Recommendation`.

    Raises:
        ValueError: If there are fewer than two modalities, a teacher is
            missing, superfluous or was trained on other data, an argument is
            out of its range, or the model's scores do not depend on the item
            features.
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
        num_generic: int = 5000,
        num_pairs: int | None = None,
        **kwargs: Any,
    ) -> None:
        if 'keep' in kwargs:
            raise ValueError("'CKD' trains the full view and takes no 'keep'")
        super().__init__(model, data, **kwargs)
        self.names = modalities(data)
        if len(self.names) < 2:
            raise ValueError(
                f"'CKD' balances modalities and needs at least two; the data "
                f'has {self.names}. Train with Recommendation instead'
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
        least = 1 if num_pairs is None else num_pairs
        if not 1 <= least <= num_generic:
            raise ValueError(
                f"'num_generic' needs to be positive and 'num_pairs' from 1 to "
                f"'num_generic' in 'CKD' (got {num_generic} and {num_pairs})"
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
        self.num_generic = num_generic
        self.num_pairs = num_pairs
        self.specific_loss = SpecificLoss()
        self.generic_loss = GenericLoss(tau, eps)

        self.keeps = distinct_views(self.names)
        self._only = [self.keeps.index(only(m)) for m in self.names]
        self._without = [
            self.keeps.index(without(self.names, m)) for m in self.names
        ]
        self._users = data[RATES].edge_index[0].unique()
        self._check_effects()
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
        self._users = self._users.to(self.device)
        if not self.teachers:
            raise ValueError(
                "'CKD' has no teachers yet: train them with 'fit_teachers', "
                "or use 'fit', which trains them first"
            )
        self.teachers = {
            name: teacher.to(self.device)
            for name, teacher in self.teachers.items()
        }

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
            generic: Users of shape ``[G]``, and pairs of items: two tensors of
                shape ``[G]``, a pair for each user, or, with ``num_pairs``,
                of shape ``[num_pairs]``, for all users.

        Returns:
            The loss, and detached scalars by name: the base loss ``base``, and
            for each modality ``specific_<m>``, ``generic_<m>`` and the mean
            weight ``weight_<m>``.
        """
        user, *pairs = batch
        generic_user, *generic_pairs = generic
        # Compute each embedding that the step needs once:
        item, place = torch.cat([*pairs, *generic_pairs]).unique(
            return_inverse=True
        )
        sizes = [len(index) for index in (*pairs, *generic_pairs)]
        pos, neg, first, second = place.split(sizes)
        rows = views(self.model, self.data, self.keeps).rows(
            torch.cat([user, generic_user]), item
        )
        known, unknown = rows.split(len(user))

        triples = known.aligned(pos, neg)
        student = triples.margin()  # [B, V]
        base = self.recommendation_loss(triples, student[:, 0], batch)

        teachers = [self.teachers[m] for m in self.names]
        taught = torch.stack([t.margin(*batch) for t in teachers], dim=-1)
        specific = self.specific_loss(student[:, self._only], taught)  # [B, M]
        if self.num_pairs is None:
            generic_student = unknown.aligned(first, second).margin()
            generic_taught = [t.margin(*generic) for t in teachers]
        else:
            generic_student = unknown.crossed(first, second)
            generic_taught = [t.crossed(*generic) for t in teachers]
        generic_loss = self.generic_loss(
            generic_student[:, self._only],
            torch.stack(generic_taught, dim=-1),
        )  # [M]

        progress = effects(
            full=student[:, 0],
            without=student[:, self._without],
            reference=(
                student[:, self._only]
                if self.reference == 'student'
                else taught
            ),
            effect=self.effect,
        )
        weight = modality_weights(progress)  # [B, M]
        distillation = (weight * (specific + self.gamma * generic_loss)).mean(0)
        parts = {'base': base.detach()}
        for i, m in enumerate(self.names):
            parts[f'specific_{m}'] = specific[:, i].detach().mean()
            parts[f'generic_{m}'] = generic_loss[i].detach()
            parts[f'weight_{m}'] = weight[:, i].mean()
        return base + self.strength * distillation.sum(), parts

    def generic_triples(self) -> Batch:
        """Draw training users, each at most once, and pairs of items."""
        device = self._users.device
        num_items = self.data['item'].num_nodes
        num_users = self.num_generic // (self.num_pairs or 1)
        order = torch.randperm(self._users.numel(), device=device)
        user = self._users[order[:num_users]]
        num_pairs = self.num_pairs or len(user)
        items = torch.randint(num_items, (2, num_pairs), device=device)
        return user, items[0], items[1]

    def _check_effects(self) -> None:
        """Refuse a model whose scores do not depend on the features."""
        num_items = self.data['item'].num_nodes
        pos = torch.randint(num_items, self._users.shape)
        neg = (pos + torch.randint(1, num_items, pos.shape)) % num_items
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
                f'The scores of {self.model.__class__.__name__} do not change '
                f'when {" or ".join(idle)} is ablated. Such effects are zero, '
                f'so that there is nothing CKD could balance or distil. Use a '
                f'recommender whose scores depend on the features of each '
                f'modality, or data without {" and ".join(idle)}'
            )
