import math
import pickle
from collections import Counter
from itertools import combinations

import pytest
import torch

from pyg_ckd.graph import RATES
from pyg_ckd.nn import BPRMF, FREEDOM, VBPR, Cosine
from pyg_ckd.objectives import Softmax
from pyg_ckd.testing import (
    ObjectiveSuite,
    batch_of,
    fake_graph,
    gradients,
    step_of,
)
from pyg_ckd.views import Views, full, only

NAMES = ['image', 'text']
KEEPS = [full(NAMES), only('text')]


class TestAllItems(ObjectiveSuite):
    objective = Softmax(l2=0.1)


class TestDrawnItems(ObjectiveSuite):
    objective = Softmax(tau=1.0, negatives=4)
    draws = True


class TestMoreThanAllItems(ObjectiveSuite):
    objective = Softmax(negatives=10)


class TestItemsOfTheBatch(ObjectiveSuite):
    objective = Softmax(tau=0.5, negatives='batch')


def cross_entropy(user, item, u, i, others, tau, log_share=None):
    """The formula in the docstring for one pair, by plain numbers."""

    def z(j):
        score = sum(
            a * b
            for a, b in zip(user[u].tolist(), item[j].tolist(), strict=True)
        )
        return score / tau - (log_share[j] if log_share else 0.0)

    total = math.exp(z(i)) + sum(math.exp(z(j)) for j in others if j != i)
    return -math.log(math.exp(z(i)) / total)


def naive(user, item, batch, others, tau, log_share=None):
    pairs = list(zip(batch[0].tolist(), batch[1].tolist(), strict=True))
    return sum(
        cross_entropy(user, item, u, i, others, tau, log_share)
        for u, i in pairs
    ) / len(pairs)


@pytest.fixture
def data():
    return fake_graph()


@pytest.fixture
def random(data):
    """Random embeddings, a batch in which items occur twice, and its step."""
    user, item = torch.randn(12, 4), torch.randn(9, 4)
    batch = batch_of(data)
    assert len(batch[1].unique()) < len(batch[1])
    views = Views([user], [item], torch.ones(1, 1))
    return user, item, batch, step_of(views, data, batch)


@pytest.mark.parametrize('tau', [0.2, 1.0])
def test_all(tau, random):
    user, item, batch, step = random
    assert Softmax(tau).loss(step).item() == pytest.approx(
        naive(user, item, batch, range(9), tau), rel=1e-4
    )


@pytest.mark.parametrize('tau', [0.2, 1.0])
def test_batch(tau, data, random):
    user, item, batch, step = random
    known = data[RATES].edge_index[1].tolist()
    log_share = {j: math.log(n / len(known)) for j, n in Counter(known).items()}
    assert len(set(log_share.values())) > 1
    # Other items count as often as they occur:
    expected = naive(user, item, batch, batch[1].tolist(), tau, log_share)
    loss = Softmax(tau, 'batch').loss(step).item()
    assert loss == pytest.approx(expected, rel=1e-4)
    uncorrected = naive(user, item, batch, batch[1].tolist(), tau)
    assert abs(loss - uncorrected) > 1e-3


@pytest.mark.parametrize('weighted', [False, True])
def test_repeated_pairs_count_once(weighted, data, random):
    """They are drawn once, of weights with the largest."""
    *_, step = random
    objective = Softmax(0.5, 'batch')
    rates = data[RATES]
    if weighted:
        rates.edge_weight = torch.rand(rates.edge_index.size(1)) / 2 + 0.5
    expected = objective.loss(step)
    lighter = rates.edge_index[:, :1].expand(2, 30)
    rates.edge_index = torch.cat([rates.edge_index, lighter], dim=1)
    if weighted:
        less = torch.full((30,), 0.01)
        rates.edge_weight = torch.cat([rates.edge_weight, less])
    assert torch.equal(objective.loss(step), expected)
    rates.edge_index[1, 0] = (rates.edge_index[1, 0] + 1) % 9  # in place
    assert not torch.equal(objective.loss(step), expected)
    assert torch.equal(objective.loss(step), Softmax(0.5, 'batch').loss(step))


def test_what_it_has_counted_is_no_part_of_it(random):
    counted, fresh = Softmax(0.5, 'batch'), Softmax(0.5, 'batch')
    counted.loss(random[-1])
    assert counted == fresh
    assert hash(counted) == hash(fresh)
    assert repr(counted) == repr(fresh)
    assert len(pickle.dumps(counted)) == len(pickle.dumps(fresh))


@pytest.mark.parametrize('n', [1, 2, 8])
def test_drawn(n, random):
    """Each set of n items occurs, equally often, for the whole batch."""
    user, item, batch, step = random
    expected = {
        round(naive(user, item, batch, others, 0.5), 4): others
        for others in combinations(range(9), n)
    }
    assert len(expected) == math.comb(9, n)
    objective = Softmax(0.5, n)
    count = Counter()
    for _ in range(40 * len(expected)):
        loss = objective.loss(step).item()
        nearest = min(expected, key=lambda value: abs(value - loss))
        assert loss == pytest.approx(nearest, abs=2e-4)
        count[nearest] += 1
    # By the binomial distribution, with a deviation of about 6.3:
    assert all(12 <= count[value] <= 68 for value in expected)


def test_drawn_obeys_the_seed(random):
    step = random[-1]
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(Softmax(negatives=3).loss(step).item())
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize('backbone', [BPRMF, VBPR, FREEDOM])
def test_n_of_the_catalogue_is_all(backbone):
    data = fake_graph(pre_transform=backbone.pre_transform)
    model = backbone.from_data(data, dim=4)
    batch = batch_of(data)
    results = []
    for negatives in ('all', 9, 1000):
        views = model.views(data, KEEPS)
        loss = Softmax(0.1, negatives).loss(step_of(views, data, batch, KEEPS))
        results.append((loss, gradients(loss, model)))
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)
    torch.testing.assert_close(results[2], results[0], rtol=0, atol=0)


@pytest.mark.parametrize('keep', [full(NAMES), only('text')])
@pytest.mark.parametrize('backbone', [VBPR, FREEDOM])
@pytest.mark.parametrize('negatives', ['all', 'batch'])
@pytest.mark.parametrize('cosine', [False, True])
def test_shared_blocks(backbone, keep, negatives, cosine):
    """Whatever blocks a view has: what counts is its embeddings."""
    data = fake_graph(pre_transform=backbone.pre_transform)
    model = backbone.from_data(data, dim=4)
    if cosine:
        model = Cosine(model)
    batch = batch_of(data)
    objective = Softmax(0.2, negatives)
    keeps = [keep, only('image')]
    views = model.views(data, keeps)
    loss = objective.loss(step_of(views, data, batch, keeps))
    user, item = model.views(data, keeps).embedding(0)
    plain = Views([user], [item], torch.ones(1, 1))
    expected = objective.loss(step_of(plain, data, batch, [keep]))
    torch.testing.assert_close(loss, expected)
    if negatives == 'all':
        assert loss.item() == pytest.approx(
            naive(user, item, batch, range(9), 0.2), rel=1e-4
        )
    torch.testing.assert_close(
        gradients([loss], model), gradients([expected], model)
    )


@pytest.mark.parametrize('negatives', ['all', 'batch', 4])
def test_l2(negatives, random):
    user, item, batch, step = random
    losses = []
    for l2 in (0.0, 0.3):
        torch.manual_seed(0)
        losses.append(Softmax(1.0, negatives, l2).loss(step).item())
    squares = sum(
        user[u].square().sum() + item[i].square().sum()
        for u, i in zip(*batch[:2], strict=True)
    )
    expected = 0.3 / 2 * squares.item() / len(batch[0])
    assert losses[1] - losses[0] == pytest.approx(expected, rel=1e-4)


class Recorded:
    """Rows that remember which were asked for."""

    def __init__(self, x):
        self.x, self.seen = x, []

    def rows(self, index=None):
        index = torch.arange(len(self.x)) if index is None else index
        self.seen.append(index.tolist())
        return self.x[index]


@pytest.mark.parametrize(
    ('negatives', 'num_items'), [('batch', 0), (2, 2), ('all', 9)]
)
def test_computes_only_the_rows_it_needs(negatives, num_items, data):
    user, item = Recorded(torch.randn(12, 4)), Recorded(torch.randn(9, 4))
    views = Views([user], [item], torch.ones(1, 1))
    step = step_of(views, data, batch_of(data))
    user.seen.clear()
    item.seen.clear()
    Softmax(negatives=negatives).loss(step)
    assert not any(user.seen)
    seen = [i for index in item.seen for i in index]
    assert len(seen) == len(set(seen)) == num_items


@pytest.mark.parametrize('negatives', ['all', 'batch', 9])
def test_large_scores(negatives, data):
    batch = torch.tensor([[0, 1], [2, 3], [4, 5]]).unbind()
    score = torch.zeros(12, 9)
    score[0, 2] = score[0, 3] = 1e4  # two items that are equally good
    score[1, 3] = -1e4
    score.requires_grad_()
    views = Views([torch.eye(12)], [score.t()], torch.ones(1, 1))
    data[RATES].edge_index = torch.arange(9).expand(2, 9)  # equal shares
    loss = Softmax(0.5, negatives).loss(step_of(views, data, batch))
    num_better = {'batch': 1}.get(negatives, 8)
    assert loss.item() == pytest.approx(
        (math.log(2) + 2e4 + math.log(num_better)) / 2
    )
    (grad,) = torch.autograd.grad(loss, score)
    torch.testing.assert_close(grad[0, [2, 3]], torch.tensor([-0.5, 0.5]))
    assert grad[1, 3] == -1


@pytest.mark.parametrize('negatives', ['batch', 1])
def test_nothing_to_compare_with(negatives, data):
    """The only other item is the preferred one itself: no loss, no NaN."""
    item = torch.randn(9, 4, requires_grad=True)
    views = Views([torch.randn(12, 4)], [item], torch.ones(1, 1))
    batch = tuple(x[:1] for x in batch_of(data))
    seen = set()
    for _ in range(50):
        loss = Softmax(negatives=negatives).loss(step_of(views, data, batch))
        (grad,) = torch.autograd.grad(loss, item)
        assert grad.isfinite().all()
        seen.add(loss.item() == 0)
        assert (loss == 0) == (not grad.any())
    assert seen == ({True} if negatives == 'batch' else {True, False})


def test_bfloat16_scores_are_computed_in_float32(random):
    user, item, batch, step = random
    views = Views([user.bfloat16()], [item.bfloat16()], torch.ones(1, 1))
    expected = Views(
        [user.bfloat16().float()], [item.bfloat16().float()], torch.ones(1, 1)
    )
    with torch.autocast('cpu', torch.bfloat16):
        loss = Softmax(l2=0.1).loss(step_of(views, step.data, batch))
    torch.testing.assert_close(
        loss, Softmax(l2=0.1).loss(step_of(expected, step.data, batch))
    )


def test_defaults():
    assert Softmax() == Softmax(tau=0.2, negatives='all', l2=0.0)
    assert Softmax(negatives=3) != Softmax(negatives=4)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'tau': 0.0}, r"'tau' .*'Softmax' \(got 0.0\)"),
        ({'tau': -1.0}, r"'tau' .*\(got -1.0\)"),
        ({'tau': math.nan}, r"'tau' .*\(got nan\)"),
        (
            {'negatives': 'some'},
            r"'negatives' .*'all', 'batch'.*\(got 'some'\)",
        ),
        ({'negatives': 0}, r"'negatives' .*'Softmax' \(got 0\)"),
        ({'negatives': 2.5}, r"'negatives' .*\(got 2.5\)"),
        ({'negatives': True}, r"'negatives' .*\(got True\)"),
        ({'l2': -0.1}, r"'l2' .*'Softmax' \(got -0.1\)"),
    ],
)
def test_errors(kwargs, message):
    with pytest.raises(ValueError, match=message):
        Softmax(**kwargs)
