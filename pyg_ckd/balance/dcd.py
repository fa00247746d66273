"""Dual correction distillation."""

from __future__ import annotations

import torch
from torch import Tensor

from pyg_ckd.balance.list_loss import KNOWN, ListLoss
from pyg_ckd.balance.rrd import ordered
from pyg_ckd.kernels.arguments import check_whole


class DCD(ListLoss):
    r"""Dual correction distillation: where student and teacher disagree.

    From the `"Dual Correction Strategy for Ranking Distillation in Top-N
    Recommender System" <https://arxiv.org/abs/2109.03459>`_ paper. Among the
    teacher's best items that a user does not know, at most :math:`10 K` of
    them, :math:`d_i` is the rank of an item by the student less that by the
    teacher. :math:`K` items that the student rates too low are drawn with
    weights :math:`\max(\tanh(d_i / 10), 10^{-5})`, and :math:`K` that it rates
    too high, :math:`\mathcal{H}`, with those of :math:`-d_i`. The first ones
    are taught to come before the second ones, and in the order of the teacher
    :math:`\pi`,

    .. math::
        L_u = - \frac{1}{K} \sum_{k \le K} \log \frac{\exp s_{u \pi_k}}{
        \sum_{l \ge k} \exp s_{u \pi_l} + \sum_{i \in \mathcal{H}} \exp
        s_{ui}}

    The paper draws the items once an epoch, and teaches users of items in the
    same way; here items are drawn in each step, and taught for users alone.

    Args:
        weight (float, optional): The weight of the loss beside the one on the
            batch. (default: :obj:`1.0`)
        num_users (int, optional): The number of users a step draws.
            (default: :obj:`256`)
        tau (float, optional): The temperature, in units of the teacher's own
            spread. (default: :obj:`0.5`)
        k (int, optional): The number :math:`K` of items of each kind.
            (default: :obj:`50`)

    Raises:
        ValueError: If ``weight`` is negative, ``tau`` not positive, or another
            no whole number from 1 on.

    Shapes:
        - **student, teacher:** scores :math:`(N, |\mathcal{I}|)`
        - **output:** the loss of each user :math:`(N)`

    Example:
        >>> scores = torch.randn(4, 100)
        >>> DCD(k=10)(scores, scores).shape
        torch.Size([4])
    """

    def __init__(
        self,
        weight: float = 1.0,
        num_users: int = 256,
        tau: float = 0.5,
        k: int = 50,
    ) -> None:
        super().__init__(weight, num_users, tau)
        check_whole(self.__class__.__name__, k=k)
        self.k = k

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of each user."""
        size = min(10 * self.k, teacher.size(1))
        score, best = teacher.topk(size)  # [N, 10 K], in the teacher's order
        unknown = score > KNOWN
        order = student.detach().argsort(dim=1, descending=True)
        rank = order.argsort(dim=1).gather(1, best)  # of the student
        of_teacher = torch.arange(size, device=rank.device)
        difference = (rank - of_teacher) / 10
        drawn = []
        for d in (difference, -difference):
            chance = d.tanh().clamp(min=1e-5)
            chance = chance.masked_fill(~unknown, 1e-30)  # the last resort
            drawn.append(chance.multinomial(min(self.k, size)))
        low, high = drawn[0].sort(dim=1).values, drawn[1]  # [N, K]
        own = student.gather(1, best)
        return ordered(
            own.gather(1, low), own.gather(1, high), unknown.gather(1, low)
        )

    def extra_repr(self) -> str:
        """Return the settings."""
        return f'{super().extra_repr()}, k={self.k}'
