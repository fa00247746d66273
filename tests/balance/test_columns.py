import pytest
import torch

from pyg_ckd.balance._columns import columns


@pytest.mark.parametrize('places', [[1], [2, 0], [0, 1, 2], [1, 1]])
def test_is_an_index(places):
    x = torch.randn(4, 3, requires_grad=True)
    out_grad = torch.randn(4, len(places))
    out, expected = columns(x, places), x[:, places]
    assert torch.equal(out, expected)
    torch.testing.assert_close(
        torch.autograd.grad(out, x, out_grad),
        torch.autograd.grad(expected, x, out_grad),
    )
