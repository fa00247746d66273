"""Rejuvenated cross-entropy for knowledge distillation."""

from __future__ import annotations

import torch
from torch import Tensor

from pyg_ckd.balance.list_loss import KNOWN, ListLoss
from pyg_ckd.kernels.arguments import check_number, check_whole


class RCEKD(ListLoss):
    r"""Cross-entropy on the best items of student and teacher.

    From the `"Rejuvenating Cross-Entropy Loss in Knowledge Distillation for
    Recommender Systems" <https://arxiv.org/abs/2509.20989>`_ paper. With
    :math:`Q_S` and :math:`Q_T` the :math:`K` best items of student and teacher
    that a user does not know,

    .. math::
        L_u &= (1 - w_u) \, \mathrm{CE}(Q_S) + w_u \, \mathrm{CE}(A \cup (Q_T
        \setminus Q_S)), \qquad w_u = \exp\left(-\beta \frac{|Q_T \cap A|}{K}
        \right)

        \mathrm{CE}(Q) &= - \sum_{i \in Q} \mathrm{softmax}_Q(t_u)_i \log
        \mathrm{softmax}_Q(s_u)_i

    :math:`A` are :math:`K` items of the student's best :math:`4 K`, drawn with
    weights :math:`\exp((c_r + 1) / 10)`, where :math:`c_r` is the number of
    the teacher's best items among them that the student puts at rank :math:`r`
    or below: items that stand above what the teacher likes. The paper draws
    :math:`A` once an epoch, here it is drawn in each step.

    Args:
        weight (float, optional): The weight of the loss beside the one on the
            batch. (default: :obj:`1.0`)
        num_users (int, optional): The number of users a step draws.
            (default: :obj:`256`)
        tau (float, optional): The temperature, in units of the teacher's own
            spread. (default: :obj:`0.5`)
        k (int, optional): The number :math:`K` of items.
            (default: :obj:`50`)
        beta (float, optional): How fast :math:`\beta` the second term gives
            way to the first, as the best items become the same.
            (default: :obj:`1.0`)

    Raises:
        ValueError: If ``weight`` or ``beta`` is negative, ``tau`` not positive,
            or another no whole number from 1 on.

    Shapes:
        - **student, teacher:** scores :math:`(N, |\mathcal{I}|)`
        - **output:** the loss of each user :math:`(N)`

    Example:
        >>> scores = torch.randn(4, 100)
        >>> RCEKD()(scores, scores).shape
        torch.Size([4])
    """

    def __init__(
        self,
        weight: float = 1.0,
        num_users: int = 256,
        tau: float = 0.5,
        k: int = 50,
        beta: float = 1.0,
    ) -> None:
        super().__init__(weight, num_users, tau)
        check_whole(self.__class__.__name__, k=k)
        check_number('RCEKD', 'at least 0', beta=beta)
        self.k = k
        self.beta = beta

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of each user."""
        unknown = teacher > KNOWN  # [N, num_items]
        k = min(self.k, teacher.size(1))
        of_student = _best(student, k) & unknown
        of_teacher = _best(teacher, k) & unknown
        drawn = self._drawn(student, of_teacher, k) & unknown  # A
        first = _cross_entropy(student, teacher, of_student)
        second = _cross_entropy(
            student, teacher, drawn | (of_teacher & ~of_student)
        )
        size = of_teacher.sum(dim=1).clamp(min=1)
        shared = (of_teacher & drawn).sum(dim=1) / size
        w = (-self.beta * shared).exp()
        return (1 - w) * first + w * second

    def _drawn(self, student: Tensor, of_teacher: Tensor, k: int) -> Tensor:
        """Return the items of :math:`A`, ``[N, num_items]``."""
        size = min(4 * k, student.size(1))
        best = student.detach().topk(size).indices  # [N, 4 K], best first
        count = of_teacher.gather(1, best).flip(1).cumsum(dim=1).flip(1)
        place = ((count + 1) / 10).exp().multinomial(k)
        drawn = torch.zeros_like(of_teacher)
        return drawn.scatter(1, best.gather(1, place), True)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f'{super().extra_repr()}, k={self.k}, beta={self.beta}'


def _best(scores: Tensor, k: int) -> Tensor:
    """Return which items are among the best, ``[N, num_items]``."""
    best = torch.zeros_like(scores, dtype=torch.bool)
    return best.scatter(1, scores.detach().topk(k).indices, True)


def _cross_entropy(student: Tensor, teacher: Tensor, among: Tensor) -> Tensor:
    """Return the cross-entropy of both over some items, ``[N]``."""
    target = teacher.masked_fill(~among, KNOWN).softmax(dim=1)
    log_p = student.masked_fill(~among, KNOWN).log_softmax(dim=1)
    return -torch.where(among, target * log_p, 0.0).sum(dim=1)
