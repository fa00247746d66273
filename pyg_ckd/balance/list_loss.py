"""Generic distillation losses on whole lists of items."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.balance.generic_loss import GenericLoss
from pyg_ckd.balance.teacher import Teacher
from pyg_ckd.graph import interaction_keys, warm_items
from pyg_ckd.kernels.arguments import check_number, check_whole
from pyg_ckd.kernels.precise import precise
from pyg_ckd.objectives.step import Step

#: The score of an item that a user knows from training: finite, lest gradients
#: of users who know nearly all are none.
KNOWN = -1e9


class ListLoss(GenericLoss):
    r"""What views are taught on the ranking of all items for random users.

    Random pairs, as CKD has them, hardly ever hold an item that belongs at the
    head of a list. A loss of this kind sees the scores :math:`t_{ui}` of a
    teacher and :math:`s_{ui}` of the student's view for all items, in units of
    :math:`\tau` times the teacher's own
    :attr:`~pyg_ckd.balance.Teacher.spread`, so that one temperature suits
    scores of any size. Items that a user knows from training have the score
    :obj:`KNOWN` with both, so that no list holds them. The loss is the mean
    over users.

    Args:
        weight (float): The weight of the loss beside the one on the batch.
        num_users (int): The number of users a step draws.
        tau (float): The temperature :math:`\tau`.

    Raises:
        ValueError: If ``weight`` is negative, ``num_users`` no whole number
            from 1 on, or ``tau`` not positive.

    Example:
        >>> class CrossEntropy(ListLoss):
        ...     def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        ...         target = teacher.softmax(dim=1)
        ...         return -(target * student.log_softmax(dim=1)).sum(dim=1)
        >>> CrossEntropy(weight=1.0, num_users=64, tau=0.5)
        CrossEntropy(weight=1.0, num_users=64, tau=0.5)
    """

    def __init__(self, weight: float, num_users: int, tau: float) -> None:
        super().__init__(weight)
        name = self.__class__.__name__
        check_whole(name, num_users=num_users)
        check_number(name, 'positive', tau=tau)
        self.num_users = num_users
        self.tau = tau

    def begin(self, data: HeteroData, teachers: Sequence[Teacher]) -> None:
        """Take up what users know."""
        super().begin(data, teachers)
        key = interaction_keys(data).unique_consecutive()
        user, self._known_item = key // self.num_items, key % self.num_items
        count = torch.bincount(user, minlength=int(data['user'].num_nodes))
        self._warm = warm_items(data)
        self._end = count.cumsum(0)
        self._count = count

    def losses(
        self, step: Step, places: Sequence[int], teachers: Sequence[Teacher]
    ) -> Tensor:
        """Return the loss of each view that is taught."""
        order = torch.randperm(len(self.users), device=self.users.device)
        user = step.ranks.part(self.users[order[: self.num_users]])
        known = self._known(user)  # [N, num_items]
        losses = []
        for place, teacher in zip(places, teachers, strict=True):
            unit = self.tau * teacher.spread
            student = step.views.embedding(place, user=user)
            taught = F.embedding(user, teacher.user), teacher.item
            scores = [
                _products(user_emb / unit, item_emb).masked_fill(known, KNOWN)
                for user_emb, item_emb in (student, taught)
            ]  # [N, num_items]
            losses.append(self(*scores).mean())
        return torch.stack(losses)

    @abstractmethod
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of each user, ``[N]``.

        Args:
            student: Scores of the student ``[N, num_items]``.
            teacher: Scores of the teacher, of the same shape.
        """

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f'weight={self.weight}, num_users={self.num_users}, tau={self.tau}'
        )

    def _known(self, user: Tensor) -> Tensor:
        """Return which items users have in training, and cold ones.

        Returns:
            Booleans ``[N, num_items]``.
        """
        count = self._count[user]
        row = torch.arange(len(user), device=user.device)
        row = row.repeat_interleave(count)  # one for each interaction
        within = torch.arange(len(row), device=user.device)
        within = within - (count.cumsum(0) - count)[row]
        place = (self._end[user] - count)[row] + within
        known = row.new_zeros((len(user), self.num_items), dtype=torch.bool)
        known[row, self._known_item[place]] = True
        if self._warm is not None:
            is_cold = known.new_ones(self.num_items)
            is_cold[self._warm] = False
            known |= is_cold
        return known


def _products(user: Tensor, item: Tensor) -> Tensor:
    """Return all products, of at least 32 bits, also under autocast."""
    with torch.autocast(user.device.type, enabled=False):
        return precise(user) @ precise(item).t()
