"""Bayesian personalised ranking."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from pyg_ckd.kernels.arguments import check_number
from pyg_ckd.objectives._squared_norm import squared_norm
from pyg_ckd.objectives.objective import Objective
from pyg_ckd.objectives.step import Step


@dataclass(frozen=True)
class BPR(Objective):
    r"""Bayesian personalised ranking, with L2 on the embeddings of the batch.

    From the `"BPR: Bayesian Personalized Ranking from Implicit Feedback"
    <https://arxiv.org/abs/1205.2618>`_ paper. Over the triples :math:`(u, i,
    j)` of a batch of size :math:`B`,

    .. math::
        -\mathrm{mean} \log \sigma\left(s(u, i) - s(u, j)\right) +
        \frac{\lambda_2}{2 B} \sum \left(\|\mathbf{u}_u\|^2 +
        \|\mathbf{i}_i\|^2 + \|\mathbf{i}_j\|^2\right)

    Args:
        l2 (float, optional): The weight :math:`\lambda_2`.
            (default: :obj:`0.01`)

    Raises:
        ValueError: If ``l2`` is negative or NaN.

    Example:
        >>> BPR(l2=1e-3)
        BPR(l2=0.001)
    """

    l2: float = 1e-2

    def __post_init__(self) -> None:
        check_number('BPR', 'at least 0', l2=self.l2)

    def loss(self, step: Step) -> Tensor:
        """Return the loss of the trained view."""
        user, pos, neg = step.triples.embedding()
        squares = squared_norm(user, pos, neg)
        loss = -F.logsigmoid(step.margin[:, 0]).mean()
        return loss + self.l2 / 2 * squares / len(user)
