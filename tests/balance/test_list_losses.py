"""Generic losses on lists, recomputed user by user and item by item."""

import copy
import math

import pytest
import torch

from pyg_ckd.balance import CKD, DCD, RCEKD, RRD, GenericLoss
from pyg_ckd.balance.list_loss import KNOWN
from pyg_ckd.balance.rrd import ordered
from pyg_ckd.graph import RATES
from pyg_ckd.nn import FREEDOM, VBPR
from pyg_ckd.testing import PlainRecommender, fake_graph, gradients
from pyg_ckd.testing.balance_suite import BalanceSuite
from pyg_ckd.testing.steps import batch_of, step_of
from pyg_ckd.train import Recommendation, fit
from pyg_ckd.views import full, only

LOSSES = [RRD, RCEKD, DCD]


class TestRRD(BalanceSuite):
    balance = lambda: CKD(on_random=RRD(num_users=8, k=4))  # noqa: E731


class TestRCEKD(BalanceSuite):
    balance = lambda: CKD(on_random=RCEKD(num_users=8, k=4))  # noqa: E731


class TestDCD(BalanceSuite):
    balance = lambda: CKD(on_random=DCD(num_users=8, k=4))  # noqa: E731


def scores(num_users=6, num_items=40, known=5):
    """Return scores of student and teacher, and which items are known."""
    student, teacher = torch.randn(2, num_users, num_items).double()
    mask = torch.rand(num_users, num_items).argsort(dim=1) < known
    return (
        student.masked_fill(mask, KNOWN).requires_grad_(),
        teacher.masked_fill(mask, KNOWN),
    )


def assert_same(found, expected, student):
    """Compare values and gradients."""
    both = found, torch.stack(expected)
    torch.testing.assert_close(*both)
    grads = [torch.autograd.grad(x.sum(), student)[0] for x in both]
    torch.testing.assert_close(*grads)


def order_of(row):
    """Return unknown items, the best one first."""
    row = row.tolist()
    items = [i for i, score in enumerate(row) if score > KNOWN]
    return sorted(items, key=lambda i: -row[i])


def naive_list(student, items, unknown):
    """Return the mean over `items` of how unlikely each is to come first."""
    total = 0.0
    for place, item in enumerate(items):
        others = [i for i in unknown if i not in items[:place]]
        weight = sum(student[i].exp() for i in others)
        total = total - (student[item].exp() / weight).log()
    return total / max(len(items), 1)


def naive_cross_entropy(student, teacher, items):
    items = sorted(items)
    target = teacher[items].softmax(dim=0)
    return -(target * student[items].log_softmax(dim=0)).sum()


@pytest.mark.parametrize('k', [1, 5, 35, 100])
def test_rrd(k):
    student, teacher = scores()
    expected = []
    for s, t in zip(student, teacher, strict=True):
        unknown = order_of(t)
        expected.append(naive_list(s, unknown[:k], unknown))
    assert_same(RRD(k=k)(student, teacher), expected, student)


def test_rrd_is_least_for_the_order_of_the_teacher():
    _, teacher = scores(known=0)
    loss = RRD(k=10)
    same = loss(3 * teacher, teacher)
    assert (same < loss(-teacher, teacher)).all()
    swapped = teacher.clone()
    best = teacher.topk(2).indices
    swapped.scatter_(1, best, teacher.gather(1, best.flip(1)))
    assert (same < loss(3 * swapped, teacher)).all()


def test_rce_kd_of_all_items():
    """With as many items as there are, nothing is drawn."""
    student, teacher = scores()
    loss = RCEKD(k=40, beta=2.0)
    expected = [
        naive_cross_entropy(s, t, order_of(t))
        for s, t in zip(student, teacher, strict=True)
    ]  # both sets are all items, whatever the weight
    assert_same(loss(student, teacher), expected, student)


def test_rce_kd(monkeypatch):
    student, teacher = scores()
    k, beta = 4, 1.5
    drawn = torch.zeros(student.shape, dtype=torch.bool)
    for row, s in zip(drawn, student, strict=True):
        row[order_of(s)[2 : 2 + k]] = True
    loss = RCEKD(k=k, beta=beta)
    monkeypatch.setattr(loss, '_drawn', lambda *_: drawn)
    expected = []
    for s, t, row in zip(student, teacher, drawn, strict=True):
        of_student, of_teacher = order_of(s)[:k], order_of(t)[:k]
        a = row.nonzero().flatten().tolist()
        rest = [i for i in of_teacher if i not in a and i not in of_student]
        first = naive_cross_entropy(s, t, of_student)
        second = naive_cross_entropy(s, t, a + rest)
        w = math.exp(-beta * len(set(of_teacher) & set(a)) / k)
        expected.append((1 - w) * first + w * second)
    assert_same(loss(student, teacher), expected, student)


def test_what_rce_kd_draws():
    """Items above many of the teacher's best are drawn more often."""
    num_items, k = 60, 5
    student = -torch.arange(num_items).double().expand(4000, -1)
    of_teacher = torch.zeros(student.shape, dtype=torch.bool)
    of_teacher[:, [2, 9, 18, 40, 50]] = True
    drawn = RCEKD(k=k)._drawn(student, of_teacher, k)
    assert (drawn.sum(dim=1) == k).all()
    assert not drawn[:, 4 * k :].any()  # beyond the student's best
    often = drawn.double().mean(dim=0)
    count = [3] * 3 + [2] * 7 + [1] * 9 + [0]  # c of each rank
    weights = torch.tensor([math.exp((c + 1) / 10) for c in count]).double()
    again = torch.zeros(4000, 20).scatter(
        1, weights.expand(4000, -1).multinomial(k), 1.0
    )
    expected = again.double().mean(dim=0)
    torch.testing.assert_close(often[:20], expected, rtol=0, atol=0.04)
    assert often[:3].mean() > often[10:19].mean() + 0.02


def test_dcd():
    """Items in their places are hardly drawn."""
    teacher = -torch.arange(30).double().expand(50, -1)
    rank = torch.arange(30)
    rank[[2, 9]] = rank[[9, 2]]  # item 2 is too low, item 9 too high
    student = (-rank.double()).expand(50, -1).clone()
    found = DCD(k=1)(student, teacher)
    expected = naive_list(student[0], [2], [2, 9])
    torch.testing.assert_close(found, expected.expand(50))


def test_dcd_teaches_the_order_of_the_teacher():
    student, teacher = scores(known=0)
    found = DCD(k=40)(student, teacher)  # all items are of both kinds
    expected = []
    for s, t in zip(student, teacher, strict=True):
        order = order_of(t)
        terms = [
            (s[order[k:]].exp().sum() + s.exp().sum()).log() - s[item]
            for k, item in enumerate(order)
        ]
        expected.append(sum(terms) / 40)
    assert_same(found, expected, student)


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize('known', [0, 37, 39, 40])
def test_users_who_know_nearly_all(loss, known):
    student, teacher = scores(known=known)
    found = loss(k=10)(student, teacher)
    assert found.isfinite().all()
    (grad,) = torch.autograd.grad(found.sum(), student)
    assert grad.isfinite().all()
    if known:
        assert (grad[student == KNOWN] == 0).all()
    if known == 40:
        assert (found == 0).all()


def test_ordered_leaves_out_what_does_not_count():
    first, others = torch.randn(2, 3).double(), torch.randn(2, 4).double()
    counts = torch.tensor([[True, False, True], [False, True, False]])
    found = ordered(first, others, counts)
    expected = []
    for row, rest, kept in zip(first, others, counts, strict=True):
        both = torch.cat([row[kept], rest])
        items = list(range(int(kept.sum())))
        expected.append(naive_list(both, items, list(range(len(both)))))
    torch.testing.assert_close(found, torch.stack(expected))


@pytest.mark.parametrize('loss', LOSSES)
def test_scores_are_precise_under_autocast(loss, random_teachers):
    data = fake_graph(
        num_users=30, num_items=40, pre_transform=FREEDOM.pre_transform
    )
    teachers = list(random_teachers(data).values())
    keeps = [only('image'), only('text')]
    views = FREEDOM.from_data(data, dim=4).views(data, keeps)
    part = loss()
    part.attach(data)
    part.begin(data, teachers)
    step = step_of(views, data, batch_of(data), keeps)
    found = []
    for autocast in (False, True):
        torch.manual_seed(1)
        with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
            found.append(part.losses(step, [0, 1], teachers))
    assert torch.equal(*found)


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize('make', [VBPR, FREEDOM])
def test_in_a_step(loss, make, random_teachers):
    """Scores are those of the view, in units of the teacher's spread."""
    data = fake_graph(
        num_users=30, num_items=40, pre_transform=FREEDOM.pre_transform
    )
    model = make.from_data(data, dim=4)
    teachers = list(random_teachers(data).values())
    keeps = [only('image'), only('text')]
    views = model.views(data, keeps)
    part = loss(num_users=1000, tau=0.7, k=50)
    part.attach(data)
    part.begin(data, teachers)
    torch.manual_seed(1)
    found = part.losses(
        step_of(views, data, batch_of(data), keeps), [0, 1], teachers
    )

    class Seen(type(part)):
        def forward(self, student, teacher):
            seen.append((student, teacher))
            return super().forward(student, teacher)

    seen = []
    twin = copy.copy(part)
    twin.__class__ = Seen
    torch.manual_seed(1)
    twin.losses(step_of(views, data, batch_of(data), keeps), [0, 1], teachers)
    torch.manual_seed(1)
    batch_of(data)
    users = part.users[torch.randperm(len(part.users))]
    edges = set(map(tuple, data[RATES].edge_index.t().tolist()))
    for t, teacher in enumerate(teachers):
        user_emb, item_emb = views.embedding(t)
        unit = 0.7 * teacher.spread
        for row, u in enumerate(users.tolist()):
            for i in range(40):
                pair = [x[row, i] for x in seen[t]]
                if (u, i) in edges:
                    assert pair == [KNOWN, KNOWN]
                else:
                    own = user_emb[u] @ item_emb[i] / unit
                    taught = teacher.user[u] @ teacher.item[i] / unit
                    torch.testing.assert_close(
                        torch.stack(pair), torch.stack([own, taught])
                    )
    assert found.shape == (2,)


@pytest.mark.parametrize('loss', LOSSES)
def test_trains_both_views(loss, random_teachers):
    data = fake_graph(num_users=30, num_items=40)
    ckd = CKD(
        random_teachers(data), on_batch=None, weights=None, on_random=loss(k=5)
    )
    task = Recommendation(PlainRecommender(data), data, balance=ckd)
    task.balance.begin(task.data)
    losses = task.losses(batch_of(data))
    assert {'generic_image', 'generic_text'} <= set(losses.scalars)
    for name, grad in gradients(losses.added, task.model).items():
        assert grad.abs().sum() > 0, name
    fit(task, max_epochs=1, progress=False)


@pytest.mark.parametrize('loss', LOSSES)
def test_brings_a_student_closer(loss):
    """Distilled alone, the student's list becomes that of its teacher."""
    torch.manual_seed(0)
    teacher = torch.randn(8, 30)
    student = torch.randn(8, 30, requires_grad=True)
    optimizer = torch.optim.Adam([student], lr=0.1)
    for _ in range(500):
        optimizer.zero_grad()
        loss(k=10)(student, teacher).mean().backward()
        optimizer.step()
    for own, taught in zip(student, teacher, strict=True):
        shared = {*own.topk(10).indices.tolist()} & {
            *taught.topk(10).indices.tolist()
        }
        assert len(shared) >= 8


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'weight': -1.0}, r"'weight' .*\(got -1\.0\)"),
        ({'num_users': 0}, r"'num_users' .*\(got 0\)"),
        ({'tau': math.nan}, r"'tau' .*\(got nan\)"),
        ({'k': 0}, r"'k' .*\(got 0\)"),
        ({'num_users': 2.5}, r"'num_users' .*whole number.*\(got 2\.5\)"),
        ({'k': 5.0}, r"'k' .*whole number.*\(got 5\.0\)"),
    ],
    ids=str,
)
def test_errors(loss, kwargs, message):
    with pytest.raises(ValueError, match=message) as error:
        loss(**kwargs)
    assert loss.__name__ in str(error.value)


def test_errors_of_beta():
    with pytest.raises(ValueError, match=r"'beta' .*\(got -1\)"):
        RCEKD(beta=-1)


def test_settings():
    assert repr(RRD(2.0, 7, 0.3, 9)) == (
        'RRD(weight=2.0, num_users=7, tau=0.3, k=9)'
    )
    assert repr(DCD(2.0, 7, 0.3, 9)) == (
        'DCD(weight=2.0, num_users=7, tau=0.3, k=9)'
    )
    assert repr(RCEKD(2.0, 7, 0.3, 9, 4.0)) == (
        'RCEKD(weight=2.0, num_users=7, tau=0.3, k=9, beta=4.0)'
    )


def test_of_the_full_view(random_teachers):
    data = fake_graph(num_users=30, num_items=40)
    whole = full(['image', 'text'])
    ckd = CKD(random_teachers(data, [whole]), on_random=RRD(k=5))
    task = Recommendation(PlainRecommender(data), data, balance=ckd)
    task.balance.begin(task.data)
    assert 'generic_full' in task.losses(batch_of(data)).scalars


def test_a_generic_loss_of_ones_own(random_teachers):
    """Whatever draws its own triples has their margins."""

    class SquaredMargins(GenericLoss):
        def draw(self):
            one, other = torch.randint(self.num_items, (2, len(self.users)))
            return self.users, one, other

        def losses(self, step, places, teachers):
            student = step.random_triples.margin()[:, places]
            taught = [t.margin(*step.random) for t in teachers]
            return (student - torch.stack(taught, 1)).square().mean(0)

    data = fake_graph(num_users=30, num_items=40)
    ckd = CKD(random_teachers(data), on_random=SquaredMargins(weight=0.5))
    model = VBPR.from_data(data, dim=4)
    task = fit(
        Recommendation(model, data, balance=ckd), max_epochs=2, progress=False
    )
    assert task.history[0]['generic_text'] > 0
