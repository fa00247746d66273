import cmath
import math

import pytest
import torch
import torch.nn.functional as F

from pyg_ckd.graph import RATES, modalities
from pyg_ckd.kernels import Graph, Uniform
from pyg_ckd.nn import SMORE
from pyg_ckd.testing import (
    RecommenderSuite,
    assert_same_with_gradients,
    dense_adjacency,
    dense_item_graph,
    dense_light_gcn,
    fake_graph,
    symmetric,
)
from pyg_ckd.transforms import ItemKNN
from pyg_ckd.views import distinct_views, full, only, view, without


class TestSMORE(RecommenderSuite):
    model = SMORE


case = TestSMORE()


def wave(k, n, d):
    return cmath.exp(2j * math.pi * k * n / d) / math.sqrt(d)


def spectrum(x):
    """The lower half of the Fourier transform of real rows."""
    d = x.size(1)
    columns = [
        sum(x[:, n] * wave(k, -n, d) for n in range(d))
        for k in range(d // 2 + 1)
    ]
    return torch.stack(columns, dim=1)


def signal(s, d):
    """The real rows that belong to the lower half of a spectrum."""
    columns = []
    for n in range(d):
        terms = [s[:, k] * wave(k, n, d) for k in range(d // 2 + 1)]
        for k in range(1, (d + 1) // 2):  # the upper half is its mirror
            terms.append(s[:, k].conj() * wave(d - k, n, d))
        columns.append(sum(terms).real)
    return torch.stack(columns, dim=1)


def linear(layer, x):
    return x @ layer.weight.t() + layer.bias


def purified(model, gate, s):
    real, imaginary = gate.filter.unbind(dim=-1)
    x = signal(s * (real + 1j * imaginary), model.dim)
    return model.item.weight * linear(gate.linear, x).sigmoid()


def naive(model, data, keep):
    """Recompute sides and content by the formulas, on dense matrices."""
    num_users, num_items = model.num_users, model.num_items
    a = symmetric(dense_adjacency(data[RATES].edge_index, 12, 9))
    content = dense_light_gcn(
        data, model.user.weight, model.item.weight, model.num_layers
    )

    def nodes(s, x):
        return torch.cat([a[:num_users, num_users:] @ s @ x, s @ x])

    def gate(layer):
        return F.dropout(
            linear(layer, content).sigmoid(), model.dropout, model.training
        )

    uniform = torch.full((num_items, num_items), 1 / num_items)
    maximum, product, branches = None, 1, {}
    for m in model.in_channels:
        x, s = (
            data['item'][f'x_{m}'],
            dense_item_graph(data['item'][f'x_{m}'], 3),
        )
        if m in model.offset:
            x = x + model.offset[m]
        if m in keep:
            maximum = s if maximum is None else torch.maximum(maximum, s)
        else:
            x, s = x.mean(dim=0).repeat(num_items, 1), uniform
        h = spectrum(linear(model.projection[m], x))
        product = product * h
        branches[m] = nodes(s, purified(model, model.purifier[m], h))

    fusion = nodes(
        uniform if maximum is None else maximum,
        purified(model, model.fusion_purifier, product),
    )
    side = gate(model.fusion_gate) * fusion
    for m, x in branches.items():
        hidden, _, last, _ = model.query[m]
        score = linear(hidden, fusion).tanh() @ last.weight.t()
        attention = score.exp() / score.exp().sum(dim=1, keepdim=True)
        side = side + gate(model.gate[m]) * attention * x
    return side / (len(branches) + 1), content


@pytest.mark.parametrize(
    ('dim', 'num_layers', 'train_features'), [(4, 0, False), (5, 4, True)]
)
@pytest.mark.parametrize('num_modalities', [1, 2, 3])
def test_by_formula(num_modalities, dim, num_layers, train_features):
    data = case.data(num_modalities)
    model = case.make(
        data, dim=dim, num_layers=num_layers, train_features=train_features
    )
    names = modalities(data)
    assert len(model.offset) == train_features * num_modalities
    for keep in {full(names), *distinct_views(names), frozenset()}:
        side, content = naive(model, data, keep)
        expected = (content + side).split([12, 9])
        assert_same_with_gradients(view(model, data, keep), expected, model)


def test_dropout(monkeypatch):
    """It drops entries of gates, all views alike, and only in training."""
    data = case.data(2)
    model = case.make(data, dropout=0.4)
    calls = []

    def dropout(x, p, training):
        calls.append((p, training))
        return x * (1 + torch.arange(4)) if training else x

    monkeypatch.setattr(F, 'dropout', dropout)
    keeps = distinct_views(modalities(data))
    for training in (True, False):
        model.train(training)
        calls.clear()
        several = model.views(data, keeps)
        assert calls == [(0.4, training)] * 3
        for v, keep in enumerate(keeps):
            side, content = naive(model, data, keep)
            torch.testing.assert_close(
                several.embedding(v), (content + side).split([12, 9])
            )


@pytest.mark.parametrize('num_modalities', [1, 2, 3])
def test_regularization(num_modalities):
    data = case.data(num_modalities)
    model = case.make(data, contrastive_weight=0.3, tau=0.5)
    user, pos, neg = torch.randint(3, (3, 7)) + 4  # with interactions
    for keep in (full(modalities(data)), only('image')):
        several = model.views(data, [keep, only('image')])
        result = model.regularization(data, keep, several, user, pos, neg)

        side, content = naive(model, data, keep)
        expected = 0
        for index in (user, pos + 12):
            for b in index:
                cosine = torch.stack(
                    [
                        F.cosine_similarity(side[b], content[k], dim=0)
                        for k in index
                    ]
                )
                same = F.cosine_similarity(side[b], content[b], dim=0)
                share = (same / 0.5).exp() / (cosine / 0.5).exp().sum()
                expected = expected - 0.3 * share.log() / 7
        assert_same_with_gradients([result], [expected], model)


def test_fusion_graph(monkeypatch):
    """It spans the kept modalities, and is uniform if there is none."""
    data = case.data(3)
    model = case.make(data)
    seen = []

    def propagate(self, x):
        if isinstance(self, Uniform):
            assert self.num_nodes == 9
            seen.append(torch.full((9, 9), 1 / 9))
        elif self.num_nodes == 9:
            seen.append(self.adj_t.to_dense())
            assert torch.equal(self.adj.to_dense(), seen[-1].t())
        return x

    for kind in (Graph, Uniform):
        monkeypatch.setattr(kind, 'propagate', propagate)
    names = modalities(data)
    s = {m: dense_item_graph(data['item'][f'x_{m}'], 3) for m in names}
    for keep in (full(names), without(names, 'text'), only('audio')):
        seen.clear()
        model.views(data, [keep])
        expected = torch.stack([s[m] for m in keep]).amax(dim=0)
        assert len(seen) == len(keep) + 1
        torch.testing.assert_close(seen[-1], expected)
    seen.clear()
    model.views(data, [frozenset()])
    torch.testing.assert_close(seen, [torch.full((9, 9), 1 / 9)])


def test_initialization():
    model = SMORE(500, 300, {'text': 100}, dim=1000)
    for table in (model.user.weight, model.item.weight):
        bound = (6 / sum(table.shape)) ** 0.5
        assert 0.95 * bound < table.abs().max() <= bound
    for gate in (model.purifier['text'], model.fusion_purifier):
        assert gate.filter.shape == (501, 2)
        assert gate.filter.std().item() == pytest.approx(1, abs=0.15)
        assert gate.filter.mean().item() == pytest.approx(0, abs=0.15)


def test_pre_transform():
    data = fake_graph(num_items=30, num_interactions=12)
    data = SMORE.pre_transform(data)
    expected = ItemKNN(k=10, weight='cosine')(data)
    for m in modalities(data):
        graph = SMORE.neighbors.of(data, m)
        assert torch.equal(
            graph.adj_t.to_dense(),
            ItemKNN(10, 'cosine').of(expected, m).adj_t.to_dense(),
        )
        torch.testing.assert_close(
            graph.adj_t.to_dense(), dense_item_graph(data['item'][f'x_{m}'], 10)
        )
    a = dense_adjacency(data[RATES].edge_index, 12, 30)
    graph = SMORE.adjacency.of(data)
    torch.testing.assert_close(graph.adj_t.to_dense(), symmetric(a))


def test_item_graph_that_is_not_needed():
    data = case.data()
    data.graphs = {k: g for k, g in data.graphs.items() if k[1] != 'text'}
    model = case.make(data)
    with pytest.raises(ValueError, match=r"'SMORE' .* of 'text' is not"):
        model(data)
    model.views(data, [only('image')])


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'num_layers': -1}, r"'num_layers'.*'SMORE' \(got -1\)"),
        ({'dropout': 1.0}, r"'dropout'.*'SMORE' \(got 1\.0\)"),
        ({'dropout': -0.1}, r"'dropout'.*'SMORE' \(got -0\.1\)"),
        ({'in_channels': {}}, r"'len\(in_channels\)'.*'SMORE' \(got 0\)"),
    ],
)
def test_errors(kwargs, message):
    sizes = {'num_users': 4, 'num_items': 3, 'in_channels': {'text': 2}}
    with pytest.raises(ValueError, match=message):
        SMORE(**{**sizes, **kwargs})
