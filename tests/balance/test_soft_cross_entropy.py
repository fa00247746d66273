import math
from dataclasses import replace

import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_ckd import check
from pyg_ckd.balance import SoftCrossEntropy
from pyg_ckd.nn import VBPR
from pyg_ckd.testing import fake_graph
from pyg_ckd.testing.steps import step_of
from pyg_ckd.views import only


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
        'SoftCrossEntropy(tau=0.1, num_pairs=640, weight=5.0, group_size=8, '
        'eps=0.0, relative=False, band=None)'
    )


def test_settings():
    assert repr(SoftCrossEntropy(2.0, 7, 1.5, 3, 0.1, True, 0.5)) == (
        'SoftCrossEntropy(tau=2.0, num_pairs=7, weight=1.5, group_size=3, '
        'eps=0.1, relative=True, band=0.5)'
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


def shop(users, counts):
    """Return a graph of some users, and of items with so many interactions."""
    item = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    user = torch.tensor(users)[torch.arange(len(item)) % len(users)]
    data = HeteroData()
    data['user'].num_nodes = max(users) + 2
    data['item'].num_nodes = len(counts)
    data['item'].x_text = torch.eye(len(counts))
    data['user', 'rates', 'item'].edge_index = torch.stack([user, item])
    return check(data, splits=())


def begun(loss, data, teachers=()):
    loss.attach(data)
    loss.begin(data, teachers)
    return loss


@pytest.mark.parametrize('num_pairs', [3, 7, 5000])
def test_draw(num_pairs):
    users = [2, 3, 5, 7, 11, 13, 17]
    loss = begun(SoftCrossEntropy(num_pairs=num_pairs), shop(users, [2] * 4))
    for _ in range(20):
        user, one, other = loss.draw()
        assert len(user) == len(one) == len(other) == min(num_pairs, 7)
        assert len(user.unique()) == len(user)
        assert set(user.tolist()) <= set(users)
        assert set(torch.cat([one, other]).tolist()) <= {0, 1, 2, 3}


def test_draw_of_items_alike_in_popularity():
    counts = torch.randperm(50) + 1
    data = shop(list(range(200)), counts.tolist())
    place = (-counts).argsort().argsort()
    loss = begun(SoftCrossEntropy(band=0.2), data)
    apart = []
    for _ in range(50):
        _, one, other = loss.draw()
        apart.append(place[one] - place[other])
    apart = torch.cat(apart)
    assert apart.min() == -5 and apart.max() == 5
    assert set(apart.tolist()) == set(range(-5, 6))
    whole = begun(SoftCrossEntropy(band=1.0), data).draw()
    assert (place[whole[1]] - place[whole[2]]).abs().max() > 20


def test_relative_temperature(random_teachers):
    data = fake_graph(num_users=30, num_items=20)
    teachers = list(random_teachers(data).values())
    views = VBPR.from_data(data, dim=4).views(data, [only('image')])
    for scale in (1.0, 7.0):
        scaled = [t.rescaled(scale * t.spread) for t in teachers[:1]]
        (teacher,) = scaled
        loss = SoftCrossEntropy(tau=0.5, group_size=1, relative=True)
        random = begun(loss, data, scaled).draw()
        triples = views.triples(*random)
        step = replace(
            step_of(views, data, random), random=random, random_triples=triples
        )
        found = loss.losses(step, [0], scaled)
        absolute = SoftCrossEntropy(tau=0.5 * teacher.spread)
        expected = absolute(triples.margin(), teacher.margin(*random)[:, None])
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'tau': 0}, r"'tau' .*'SoftCrossEntropy' \(got 0\)"),
        ({'tau': -0.1}, r"'tau' .*\(got -0\.1\)"),
        ({'tau': math.nan}, r"'tau' .*\(got nan\)"),
        ({'eps': -1e-8}, r"'eps' .*\(got -1e-08\)"),
        ({'weight': -1.0}, r"'weight' .*\(got -1\.0\)"),
        ({'weight': math.nan}, r"'weight' .*\(got nan\)"),
        ({'num_pairs': 0}, r"'num_pairs' .*\(got 0\)"),
        ({'num_pairs': -5}, r"'num_pairs' .*\(got -5\)"),
        ({'group_size': 0}, r"'group_size' .*\(got 0\)"),
        ({'group_size': -3}, r"'group_size' .*\(got -3\)"),
        ({'group_size': 4.0}, r"'group_size' .*whole number.*\(got 4\.0\)"),
        ({'group_size': True}, r"'group_size' .*\(got True\)"),
        ({'num_pairs': math.inf}, r"'num_pairs' .*\(got inf\)"),
        ({'num_pairs': '8'}, r"'num_pairs' .*\(got '8'\)"),
        ({'num_pairs': None}, r"'num_pairs' .*\(got None\)"),
        ({'band': 0.0}, r"'band' .*\(got 0\.0\)"),
        ({'band': 1.5}, r"'band' .*\(got 1\.5\)"),
        ({'band': math.nan}, r"'band' .*\(got nan\)"),
    ],
    ids=str,
)
def test_errors(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SoftCrossEntropy(**kwargs)
