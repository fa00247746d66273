"""Counterfactual effects of modalities, and the weights they lead to."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


def effects(
    full: Tensor,
    without: Tensor,
    reference: Tensor,
    effect: Literal['individual', 'average'] = 'individual',
) -> Tensor:
    r"""Return how much of its potential each modality shows in the student.

    The effect of modality :math:`m` on a triple is what its margin loses when
    the modality is ablated. Divided by what the modality can do alone it is
    the learning progress

    .. math::
        c_m = \mathrm{clamp}\left(\frac{D_{\mathrm{full}} -
        D_{\mathrm{without}(m)}}{R_m}, 10^{-8}, 10\right)

    with :math:`R_m` the reference: the student's own margin
    :math:`D_{\mathrm{only}(m)}` in the authors' code, the margin of the
    teacher in the `paper's <https://arxiv.org/abs/2408.06360>`_ text. The
    bounds are the code's. The code divides triple by triple
    (``"individual"``), the text speaks of averages (``"average"``: means over
    the batch are taken before dividing).

    A division by zero is well defined here. Where the reference is zero but
    the effect is not, the quotient is infinite and clamped. Where both are
    zero, the modality does all it can do, which is nothing: :math:`c_m = 1`.
    An effect against the sign of its reference counts as none,
    :math:`c_m = 10^{-8}`.

    Args:
        full: Margins of the full view, ``[N]``.
        without: Margins without each modality, ``[N, M]``.
        reference: Reference margins of each modality, ``[N, M]``.
        effect: ``"individual"`` or ``"average"``.

    Raises:
        ValueError: If ``effect`` is unknown.

    Returns:
        Learning progress in :math:`[10^{-8}, 10]` without gradient,
        ``[N, M]``.

    Example:
        >>> effects(torch.tensor([3.0]), torch.tensor([[2.0, 1.0]]),
        ...         torch.tensor([[2.0, 2.0]]))
        tensor([[0.5000, 1.0000]])
    """
    if effect not in ('individual', 'average'):
        raise ValueError(
            f"'effect' needs to be 'individual' or 'average' (got '{effect}')"
        )
    # Single precision at least: 1e-8 is zero in half. Adding zero makes a
    # negative zero positive, so that the sign of a zero does not matter:
    dtype = torch.promote_types(full.dtype, torch.float)
    change = (full.unsqueeze(-1) - without).detach().to(dtype)
    reference = reference.detach().to(dtype) + 0.0
    if effect == 'average':
        change = change.mean(dim=0, keepdim=True).expand_as(without)
        reference = reference.mean(dim=0, keepdim=True).expand_as(without)
    progress = (change / reference).nan_to_num(nan=1.0)
    return progress.clamp(min=1e-8, max=10)


def modality_weights(progress: Tensor) -> Tensor:
    r"""Return the weight of each modality, larger for one that lags behind.

    .. math::
        w_m = M \, \frac{1 / c_m}{\sum_n 1 / c_n}

    For two modalities it equals the rule in CKD's published code,
    :math:`w_1 = 1 - (c_1 - c_2) / (c_1 + c_2)`. The form for more is this
    library's generalisation. Weights of a triple sum to :math:`M`.

    Args:
        progress: Learning progress :math:`c_m > 0`, ``[..., M]``.

    Returns:
        Weights of the same shape.

    Example:
        >>> modality_weights(torch.tensor([1.0, 3.0]))
        tensor([1.5000, 0.5000])
    """
    lag = progress.reciprocal()
    return progress.size(-1) * lag / lag.sum(dim=-1, keepdim=True)
