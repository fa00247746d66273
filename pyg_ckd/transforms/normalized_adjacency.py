"""The normalised adjacency matrix of the user-item graph."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd.graph import RATES
from pyg_ckd.kernels.edges import check_ids
from pyg_ckd.kernels.sparse import Graph, csr, transposed
from pyg_ckd.transforms.named_graphs import (
    add_graph,
    checked_without_graphs,
    named_graph,
)

Normalization = Literal['symmetric', 'row']


def normalized(
    edge_index: Tensor,
    num_users: int,
    num_items: int,
    normalization: Normalization = 'symmetric',
    add_self_loops: bool = False,
) -> Graph:
    """Return the normalised graph of some interactions.

    Args:
        edge_index: Interactions of shape ``[2, num_edges]``, users above
            items, both counted from 0.
        num_users: The number of users.
        num_items: The number of items.
        normalization: See :class:`NormalizedAdjacency`.
        add_self_loops: See :class:`NormalizedAdjacency`.

    Raises:
        ValueError: If an id is out of range.

    Example:
        >>> normalized(torch.tensor([[0], [0]]), 1, 1).adj_t.to_dense()
        tensor([[0., 1.],
                [1., 0.]])
    """
    size = num_users + num_items
    check_ids(edge_index, (num_users, num_items))
    user, item = edge_index.long()
    item = item + num_users
    row, col = torch.cat([user, item]), torch.cat([item, user])
    if add_self_loops:
        loop = torch.arange(size, device=row.device)
        row, col = torch.cat([row, loop]), torch.cat([col, loop])

    degree = torch.bincount(row, minlength=size).clamp(min=1)
    degree = degree.to(torch.get_default_dtype())
    if normalization == 'row':
        adj_t = csr(row, col, degree.reciprocal()[row], size)
        return Graph(adj_t, transposed(adj_t))
    scale = degree.rsqrt()
    adj_t = csr(row, col, scale[row] * scale[col], size)
    return Graph(adj_t, adj_t)


class NormalizedAdjacency(BaseTransform):
    r"""Stores the normalised adjacency matrix of users and items.

    Users come first, items behind them. With :math:`\mathbf{A}` the adjacency
    matrix of the training interactions and :math:`\mathbf{D}` its degrees,

    - ``"symmetric"``: :math:`\mathbf{D}^{-1/2} \mathbf{A} \mathbf{D}^{-1/2}`,
      the matrix of `"LightGCN" <https://arxiv.org/abs/2002.02126>`_;
    - ``"row"``: :math:`\mathbf{D}^{-1} \mathbf{A}`, a mean over neighbours;
      with self-loops the matrix that LATTICE and CKD's published MMGCN use.

    The graph is a :class:`~pyg_ckd.kernels.Graph` of ``num_users + num_items``
    nodes, kept in ``data.graphs`` under the name of this transform, so that
    several normalisations live on one ``data``; :meth:`of` finds it. A node
    without interactions has an empty row.

    Args:
        normalization (str, optional): ``"symmetric"`` or ``"row"``.
            (default: :obj:`"symmetric"`)
        add_self_loops (bool, optional): Whether to link each node to itself.
            (default: :obj:`False`)

    Raises:
        ValueError: If ``normalization`` is unknown.

    Example:
        >>> data = HeteroData()
        >>> data['user'].num_nodes = data['item'].num_nodes = 1
        >>> data['user', 'rates', 'item'].edge_index = torch.tensor([[0], [0]])
        >>> transform = NormalizedAdjacency()
        >>> transform.of(transform(data)).adj_t.to_dense()
        tensor([[0., 1.],
                [1., 0.]])
    """

    def __init__(
        self,
        normalization: Normalization = 'symmetric',
        add_self_loops: bool = False,
    ) -> None:
        if normalization not in ('symmetric', 'row'):
            raise ValueError(
                f"'normalization' needs to be 'symmetric' or 'row' in "
                f"'{self.__class__.__name__}' (got '{normalization}')"
            )
        self.normalization = normalization
        self.add_self_loops = add_self_loops

    def forward(self, data: HeteroData) -> HeteroData:
        """Add the graph to ``data``."""
        data = checked_without_graphs(data)
        graph = normalized(
            data[RATES].edge_index,
            data['user'].num_nodes,
            data['item'].num_nodes,
            self.normalization,
            self.add_self_loops,
        )
        return add_graph(data, self, None, graph)

    def of(self, data: HeteroData) -> Graph:
        """Return the graph that this transform has added to ``data``.

        Raises:
            ValueError: If it has not.
        """
        graph = named_graph(data, self, None)
        assert isinstance(graph, Graph)
        return graph

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}('{self.normalization}', "
            f'add_self_loops={self.add_self_loops})'
        )
