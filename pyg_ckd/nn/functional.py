"""Functions that several recommenders are made of."""

from __future__ import annotations

from torch import Tensor

from pyg_ckd.sparse import spmm


def light_gcn(x: Tensor, adj_t: Tensor, adj: Tensor, num_layers: int) -> Tensor:
    r"""Return LightGCN's mean over the layers of a linear propagation.

    .. math::
        \frac{1}{L + 1} \sum_{l=0}^{L} \hat{\mathbf{A}}^l \mathbf{X}

    Args:
        x: Embeddings of users, then items, ``[num_nodes, d]``.
        adj_t: The normalised adjacency matrix in CSR format.
        adj: Its transpose; for a symmetric matrix the same tensor.
        num_layers: The number of layers :math:`L`.

    Returns:
        Embeddings of shape ``[num_nodes, d]``.
    """
    total = x
    for _ in range(num_layers):
        x = spmm(adj_t, x, adj)
        total = total + x
    return total / (num_layers + 1)
