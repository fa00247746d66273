import math

import pytest
import torch
from torch import Tensor

from pyg_ckd.balance import UMT, Teacher
from pyg_ckd.nn import VBPR
from pyg_ckd.testing import fake_graph
from pyg_ckd.testing.balance_suite import BalanceSuite
from pyg_ckd.train import Recommendation, fit
from pyg_ckd.train.losses import compute_losses
from pyg_ckd.views import full, only


class TestUMT(BalanceSuite):
    balance = UMT
    margins_only = False


def teacher(data, dim: int) -> Teacher:
    sizes = data['user'].num_nodes, data['item'].num_nodes
    return Teacher.from_embeddings(
        *(torch.randn(size, dim) for size in sizes), data
    )


class TestUMTOfOtherWidths(BalanceSuite):
    """Teachers of their own for each graph, wider than the students."""

    margins_only = False

    @staticmethod
    def balance() -> UMT:
        data = TestUMTOfOtherWidths().data()
        return UMT({only(m): teacher(data, 5) for m in ('image', 'text')}, 0.1)

    def test_step(self) -> None:  # type: ignore[override]
        balance, model, data = self.attached('vbpr')
        self.step(balance, model, data, self.batch())


def naive_loss(
    balance: UMT, model: VBPR, data, batch: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """One modality and one triple at a time."""
    total = torch.tensor(0.0)
    for m in ('image', 'text'):
        user = torch.cat([model.user.weight, model.preference[m]], dim=1)
        projected = model.projection[m](data['item'][f'x_{m}'])
        item = torch.cat([model.item.weight, projected], dim=1)
        if m in balance.maps:
            user = user @ balance.maps[m]['user'].weight.t()
            item = item @ balance.maps[m]['item'].weight.t()
        teacher = balance.teachers[only(m)]
        for u, i, j in zip(*batch, strict=True):
            for own, taught in (
                (user[u], teacher.user[u]),
                (item[i], teacher.item[i]),
                (item[j], teacher.item[j]),
            ):
                total = total + ((own - taught) ** 2).sum() / len(batch[0])
    return balance.strength * total


@pytest.mark.parametrize('widths', [(8, 8), (8, 3), (10, 2)])
@pytest.mark.parametrize('strength', [0.5, 2.0])
def test_formula(strength, widths):
    suite = TestUMT()
    data, batch = suite.data(), suite.batch()
    model = suite.model('vbpr', data)
    names = ['image', 'text']
    balance = UMT(
        {
            only(m): teacher(data, dim)
            for m, dim in zip(names, widths, strict=True)
        },
        strength,
    )
    balance.attach(model, data)
    balance.begin(data)
    assert set(balance.maps) == {
        m for m, dim in zip(names, widths, strict=True) if dim != 8
    }

    expected = naive_loss(balance, model, data, batch)
    balance.zero_grad()
    model.zero_grad()
    expected.backward()
    naive = {
        name: parameter.grad
        for part in (model, balance)
        for name, parameter in part.named_parameters()
        if parameter.grad is not None
    }

    losses = compute_losses(model, data, full(names), None, balance, batch)
    torch.testing.assert_close(losses.added, expected)
    balance.zero_grad()
    model.zero_grad()
    losses.added.backward()
    for part in (model, balance):
        for name, parameter in part.named_parameters():
            if name in naive:
                torch.testing.assert_close(
                    parameter.grad, naive[name], rtol=1e-4, atol=1e-5
                )


def test_a_student_like_its_teachers_has_no_loss():
    suite = TestUMT()
    data, batch = suite.data(), suite.batch()
    model = suite.model('vbpr', data)
    balance = UMT(
        {
            only(m): Teacher.from_model(model, data, only(m))
            for m in ('image', 'text')
        },
        1.0,
    )
    balance.attach(model, data)
    balance.begin(data)
    loss, _ = suite.step(balance, model, data, batch)
    balance.strength = 0.0
    torch.testing.assert_close(loss, suite.step(balance, model, data, batch)[0])


def test_the_optimizer_has_the_matrices():
    data = fake_graph()
    teachers = {only(m): teacher(data, 3) for m in ('image', 'text')}
    task = Recommendation(
        VBPR.from_data(data, dim=4), data, balance=UMT(teachers=teachers)
    )
    optimized = {
        id(p)
        for group in task.configure_optimizers().param_groups
        for p in group['params']
    }
    maps = list(task.balance.maps.parameters())
    assert len(maps) == 4
    assert {id(p) for p in maps} <= optimized
    before = [p.clone() for p in maps]
    fit(task, max_epochs=1, progress=False)
    for parameter, old in zip(
        task.balance.maps.parameters(), before, strict=True
    ):
        assert not torch.equal(parameter, old)


def test_teachers_are_trained_in_their_views():
    data = fake_graph()
    balance, taught = UMT(), []

    def teach(keep):
        taught.append(keep)
        return VBPR.from_data(data, dim=4)

    balance.attach(VBPR.from_data(data, dim=4), data)
    balance.prepare(teach)
    assert taught == [only('image'), only('text')]
    balance.prepare(teach)
    assert len(taught) == 2
    for keep, each in balance.teachers.items():
        [m] = keep
        assert each.user.shape == (12, 8), m


def test_a_new_task_starts_with_new_matrices():
    data = fake_graph()
    model = VBPR.from_data(data, dim=4)
    balance = UMT(
        teachers={only(m): teacher(data, 3) for m in ('image', 'text')}
    )
    balance.attach(model, data)
    old = balance.maps['text']['user'].weight
    balance.attach(model, data)
    assert not torch.equal(balance.maps['text']['user'].weight, old)


def test_no_teachers_error():
    data = fake_graph()
    balance = UMT()
    balance.attach(VBPR.from_data(data, dim=4), data)
    with pytest.raises(ValueError, match="'UMT' has no teachers yet"):
        balance.begin(data)


@pytest.mark.parametrize('keys', [['text'], ['text', 'image', 'full']])
def test_teachers_error(keys):
    data = fake_graph()
    views = {key: only(key) for key in keys} | {'full': full(['image', 'text'])}
    balance = UMT(teachers={views[key]: teacher(data, 3) for key in keys})
    with pytest.raises(ValueError, match=r'one teacher for each of.*only\('):
        balance.attach(VBPR.from_data(data, dim=4), data)


@pytest.mark.parametrize('strength', [-0.1, math.nan])
def test_strength_error(strength):
    with pytest.raises(ValueError, match=f"'strength'.*got {strength}"):
        UMT(strength=strength)


def test_matrices_follow_the_precision_of_the_model():
    """Not that of the teachers."""
    suite = TestUMT()
    data = suite.data()
    teachers = {only(m): teacher(data, 3) for m in ('image', 'text')}
    teachers = {keep: t.to(torch.double) for keep, t in teachers.items()}
    balance = UMT(teachers=teachers)
    model = suite.model('vbpr', data)
    balance.attach(model, data)
    balance.begin(data)
    assert {p.dtype for p in balance.parameters()} == {torch.float}
    suite.step(balance, model, data, suite.batch())
