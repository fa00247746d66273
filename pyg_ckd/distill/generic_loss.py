"""The generic distillation loss."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def generic_loss(student: Tensor, teacher: Tensor, tau: float = 0.1) -> Tensor:
    """Return the soft cross-entropy of margins, see :class:`GenericLoss`."""
    return F.binary_cross_entropy_with_logits(
        student / tau, (teacher / tau).sigmoid(), reduction='none'
    ).mean(dim=0)


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

    Args:
        tau (float, optional): The temperature :math:`\tau`.
            (default: :obj:`0.1`)

    Raises:
        ValueError: If ``tau`` is not positive.

    Shapes:
        - **student:** margins :math:`(N, *)`
        - **teacher:** margins :math:`(N, *)`
        - **output:** the mean loss over the first dimension, :math:`(*)`

    Example:
        >>> import torch
        >>> GenericLoss()(torch.zeros(4, 2), torch.randn(4, 2))
        tensor([0.6931, 0.6931])
    """

    def __init__(self, tau: float = 0.1) -> None:
        super().__init__()
        if tau <= 0:
            raise ValueError(
                f"'tau' needs to be positive in '{self.__class__.__name__}' "
                f'(got {tau})'
            )
        self.tau = tau

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean loss over the first dimension."""
        return generic_loss(student, teacher, self.tau)

    def extra_repr(self) -> str:
        """Return the temperature."""
        return f'tau={self.tau}'
