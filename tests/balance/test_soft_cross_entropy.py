import math

import pytest
import torch

from pyg_ckd.balance import SoftCrossEntropy


def naive(student, teacher, tau, eps=0.0):
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        p = 1 / (1 + math.exp(-s / tau))
        q = 1 / (1 + math.exp(-t / tau))
        total -= q * math.log(p + eps) + (1 - q) * math.log(1 - p + eps)
    return total / len(student)


@pytest.mark.parametrize('tau', [0.1, 1.0, 3.0])
def test_values(tau):
    student, teacher = torch.randn(2, 20, 3, dtype=torch.double)
    result = SoftCrossEntropy(tau)(student, teacher)
    expected = [
        naive(s, t, tau)
        for s, t in zip(student.t().tolist(), teacher.t().tolist(), strict=True)
    ]
    torch.testing.assert_close(result, torch.tensor(expected).double())
    alone = SoftCrossEntropy(tau)(student[:, 0], teacher[:, 0])
    torch.testing.assert_close(alone, result[0])


@pytest.mark.parametrize('eps', [1e-8, 0.1])
def test_values_with_eps(eps):
    student, teacher = torch.randn(2, 20)
    result = SoftCrossEntropy(1.0, eps=eps)(student, teacher)
    expected = naive(student.tolist(), teacher.tolist(), 1.0, eps)
    torch.testing.assert_close(result, torch.tensor(expected))


def test_eps_lets_go_of_what_is_wrong_by_far():
    student = torch.tensor([-4.0], requires_grad=True)
    teacher = torch.tensor([4.0])
    grads = [
        torch.autograd.grad(
            SoftCrossEntropy(eps=eps)(student, teacher), student
        )
        for eps in (0.0, 1e-8)
    ]
    assert float(grads[0][0]) == pytest.approx(-10)
    assert abs(float(grads[1][0])) < 1e-5


def test_default_arguments():
    student, teacher = torch.randn(2, 20)
    expected = SoftCrossEntropy(tau=0.1, eps=0.0)(student, teacher)
    assert torch.equal(SoftCrossEntropy()(student, teacher), expected)
    assert repr(SoftCrossEntropy()) == (
        'SoftCrossEntropy(tau=0.1, num_pairs=5000, weight=5.0, group_size=1, '
        'eps=0.0)'
    )


def test_settings():
    assert repr(SoftCrossEntropy(2.0, 7, 1.5, 3, 0.1)) == (
        'SoftCrossEntropy(tau=2.0, num_pairs=7, weight=1.5, group_size=3, '
        'eps=0.1)'
    )


@pytest.mark.parametrize('tau', [0.1, 2.0])
def test_gradient(tau):
    student = torch.randn(20, requires_grad=True)
    teacher = torch.randn(20)
    SoftCrossEntropy(tau)(student, teacher).backward()
    # Derived by hand; zero where the student equals the teacher:
    expected = (student / tau).sigmoid() - (teacher / tau).sigmoid()
    torch.testing.assert_close(student.grad, expected.detach() / (20 * tau))


def test_least_where_student_equals_teacher():
    teacher = torch.randn(50)
    least = SoftCrossEntropy()(teacher, teacher)
    for _ in range(10):
        student = teacher + 0.1 * torch.randn(50)
        assert SoftCrossEntropy()(student, teacher) > least


def test_large_margins():
    student = torch.tensor([1e4, -1e4, 1e4, -1e4], requires_grad=True)
    teacher = torch.tensor([1e4, -1e4, -1e4, 1e4])
    loss = SoftCrossEntropy()(student, teacher)
    loss.backward()
    torch.testing.assert_close(loss, torch.tensor(1e5 / 2))
    torch.testing.assert_close(
        student.grad, torch.tensor([0.0, 0.0, 2.5, -2.5])
    )


@pytest.mark.parametrize('num_pairs', [3, 7, 5000])
def test_draw(num_pairs):
    users = torch.tensor([2, 3, 5, 7, 11, 13, 17])
    for _ in range(20):
        user, one, other = SoftCrossEntropy(num_pairs=num_pairs).draw(users, 4)
        assert len(user) == len(one) == len(other) == min(num_pairs, 7)
        assert len(user.unique()) == len(user)
        assert set(user.tolist()) <= set(users.tolist())
        assert set(torch.cat([one, other]).tolist()) <= {0, 1, 2, 3}


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'tau': 0}, r"'tau' .*'SoftCrossEntropy' \(got 0\)"),
        ({'tau': -0.1}, r"'tau' .*\(got -0\.1\)"),
        ({'tau': math.nan}, r"'tau' .*\(got nan\)"),
        ({'eps': -1e-8}, r"'eps' .*\(got -1e-08\)"),
        ({'weight': -1.0}, r"'weight' .*\(got -1\.0\)"),
        ({'weight': math.nan}, r"'weight' .*\(got nan\)"),
        ({'num_pairs': 0}, r"'group_size' .*num_pairs=0\)"),
        ({'num_pairs': -5}, r"'group_size' .*num_pairs=-5\)"),
        ({'group_size': 5001}, r"'group_size' .*\(got 5001,"),
        ({'group_size': 0}, r"'group_size' .*\(got 0,"),
        ({'group_size': -3}, r"'group_size' .*\(got -3,"),
    ],
    ids=str,
)
def test_errors(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SoftCrossEntropy(**kwargs)
