"""Weights of modalities that follow from their counterfactual effects."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn

from pyg_ckd.balance._effects import effects, modality_weights

Reference = Literal['student', 'teacher']
Effect = Literal['individual', 'average']


class CounterfactualWeights(nn.Module):
    r"""Gives more weight to the modality whose effect lags behind.

    The learning progress :math:`c_m` of a modality is its counterfactual
    effect on a margin, relative to a reference
    (:func:`~pyg_ckd.balance.effects`), and its weight the larger, the smaller
    that is (:func:`~pyg_ckd.balance.modality_weights`). The defaults follow
    the published code of the `"Modality-Balanced Learning for Multimedia
    Recommendation" <https://arxiv.org/abs/2408.06360>`_ paper. Its text
    describes ``reference="teacher"`` and ``effect="average"``; the exact
    formula for the weights is not public.

    Args:
        reference (str, optional): What effects are compared with, the
            ``"student"`` (its view that sees the modality alone) or the
            ``"teacher"``. (default: :obj:`"student"`)
        effect (str, optional): Whether effects are taken triple by triple,
            ``"individual"``, or averaged over the batch, ``"average"``.
            (default: :obj:`"individual"`)

    Raises:
        ValueError: If an argument is unknown.

    Shapes:
        - **full:** margins of the full view :math:`(B)`
        - **without, alone, taught:** margins without each modality, with it
          alone, and of its teacher :math:`(B, M)`
        - **output:** weights :math:`(B, M)` that sum to :math:`M`

    Example:
        >>> import torch
        >>> weights = CounterfactualWeights()
        >>> one = torch.ones(1, 2)
        >>> weights(full=torch.tensor([3.0]), alone=one, taught=one,
        ...         without=torch.tensor([[2.0, 0.0]]))
        tensor([[1.5000, 0.5000]])
    """

    def __init__(
        self,
        reference: Reference = 'student',
        effect: Effect = 'individual',
    ) -> None:
        super().__init__()
        for name, value, allowed in (
            ('reference', reference, get_args(Reference)),
            ('effect', effect, get_args(Effect)),
        ):
            if value not in allowed:
                raise ValueError(
                    f"'{name}' needs to be one of {allowed} in "
                    f"'{self.__class__.__name__}' (got '{value}')"
                )
        self.reference = reference
        self.effect = effect

    def progress(
        self, full: Tensor, without: Tensor, alone: Tensor, taught: Tensor
    ) -> Tensor:
        """Return the learning progress of each modality, ``[B, M]``."""
        reference = alone if self.reference == 'student' else taught
        return effects(full, without, reference, self.effect)

    def forward(
        self, full: Tensor, without: Tensor, alone: Tensor, taught: Tensor
    ) -> Tensor:
        """Return the weight of each modality."""
        return modality_weights(self.progress(full, without, alone, taught))

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"reference='{self.reference}', effect='{self.effect}'"
