"""Products with constant sparse matrices."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from typing_extensions import Self

Made = TypeVar('Made')
Rest = ParamSpec('Rest')

# torch says so on the first CSR matrix of every process:
warnings.filterwarnings('ignore', '.*Sparse CSR tensor support is in beta.*')


@dataclass(frozen=True, eq=False)
class Graph:
    r"""A constant weighted graph: its adjacency matrix and the transpose.

    It is never changed, so that copies share the two matrices. It can be
    copied, pickled and moved.

    Args:
        adj_t (Tensor): The transposed adjacency matrix in CSR format,
            ``[num_nodes, num_nodes]``, a row a target.
        adj (Tensor): Its transpose; for a symmetric graph the same tensor.

    Example:
        >>> adj_t = csr(torch.tensor([0]), torch.tensor([1]),
        ...             torch.tensor([2.0]), size=2)
        >>> Graph(adj_t, transposed(adj_t)).propagate(torch.eye(2))
        tensor([[0., 2.],
                [0., 0.]])
    """

    adj_t: Tensor
    adj: Tensor

    @property
    def num_nodes(self) -> int:
        """The number of nodes."""
        return self.adj_t.size(0)

    @property
    def edge_index(self) -> Tensor:
        """The edges by target, sources above targets, ``[2, num_edges]``."""
        return self.adj_t.to_sparse_coo().indices().flip(0)

    @property
    def edge_weight(self) -> Tensor:
        """The weights of :attr:`edge_index`, ``[num_edges]``."""
        return self.adj_t.values()

    def propagate(self, x: Tensor) -> Tensor:
        r"""Return :math:`\mathbf{A}^{\top} \mathbf{X}`.

        Args:
            x: Features of shape ``[num_nodes, num_features]``.
        """
        return spmm(self.adj_t, x, self.adj)

    def to(self, *args: Any, **kwargs: Any) -> Graph:
        """Return the graph on another device or in another dtype."""
        adj_t = self.adj_t.to(*args, **kwargs)
        if self.adj is self.adj_t:
            return Graph(adj_t, adj_t)
        return Graph(adj_t, self.adj.to(*args, **kwargs))

    def is_floating_point(self) -> bool:
        """Return whether its weights are, as PyG asks of what it casts."""
        return self.adj_t.is_floating_point()

    def double(self) -> Graph:
        """Return the graph in double precision."""
        return self.to(torch.double)

    def float(self) -> Graph:
        """Return the graph in single precision."""
        return self.to(torch.float)

    def cpu(self) -> Graph:
        """Return the graph on the CPU."""
        return self.to('cpu')

    def cuda(self, device: Any = None, non_blocking: bool = False) -> Graph:
        """Return the graph on a GPU."""
        return self.to(device or 'cuda', non_blocking=non_blocking)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __repr__(self) -> str:
        num_edges = self.adj_t.values().numel()
        return f'Graph({self.num_nodes}, num_edges={num_edges})'


def once_per_graph(
    function: Callable[Concatenate[Graph, Rest], Made],
) -> Callable[Concatenate[Graph, Rest], Made]:
    """Remember what a function makes of a graph, as long as the graph lives.

    Args:
        function: A function of a graph and of what can be the key of a
            dictionary. What it returns has no gradient and is never changed.
            Neither that nor what is passed holds the graph.

    Example:
        >>> @once_per_graph
        ... def dense(graph: Graph) -> Tensor:
        ...     return graph.adj_t.to_dense()
        >>> none = torch.empty(0, dtype=torch.long)
        >>> graph = Graph(*[csr(none, none, torch.empty(0), size=2)] * 2)
        >>> dense(graph) is dense(graph)
        True
    """
    known: WeakKeyDictionary[Graph, dict[Any, Made]] = WeakKeyDictionary()

    @wraps(function)
    def remembered(
        graph: Graph, /, *args: Rest.args, **kwargs: Rest.kwargs
    ) -> Made:
        of_graph = known.setdefault(graph, {})
        key = args, tuple(kwargs.items())
        if key not in of_graph:
            # An evaluation may come first, and training needs its tensors:
            with torch.inference_mode(False), torch.no_grad():
                of_graph[key] = function(graph, *args, **kwargs)
        return of_graph[key]

    return remembered


@dataclass(frozen=True)
class Uniform:
    """The graph of items that look all alike: each gets the mean over all.

    It takes the place of a nearest-neighbour graph where the modality is
    ablated.

    Args:
        num_nodes (int): The number of nodes.

    Example:
        >>> Uniform(2).propagate(torch.tensor([[1.0], [3.0]]))
        tensor([[2.],
                [2.]])
    """

    num_nodes: int

    def propagate(self, x: Tensor) -> Tensor:
        """Return the mean over all nodes, for each of them.

        Args:
            x: Features of shape ``[num_nodes, num_features]``.
        """
        return x.mean(dim=0, keepdim=True).expand_as(x)


def csr(row: Tensor, col: Tensor, value: Tensor, size: int) -> Tensor:
    """Return a square sparse matrix in CSR format.

    Args:
        row: Row indices of shape ``[nnz]``, in any order.
        col: Column indices of shape ``[nnz]``.
        value: Entries of shape ``[nnz]``; no position occurs twice.
        size: The number of rows and of columns.

    Example:
        >>> csr(torch.tensor([1, 0]), torch.tensor([0, 1]),
        ...     torch.tensor([2.0, 3.0]), size=2).to_dense()
        tensor([[0., 3.],
                [2., 0.]])
    """
    order = torch.argsort(row * size + col)
    return torch.sparse_csr_tensor(
        row_starts(torch.bincount(row, minlength=size)),
        col[order],
        value[order],
        (size, size),
        check_invariants=False,
    )


def row_starts(count: Tensor) -> Tensor:
    """Return where each row of a CSR matrix starts, and the last one ends.

    Args:
        count: The number of entries of each row, ``[num_rows]``.
    """
    return torch.cat([count.new_zeros(1), count.cumsum(0)])


def transposed(adj: Tensor) -> Tensor:
    """Return the transpose of a square CSR matrix, in CSR format.

    Args:
        adj: A matrix in CSR format.
    """
    row, col = adj.to_sparse_coo().indices()
    return csr(col, row, adj.values(), adj.size(0))


def spmm(adj_t: Tensor, x: Tensor, adj: Tensor) -> Tensor:
    r"""Return :math:`\mathbf{A}^{\top} \mathbf{X}` for a constant matrix.

    The backward pass multiplies by the transpose that is passed along. It
    saves transposing a CSR matrix in every step, which costs several times
    the product itself. For a symmetric matrix pass the same tensor twice.

    The product has the higher of both precisions, also under autocast: sparse
    kernels know no half precision.

    Args:
        adj_t: A constant matrix in CSR format, ``[num_dst, num_src]``.
        x: Features of shape ``[num_src, num_features]``.
        adj: The transpose of ``adj_t`` in CSR format.

    Returns:
        Features of shape ``[num_dst, num_features]``.
    """
    dtype = torch.promote_types(x.dtype, adj_t.dtype)
    adj_t, x, adj = (tensor.to(dtype) for tensor in (adj_t, x, adj))
    with torch.autocast(x.device.type, enabled=False):
        out: Tensor = _SpMM.apply(adj_t, x, adj)  # type: ignore[no-untyped-call]
    return out


class _SpMM(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, adj_t: Tensor, x: Tensor, adj: Tensor) -> Tensor:
        ctx.adj = adj
        return adj_t @ x

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[None, Tensor, None]:
        with torch.autocast(grad[0].device.type, enabled=False):
            return None, ctx.adj @ grad[0], None
