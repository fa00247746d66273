"""Relaxed ranking distillation."""

from __future__ import annotations

import torch
from torch import Tensor

from pyg_ckd.balance.list_loss import KNOWN, ListLoss
from pyg_ckd.kernels.arguments import check_whole


class RRD(ListLoss):
    r"""Relaxed ranking distillation: the order of the teacher's best items.

    From the `"DE-RRD: A Knowledge Distillation Framework for Recommender
    System" <https://arxiv.org/abs/2012.04357>`_ paper, and the list loss of
    `"Distillation from Heterogeneous Models for Top-K Recommendation"
    <https://arxiv.org/abs/2303.01130>`_ (HetComp). With :math:`\pi` the
    teacher's order of the items that a user does not know,

    .. math::
        L_u = - \frac{1}{K} \sum_{k \le K} \log \frac{\exp s_{u \pi_k}}{
        \sum_{l \ge k} \exp s_{u \pi_l}}

    the likelihood that the student, too, puts these :math:`K` items before all
    others, and in this order; the order of the others is not taught. The
    papers sum over :math:`k` and sample the others; here it is a mean, so that
    the weight does not depend on :math:`K`, and all others count.

    Args:
        weight (float, optional): The weight of the loss beside the one on the
            batch. (default: :obj:`1.0`)
        num_users (int, optional): The number of users a step draws.
            (default: :obj:`256`)
        tau (float, optional): The temperature, in units of the teacher's own
            spread. (default: :obj:`0.5`)
        k (int, optional): The number :math:`K` of items whose order is taught.
            (default: :obj:`50`)

    Raises:
        ValueError: If ``weight`` is negative, ``tau`` not positive, or another
            no whole number from 1 on.

    Shapes:
        - **student, teacher:** scores :math:`(N, |\mathcal{I}|)`
        - **output:** the loss of each user :math:`(N)`

    Example:
        >>> scores = torch.tensor([[3.0, 2.0, 1.0]])
        >>> RRD(k=1)(scores, scores), RRD(k=1)(-scores, scores)
        (tensor([0.4076]), tensor([2.4076]))
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
        score, best = teacher.topk(min(self.k, teacher.size(1)))
        others = student.scatter(1, best, KNOWN)
        return ordered(student.gather(1, best), others, score > KNOWN)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f'{super().extra_repr()}, k={self.k}'


def ordered(first: Tensor, others: Tensor, counts: Tensor) -> Tensor:
    """Return how unlikely it is that items are in order, and before others.

    Args:
        first: Scores of these items, in the order that is taught, ``[N, K]``.
        others: Scores of the others, ``[N, L]``.
        counts: Which of the items count, ``[N, K]``.

    Returns:
        The mean negative logarithm over the items that count, ``[N]``.
    """
    first = first.masked_fill(~counts, KNOWN)
    below = others.logsumexp(dim=1, keepdim=True)  # [N, 1]
    from_end = first.flip(1).logcumsumexp(dim=1).flip(1)  # [N, K]
    total = torch.logaddexp(from_end, below)
    terms = torch.where(counts, total - first, 0.0)
    return terms.sum(dim=1) / counts.sum(dim=1).clamp(min=1)
