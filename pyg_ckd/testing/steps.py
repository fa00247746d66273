"""A step of training, as an objective looks at it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch_geometric.data import HeteroData

from pyg_ckd.graph import RATES, modalities
from pyg_ckd.objectives.step import Batch, Step
from pyg_ckd.views import Keep, Views, full


def step_of(
    views: Views,
    data: HeteroData,
    batch: Batch,
    keeps: Sequence[Keep] | None = None,
) -> Step:
    """Return a step of training, as an objective looks at it.

    Args:
        views: The embeddings of the views.
        data: The user-item graph.
        batch: Users, their preferred items and their other items.
        keeps: The views; by default one, which keeps all modalities.

    Example:
        >>> from pyg_ckd.nn import VBPR
        >>> from pyg_ckd.testing import fake_graph
        >>> data = fake_graph()
        >>> keeps = [full(['image', 'text'])]
        >>> views = VBPR.from_data(data).views(data, keeps)
        >>> step_of(views, data, batch_of(data, 3)).margin.shape
        torch.Size([3, 1])
    """
    triples = views.triples(*batch)
    keeps = [full(modalities(data))] if keeps is None else keeps
    return Step(data, keeps, views, batch, triples)


def batch_of(data: HeteroData, size: int = 16) -> Batch:
    """Return some training interactions, with a random item for each.

    Args:
        data: The user-item graph.
        size: The number of triples.

    Example:
        >>> from pyg_ckd.testing import fake_graph
        >>> user, pos, neg = batch_of(fake_graph(), size=5)
        >>> user.shape, pos.shape, neg.shape
        (torch.Size([5]), torch.Size([5]), torch.Size([5]))
    """
    user, pos = data[RATES].edge_index
    drawn = torch.randperm(len(user))[:size]
    neg = torch.randint(data['item'].num_nodes, (size,))
    return user[drawn], pos[drawn], neg
