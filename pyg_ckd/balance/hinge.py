"""The modality-specific distillation loss."""

from __future__ import annotations

from torch import Tensor, nn


class Hinge(nn.Module):
    r"""The modality-specific distillation loss of CKD, a hinge.

    From the `"Modality-Balanced Learning for Multimedia Recommendation"
    <https://arxiv.org/abs/2408.06360>`_ paper. For a training triple
    :math:`(u, i, j)`, with :math:`D = s(u, i) - s(u, j)` the margin of the
    student's view that sees only modality :math:`m`, and :math:`D^{\mathcal
    T_m}` that of the teacher,

    .. math::
        H_m = \max(0, D^{\mathcal{T}_m} - D_{\mathrm{only}(m)})

    A student that beats its teacher is not pulled back.

    Shapes:
        - **student:** margins, any shape
        - **teacher:** margins, the same shape
        - **output:** the loss of each margin, the same shape

    Example:
        >>> import torch
        >>> Hinge()(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 2.0]))
        tensor([1., 0.])
    """

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of each margin."""
        return (teacher - student).clamp(min=0)
