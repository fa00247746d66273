"""Counterfactual knowledge distillation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.balance._columns import columns
from pyg_ckd.balance._settings import check_strength, own_part
from pyg_ckd.balance.balance import Balance, Teach
from pyg_ckd.balance.counterfactual_weights import CounterfactualWeights
from pyg_ckd.balance.dependence import check_dependence, check_modalities
from pyg_ckd.balance.generic_loss import GenericLoss
from pyg_ckd.balance.hinge import Hinge
from pyg_ckd.balance.list_loss import ListLoss
from pyg_ckd.balance.soft_cross_entropy import SoftCrossEntropy
from pyg_ckd.balance.teacher import Teacher
from pyg_ckd.balance.teachers import Teachers
from pyg_ckd.graph import modalities
from pyg_ckd.nn import Recommender
from pyg_ckd.objectives.step import Batch, Step
from pyg_ckd.views import Keep, full, only, view_name, without


class CKD(Balance):
    r"""Counterfactual knowledge distillation.

    From the `"Modality-Balanced Learning for Multimedia Recommendation"
    <https://arxiv.org/abs/2408.06360>`_ paper. Each modality is distilled
    from a teacher that was trained on that modality alone. To the loss of the
    full view is added

    .. math::
        \lambda \sum_m \mathrm{mean}_b \left( w_{mb} \left( H_{mb} + \gamma
        G_m \right) \right)

    with a loss :math:`H_m` on the triples of the batch, a loss :math:`G_m` on
    fresh random triples, and weights :math:`w_m` that favour the modality
    whose effect on the student lags behind. :math:`G_m` is one number a step,
    so that it counts by the mean weight of the batch, while each :math:`H_m`
    has the weight of its triple. A part that is :obj:`None` is left out.

    What a teacher teaches is its key, a view. The paper has ``{only(m):
    teacher of m}``. With the base as the teacher of each ``only(m)`` it is
    self-distillation, and with the base as the teacher of the full view `"Born
    Again Neural Networks" <https://arxiv.org/abs/1805.04770>`_. Weights are
    those of modalities, if several are taught; other views have the weight one.

    Args:
        teachers (dict[frozenset[str], Teacher], optional): The teachers by
            the view that each teaches; by default :func:`~pyg_ckd.train.fit`
            trains one for each modality first. (default: :obj:`None`)
        strength (float, optional): The weight :math:`\lambda`.
            (default: :obj:`0.01`)
        on_batch (torch.nn.Module, optional): The specific loss :math:`H`, of
            margins ``[B, T]`` of student and teachers, ``[B, T]``.
            (default: :class:`~pyg_ckd.balance.Hinge`)
        on_random (GenericLoss, optional): The generic loss :math:`G`, and its
            weight :math:`\gamma`: the paper's, or one on whole lists, such as
            :class:`~pyg_ckd.balance.RCEKD`.
            (default: :class:`~pyg_ckd.balance.SoftCrossEntropy`)
        weights (CounterfactualWeights, optional): The weights :math:`w`.
            (default: :class:`~pyg_ckd.balance.CounterfactualWeights`)
        gate (bool, optional): Whether a view is taught only as long as its
            teacher has the higher validation Recall@20, each evaluation anew.
            This is not in the paper; it is for backbones whose views overtake
            weak teachers. (default: :obj:`False`)

    Raises:
        TypeError: If a part is of another class, or ``gate`` is no Boolean.
        ValueError: If ``strength`` is negative or ``teachers`` is no such
            dictionary; and, once it is part of a task, if there are fewer than
            two modalities that tell items apart, a teacher does not fit the
            data, the model's scores do not depend on each modality, or it is
            :class:`~pyg_ckd.nn.Sampled` and ``on_random`` a loss on lists.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import VBPR
        >>> from pyg_ckd.train import Recommendation, fit
        >>> data = FakeMultimodal(num_users=20, num_items=30)[0]
        >>> model = VBPR.from_data(data, dim=4)
        >>> task = Recommendation(model, data, balance=CKD())
        >>> task = fit(task, max_epochs=1, progress=False)
        >>> task.balance.teachers[only('text')]
        Teacher(num_users=20, num_items=30, dim=8)
    """

    def __init__(
        self,
        teachers: Mapping[Keep, Teacher] | None = None,
        strength: float = 0.01,
        on_batch: nn.Module | None = Hinge(),
        on_random: GenericLoss | None = SoftCrossEntropy(),
        weights: CounterfactualWeights | None = CounterfactualWeights(),
        gate: bool = False,
    ) -> None:
        super().__init__()
        #: The teachers by the view that each teaches.
        self.teachers = Teachers(teachers)
        check_strength(strength, 'CKD')
        self.strength = strength
        self.on_batch = own_part('on_batch', on_batch, nn.Module)
        self.on_random = own_part('on_random', on_random, GenericLoss)  # type: ignore[type-abstract]
        self.weights = own_part('weights', weights, CounterfactualWeights)
        if not isinstance(gate, bool):
            raise TypeError(
                f"'gate' needs to be True or False in 'CKD' (got {gate!r})"
            )
        self.gate = gate
        self.names: list[str] = []
        #: Validation Recall@20 of each teacher, after an evaluation.
        self.teacher_level: dict[Keep, float] = {}
        self._open: dict[Keep, bool] = {}

    @classmethod
    def published(
        cls,
        teachers: Mapping[Keep, Teacher] | None = None,
        strength: float = 0.01,
    ) -> CKD:
        """Return CKD with the settings of its published code.

        Args:
            teachers: See above.
            strength: See above.
        """
        return cls(
            teachers,
            strength,
            on_random=SoftCrossEntropy(
                tau=0.1, num_pairs=5000, weight=5.0, group_size=1, eps=1e-8
            ),
            weights=CounterfactualWeights('student', 'individual'),
        )

    def attach(self, recommender: Recommender, data: HeteroData) -> None:
        """Check that there is something to distil, and the teachers."""
        check_modalities(data, 'CKD')
        if isinstance(self.on_random, ListLoss) and recommender.is_sampled:
            raise ValueError(
                f"'{type(self.on_random).__name__}' looks at all items, and a "
                f"recommender in 'Sampled' at some in a step of training: take "
                f'SoftCrossEntropy(), or train on the whole graph'
            )
        check_dependence(recommender, data, 'CKD')
        self.teachers.attach(data)
        self.names = modalities(data)
        self._data = data
        self.teacher_level, self._open = {}, {}
        if self.on_random is not None:
            self.on_random.attach(data)

    @property
    def teacher_views(self) -> list[Keep]:
        """Each modality alone, if no teachers are given."""
        return [] if self.teachers else [only(m) for m in self.names]

    def prepare(self, teach: Teach) -> None:
        """Train a teacher for each modality, if none was given."""
        self.teachers.prepare(teach, self._data)

    def begin(self, data: HeteroData) -> None:
        """Move the teachers to where the data is."""
        self._data = data
        self.teachers.begin(data, 'CKD')
        if self.on_random is not None:
            self.on_random.begin(data, list(self.teachers.at_work.values()))

    @property
    def keeps(self) -> list[Keep]:
        """The views that are taught, and those that effects are taken from."""
        effects = [without(self.names, m) for m in self._weighed]
        return [full(self.names), *self.teachers, *effects]

    @property
    def watched(self) -> list[Keep]:
        """The views that are taught."""
        return list(self.teachers)

    @property
    def needs_validation(self) -> bool:
        """Whether there is a gate."""
        return self.gate

    def triples(self) -> Batch | None:
        """Draw the random triples of a step."""
        return None if self.on_random is None else self.on_random.draw()

    def loss(self, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the distillation loss, and what it consists of.

        Of each view that is taught there are the losses ``specific_<m>`` and
        ``generic_<m>``, the mean weight ``weight_<m>`` and, if modalities are
        weighed, its mean absolute deviation from one, ``spread_<m>``.
        """
        self.teachers.require('CKD')
        teachers = list(self.teachers.at_work.values())
        places = [step.place(keep) for keep in self.teachers]
        specific = teachers[0].user.new_zeros(1, len(teachers))  # [1, T]
        weight = torch.ones_like(specific)  # [1, T]
        if self.on_batch is not None or self._weighed:
            margins = [teacher.margin(*step.batch) for teacher in teachers]
            taught = torch.stack(margins, dim=-1)  # [B, T]
            student = columns(step.margin, places)  # [B, T]
            if self.on_batch is not None:
                specific = self.on_batch(student, taught)  # [B, T]
            weight = self._weight(step, student, taught)  # [B, T]
        generic, gamma = specific.new_zeros(len(teachers)), 0.0  # [T]
        if self.on_random is not None:
            generic = self.on_random.losses(step, places, teachers)
            gamma = self.on_random.weight
        distillation = (weight * (specific + gamma * generic)).mean(0)  # [T]
        if step.ranks.size > 1:
            # The generic loss counts by the mean weight of all processes:
            own = weight.mean(0)
            shift = step.ranks.sum(own) / step.ranks.size - own
            distillation = distillation + shift * gamma * generic
        means = {
            'specific': specific.detach().mean(0),  # [T]
            'generic': generic.detach(),
            'weight': weight.mean(0),
            'spread': (weight - 1).abs().mean(0),
        }
        scalars: dict[str, Tensor] = {}
        for t, keep in enumerate(self.teachers):
            label = min(keep) if len(keep) == 1 else view_name(keep, self.names)
            for name, mean in means.items():
                if name != 'spread' or label in self._weighed:
                    scalars[f'{name}_{label}'] = mean[t]
        if self.gate:
            is_open = [self._open.get(keep, True) for keep in self.teachers]
            distillation = distillation * distillation.new_tensor(is_open)
        return self.strength * distillation.sum(), scalars

    def validated(self, values: Mapping[str, float]) -> None:
        """Compare each view with its teacher, and set the gates."""
        if not self.teacher_level:
            self.teacher_level = self.teachers.level(self._data)
        for keep, level in self.teacher_level.items() if self.gate else ():
            own = values[f'val_recall@20/{view_name(keep, self.names)}']
            self._open[keep] = level > own

    def _weight(self, step: Step, student: Tensor, taught: Tensor) -> Tensor:
        """Return the weight of each view that is taught, ``[B, T]``."""
        if self.weights is None or not self._weighed:
            return torch.ones_like(taught)
        views = list(self.teachers)
        of = [views.index(only(m)) for m in self._weighed]
        away = [step.place(without(self.names, m)) for m in self._weighed]
        margins = {
            'full': step.margin[:, step.place(full(self.names))].detach(),
            'without': columns(step.margin.detach(), away),
            'alone': columns(student.detach(), of),
            'taught': columns(taught, of),
        }
        if self.weights.effect == 'individual':
            weight = self.weights(**margins)  # [B, M]
        else:  # of the batches of all processes
            every = {k: step.ranks.gather(x) for k, x in margins.items()}
            weight = step.ranks.part(self.weights(**every))
        parts = weight.to(taught.dtype).unbind(dim=1)
        one = torch.ones_like(parts[0])
        by_view = dict(zip(map(only, self._weighed), parts, strict=True))
        return torch.stack([by_view.get(k, one) for k in views], dim=1)

    @property
    def _weighed(self) -> list[str]:
        """The modalities that get weights: those taught alone, if several."""
        taught = [m for m in self.names if only(m) in self.teachers]
        return taught if self.weights is not None and len(taught) > 1 else []

    def get_extra_state(self) -> dict[str, Any]:
        """Return the teachers and the gates, for checkpoints."""
        return {
            'teachers': self.teachers.state(),
            'level': [[sorted(k), x] for k, x in self.teacher_level.items()],
            'open': [[sorted(k), x] for k, x in self._open.items()],
        }

    def set_extra_state(self, state: Any) -> None:
        """Take up the teachers and the gates of a checkpoint."""
        self.teachers.load_state(state['teachers'])
        self.teacher_level = {frozenset(k): x for k, x in state['level']}
        self._open = {frozenset(k): x for k, x in state['open']}

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f'strength={self.strength}, on_batch={self.on_batch}, '
            f'on_random={self.on_random}, weights={self.weights}, '
            f'gate={self.gate}'
        )
