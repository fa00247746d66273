"""The modality-specific distillation loss."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Form = Literal['hinge', 'mse', 'kl']


def specific_loss(
    student: Tensor, teacher: Tensor, form: Form = 'hinge'
) -> Tensor:
    """Return the loss of each margin, see :class:`SpecificLoss`."""
    if form == 'hinge':
        return (teacher - student).clamp(min=0)
    if form == 'mse':
        return (teacher - student).square()
    target = teacher.sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits(
        student, target, reduction='none'
    )
    return cross_entropy - F.binary_cross_entropy_with_logits(
        teacher, target, reduction='none'
    )


class SpecificLoss(nn.Module):
    r"""The modality-specific distillation loss of CKD, a hinge.

    From the `"Modality-Balanced Learning for Multimedia Recommendation"
    <https://arxiv.org/abs/2408.06360>`_ paper. For a training triple
    :math:`(u, i, j)`, with :math:`D = s(u, i) - s(u, j)` the margin of the
    student's view that sees only modality :math:`m`, and :math:`D^{\mathcal
    T_m}` that of the teacher,

    .. math::
        H_m = \max(0, D^{\mathcal{T}_m} - D_{\mathrm{only}(m)})

    A student that beats its teacher is not pulled back. Two other forms are
    there to compare with, which do pull it back: the squared difference, and
    the divergence :math:`\mathrm{KL}(\sigma(D^{\mathcal{T}_m}) \|
    \sigma(D_{\mathrm{only}(m)}))` of the probabilities that BPR gives the
    preference.

    Args:
        form (str, optional): ``"hinge"``, ``"mse"`` or ``"kl"``.
            (default: :obj:`"hinge"`)

    Raises:
        ValueError: If ``form`` is unknown.

    Shapes:
        - **student:** margins, any shape
        - **teacher:** margins, the same shape
        - **output:** the loss of each margin, the same shape

    Example:
        >>> import torch
        >>> SpecificLoss()(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 2.0]))
        tensor([1., 0.])
    """

    def __init__(self, form: Form = 'hinge') -> None:
        super().__init__()
        if form not in ('hinge', 'mse', 'kl'):
            raise ValueError(
                f"'form' needs to be 'hinge', 'mse' or 'kl' in "
                f"'{self.__class__.__name__}' (got '{form}')"
            )
        self.form = form

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of each margin."""
        return specific_loss(student, teacher, self.form)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"form='{self.form}'"
