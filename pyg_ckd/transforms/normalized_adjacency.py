"""The normalised adjacency matrix of the user-item graph."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd.data import RATES
from pyg_ckd.sparse import csr, transposed


class NormalizedAdjacency(BaseTransform):
    r"""Stores the normalised adjacency matrix of users and items.

    Users come first, items behind them. With :math:`\mathbf{A}` the adjacency
    matrix of the training interactions and :math:`\mathbf{D}` its degrees,

    - ``"symmetric"``: :math:`\mathbf{D}^{-1/2} \mathbf{A} \mathbf{D}^{-1/2}`,
      the matrix of `"LightGCN" <https://arxiv.org/abs/2002.02126>`_;
    - ``"row"``: :math:`\mathbf{D}^{-1} \mathbf{A}`, a mean over neighbours;
      with self-loops the matrix that LATTICE and CKD's published MMGCN use.

    ``data.adj_t`` is that matrix in CSR format, of shape ``[num_users +
    num_items, num_users + num_items]``, ``data.adj`` its transpose. A node
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
        >>> NormalizedAdjacency()(data).adj_t.to_dense()
        tensor([[0., 1.],
                [1., 0.]])
    """

    def __init__(
        self,
        normalization: Literal['symmetric', 'row'] = 'symmetric',
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
        """Add ``adj_t`` and ``adj`` to ``data``."""
        num_users, num_items = data['user'].num_nodes, data['item'].num_nodes
        data.adj_t, data.adj = self.matrix(
            data[RATES].edge_index, num_users, num_items
        )
        return data

    def matrix(
        self, edge_index: Tensor, num_users: int, num_items: int
    ) -> tuple[Tensor, Tensor]:
        """Return the matrix of some interactions, and its transpose.

        Args:
            edge_index: Interactions of shape ``[2, num_edges]``, users above
                items, both counted from 0.
            num_users: The number of users.
            num_items: The number of items.
        """
        size = num_users + num_items
        user, item = edge_index[0], edge_index[1] + num_users
        row, col = torch.cat([user, item]), torch.cat([item, user])
        if self.add_self_loops:
            loop = torch.arange(size, device=row.device)
            row, col = torch.cat([row, loop]), torch.cat([col, loop])

        degree = torch.bincount(row, minlength=size).clamp(min=1).float()
        if self.normalization == 'row':
            adj_t = csr(row, col, degree.reciprocal()[row], size)
            return adj_t, transposed(adj_t)
        scale = degree.rsqrt()
        adj_t = csr(row, col, scale[row] * scale[col], size)
        return adj_t, adj_t

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}('{self.normalization}', "
            f'add_self_loops={self.add_self_loops})'
        )
