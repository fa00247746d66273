"""How far teachers are ahead on held-out interactions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.balance.teacher import Teacher
from pyg_ckd.graph import RATES
from pyg_ckd.nn import Recommender
from pyg_ckd.nn.evaluating import evaluating
from pyg_ckd.objectives.step import Batch
from pyg_ckd.views import Keep

#: So many validation interactions are looked at.
MOST = 5000


def leads(
    recommender: Recommender,
    data: HeteroData,
    teachers: Mapping[Keep, Teacher],
    by: Literal['loss', 'stacking'],
) -> dict[Keep, float]:
    """Return by how much the teacher of each view is ahead of it.

    What counts is the loss of :func:`held_out_loss` on validation
    interactions, each against a random item, the same ones each time.

    Args:
        recommender: The student.
        data: The user-item graph.
        teachers: The teachers by the view that each teaches.
        by: ``"loss"``, how much lower the loss of the teacher is; or
            ``"stacking"``, how much lower that of the best weighted sum of
            both is, never below zero.
    """
    triples = _held_out(data)
    with evaluating(recommender):
        views = recommender.views(data, list(teachers))
        student = views.triples(*triples).margin()  # [N, T]
    found = {}
    for own, (keep, teacher) in zip(student.t(), teachers.items(), strict=True):
        taught = teacher.margin(*triples)
        if by == 'loss':
            other = held_out_loss(taught)
        else:
            other = min(
                held_out_loss((1 - w) * _unit(own) + w * _unit(taught))
                for w in torch.linspace(0, 1, 11).tolist()
            )
        found[keep] = held_out_loss(own) - other
    return found


def held_out_loss(margin: Tensor) -> float:
    r"""Return the logistic loss of margins at the scale that suits them best.

    .. math::
        \min_{a \geq 0} \mathrm{mean} \log(1 + \exp(-a D))

    Args:
        margin: Margins :math:`D` of any number, ``[N]``.

    Example:
        >>> round(held_out_loss(torch.tensor([3.0, 3.0, 3.0, -3.0])), 4)
        0.5623
    """
    margin = _unit(margin.double())
    low, high = 0.0, 100.0
    for _ in range(40):  # the slope rises with the scale
        a = (low + high) / 2
        slope = -(margin * (-a * margin).sigmoid()).mean()
        low, high = (a, high) if slope < 0 else (low, a)
    return float(F.softplus(-low * margin).mean())


def _unit(margin: Tensor) -> Tensor:
    """Return margins whose mean square is one."""
    return margin / margin.square().mean().sqrt().clamp(min=1e-12)


def _held_out(data: HeteroData) -> Batch:
    """Return validation interactions, each with a random item."""
    user, pos = data[RATES].val_edge_label_index
    fixed = torch.Generator().manual_seed(0)  # that of training goes on
    chosen = torch.randperm(len(user), generator=fixed)[:MOST]
    size = int(data['item'].num_nodes)
    other = torch.randint(1, size, chosen.shape, generator=fixed)
    user, pos = user[chosen.to(user.device)], pos[chosen.to(user.device)]
    return user, pos, (pos + other.to(pos.device)) % size
