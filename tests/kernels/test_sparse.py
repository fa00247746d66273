import copy
import pickle

import pytest
import torch

from pyg_ckd.kernels import Graph, Uniform
from pyg_ckd.kernels.sparse import csr, spmm, transposed


def random_matrix(size, num_entries, dtype=torch.float):
    """A square matrix, not symmetric, its entries in random order."""
    place = torch.randperm(size * size)[:num_entries]
    value = torch.randn(num_entries, dtype=dtype)
    dense = torch.zeros(size * size, dtype=dtype)
    dense[place] = value
    adj = csr(place // size, place % size, value, size)
    return adj, dense.view(size, size)


@pytest.mark.parametrize('num_entries', [0, 1, 5, 36])
def test_csr(num_entries):
    adj, dense = random_matrix(6, num_entries)
    assert adj.layout == torch.sparse_csr
    assert adj.shape == (6, 6)
    assert adj.values().numel() == num_entries
    assert torch.equal(adj.to_dense(), dense)
    # Columns ascend within each row, as some kernels rely on:
    torch.sparse_csr_tensor(
        adj.crow_indices(),
        adj.col_indices(),
        adj.values(),
        adj.shape,
        check_invariants=True,
    )


@pytest.mark.parametrize('num_entries', [0, 1, 5, 36])
def test_transposed(num_entries):
    adj, dense = random_matrix(6, num_entries)
    result = transposed(adj)
    assert result.layout == torch.sparse_csr
    assert torch.equal(result.to_dense(), dense.t())
    assert torch.equal(transposed(result).to_dense(), dense)


@pytest.mark.parametrize('num_entries', [0, 1, 20, 49])
def test_spmm(num_entries):
    adj_t, dense = random_matrix(7, num_entries)
    assert num_entries < 20 or not torch.equal(dense, dense.t())
    x = torch.randn(7, 3, requires_grad=True)
    out_grad = torch.randn(7, 3)

    out = spmm(adj_t, x, transposed(adj_t))
    expected = dense @ x
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(
        torch.autograd.grad(out, x, out_grad),
        torch.autograd.grad(expected, x, out_grad),
    )


def test_spmm_twice():
    adj_t, dense = random_matrix(7, 20)
    adj = transposed(adj_t)
    x = torch.randn(7, 3, requires_grad=True)
    grad = torch.autograd.grad(
        spmm(adj_t, spmm(adj_t, x, adj), adj).square().sum(), x
    )
    expected = torch.autograd.grad((dense @ dense @ x).square().sum(), x)
    torch.testing.assert_close(grad, expected)


def test_spmm_symmetric():
    _, dense = random_matrix(7, 20)
    dense = dense + dense.t()
    row, col = dense.nonzero().t()
    adj = csr(row, col, dense[row, col], 7)
    x = torch.randn(7, 3, requires_grad=True)
    out_grad = torch.randn(7, 3)
    torch.testing.assert_close(
        torch.autograd.grad(spmm(adj, x, adj), x, out_grad)[0],
        dense @ out_grad,
    )


def test_spmm_gradcheck():
    adj_t, _ = random_matrix(6, 15, torch.double)
    adj = transposed(adj_t)
    x = torch.randn(6, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: spmm(adj_t, x, adj), x)


def test_spmm_without_gradient():
    adj_t, dense = random_matrix(6, 15)
    x = torch.randn(6, 4)
    out = spmm(adj_t, x, transposed(adj_t))
    assert not out.requires_grad
    torch.testing.assert_close(out, dense @ x)


# Precision ###################################################################


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.half, torch.double])
@pytest.mark.parametrize('autocast', [False, True])
def test_precision(dtype, autocast):
    """A product is as precise as the more precise factor, autocast or not."""
    adj_t, dense = random_matrix(7, 20)
    x = torch.randn(7, 3, dtype=dtype, requires_grad=True)
    with torch.autocast('cpu', torch.bfloat16, autocast):
        out = spmm(adj_t, x, transposed(adj_t))
    assert out.dtype == torch.promote_types(dtype, torch.float)
    expected = dense.to(out.dtype) @ x.to(out.dtype)
    torch.testing.assert_close(out, expected)
    grad = torch.randn_like(out)
    result, wanted = (
        torch.autograd.grad(y, x, grad)[0] for y in (out, expected)
    )
    assert result.dtype == dtype
    torch.testing.assert_close(result, wanted)


def test_backward_under_autocast():
    adj_t, dense = random_matrix(7, 20)
    x = torch.randn(7, 3, requires_grad=True)
    with torch.autocast('cpu', torch.bfloat16):
        h = x @ torch.eye(3)  # half precision
        out = spmm(adj_t, h, transposed(adj_t))
        (grad,) = torch.autograd.grad(out.sum(), x)
    assert h.dtype == torch.bfloat16
    expected = dense.t().sum(dim=1, keepdim=True).expand(7, 3)
    torch.testing.assert_close(grad, expected, rtol=0.02, atol=0.02)


# Graph and Uniform ###########################################################


@pytest.fixture
def graph():
    adj_t, dense = random_matrix(6, 15)
    return Graph(adj_t, transposed(adj_t)), dense


def test_graph(graph):
    graph, dense = graph
    assert graph.num_nodes == 6
    assert repr(graph) == 'Graph(6, num_edges=15)'
    x = torch.randn(6, 2, requires_grad=True)
    torch.testing.assert_close(graph.propagate(x), dense @ x)
    out_grad = torch.randn(6, 2)
    torch.testing.assert_close(
        torch.autograd.grad(graph.propagate(x), x, out_grad)[0],
        dense.t() @ out_grad,
    )
    source, target = graph.edge_index
    rebuilt = torch.zeros(6, 6)
    rebuilt[target, source] = graph.edge_weight
    assert torch.equal(rebuilt, dense)
    assert target.tolist() == sorted(target.tolist())


def test_graph_never_changes(graph):
    graph, _ = graph
    with pytest.raises(AttributeError, match='adj_t'):
        graph.adj_t = graph.adj
    assert copy.deepcopy(graph) is graph
    assert copy.deepcopy([graph, graph])[1] is graph


@pytest.mark.parametrize('symmetric', [False, True])
def test_graph_elsewhere(graph, symmetric):
    graph, _ = graph
    if symmetric:
        graph = Graph(graph.adj_t, graph.adj_t)
    for result in (
        pickle.loads(pickle.dumps(graph)),
        graph.to('cpu'),
        graph.cpu(),
        graph.to(torch.double),
        graph.to(device='cpu', non_blocking=True),
        copy.copy(graph),
    ):
        for name in ('adj_t', 'adj'):
            one, other = getattr(result, name), getattr(graph, name)
            assert one.layout == torch.sparse_csr
            assert torch.equal(one.to_dense(), other.to_dense().to(one.dtype))
        assert (result.adj is result.adj_t) == symmetric
    assert graph.to(torch.double).adj.dtype == torch.double


def test_uniform():
    """It is the graph in which all are neighbours of all."""
    x = torch.randn(5, 3, requires_grad=True)
    out_grad = torch.randn(5, 3)
    dense = torch.full((5, 5), 1 / 5)
    out = Uniform(5).propagate(x)
    torch.testing.assert_close(out, dense @ x)
    torch.testing.assert_close(
        torch.autograd.grad(out, x, out_grad)[0], dense @ out_grad
    )
    uniform = Uniform(5)
    assert pickle.loads(pickle.dumps(uniform)) == copy.deepcopy(uniform)
    assert uniform == Uniform(5) != Uniform(6)
