"""How far from the memory's limit are products of graphs and of features?

    OMP_NUM_THREADS=1 python benchmarks/roofline.py

A product with a graph moves, for each edge, a column number, a weight and a row
of embeddings, and for each node a row of results. Were all of it new to the
processor, it could not be faster than a copy of as many bytes; rows that are
still in a cache cost less. All is measured in turn with what it is compared
with; ratios are medians. The graph and the widths are those of Amazon Baby.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from speed import load

from pyg_ckd.graph import RATES
from pyg_ckd.kernels.sparse import Graph
from pyg_ckd.transforms import NormalizedAdjacency

Pair = tuple[str, Callable[[], object], str, Callable[[], object]]

#: Bytes of the table that is copied, much more than caches hold.
COPIED = 2**28
BATCH, WIDE, DIM = 2048, 4096, 64


def main() -> None:
    parser = argparse.ArgumentParser(description='Measure products.')
    parser.add_argument('--runs', type=int, default=15)
    args = parser.parse_args()
    torch.manual_seed(0)
    data = load(argparse.Namespace(dataset=None))
    graph = NormalizedAdjacency().of(data)
    table = Table('what', 'ms', 'compared with', 'ratio')
    for name, one, label, other in (*of_graphs(graph), *of_features()):
        one(), other()
        pairs = [(clock(one), clock(other)) for _ in range(args.runs)]
        own = 1e3 * statistics.median(first for first, _ in pairs)
        ratio = statistics.median(first / second for first, second in pairs)
        table.add_row(name, f'{own:.1f}', label, f'{ratio:.2f}')
    console = Console()
    console.print(table)
    edges = data[RATES].edge_index.size(1)
    console.print(f'{edges:,} interactions, {graph.num_nodes:,} nodes')


def of_graphs(graph: Graph) -> list[Pair]:
    """Return products with a graph beside copies, and other ways to do them."""
    adj_t = graph.adj_t
    starts, columns, values = (
        adj_t.crow_indices(),
        adj_t.col_indices(),
        adj_t.values(),
    )
    short = torch.sparse_csr_tensor(
        starts.int(),
        columns.int(),
        values,
        adj_t.shape,
        check_invariants=False,
    )
    pairs: list[Pair] = []
    for width in (DIM, 3 * DIM):
        x = torch.randn(graph.num_nodes, width)
        y = x.clone().requires_grad_()
        moved = len(values) * (12 + 4 * width)
        moved += graph.num_nodes * (8 + 4 * width)
        product = multiply(adj_t, x)
        assert torch.allclose(adj_t @ x, short @ x)
        pairs += [
            (f'{width} columns', product, 'a copy', copying(moved)),
            (f'{width} columns', product, 'its rows alone', taking(x, columns)),
            ('32-bit indices', multiply(short, x), '64-bit', product),
            (
                'forward and backward',
                through(graph, y),
                'forward',
                product,
            ),
        ]
    parts = torch.randn(3, graph.num_nodes, DIM)
    whole = torch.cat(list(parts), dim=1)
    pairs.append(
        (
            f'{3 * DIM} columns',
            multiply(adj_t, whole),
            f'three of {DIM}',
            lambda: [adj_t @ part for part in parts],
        )
    )
    return pairs


def of_features() -> list[Pair]:
    """Return projections of wide features in half and in full precision."""
    x = torch.randn(7050, WIDE)
    half = x.bfloat16()
    item = torch.randint(len(x), (BATCH,))
    weight = torch.randn(WIDE, DIM) / WIDE**0.5
    grad = torch.randn(BATCH, DIM)
    single = weight.bfloat16(), grad.bfloat16()

    def full() -> None:
        rows = x[item]
        _ = rows @ weight, rows.t() @ grad

    def halved() -> None:
        rows = half[item]
        _ = rows @ single[0], rows.t() @ single[1]

    def widened() -> None:
        rows = half[item].float()
        _ = rows @ weight, rows.t() @ grad

    label = 'float32'
    return [
        ('bfloat16 features, forward and backward', halved, label, full),
        ('the same, products in float32', widened, label, full),
        (
            'bfloat16 features, rows alone',
            taking(half, item),
            label,
            taking(x, item),
        ),
        (
            'float32 features, rows alone',
            taking(x, item),
            'with products',
            full,
        ),
    ]


def multiply(adj_t: torch.Tensor, x: torch.Tensor) -> Callable[[], object]:
    return lambda: adj_t @ x


def through(graph: Graph, x: torch.Tensor) -> Callable[[], object]:
    """Return a product and its gradient, of which the graph needs none."""
    grad = torch.ones_like(x)
    return lambda: torch.autograd.grad(graph.propagate(x), x, grad)


def taking(x: torch.Tensor, index: torch.Tensor) -> Callable[[], object]:
    out = x.new_empty(len(index), x.size(1))
    return lambda: torch.index_select(x, 0, index, out=out)


def copying(moved: int) -> Callable[[], object]:
    """Copy a part of a large table at a time; half of the bytes are read."""
    source = torch.zeros(COPIED // 4)
    target = torch.zeros_like(source)
    size = moved // 8
    start = 0

    def copy() -> None:
        nonlocal start
        start = 0 if start + 2 * size > len(source) else start + size
        target[start : start + size].copy_(source[start : start + size])

    return copy


def clock(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


if __name__ == '__main__':
    main()
