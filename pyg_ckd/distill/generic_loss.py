"""The generic distillation loss."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def generic_loss(
    student: Tensor, teacher: Tensor, tau: float = 0.1, eps: float = 0.0
) -> Tensor:
    """Return the soft cross-entropy of margins, see :class:`GenericLoss`."""
    target = (teacher / tau).sigmoid()
    if eps == 0:
        loss = F.binary_cross_entropy_with_logits(
            student / tau, target, reduction='none'
        )
    else:
        p = (student.float() / tau).sigmoid()
        loss = -target * (p + eps).log() - (1 - target) * (1 - p + eps).log()
    return loss.mean(dim=0)


class GenericLoss(nn.Module):
    r"""The generic distillation loss of CKD, a soft cross-entropy.

    From the `"Modality-Balanced Learning for Multimedia Recommendation"
    <https://arxiv.org/abs/2408.06360>`_ paper. Over random triples
    :math:`(u, j, k)`, with :math:`D` the margin of the student's view that
    sees only modality :math:`m` and :math:`D^{\mathcal{T}_m}` the teacher's,

    .. math::
        G_m = \mathrm{mean} \; \mathrm{BCE}\left(\sigma(D_{\mathrm{only}(m)} /
        \tau), \sigma(D^{\mathcal{T}_m} / \tau)\right)

    As in the authors' code it is a cross-entropy, not a divergence, without a
    factor :math:`\tau^2`.

    The code also adds :math:`\epsilon = 10^{-8}` inside the logarithms, in
    single precision. That bounds the loss of a triple, and a student that is
    wrong by far (:math:`|D| / \tau` above about 18) gets no gradient to mend
    it. By default the loss is exact, and such triples pull with full force.

    Args:
        tau (float, optional): The temperature :math:`\tau`.
            (default: :obj:`0.1`)
        eps (float, optional): What is added inside the logarithms,
            :math:`\epsilon`; ``1e-8`` for the authors' form.
            (default: :obj:`0.0`)

    Raises:
        ValueError: If ``tau`` is not positive, or ``eps`` negative.

    Shapes:
        - **student:** margins :math:`(N, *)`
        - **teacher:** margins :math:`(N, *)`
        - **output:** the mean loss over the first dimension, :math:`(*)`

    Example:
        >>> import torch
        >>> GenericLoss()(torch.zeros(4, 2), torch.randn(4, 2))
        tensor([0.6931, 0.6931])
    """

    def __init__(self, tau: float = 0.1, eps: float = 0.0) -> None:
        super().__init__()
        if tau <= 0:
            raise ValueError(
                f"'tau' needs to be positive in '{self.__class__.__name__}' "
                f'(got {tau})'
            )
        if eps < 0:
            raise ValueError(
                f"'eps' needs to be at least 0 in '{self.__class__.__name__}' "
                f'(got {eps})'
            )
        self.tau = tau
        self.eps = eps

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean loss over the first dimension."""
        return generic_loss(student, teacher, self.tau, self.eps)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f'tau={self.tau}, eps={self.eps}'
