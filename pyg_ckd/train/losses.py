"""The loss of a step, and what it consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.balance import Balance
from pyg_ckd.kernels.ranks import ALONE, Ranks
from pyg_ckd.nn import Recommender
from pyg_ckd.objectives import BPR, Batch, Objective, Step
from pyg_ckd.views import Keep


@dataclass(frozen=True)
class Losses:
    """The loss of a step, and what it consists of.

    Args:
        base (Tensor): The loss of the trained view and what the model adds.
        added (Tensor or float): What the balance adds.
        scalars (dict[str, Tensor]): What is logged, detached, by name.
    """

    base: Tensor
    added: Tensor | float
    scalars: Mapping[str, Tensor]

    @property
    def total(self) -> Tensor:
        """What is minimised."""
        return self.base + self.added


def compute_losses(
    recommender: Recommender,
    data: HeteroData,
    keep: Keep,
    objective: Objective | None,
    balance: Balance | None,
    batch: Batch,
    ranks: Ranks = ALONE,
) -> Losses:
    """Return the loss of a batch of triples.

    Needs no Lightning, and serves a training loop of one's own as well.

    Args:
        recommender: The recommender.
        data: The user-item graph.
        keep: The view to train.
        objective: What to minimise; the model's own loss, or else
            :class:`~pyg_ckd.objectives.BPR`, if it is ``None``.
        balance: What keeps modalities in balance, if anything; it is attached
            and prepared.
        batch: Users, positive and negative items, each of shape ``[B]``.
        ranks: The processes that take the step together, whose gradients are
            averaged. Random triples of the balance are drawn for all, and each
            process takes its part of them.
    """
    if balance is None:
        step = _step(recommender, data, [keep], batch, None, ranks)
        return Losses(_base(recommender, objective, step), 0.0, {})
    random = balance.triples()
    if random is not None:
        user, pos, neg = map(ranks.part, random)
        random = user, pos, neg
    keeps = [balance.trained_view(keep), *balance.keeps]
    keeps = list(dict.fromkeys(keeps))
    step = _step(recommender, data, keeps, batch, random, ranks)
    base = _base(recommender, objective, step)
    added, scalars = balance.loss(step)
    return Losses(base, added, {'base': base.detach(), **scalars})


def _step(
    recommender: Recommender,
    data: HeteroData,
    keeps: list[Keep],
    batch: Batch,
    random: Batch | None,
    ranks: Ranks,
) -> Step:
    """Compute each embedding that a step needs once."""
    views = recommender.views(data, keeps)
    if random is None:
        triples, further = views.triples(*batch), None
    else:
        both = (torch.cat(pair) for pair in zip(batch, random, strict=True))
        triples, further = views.triples(*both).split(len(batch[0]))
    return Step(data, keeps, views, batch, triples, random, further, ranks)


def _base(
    recommender: Recommender, objective: Objective | None, step: Step
) -> Tensor:
    """Return the loss of the trained view."""
    context = step.data, step.keeps[0], step.views
    if objective is None:
        own = recommender.loss(*context, *step.batch)
        if own is not None:
            return own
    loss = (objective or BPR()).loss(step)
    return loss + recommender.regularization(*context, *step.batch)
