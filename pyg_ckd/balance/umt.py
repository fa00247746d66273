"""Uni-modal teachers of representations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.balance._settings import check_strength
from pyg_ckd.balance.balance import Balance, Teach
from pyg_ckd.balance.dependence import check_dependence, check_modalities
from pyg_ckd.balance.teacher import Teacher
from pyg_ckd.balance.teachers import Teachers
from pyg_ckd.graph import RATES, modalities
from pyg_ckd.nn import Recommender
from pyg_ckd.nn.door import matched
from pyg_ckd.nn.evaluating import evaluating
from pyg_ckd.objectives.step import Step
from pyg_ckd.views import Keep, only


class UMT(Balance):
    r"""Uni-modal teachers, whose representations the student takes up.

    From the `"On Uni-Modal Feature Learning in Supervised Multi-Modal
    Learning" <https://arxiv.org/abs/2305.01233>`_ paper. For each modality, a
    teacher was trained on that modality alone. To the loss of the full view is
    added

    .. math::
        \lambda \sum_m \mathrm{mean}_{(u, i, j)} \left( \|\mathbf{A}_m
        \mathbf{u}_{um} - \mathbf{u}^{\mathcal T_m}_u\|^2 + \|\mathbf{B}_m
        \mathbf{i}_{im} - \mathbf{i}^{\mathcal T_m}_i\|^2 + \|\mathbf{B}_m
        \mathbf{i}_{jm} - \mathbf{i}^{\mathcal T_m}_j\|^2 \right)

    with the embeddings of the student in the view that sees only :math:`m`,
    and those of the teacher. Where both have the same width there are no
    matrices; otherwise :math:`\mathbf{A}_m` and :math:`\mathbf{B}_m` are
    learned along.

    The paper is about classifiers with an encoder for each modality, whose
    features it compares. That the embeddings of users and items in an ablated
    view are the features of a modality is this library's adaptation. It asks
    for more than CKD does, which teaches margins alone: a rotation of both
    sides leaves all scores as they are, but not this loss.

    Args:
        teachers (dict[frozenset[str], Teacher], optional): The teacher of each
            view ``only(m)``. By default :func:`~pyg_ckd.train.fit` trains them
            first. (default: :obj:`None`)
        strength (float, optional): The weight :math:`\lambda`.
            (default: :obj:`1.0`)

    Raises:
        ValueError: If ``strength`` is negative; and, once it is part of a
            task, if there are fewer than two modalities, a teacher is missing,
            superfluous or was trained on other data, or the model's scores do
            not depend on each modality.

    Example:
        >>> UMT(strength=0.1)
        UMT(strength=0.1)
    """

    def __init__(
        self,
        teachers: Mapping[Keep, Teacher] | None = None,
        strength: float = 1.0,
    ) -> None:
        super().__init__()
        check_strength(strength, 'UMT')
        self.strength = strength
        #: The teachers by the view that each teaches.
        self.teachers = Teachers(teachers)
        #: The matrices of each modality whose widths differ.
        self.maps = nn.ModuleDict()
        self.names: list[str] = []
        self._width: dict[str, int] = {}
        # Where the matrices are, and in which precision:
        self._like: Tensor
        self.register_buffer('_like', torch.empty(0), persistent=False)

    def attach(self, recommender: Recommender, data: HeteroData) -> None:
        """Check the teachers, and compare their widths with the student's."""
        check_modalities(data, 'UMT')
        check_dependence(recommender, data, 'UMT')
        self.teachers.attach(data)
        self.names = modalities(data)
        if self.teachers and set(self.teachers) != set(self.keeps):
            raise ValueError(
                f"'UMT' needs one teacher for each of "
                f'{[f"only({m!r})" for m in self.names]} (got {self.teachers})'
            )
        self._data = data
        self.maps = nn.ModuleDict()
        with evaluating(recommender):
            several = recommender.views(matched(data, recommender), self.keeps)
            self._width = {
                m: several.embedding(i)[0].size(1)
                for i, m in enumerate(self.names)
            }
            self._like = several.embedding()[0].new_empty(0)
        self._make_maps()

    @property
    def teacher_views(self) -> list[Keep]:
        """Each modality alone, if no teachers are given."""
        return [] if self.teachers else [only(m) for m in self.names]

    def prepare(self, teach: Teach) -> None:
        """Train a teacher for each modality, if none was given."""
        self.teachers.prepare(teach, self._data)
        self._make_maps()

    def begin(self, data: HeteroData) -> None:
        """Move what is needed to where the data is."""
        self.teachers.begin(data, 'UMT')
        self.to(data[RATES].edge_index.device)

    @property
    def keeps(self) -> list[Keep]:
        """The views that are taught."""
        return [only(m) for m in self.names]

    def loss(self, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, and the mean squared distances ``distance_<m>``."""
        user, pos, neg = step.batch
        scalars: dict[str, Tensor] = {}
        distances = []
        for m in self.names:
            teacher = self.teachers.at_work[only(m)]
            pairs = zip(
                self._mapped(m, step.triples.embedding(step.place(only(m)))),
                (
                    F.embedding(user, teacher.user),
                    F.embedding(pos, teacher.item),
                    F.embedding(neg, teacher.item),
                ),
                strict=True,
            )
            # Squares of a row each, then the mean over the batch:
            squares = [(s - t).square().sum(dim=-1) for s, t in pairs]
            distances.append(torch.stack(squares).sum(dim=0).mean())
            scalars[f'distance_{m}'] = distances[-1].detach()
        return self.strength * torch.stack(distances).sum(), scalars

    def _mapped(
        self, modality: str, student: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return embeddings of the student in the width of the teacher."""
        if modality not in self.maps:
            return student
        sides = self.maps[modality]
        assert isinstance(sides, nn.ModuleDict)
        user, pos, neg = student
        return sides['user'](user), sides['item'](pos), sides['item'](neg)

    def _make_maps(self) -> None:
        """Make the matrices that the widths of the teachers need."""
        for m in self.names if self.teachers else ():
            wanted = self.teachers[only(m)].user.size(1)
            width = self._width[m]
            if width != wanted and self._shapes(m) != [(wanted, width)] * 2:
                self.maps[m] = nn.ModuleDict(
                    {
                        side: nn.Linear(width, wanted, bias=False)
                        for side in ('user', 'item')
                    }
                ).to(self._like)

    def _shapes(self, modality: str) -> list[tuple[int, ...]]:
        """Return the shapes of the matrices that are there."""
        if modality not in self.maps:
            return []
        return [tuple(p.shape) for p in self.maps[modality].parameters()]

    def get_extra_state(self) -> dict[str, Any]:
        """Return the teachers and the widths, for checkpoints."""
        return {'teachers': self.teachers.state(), 'width': dict(self._width)}

    def set_extra_state(self, state: Any) -> None:
        """Take up the teachers of a checkpoint, whose matrices follow."""
        self.names = list(state['width'])
        self._width = dict(state['width'])
        self.teachers.load_state(state['teachers'])
        self._make_maps()

    def extra_repr(self) -> str:
        """Return the settings."""
        return f'strength={self.strength}'
