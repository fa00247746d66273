import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from pyg_ckd.objectives._cross_entropy import SCORES_AT_A_TIME, cross_entropy


def problem(num_users, num_items, dim=3, **kwargs):
    user = torch.randn(num_users, dim, requires_grad=True, **kwargs)
    item = torch.randn(num_items, dim, requires_grad=True, **kwargs)
    return user, item, torch.randint(num_items, (num_users,))


# One block, several of which the last is smaller, a user at a time:
@pytest.mark.parametrize(
    'sizes', [(1, 1), (6, 9), (2500, 2000), (3, 2_200_000)]
)
def test_is_that_of_torch(sizes):
    user, item, target = problem(*sizes)
    loss = cross_entropy(user, item, target)
    expected = F.cross_entropy(user @ item.t(), target)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(
        torch.autograd.grad(3 * loss, [user, item]),
        torch.autograd.grad(3 * expected, [user, item]),
    )


def test_sizes_are_those_of_several_blocks():
    assert 2 * SCORES_AT_A_TIME['cpu'] < 2500 * 2000
    assert SCORES_AT_A_TIME['cpu'] < 2_200_000


def test_gradcheck():
    user, item, target = problem(4, 5, dtype=torch.double)
    assert gradcheck(lambda u, i: cross_entropy(u, i, target), (user, item))


def test_large_scores():
    user = torch.tensor([[1e4], [-1e4]], requires_grad=True)
    item = torch.tensor([[1.0], [0.0]])
    loss = cross_entropy(user, item, torch.tensor([0, 0]))
    assert loss.item() == pytest.approx(1e4 / 2)
    (grad,) = torch.autograd.grad(loss, user)
    torch.testing.assert_close(grad, torch.tensor([[0.0], [-0.5]]))


def test_second_derivatives_are_refused():
    user, item, target = problem(4, 5)
    loss = cross_entropy(user, item, target)
    with pytest.raises(NotImplementedError, match=r"number .* 'negatives'"):
        torch.autograd.grad(loss, user, create_graph=True)
