import gc
import weakref

import torch

from pyg_ckd.kernels import Graph
from pyg_ckd.kernels.edges import Edges, edges_of
from pyg_ckd.kernels.sparse import csr, once_per_graph, transposed


def path(*weights):
    """A graph whose nodes are in a row."""
    node = torch.arange(len(weights))
    adj_t = csr(node + 1, node, torch.tensor(weights), len(weights) + 1)
    return Graph(adj_t, transposed(adj_t))


@once_per_graph
def scaled(graph, factor, other=None):
    """Its weights, and those of another one."""
    mine = factor * graph.edge_weight
    return mine if other is None else torch.cat([mine, other.edge_weight])


def test_is_made_once_for_a_graph_and_arguments():
    one, other = path(1.0, 2.0), path(5.0)
    assert scaled(one, 3).tolist() == [3, 6]
    assert scaled(one, 3) is scaled(one, 3)
    assert scaled(other, 3).tolist() == [15]
    assert scaled(one, 4).tolist() == [4, 8]
    assert scaled(one, 3, other).tolist() == [3, 6, 5]
    assert scaled(one, 3, other=other) is scaled(one, 3, other=other)
    assert scaled(one.double(), 3).dtype == torch.double


def test_is_forgotten_with_the_graph():
    graph = path(1.0)
    made = weakref.ref(scaled(graph, 2))
    gc.collect()
    assert made() is not None
    del graph
    gc.collect()
    assert made() is None


def test_what_an_evaluation_made_serves_training():
    graph, x = path(1.0, 2.0), torch.randn(2, requires_grad=True)
    with torch.inference_mode():
        scaled(graph, 2)
    (scaled(graph, 2) * x).sum().backward()
    assert x.grad.tolist() == [2, 4]
    with torch.no_grad():
        assert not scaled(
            graph, torch.ones(1, requires_grad=True)
        ).requires_grad


def test_edges_of_a_graph():
    graph = path(1.0, 2.0, 3.0)
    x = torch.randn(4, 2, requires_grad=True)
    with torch.inference_mode():
        edges = edges_of(graph)
        edges.softmax(torch.ones(3))
        edges.aggregate(edges.mean_weight(), x)
    assert edges_of(graph) is edges
    for own in (edges, Edges.of(graph.edge_index, 4)):
        torch.testing.assert_close(
            own.aggregate(own.mean_weight(), x),
            torch.cat([x[:0], 0 * x[:1], x[:3]]),
        )
    edges.aggregate(edges.mean_weight(), x).sum().backward()
    torch.testing.assert_close(
        x.grad, torch.tensor([1.0, 1.0, 1.0, 0.0]).unsqueeze(1).expand(4, 2)
    )
    score = torch.randn(3, requires_grad=True)
    edges.softmax(score).sum().backward()
    assert edges.mean_weight() is edges.mean_weight()
    torch.set_default_dtype(torch.double)
    try:
        assert edges.mean_weight().dtype == torch.double
    finally:
        torch.set_default_dtype(torch.float)
