"""Weights of interactions, beside what `TripletLoader` does with them."""

import copy
import math
from collections import Counter

import numpy as np
import pytest
import torch

from pyg_ckd.balance import CKD
from pyg_ckd.datasets import FakeMultimodal, to_mmrec
from pyg_ckd.graph import RATED_BY, RATES, check, fingerprint
from pyg_ckd.kernels.units import UNIT, as_units, drawn
from pyg_ckd.nn import VBPR, LightGCN
from pyg_ckd.objectives import Softmax
from pyg_ckd.ranking import evaluate
from pyg_ckd.serving import ColdItems
from pyg_ckd.testing import batch_of, fake_graph, step_of
from pyg_ckd.train import Recommendation, fit
from pyg_ckd.transforms import TrainOnAll
from pyg_ckd.views import Views


def weighted(data=None, seed=0):
    data = copy.copy(fake_graph() if data is None else data)
    num = data[RATES].edge_index.size(1)
    generator = torch.Generator().manual_seed(seed)
    weight = torch.rand(num, generator=generator).clamp(min=0.05)
    weight[::2] = 1
    data[RATES].edge_weight = weight
    return data


# Contract ####################################################################


@pytest.mark.parametrize(
    ('change', 'part'),
    [
        (lambda w: w[:-1], 'has the shape ['),
        (lambda w: w.unsqueeze(1), 'has the shape ['),
        (lambda w: w.tolist(), 'is a list, expected a number in (0, 1]'),
        (lambda w: w.to_sparse(), 'is a Tensor'),
        (lambda w: w * 1j, 'is a Tensor'),
        (lambda w: w * 0, 'is 0 in column 0'),
        (lambda w: w * 5, 'is 5 in column 0, expected'),
        (lambda w: -w, 'is -1 in column 0'),
        (lambda w: w / 0, 'is inf in column 0'),
        (lambda w: w * torch.nan, 'is nan in column 0'),
    ],
)
def test_other_weights_are_refused(change, part):
    data = weighted()
    data[RATES].edge_weight = change(data[RATES].edge_weight)
    with pytest.raises(ValueError) as info:
        check(data)
    assert f'data[{RATES}].edge_weight {part}' in str(info.value)


def test_weights_are_cast():
    data = weighted()
    assert check(data) is data
    expected = data[RATES].edge_weight
    data[RATES].edge_weight = expected.double().numpy()
    assert check(data)[RATES].edge_weight.equal(expected)
    assert isinstance(data[RATES].edge_weight, np.ndarray)
    data[RATES].edge_weight = expected.to('meta')
    with pytest.raises(ValueError, match='edge_weight is on meta'):
        check(data)


def test_a_changed_weight_is_noticed():
    data = weighted()
    check(data)
    data[RATES].edge_weight[3] = 2
    with pytest.raises(ValueError, match='is 2 in column 3'):
        check(data)


def test_fingerprint_of_weights():
    """In whatever order edges are, also those that occur twice."""
    data = weighted()
    known = {fingerprint(data), fingerprint(fake_graph())}
    known.add(fingerprint(weighted(seed=1)))
    assert len(known) == 3
    rates, num = data[RATES], data[RATES].edge_index.size(1)
    order = torch.randperm(num)
    rates.edge_index = rates.edge_index[:, order]
    rates.edge_weight = rates.edge_weight[order]
    data[RATED_BY].edge_index = rates.edge_index.flip(0)
    assert fingerprint(data) in known
    rates.edge_weight = rates.edge_weight[torch.randperm(num)]
    assert fingerprint(data) not in known


# Drawing #####################################################################


@pytest.mark.parametrize('num', [1, 7, 1000])
def test_as_many_are_drawn_as_weights_sum_to(num):
    weight = torch.rand(num).clamp(min=1e-6)
    weight[torch.rand(num) < 0.3] = 1
    units = as_units(weight)
    total = int(units.sum())
    for _ in range(50):
        is_drawn = drawn(units, torch.randint(UNIT, ()))
        assert is_drawn[weight == 1].all()
        assert total // UNIT <= is_drawn.sum() <= -(-total // UNIT)


def test_drawn_naive():
    """Each weight that holds a point of the grid."""
    weight = torch.rand(40, dtype=torch.double)
    units = as_units(weight)
    for start in [0, 1, UNIT // 2, UNIT - 1]:
        end, expected = 0, []
        for unit in units.tolist():
            first, end = end, end + unit
            points = range(start, end, UNIT)
            expected.append(any(first <= point for point in points))
        assert drawn(units, torch.tensor(start)).tolist() == expected


# Use #########################################################################


def test_popularity_in_a_batch_is_weighted():
    """Of the softmax over a batch, whose items occur as weights say."""
    data = weighted()
    user, item = torch.randn(12, 4), torch.randn(9, 4)
    batch = batch_of(data)
    step = step_of(Views([user], [item], torch.ones(1, 1)), data, batch)
    share = Counter()
    rates = data[RATES]
    for j, weight in zip(
        rates.edge_index[1].tolist(), rates.edge_weight.tolist(), strict=True
    ):
        share[j] += weight
    users, items = batch[0].tolist(), batch[1].tolist()
    total = 0.0
    for u, i in zip(users, items, strict=True):
        z = {
            j: float(user[u] @ item[j]) / 0.2 - math.log(share[j])
            for j in set(items)
        }
        others = sum(math.exp(z[j]) for j in items if j != i)
        total += math.log((math.exp(z[i]) + others) / math.exp(z[i]))
    loss = Softmax(0.2, 'batch').loss(step).item()
    assert loss == pytest.approx(total / len(users), rel=1e-4)


@pytest.mark.parametrize('balance', [None, CKD()])
@pytest.mark.parametrize('sampling', ['interaction', 'user'])
def test_training_honours_weights(balance, sampling):
    """What has hardly any weight is hardly learned."""
    data = FakeMultimodal(num_users=60, num_items=30)[0]
    data = LightGCN.pre_transform(data)
    user, item = data[RATES].edge_index
    light = item < 15
    data[RATES].edge_weight = torch.where(light, 1e-6, 1.0)
    torch.manual_seed(0)
    model = VBPR.from_data(data, dim=8)
    start = model.item.weight.detach().clone()
    task = Recommendation(
        model, data, balance=balance, lr=0.01, sampling=sampling, batch_size=64
    )
    task = fit(task, max_epochs=2, progress=False)
    batches = [*task.train_dataloader()]
    assert len(batches) == len(task.train_dataloader())
    both = set(user[light].tolist()) & set(user[~light].tolist())
    assert not any(
        int(u) in both and i < 15
        for users, items, _ in batches
        for u, i in zip(users, items, strict=True)
    )
    assert not task.model.item.weight[15:].equal(start[15:])
    # Known items are left out of lists, whatever their weights:
    recommended, _ = task.recommend(int(user[light][0]), k=30)
    assert int(item[light][0]) not in recommended[0].tolist()


def test_weights_of_one_change_nothing():
    data = FakeMultimodal(num_users=40, num_items=30)[0]
    scores = []
    for weight in (None, 1.0):
        graph = copy.copy(data)
        if weight is not None:
            graph[RATES].edge_weight = torch.ones(graph[RATES].num_edges)
        torch.manual_seed(0)
        task = Recommendation(VBPR.from_data(graph, dim=8), graph, lr=0.01)
        task = fit(task, max_epochs=8, progress=False)
        scores.append(evaluate(task.model, graph, ks=(10,))['recall@10'])
    assert scores[0] == scores[1]


def test_train_on_all_keeps_weights():
    data = weighted()
    rates = data[RATES]
    expected = Counter()
    for pair, weight in zip(
        rates.edge_index.t().tolist(), rates.edge_weight.tolist(), strict=True
    ):
        expected[tuple(pair)] = max(expected[tuple(pair)], weight)
    for name in ('val_edge_label_index', 'test_edge_label_index'):
        expected |= {
            tuple(p): 1
            for p in rates.get(name, rates.edge_index[:, :0]).t().tolist()
        }
    whole = TrainOnAll()(data)[RATES]
    assert expected == dict(
        zip(
            map(tuple, whole.edge_index.t().tolist()),
            whole.edge_weight.tolist(),
            strict=True,
        )
    )
    assert 'edge_weight' not in TrainOnAll()(fake_graph())[RATES]


def test_cold_items_that_were_held_out_are_trained_on():
    data = copy.copy(fake_graph(lonely=True))
    last = data['item'].num_nodes - 1
    data['item'].cold = torch.arange(last + 1) == last
    data[RATES].test_edge_label_index = torch.tensor([[0], [last]])
    assert not TrainOnAll()(data)['item'].cold.any()
    assert data['item'].cold[last]


def test_cold_items_predict_what_weighs_most():
    data = copy.copy(FakeMultimodal(num_users=60, num_items=30)[0])
    num = data[RATES].num_edges
    data[RATES].edge_weight = torch.full((num,), 0.5)
    with_weights = ColdItems.of(data, share=0.2, seed=0)
    del data[RATES].edge_weight
    without = ColdItems.of(data, share=0.2, seed=0)
    assert with_weights.test.tolist() == without.test.tolist()


def test_formats_without_cold_items_say_so(tmp_path):
    data = copy.copy(FakeMultimodal(num_users=60, num_items=30)[0])
    trained = data[RATES].edge_index[1]
    data['item'].cold = torch.bincount(trained, minlength=30) == 0
    with pytest.warns(UserWarning, match='does not tell cold items'):
        to_mmrec(data, tmp_path / 'shop')
