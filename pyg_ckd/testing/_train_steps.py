"""A few steps of training, without a trainer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.graph import RATES
from pyg_ckd.nn import Recommender
from pyg_ckd.views import Keep


def step_loss(
    model: Recommender,
    data: HeteroData,
    keep: Keep,
    user: Tensor,
    pos: Tensor,
    neg: Tensor,
) -> Tensor:
    """Return what a model minimises: its own loss, or BPR and what it adds.

    Args:
        model: The recommender.
        data: The user-item graph.
        keep: The view to train.
        user: The users of a batch, of shape ``[N]``.
        pos: Their preferred items, of shape ``[N]``.
        neg: Their other items, of shape ``[N]``.

    Example:
        >>> from pyg_ckd.nn import VBPR
        >>> from pyg_ckd.testing import fake_graph
        >>> from pyg_ckd.views import only
        >>> data = fake_graph()
        >>> batch = torch.tensor([[0, 1], [2, 3], [4, 5]])
        >>> step_loss(VBPR.from_data(data), data, only('text'), *batch).shape
        torch.Size([])
    """
    views = model.views(data, [keep])
    own = model.loss(data, keep, views, user, pos, neg)
    if own is not None:
        return own
    margin = views.triples(user, pos, neg).margin()
    regularization = model.regularization(data, keep, views, user, pos, neg)
    return -F.logsigmoid(margin).mean() + regularization


def train_steps(
    model: Recommender,
    data: HeteroData,
    keep: Keep,
    num_epochs: int = 1,
    lr: float = 0.01,
) -> None:
    """Train a view of a model, each epoch one batch of all interactions.

    Args:
        model: The recommender, which is changed.
        data: The user-item graph.
        keep: The view to train.
        num_epochs: The number of epochs.
        lr: The learning rate of Adam.

    Example:
        >>> from pyg_ckd.nn import VBPR
        >>> from pyg_ckd.testing import fake_graph
        >>> from pyg_ckd.views import only
        >>> data = fake_graph()
        >>> train_steps(VBPR.from_data(data), data, only('text'))
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    user, pos = data[RATES].edge_index
    model.train()
    for _ in range(num_epochs):
        model.start_epoch(data, keep)
        neg = torch.randint_like(pos, data['item'].num_nodes)
        optimizer.zero_grad()
        step_loss(model, data, keep, user, pos, neg).backward()
        optimizer.step()
