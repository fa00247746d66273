"""Edges whose weights need gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
import torch_geometric.typing
from torch import Tensor
from torch_geometric.typing import Adj, SparseTensor
from torch_geometric.utils import is_torch_sparse_tensor, softmax

from pyg_ckd.kernels.sparse import Graph, once_per_graph, row_starts


class Edges:
    r"""The edges of a graph, for products that need gradients in edge weights.

    Attention computes a score for each edge from its two ends, and sums the
    sources of a target's edges with what became of the scores. Written with
    gathered rows, both hold :math:`|\mathcal{E}| \times d` numbers; here they
    are a sampled and a sparse matrix product, each the other's backward pass,
    which hold :math:`|\mathcal{E}|`. Both are computed in single precision at
    least, also under autocast: sparse kernels know no half precision.

    Edges are sorted by target. No edge occurs twice.

    Args:
        ptr (Tensor): Where the edges of each target start, and the number of
            edges, ``[num_targets + 1]``.
        source (Tensor): The source of each edge, ``[num_edges]``.
        num_sources (int): The number of sources.

    Example:
        >>> edges = Edges.of(torch.tensor([[0, 1, 0], [1, 1, 0]]), num_nodes=2)
        >>> edges.target, edges.source
        (tensor([0, 1, 1]), tensor([0, 0, 1]))
        >>> x = torch.tensor([[1.0], [3.0]])
        >>> edges.dot(x, x)
        tensor([1., 3., 9.])
        >>> edges.aggregate(torch.tensor([1.0, 0.5, 0.5]), x)
        tensor([[1.],
                [2.]])
    """

    def __init__(self, ptr: Tensor, source: Tensor, num_sources: int) -> None:
        self.ptr = ptr
        self.source = source
        self.num_targets = ptr.numel() - 1
        self.num_sources = num_sources
        self._mean_weight: dict[torch.dtype, Tensor] = {}

    @classmethod
    def of(
        cls, edge_index: Adj | Edges, num_nodes: int | tuple[int, int]
    ) -> Edges:
        """Return the edges of a graph in any of PyG's formats.

        Args:
            edge_index: Sources above targets, ``[2, num_edges]``; or a
                transposed adjacency matrix, a row a target, as a sparse
                tensor of torch or of torch-sparse. Entries are not looked at.
            num_nodes: The number of nodes; of sources and of targets in a
                bipartite graph.

        Raises:
            ValueError: If a node of an edge index does not exist.
        """
        if isinstance(edge_index, Edges):
            return edge_index
        if torch_geometric.typing.WITH_TORCH_SPARSE and isinstance(
            edge_index, SparseTensor
        ):
            ptr, source, _ = edge_index.csr()
            return cls(ptr, source, edge_index.size(1))
        if is_torch_sparse_tensor(edge_index):
            adj_t = edge_index.to_sparse_csr()
            return cls(adj_t.crow_indices(), adj_t.col_indices(), adj_t.size(1))
        if isinstance(num_nodes, int):
            num_nodes = num_nodes, num_nodes
        num_sources, num_targets = num_nodes
        check_ids(edge_index, num_nodes)
        source, target = edge_index
        key = torch.sort(target * num_sources + source).values
        count = torch.bincount(target, minlength=num_targets)
        return cls(row_starts(count), key % num_sources, num_sources)

    @cached_property
    def target(self) -> Tensor:
        """The target of each edge, ``[num_edges]``."""
        with torch.inference_mode(False):  # training may need it, too
            number = torch.arange(self.num_targets, device=self.ptr.device)
            return number.repeat_interleave(self.ptr.diff())

    @cached_property
    def order(self) -> Tensor:
        """The edges in the order of their sources, ``[num_edges]``."""
        return torch.argsort(self.source, stable=True)

    @cached_property
    def transposed(self) -> Edges:
        """The edges from targets to sources."""
        count = torch.bincount(self.source, minlength=self.num_sources)
        return Edges(
            row_starts(count), self.target[self.order], self.num_targets
        )

    def mean_weight(self) -> Tensor:
        """Return the weights of a mean over incoming edges, ``[num_edges]``."""
        dtype = torch.get_default_dtype()
        if dtype not in self._mean_weight:
            with torch.inference_mode(False):  # training may need it, too
                mean = self.ptr.diff().to(dtype).reciprocal()
                self._mean_weight[dtype] = mean[self.target]
        return self._mean_weight[dtype]

    def dot(self, x_target: Tensor, x_source: Tensor) -> Tensor:
        r"""Return :math:`\langle \mathbf{x}_i, \mathbf{y}_j \rangle` of edges.

        Args:
            x_target: Features :math:`\mathbf{x}` of shape ``[num_targets, d]``.
            x_source: Features :math:`\mathbf{y}` of shape ``[num_sources, d]``.

        Returns:
            Products of shape ``[num_edges]``.
        """
        with _full_precision(x_target, x_source) as (x, y):
            out: Tensor = _Dot.apply(self, x, y)  # type: ignore[no-untyped-call]
        return out

    def softmax(self, score: Tensor) -> Tensor:
        """Return the softmax of scores over the edges of each target.

        Args:
            score: Scores of shape ``[num_edges]``.
        """
        out: Tensor = softmax(score, self.target, num_nodes=self.num_targets)
        return out

    def aggregate(self, weight: Tensor, x: Tensor) -> Tensor:
        r"""Return the weighted sums :math:`\sum_j w_{ij} \mathbf{x}_j`.

        Args:
            weight: The weight of each edge, ``[num_edges]``.
            x: Features of the sources, ``[num_sources, d]``.

        Returns:
            Features of the targets, ``[num_targets, d]``.
        """
        with _full_precision(weight, x) as (weight, x):
            out: Tensor = _Aggregate.apply(self, weight, x)  # type: ignore[no-untyped-call]
        return out

    def _matrix(self, value: Tensor) -> Tensor:
        return torch.sparse_csr_tensor(
            self.ptr,
            self.source,
            value,
            (self.num_targets, self.num_sources),
            check_invariants=False,
        )

    def _dot(self, x_target: Tensor, x_source: Tensor) -> Tensor:
        zero = self._matrix(x_target.new_zeros(self.source.numel()))
        product = torch.sparse.sampled_addmm(
            zero, x_target, x_source.t(), beta=0.0
        )
        return product.values()

    def _sum(self, weight: Tensor, x: Tensor) -> Tensor:
        return self._matrix(weight) @ x

    def _transposed_sum(self, weight: Tensor, x: Tensor) -> Tensor:
        return self.transposed._sum(weight[self.order], x)


@once_per_graph
def edges_of(graph: Graph) -> Edges:
    """Return the edges of a graph, the same each time.

    Args:
        graph: The graph. Its weights are not looked at.
    """
    return Edges.of(graph.adj_t, graph.num_nodes)


class _Dot(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, edges: Edges, x: Tensor, y: Tensor) -> Tensor:
        ctx.edges = edges
        ctx.save_for_backward(x, y)
        return edges._dot(x, y)

    @staticmethod
    def backward(
        ctx: Any, *grad: Tensor
    ) -> tuple[None, Tensor | None, Tensor | None]:
        x, y = ctx.saved_tensors
        _, needs_x, needs_y = ctx.needs_input_grad
        with torch.autocast(x.device.type, enabled=False):
            return (
                None,
                ctx.edges._sum(grad[0], y) if needs_x else None,
                ctx.edges._transposed_sum(grad[0], x) if needs_y else None,
            )


class _Aggregate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, edges: Edges, weight: Tensor, x: Tensor) -> Tensor:
        ctx.edges = edges
        ctx.save_for_backward(weight, x)
        return edges._sum(weight, x)

    @staticmethod
    def backward(
        ctx: Any, *grad: Tensor
    ) -> tuple[None, Tensor | None, Tensor | None]:
        weight, x = ctx.saved_tensors
        _, needs_weight, needs_x = ctx.needs_input_grad
        with torch.autocast(x.device.type, enabled=False):
            return (
                None,
                ctx.edges._dot(grad[0], x) if needs_weight else None,
                ctx.edges._transposed_sum(weight, grad[0]) if needs_x else None,
            )


@contextmanager
def _full_precision(x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Lift both to one precision that sparse kernels know, autocast or not."""
    dtype = torch.promote_types(x.dtype, y.dtype)
    dtype = torch.promote_types(dtype, torch.float)
    with torch.autocast(x.device.type, enabled=False):
        yield x.to(dtype), y.to(dtype)


def check_ids(edge_index: Tensor, num_nodes: Sequence[int]) -> None:
    """Refuse edges whose ends do not exist, which kernels would read.

    Args:
        edge_index: Edges of shape ``[2, num_edges]``.
        num_nodes: The number of nodes in each row.

    Raises:
        ValueError: If an id is out of range.
    """
    if edge_index.numel() == 0:
        return
    bounds = zip(edge_index.amin(1), edge_index.amax(1), num_nodes, strict=True)
    for row, (low, high, num) in enumerate(bounds):
        if low < 0 or high >= num:
            raise ValueError(
                f"Row {row} of 'edge_index' needs ids from 0 to {num - 1} "
                f'(got {int(low)} to {int(high)})'
            )
