import math

import pytest
import torch

from pyg_ckd.distill import GenericLoss, generic_loss


def naive(student, teacher, tau):
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        p = 1 / (1 + math.exp(-s / tau))
        q = 1 / (1 + math.exp(-t / tau))
        total -= q * math.log(p) + (1 - q) * math.log(1 - p)
    return total / len(student)


@pytest.mark.parametrize('tau', [0.1, 1.0, 3.0])
def test_generic_loss(tau):
    student, teacher = torch.randn(2, 20, 3, dtype=torch.double)
    result = GenericLoss(tau)(student, teacher)
    expected = [
        naive(s, t, tau)
        for s, t in zip(student.t().tolist(), teacher.t().tolist(), strict=True)
    ]
    torch.testing.assert_close(result, torch.tensor(expected).double())
    torch.testing.assert_close(generic_loss(student, teacher, tau), result)
    alone = GenericLoss(tau)(student[:, 0], teacher[:, 0])
    torch.testing.assert_close(alone, result[0])


def test_default_temperature():
    student, teacher = torch.randn(2, 20)
    expected = generic_loss(student, teacher, tau=0.1)
    assert torch.equal(GenericLoss()(student, teacher), expected)
    assert torch.equal(generic_loss(student, teacher), expected)
    assert repr(GenericLoss()) == 'GenericLoss(tau=0.1, eps=0.0)'


@pytest.mark.parametrize('tau', [0.1, 2.0])
def test_gradient(tau):
    student = torch.randn(20, requires_grad=True)
    teacher = torch.randn(20)
    GenericLoss(tau)(student, teacher).backward()
    # Derived by hand; zero where the student equals the teacher:
    expected = (student / tau).sigmoid() - (teacher / tau).sigmoid()
    torch.testing.assert_close(student.grad, expected.detach() / (20 * tau))


def test_least_where_student_equals_teacher():
    teacher = torch.randn(50)
    least = GenericLoss()(teacher, teacher)
    for _ in range(10):
        student = teacher + 0.1 * torch.randn(50)
        assert GenericLoss()(student, teacher) > least


def test_large_margins():
    student = torch.tensor([1e4, -1e4, 1e4, -1e4], requires_grad=True)
    teacher = torch.tensor([1e4, -1e4, -1e4, 1e4])
    loss = GenericLoss()(student, teacher)
    loss.backward()
    torch.testing.assert_close(loss, torch.tensor(1e5 / 2))
    torch.testing.assert_close(
        student.grad, torch.tensor([0.0, 0.0, 2.5, -2.5])
    )


@pytest.mark.parametrize('tau', [0, -0.1])
def test_error(tau):
    with pytest.raises(
        ValueError, match=rf"'tau'.*'GenericLoss' \(got {tau}\)"
    ):
        GenericLoss(tau)
