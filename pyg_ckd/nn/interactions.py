"""The users by items part of the user-item graph."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.kernels.sparse import row_starts
from pyg_ckd.nn.models.backbone import Backbone


def interaction_graph(
    data: HeteroData, model: Backbone
) -> tuple[Tensor, Tensor]:
    """Return the part of the adjacency matrix from items to users.

    Args:
        data: The user-item graph.
        model: The recommender that needs it.

    Returns:
        A CSR matrix ``[num_users, num_items]`` and its transpose.

    Raises:
        ValueError: If ``data`` lacks the adjacency matrix.

    Example:
        >>> from pyg_ckd.transforms import NormalizedAdjacency
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 1, 2
        >>> data['user', 'rates', 'item'].edge_index = torch.tensor([[0], [1]])
        >>> data = NormalizedAdjacency()(data)
        >>> model = Backbone(1, 2, {}, dim=4)
        >>> model.adjacency = NormalizedAdjacency()
        >>> interaction_graph(data, model)[0].to_dense()
        tensor([[0., 1.]])
    """
    graph = model.user_item_graph(data)
    users = slice(0, model.num_users)
    items = slice(model.num_users, model.num_nodes)
    return _block(graph.adj_t, users, items), _block(graph.adj, items, users)


def _block(adj: Tensor, rows: slice, cols: slice) -> Tensor:
    ptr = adj.crow_indices()[rows.start : rows.stop + 1]
    first, last = int(ptr[0]), int(ptr[-1])
    col, value = adj.col_indices()[first:last], adj.values()[first:last]
    inside = (cols.start <= col) & (col < cols.stop)
    return torch.sparse_csr_tensor(
        row_starts(inside)[ptr - first],
        col[inside] - cols.start,
        value[inside],
        (rows.stop - rows.start, cols.stop - cols.start),
        check_invariants=False,
    )
