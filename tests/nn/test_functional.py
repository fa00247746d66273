import pytest
import torch

from pyg_ckd.nn.functional import light_gcn


@pytest.mark.parametrize('num_layers', [0, 1, 2, 5])
def test_light_gcn(num_layers):
    dense = torch.randn(6, 6) * (torch.rand(6, 6) < 0.5)  # not symmetric
    x = torch.randn(6, 4, requires_grad=True)
    out_grad = torch.randn(6, 4)

    adj_t, adj = dense.to_sparse_csr(), dense.t().to_sparse_csr()
    out = light_gcn(x, adj_t, adj, num_layers)
    layers = [torch.matrix_power(dense, n) @ x for n in range(num_layers + 1)]
    expected = sum(layers) / len(layers)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(
        torch.autograd.grad(out, x, out_grad),
        torch.autograd.grad(expected, x, out_grad),
    )
