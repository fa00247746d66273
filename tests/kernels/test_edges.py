import copy
import pickle

import pytest
import torch
import torch_geometric.typing
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.testing import withPackage

from pyg_ckd.kernels.edges import Edges


@st.composite
def graphs(draw):
    """Bipartite graphs: sizes, and edges from sources to targets."""
    num_sources = draw(st.integers(1, 6))
    num_targets = draw(st.integers(1, 6))
    pairs = st.tuples(
        st.integers(0, num_sources - 1), st.integers(0, num_targets - 1)
    )
    edges = draw(st.lists(pairs, max_size=20, unique=True))
    edge_index = torch.tensor(edges, dtype=torch.long).view(-1, 2).t()
    return num_sources, num_targets, edge_index


def double(*size):
    return torch.randn(*size, dtype=torch.double, requires_grad=True)


def assert_equal_with_gradients(result, expected, *inputs):
    torch.testing.assert_close(result, expected)
    weight = torch.randn_like(result)
    torch.testing.assert_close(
        torch.autograd.grad(result, inputs, weight),
        torch.autograd.grad(expected, inputs, weight),
    )


@given(graphs())
@settings(max_examples=60, deadline=None)
def test_dot(graph):
    num_sources, num_targets, edge_index = graph
    edges = Edges.of(edge_index, (num_sources, num_targets))
    x, y = double(num_targets, 3), double(num_sources, 3)
    expected = (x[edges.target] * y[edges.source]).sum(dim=-1)
    assert_equal_with_gradients(edges.dot(x, y), expected, x, y)


@given(graphs())
@settings(max_examples=60, deadline=None)
def test_aggregate(graph):
    num_sources, num_targets, edge_index = graph
    edges = Edges.of(edge_index, (num_sources, num_targets))
    weight, x = double(edge_index.size(1)), double(num_sources, 3)
    expected = torch.zeros(num_targets, 3, dtype=torch.double).index_add(
        0, edges.target, weight.unsqueeze(-1) * x[edges.source]
    )
    result = edges.aggregate(weight, x)
    assert_equal_with_gradients(result, expected, weight, x)


@given(graphs())
@settings(max_examples=60, deadline=None)
def test_edges_are_sorted_and_none_is_lost(graph):
    num_sources, num_targets, edge_index = graph
    edges = Edges.of(edge_index, (num_sources, num_targets))
    pairs = list(zip(edges.target.tolist(), edges.source.tolist(), strict=True))
    assert pairs == sorted((t, s) for s, t in edge_index.t().tolist())
    assert edges.ptr.tolist()[-1] == len(pairs)
    back = edges.transposed
    assert back.source.tolist() == [
        t for _, t in sorted((s, t) for t, s in pairs)
    ]
    assert (back.num_sources, back.num_targets) == (num_targets, num_sources)


@given(graphs())
@settings(max_examples=30, deadline=None)
def test_softmax_and_mean(graph):
    num_sources, num_targets, edge_index = graph
    edges = Edges.of(edge_index, (num_sources, num_targets))
    score = torch.randn(edge_index.size(1))
    alpha, mean = edges.softmax(score), edges.mean_weight()
    for target in range(num_targets):
        mine = edges.target == target
        torch.testing.assert_close(alpha[mine], score[mine].softmax(0))
        assert (mean[mine] * mine.sum() == 1).all()


def test_gradients_that_nobody_asks_for():
    edges = Edges.of(torch.tensor([[0, 1], [1, 0]]), 2)
    weight, x = double(2), double(2, 3)
    edges.aggregate(weight.detach(), x).sum().backward()
    assert x.grad is not None
    edges.aggregate(weight, x.detach()).sum().backward()
    assert weight.grad is not None
    x.grad = None
    edges.dot(x, x.detach()).sum().backward()
    torch.testing.assert_close(x.grad, x.detach().flip(0))


EDGE_INDEX = torch.tensor([[3, 0, 1, 0], [0, 2, 2, 0]])


@pytest.mark.parametrize('layout', ['edge_index', 'coo', 'csr', 'csc'])
def test_formats(layout):
    graph = EDGE_INDEX
    if layout != 'edge_index':
        graph = torch.sparse_coo_tensor(
            EDGE_INDEX.flip(0), torch.ones(4), (4, 4), check_invariants=True
        ).coalesce()
    if layout in ('csr', 'csc'):
        graph = getattr(graph, f'to_sparse_{layout}')()
    edges = Edges.of(graph, num_nodes=4)
    assert edges.ptr.tolist() == [0, 2, 2, 4, 4]
    assert edges.source.tolist() == [0, 3, 0, 1]
    assert Edges.of(edges, 4) is edges


@withPackage('torch_sparse')
def test_sparse_tensor():
    adj_t = torch_geometric.typing.SparseTensor.from_edge_index(
        EDGE_INDEX, sparse_sizes=(4, 4)
    ).t()
    edges = Edges.of(adj_t, num_nodes=4)
    assert edges.ptr.tolist() == [0, 2, 2, 4, 4]
    assert edges.source.tolist() == [0, 3, 0, 1]


def test_memory_is_of_edges_not_of_features():
    """What is kept for the backward pass holds no row for each edge."""
    edge_index = torch.randint(50, (2, 2000)).unique(dim=1)
    edges = Edges.of(edge_index, 50)
    x = torch.randn(50, 64, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor.numel()), lambda _: None
    ):
        edges.aggregate(edges.softmax(edges.dot(x, x)), x)
    assert kept
    assert max(kept) <= max(edge_index.size(1), x.numel())


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.half, torch.double])
def test_precision(dtype):
    """Products are exact under autocast, whatever comes in."""
    edges = Edges.of(EDGE_INDEX, num_nodes=4)
    x = torch.randn(4, 3, dtype=dtype, requires_grad=True)
    y, weight = torch.randn(4, 3), torch.randn(4)
    wide = torch.promote_types(dtype, torch.float)
    with torch.autocast('cpu', torch.bfloat16):
        dot = edges.dot(x, y)
        total = edges.aggregate(weight, x)
        for out in (dot, total):  # backward, too
            torch.autograd.grad(out.sum(), x, retain_graph=True)
    exact = x.to(wide)
    expected = (exact[edges.target] * y[edges.source]).sum(dim=-1)
    torch.testing.assert_close(dot, expected)
    sums = torch.zeros(4, 3, dtype=wide).index_add(
        0, edges.target, weight.unsqueeze(-1) * exact[edges.source]
    )
    torch.testing.assert_close(total, sums)
    for out, naive in ((dot, expected), (total, sums)):
        grad = torch.randn_like(out)
        result, wanted = (
            torch.autograd.grad(z, x, grad)[0] for z in (out, naive)
        )
        assert result.dtype == dtype
        torch.testing.assert_close(result, wanted)


def test_deepcopy_and_pickle():
    edges = Edges.of(EDGE_INDEX, num_nodes=4)
    edges.transposed.order  # noqa: B018, cached
    for other in (copy.deepcopy(edges), pickle.loads(pickle.dumps(edges))):
        assert torch.equal(other.ptr, edges.ptr)
        assert torch.equal(other.source, edges.source)
        assert torch.equal(other.transposed.source, edges.transposed.source)
        x = torch.randn(4, 2)
        assert torch.equal(other.dot(x, x), edges.dot(x, x))
