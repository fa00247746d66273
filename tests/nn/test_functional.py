import pytest
import torch

from pyg_ckd.kernels import Graph
from pyg_ckd.nn.functional import info_nce, light_gcn


@pytest.mark.parametrize('num_layers', [0, 1, 2, 5])
def test_light_gcn(num_layers):
    dense = torch.randn(6, 6) * (torch.rand(6, 6) < 0.5)  # not symmetric
    x = torch.randn(6, 4, requires_grad=True)
    out_grad = torch.randn(6, 4)

    graph = Graph(dense.to_sparse_csr(), dense.t().to_sparse_csr())
    out = light_gcn(x, graph, num_layers)
    layers = [torch.matrix_power(dense, n) @ x for n in range(num_layers + 1)]
    expected = sum(layers) / len(layers)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(
        torch.autograd.grad(out, x, out_grad),
        torch.autograd.grad(expected, x, out_grad),
    )


@pytest.mark.parametrize('tau', [0.2, 1.0])
def test_info_nce(tau):
    x, y = torch.randn(2, 5, 4, requires_grad=True)
    expected = 0
    for i in range(5):
        cosine = [x[i] @ y[j] / x[i].norm() / y[j].norm() for j in range(5)]
        share = [(c / tau).exp() for c in cosine]
        expected = expected - (share[i] / sum(share)).log() / 5
    result = info_nce(x, y, tau)
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(
        torch.autograd.grad(result, [x, y]),
        torch.autograd.grad(expected, [x, y]),
    )
