import pytest
import torch

from pyg_ckd.kernels.spmm import csr, spmm, transposed


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
