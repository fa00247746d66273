import torch
from torch.autograd import gradcheck, gradgradcheck

from pyg_ckd.objectives._squared_norm import squared_norm


def test_is_the_sum_of_squares():
    xs = [torch.randn(shape, requires_grad=True) for shape in [(4, 3), (2,)]]
    total = squared_norm(*xs)
    expected = sum(x.square().sum() for x in xs)
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(
        torch.autograd.grad(5 * total, xs),
        torch.autograd.grad(5 * expected, xs),
    )


def test_gradients():
    x, y = torch.randn(2, 3, 4, dtype=torch.double).unbind()
    y = y.t()[1:]  # not contiguous
    xs = x.requires_grad_(), y.requires_grad_()
    assert gradcheck(squared_norm, xs)
    assert gradgradcheck(squared_norm, xs)


def test_half_precision_is_summed_in_single():
    x = torch.full((300, 100), 3.0, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast('cpu', torch.bfloat16):
        total = squared_norm(x)
    assert total.dtype == torch.float
    assert total.item() == 270_000
    (grad,) = torch.autograd.grad(total, x)
    assert grad.dtype == torch.bfloat16
    assert (grad == 6).all()
