import copy
from itertools import permutations

import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_ckd.graph import RATES, modalities
from pyg_ckd.nn import FREEDOM
from pyg_ckd.nn.models import freedom
from pyg_ckd.testing import (
    RecommenderSuite,
    assert_same_with_gradients,
    dense_item_graph,
    dense_light_gcn,
    fake_graph,
)
from pyg_ckd.testing.invariance_suite import InvarianceSuite
from pyg_ckd.testing.view_suite import ViewSuite
from pyg_ckd.transforms import CoOccurrence, ItemKNN
from pyg_ckd.views import (
    Views,
    distinct_views,
    full,
    only,
    view,
    without,
)


class TestFREEDOM(RecommenderSuite):
    model = FREEDOM


class TestWithCompanions(ViewSuite, InvarianceSuite):
    """FREEDOM that mixes in the graph of items with common users."""

    model = FREEDOM

    def make(self, data, training=False, **kwargs):
        return super().make(data, training, **{'co_occurrence': 0.3, **kwargs})


case = TestFREEDOM()


@pytest.fixture
def drawn(monkeypatch):
    """The interactions that each epoch was given to propagate over."""
    original = freedom.normalized
    seen = []

    def normalized(edge_index, *args):
        seen.append(edge_index)
        return original(edge_index, *args)

    monkeypatch.setattr(freedom, 'normalized', normalized)
    return seen


def naive(model, data, edge_index):
    """Recompute the embeddings by the formula, on dense matrices."""
    part = copy.copy(data)
    part[RATES].edge_index = edge_index
    out = dense_light_gcn(
        part, model.user.weight, model.item.weight, model.num_layers
    )
    user, item = out.split([12, 9])
    for m, weight in model.graph_weight.items():
        h = dense_item_graph(data['item'][f'x_{m}'], 3, 'binary')
        weight = (1 - model.co_occurrence) * weight
        item = item + weight * h @ model.item.weight
    if model.co_occurrence > 0:
        h = CoOccurrence().of(data).adj_t.to_dense()
        item = item + model.co_occurrence * h @ model.item.weight
    return user, item


@pytest.mark.parametrize(
    ('num_layers', 'co_occurrence'), [(1, 0), (2, 0.2), (3, 0.9)]
)
def test_evaluation(num_layers, co_occurrence):
    data = case.data()
    model = case.make(
        data,
        training=True,
        num_layers=num_layers,
        co_occurrence=co_occurrence,
        graph_weight={'text': 0.9, 'image': 0.1},
    )
    model.eval()
    expected = naive(model, data, data[RATES].edge_index)
    assert_same_with_gradients(model(data), expected, model)


def test_training(drawn):
    data = case.data(3)
    model = case.make(data, prune=0.5).train()
    outputs = []
    for epoch in range(2):
        model.start_epoch(data, full(modalities(data)))
        assert len(drawn) == epoch + 1
        outputs.append(model(data))
        expected = naive(model, data, drawn[-1])
        assert_same_with_gradients(outputs[-1], expected, model)
        # All batches of an epoch see the same sample:
        assert torch.equal(model(data)[0], outputs[-1][0])
    assert not torch.allclose(outputs[0][0], outputs[1][0])

    # Evaluation between two epochs, and back to training:
    model.eval()
    everything = naive(model, data, data[RATES].edge_index)
    torch.testing.assert_close(model(data), everything)
    model.train()
    assert torch.equal(model(data)[0], outputs[-1][0])


@pytest.mark.parametrize(
    ('prune', 'num_kept'), [(0.8, 10), (0.5, 24), (0.9, 5), (0.01, 48)]
)
def test_num_pruned(prune, num_kept, drawn):
    data = fake_graph()
    edge_index = data[RATES].edge_index
    assert edge_index.size(1) == 48
    case.make(data, training=True, prune=prune)
    kept = list(map(tuple, drawn[-1].t().tolist()))
    assert len(kept) == len(set(kept)) == num_kept
    assert set(kept) <= set(map(tuple, edge_index.t().tolist()))


def test_no_pruning(drawn):
    data = case.data()
    model = case.make(data, training=True, prune=0)
    assert drawn == []
    expected = naive(model, data, data[RATES].edge_index)
    torch.testing.assert_close(model(data), expected)


@pytest.mark.parametrize('num_kept', [1, 2])
def test_sampling_probabilities(num_kept, monkeypatch):
    """Edges are drawn one after the other, ∝ 1 / sqrt(d_u d_i)."""
    data = HeteroData()
    data['user'].num_nodes = 4
    data['item'].num_nodes = 4
    data['item'].x_text = torch.randn(4, 2)
    edges = [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (3, 3)]
    data[RATES].edge_index = torch.tensor(edges).t()

    rate = []
    for u, i in edges:
        user_degree = sum(user == u for user, _ in edges)
        item_degree = sum(item == i for _, item in edges)
        rate.append((user_degree * item_degree) ** -0.5)
    probability = {}
    for drawn in permutations(range(len(edges)), num_kept):
        p, left = 1.0, sum(rate)
        for edge in drawn:  # without replacement
            p *= rate[edge] / left
            left -= rate[edge]
        key = frozenset(edges[edge] for edge in drawn)
        probability[key] = probability.get(key, 0) + p
    assert sum(probability.values()) == pytest.approx(1)

    count = dict.fromkeys(probability, 0)

    def normalized(edge_index, *settings):
        count[frozenset(map(tuple, edge_index.t().tolist()))] += 1

    monkeypatch.setattr(freedom, 'normalized', normalized)
    model = FREEDOM.from_data(data, dim=2, prune=1 - num_kept / len(edges))
    num_draws = 6000
    for _ in range(num_draws):
        model.start_epoch(data, only('text'))
    assert sum(count.values()) == num_draws
    chi_square = sum(
        (count[key] - num_draws * p) ** 2 / (num_draws * p)
        for key, p in probability.items()
    )
    # The 99.9 % quantiles for 5 and for 14 degrees of freedom:
    assert chi_square < {1: 20.5, 2: 36.1}[num_kept]


@pytest.mark.parametrize('num_modalities', [2, 3])
def test_regularization(num_modalities):
    """A view learns nothing from the modality that it does not see."""
    data = case.data(num_modalities)
    names = modalities(data)
    user, pos, neg = case.batch(20)
    for keep in (full(names), only('text')):
        model = case.make(data, feature_weight=0.3, train_features=True)
        model.table = torch.nn.Parameter(torch.randn(12, 4))
        several = Views([model.table], [], torch.ones(1, 1))
        result = model.regularization(data, keep, several, user, pos, neg)
        expected = 0
        for m in keep:
            x = data['item'][f'x_{m}'] + model.offset[m]
            linear, user_emb = model.projection[m], model.table[user]
            for b in range(20):
                i = linear.weight @ x[pos[b]] + linear.bias
                j = linear.weight @ x[neg[b]] + linear.bias
                margin = user_emb[b] @ i - user_emb[b] @ j
                expected = expected - 0.3 * margin.sigmoid().log() / 20
        assert_same_with_gradients([result], [expected], model)
        result.backward()
        for table in (model.offset, model.projection):
            for name, parameter in table.named_parameters():
                kept = name.split('.')[0] in keep
                assert (parameter.grad is not None) == kept


@pytest.mark.parametrize('co_occurrence', [0, 0.2])
def test_ablated_relation_contributes_nothing(co_occurrence):
    data = case.data(3)
    model = case.make(data, co_occurrence=co_occurrence)
    names = modalities(data)
    for keep in (only('text'), without(names, 'text'), full(names)):
        user, item = view(model, data, keep)
        expected = naive(model, data, data[RATES].edge_index)[0]
        torch.testing.assert_close(user, expected)

        # The other weights stay as they are:
        weights = dict(model.graph_weight)
        model.graph_weight = {m: weights[m] for m in keep}
        expected = naive(model, data, data[RATES].edge_index)[1]
        model.graph_weight = weights
        torch.testing.assert_close(item, expected)


def test_default_graph_weight():
    assert FREEDOM.from_data(case.data(2)).graph_weight == pytest.approx(
        {'image': 1 / 2, 'text': 1 / 2}
    )
    assert FREEDOM.from_data(case.data(3)).graph_weight == pytest.approx(
        {'image': 1 / 3, 'text': 1 / 3, 'audio': 1 / 3}
    )


def test_initialization():
    model = FREEDOM(500, 300, {'text': 100}, dim=20)
    for table in (model.user.weight, model.item.weight):
        bound = (6 / sum(table.shape)) ** 0.5
        assert 0.95 * bound < table.abs().max() <= bound
    linear = model.projection['text']
    assert torch.equal(linear.bias, torch.zeros(20))
    assert linear.weight.std().item() == pytest.approx(
        (2 / (100 + 20)) ** 0.5, rel=0.1
    )


def test_item_graph_that_is_not_needed():
    data = case.data()
    data.graphs = {k: g for k, g in data.graphs.items() if k[1] != 'text'}
    model = case.make(data)
    for call in (
        lambda: model(data),
        lambda: model.views(data, [only('text')]),
    ):
        with pytest.raises(ValueError, match=r"'FREEDOM' .* of 'text' is not"):
            call()
    model.views(data, [only('image')])


def test_companions_are_needed_only_with_a_weight():
    data = case.data()
    data.graphs = {k: g for k, g in data.graphs.items() if 'Co' not in k[0]}
    case.make(data)(data)
    with pytest.raises(ValueError, match=r"'FREEDOM' needs .* CoOccurrence"):
        case.make(data, co_occurrence=0.1)(data)


def test_companions_are_in_every_view():
    data = case.data(3)
    model = case.make(data, co_occurrence=0.4)
    other = case.make(data)
    other.load_state_dict(model.state_dict())
    h = 0.4 * CoOccurrence().of(data).adj_t.to_dense() @ model.item.weight
    assert h.norm() > 0.1
    keeps = [*distinct_views(modalities(data)), frozenset()]
    several = model.views(data, keeps)
    assert several.keep[:, 0].eq(1).all()
    torch.testing.assert_close(
        several.item[0], other.views(data, keeps).item[0] + h
    )


def test_pre_transform_uses_ten_neighbors():
    data = fake_graph(num_items=30, num_interactions=12)
    data = FREEDOM.pre_transform(data)
    result = FREEDOM.neighbors.of(data, 'text')
    expected = ItemKNN(k=10).of(ItemKNN(k=10)(data), 'text')
    assert torch.equal(result.edge_index, expected.edge_index)
    assert result.edge_index.size(1) == 300
    torch.testing.assert_close(result.edge_weight, torch.full((300,), 0.1))


@pytest.mark.parametrize(
    'graph_weight',
    [
        {},
        {'image': 1.0},
        {'image': 0.1, 'text': 0.8, 'audio': 0.1},
        {'image': 0.1, 'words': 0.9},
    ],
)
def test_graph_weight_error(graph_weight):
    with pytest.raises(
        ValueError,
        match=r"'graph_weight'.*\['image', 'text'\] in 'FREEDOM'",
    ):
        FREEDOM(4, 3, {'image': 2, 'text': 2}, graph_weight=graph_weight)


@pytest.mark.parametrize('name', ['prune', 'co_occurrence'])
@pytest.mark.parametrize('share', [-0.1, 1, 1.5])
def test_share_error(name, share):
    with pytest.raises(
        ValueError, match=rf"'{name}'.*'FREEDOM' \(got {share}\)"
    ):
        FREEDOM(4, 3, {'text': 2}, **{name: share})
