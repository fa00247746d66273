"""How much of the gradient comes from a balance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyg_ckd.objectives import Batch
from pyg_ckd.train.recommendation import Recommendation


def gradient_share(task: Recommendation, batch: Batch) -> float:
    r"""Return the share of what a balance adds in the gradient.

    .. math::
        \frac{\|\nabla \mathcal{L}_{\mathrm{balance}}\|}{\|\nabla
        \mathcal{L}_{\mathrm{base}}\| + \|\nabla
        \mathcal{L}_{\mathrm{balance}}\|}

    Args:
        task (Recommendation): What is trained.
        batch (tuple[Tensor, Tensor, Tensor]): Users, positive and negative
            items, each of shape ``[B]``.

    Returns:
        A number from 0 to 1; 0 if nothing is added.
    """
    parameters = [p for p in task.parameters() if p.requires_grad]
    with torch.enable_grad():
        losses = task.losses(batch)
        base = _norm(losses.base, parameters)
        added = _norm(losses.added, parameters)
    return added / (base + added) if added > 0 else 0.0


def _norm(loss: Tensor | float, parameters: Sequence[nn.Parameter]) -> float:
    """Return the norm of the gradient of a loss."""
    if not isinstance(loss, Tensor) or not loss.requires_grad:
        return 0.0
    gradients = torch.autograd.grad(
        loss, parameters, retain_graph=True, allow_unused=True
    )
    norms = [g.norm().double() for g in gradients if g is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0
