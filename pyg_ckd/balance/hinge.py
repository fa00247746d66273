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

    Args:
        selective (bool, optional): Whether to teach only where the teacher is
            right, :math:`D^{\mathcal{T}_m} > 0`, and the view is wrong,
            :math:`D < 0`. This is not in the paper. (default: :obj:`False`)

    Shapes:
        - **student:** margins, any shape
        - **teacher:** margins, the same shape
        - **output:** the loss of each margin, the same shape

    Example:
        >>> import torch
        >>> Hinge()(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 2.0]))
        tensor([1., 0.])
    """

    def __init__(self, selective: bool = False) -> None:
        super().__init__()
        self.selective = selective

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of each margin."""
        loss = (teacher - student).clamp(min=0)
        if self.selective:
            loss = loss * ((teacher > 0) & (student < 0))
        return loss

    def extra_repr(self) -> str:
        """Return the settings."""
        return f'selective={self.selective}'
