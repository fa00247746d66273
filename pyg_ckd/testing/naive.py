"""Dense matrices by loops, which tests compare sparse products with."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.graph import RATES


def dense_adjacency(
    edge_index: Tensor, num_users: int, num_items: int
) -> Tensor:
    """Return the adjacency matrix of users, then items, ones and zeros.

    Args:
        edge_index: Interactions of shape ``[2, num_edges]``.
        num_users: The number of users.
        num_items: The number of items.

    Example:
        >>> dense_adjacency(torch.tensor([[0], [0]]), 1, 1)
        tensor([[0., 1.],
                [1., 0.]])
    """
    a = torch.zeros(num_users + num_items, num_users + num_items)
    for u, i in edge_index.t().tolist():
        a[u, num_users + i] = a[num_users + i, u] = 1
    return a


def symmetric(a: Tensor) -> Tensor:
    r"""Return :math:`\mathbf{D}^{-1/2} \mathbf{A} \mathbf{D}^{-1/2}`.

    Args:
        a: A dense square matrix; rows of zeros stay.

    Example:
        >>> symmetric(torch.tensor([[1.0, 1.0], [0.0, 4.0]]))
        tensor([[0.5000, 0.3536],
                [0.0000, 1.0000]])
    """
    degree = a.sum(dim=1)
    scale = torch.where(degree > 0, degree, 1).pow(-0.5).diag()
    return scale @ a @ scale


def dense_light_gcn(
    data: HeteroData, user: Tensor, item: Tensor, num_layers: int
) -> Tensor:
    """Return LightGCN's mean over layers, users first.

    Args:
        data: The user-item graph.
        user: Embeddings of shape ``[num_users, d]``.
        item: Embeddings of shape ``[num_items, d]``.
        num_layers: The number of layers.

    Example:
        >>> from pyg_ckd.testing import fake_graph
        >>> user, item = torch.ones(12, 4), torch.ones(9, 4)
        >>> dense_light_gcn(fake_graph(), user, item, num_layers=2).shape
        torch.Size([21, 4])
    """
    a = dense_adjacency(data[RATES].edge_index, len(user), len(item))
    a = symmetric(a)
    x = total = torch.cat([user, item])
    for _ in range(num_layers):
        x = a @ x
        total = total + x
    return total / (num_layers + 1)


def dense_item_graph(x: Tensor, k: int, weight: str = 'cosine') -> Tensor:
    """Return the normalised graph of nearest neighbours.

    Args:
        x: Features of shape ``[num_items, num_features]``.
        k: The number of neighbours, the item itself included.
        weight: ``"binary"`` or ``"cosine"``.

    Example:
        >>> dense_item_graph(torch.eye(2), k=1)
        tensor([[1., 0.],
                [0., 1.]])
    """
    x = x / x.norm(dim=1, keepdim=True)
    cosine = x @ x.t()
    w = torch.zeros_like(cosine)
    for i in range(len(x)):
        for j in cosine[i].argsort(descending=True)[:k].tolist():
            w[i, j] = 1.0 if weight == 'binary' else cosine[i, j].clamp(min=0)
    return symmetric(w)
