"""Functions that several recommenders are made of."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_ckd.kernels.sparse import Graph, spmm

__all__ = ['info_nce', 'light_gcn', 'unit']


def light_gcn(x: Tensor, graph: Graph, num_layers: int) -> Tensor:
    r"""Return LightGCN's mean over the layers of a linear propagation.

    .. math::
        \frac{1}{L + 1} \sum_{l=0}^{L} \hat{\mathbf{A}}^l \mathbf{X}

    Args:
        x: Embeddings of users, then items, ``[num_nodes, d]``.
        graph: The normalised graph of users and items.
        num_layers: The number of layers :math:`L`.

    Returns:
        Embeddings of shape ``[num_nodes, d]``.
    """
    out: Tensor = _LightGCN.apply(x, graph, num_layers)  # type: ignore[no-untyped-call]
    return out


class _LightGCN(torch.autograd.Function):
    """Keeps no layers: each way needs the sum and two of them at a time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, graph: Graph, num_layers: int) -> Tensor:
        ctx.graph, ctx.num_layers = graph, num_layers
        total = x
        for layer in range(num_layers):
            x = graph.propagate(x)
            total = total + x if layer == 0 else total.add_(x)
        return total / (num_layers + 1)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None, None]:
        mean = grad[0] / (ctx.num_layers + 1)
        total, graph = mean, ctx.graph
        for _ in range(ctx.num_layers):
            total = spmm(graph.adj, total, graph.adj_t).add_(mean)
        return total, None, None


def info_nce(x: Tensor, y: Tensor, tau: float) -> Tensor:
    r"""Return the contrastive loss of pairs of embeddings.

    .. math::
        -\frac{1}{N} \sum_i \log \frac{\exp(\cos(\mathbf{x}_i, \mathbf{y}_i) /
        \tau)}{\sum_j \exp(\cos(\mathbf{x}_i, \mathbf{y}_j) / \tau)}

    From the `"Representation Learning with Contrastive Predictive Coding"
    <https://arxiv.org/abs/1807.03748>`_ paper.

    Args:
        x: Embeddings of shape ``[N, d]``.
        y: Their partners, of shape ``[N, d]``; each is a negative of the
            others.
        tau: The temperature :math:`\tau`.

    Returns:
        A scalar.

    Example:
        >>> x = torch.eye(2)
        >>> info_nce(x, x, tau=1.0)
        tensor(0.3133)
    """
    x, y = F.normalize(x, dim=-1), F.normalize(y, dim=-1)
    label = torch.arange(len(x), device=x.device)
    return F.cross_entropy(x @ y.t() / tau, label)


def unit(x: Tensor) -> Tensor:
    """Return rows of length one; those of zeros stay.

    Args:
        x: Embeddings of shape ``[..., d]``.

    Example:
        >>> unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    norm = x.norm(dim=-1, keepdim=True)
    # The usual division by at least 1e-12 gives zeros gradients of 1e12:
    return x / norm.masked_fill(norm == 0, 1)
