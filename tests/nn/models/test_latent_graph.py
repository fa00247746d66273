"""LATTICE and MICRO, on their own and in what they share."""

import copy

import pytest
import torch
from torch import nn

from pyg_ckd.graph import RATES, modalities
from pyg_ckd.nn import LATTICE, MICRO
from pyg_ckd.nn.conv import latent_structure
from pyg_ckd.testing import (
    RecommenderSuite,
    assert_same_with_gradients,
    dense_adjacency,
    dense_item_graph,
    fake_graph,
    symmetric,
)
from pyg_ckd.transforms import AblateModality, ItemKNN
from pyg_ckd.views import Views, distinct_views, full, only, view, without


class TestLATTICE(RecommenderSuite):
    model = LATTICE


class TestMICRO(RecommenderSuite):
    model = MICRO


micro = TestMICRO()
BOTH = pytest.mark.parametrize(
    'case', [TestLATTICE(), micro], ids=['LATTICE', 'MICRO']
)


@pytest.fixture
def searches(monkeypatch):
    """The features of each search for nearest neighbours."""
    original = latent_structure.nearest_neighbors
    seen = []

    def nearest_neighbors(x, k):
        seen.append(x)
        return original(x, k)

    monkeypatch.setattr(
        latent_structure, 'nearest_neighbors', nearest_neighbors
    )
    return seen


# The equations, on dense matrices ############################################


def knn(x, k, found=None):
    """The cosines of nearest neighbours, which may come from other rows."""
    x, found = (
        y / y.norm(dim=1, keepdim=True)
        for y in (x, x if found is None else found)
    )
    similarity = found @ found.t()
    out = torch.zeros(len(x), len(x))
    for i in range(len(x)):
        for j in similarity[i].argsort(descending=True)[:k].tolist():
            out[i, j] = (x[i] @ x[j]).clamp(min=0)
    return out


def interactions(data):
    a = dense_adjacency(data[RATES].edge_index, 12, 9) + torch.eye(12 + 9)
    return a / a.sum(dim=1, keepdim=True)


def naive_fusion(model, data, keep, found):
    """What the item graphs make of the items, one part a modality, and all."""
    lam, k, num_items = model.original_weight, min(model.k, 9), 9
    original, learned = {}, {}
    for m in model.in_channels:
        raw = data['item'][f'x_{m}']
        x = raw + model.offset[m] if m in model.offset else raw
        z = model.structure[m].lin(x)
        if m in keep:
            original[m] = dense_item_graph(raw, 3)
            learned[m] = knn(z, k, found.get(m))
        else:
            original[m] = torch.full((num_items, num_items), 1 / num_items)
            learned[m] = torch.full((num_items, num_items), k / num_items)

    def power(a):
        h = model.item.weight
        for _ in range(model.num_item_layers):
            h = a @ h
        return h

    if isinstance(model, LATTICE):
        w = dict(zip(model.in_channels, model.weight.softmax(0), strict=True))
        mixed = symmetric(sum(w[m] * learned[m] for m in w))
        mixed = (1 - lam) * mixed + lam * sum(w[m] * original[m] for m in w)
        return {}, power(mixed)

    parts = {
        m: power((1 - lam) * symmetric(learned[m]) + lam * original[m])
        for m in model.in_channels
    }
    first, _, second = model.query
    rows = []
    for i in range(num_items):
        score = torch.cat(
            [second.weight @ first(h[i]).tanh() for h in parts.values()]
        )
        alpha = score.exp() / score.exp().sum()
        rows.append(
            sum(a * h[i] for a, h in zip(alpha, parts.values(), strict=True))
        )
    return parts, torch.stack(rows)


def naive(model, data, keep, found=None):
    """Recompute a view by the formulas.

    Neighbours are those in the features ``found``, or in the current ones.
    """
    a = interactions(data)
    x = total = torch.cat([model.user.weight, model.item.weight])
    for _ in range(model.num_layers):
        x = a @ x
        total = total + x
    out = total / (model.num_layers + 1)
    _, h = naive_fusion(model, data, keep, found or {})
    return out[:12], out[12:] + h / h.norm(dim=1, keepdim=True)


@BOTH
@pytest.mark.parametrize('num_modalities', [1, 2, 3])
@pytest.mark.parametrize(
    'arguments',
    [
        {'k': 3},
        {'k': 20, 'num_layers': 3, 'original_weight': 0.2},
        {'k': 3, 'num_item_layers': 2, 'original_weight': 0.5},
        {'k': 4, 'num_layers': 0, 'train_features': True},
    ],
)
def test_formula(case, num_modalities, arguments):
    data = case.data(num_modalities)
    model = case.make(data, **arguments)
    names = modalities(data)
    for keep in {full(names), only(names[-1]), without(names, names[-1])}:
        assert_same_with_gradients(
            view(model, data, keep), naive(model, data, keep), model, atol=1e-5
        )


# The structure of an epoch ###################################################


@BOTH
def test_neighbors_of_an_epoch(case, searches):
    """Training keeps the neighbours, not the weights; evaluation neither."""
    data = case.data(2)
    model = case.make(data, k=2).train()
    keep = full(modalities(data))

    def projected():
        return {
            m: model.structure[m].lin(data['item'][f'x_{m}']).detach()
            for m in modalities(data)
        }

    model.start_epoch(data, keep)
    assert len(searches) == 2
    before = projected()
    for structure in model.structure.values():
        nn.init.normal_(structure.lin.weight)
    stale = naive(model, data, keep, before)
    fresh = naive(model, data, keep)
    assert not torch.allclose(stale[1], fresh[1])

    assert_same_with_gradients(model(data), stale, model)
    assert len(searches) == 2  # none in a step
    model.eval()
    assert_same_with_gradients(model(data), fresh, model)
    assert len(searches) == 4
    # The views share what they look up:
    model.views(data, distinct_views(modalities(data)))
    assert len(searches) == 6
    # Evaluation does not disturb the epoch:
    model.train()
    assert torch.equal(model(data)[1], model(data)[1])
    torch.testing.assert_close(model(data), stale)

    model.start_epoch(data, keep)
    assert len(searches) == 8
    torch.testing.assert_close(model(data), fresh)
    assert len(searches) == 8


@BOTH
def test_epoch_of_a_teacher(case, searches):
    """What a view does not see is not looked up."""
    data = case.data(3)
    model = case.make(data, k=3).train()
    model.start_epoch(data, only('text'))
    assert len(searches) == 1
    model.views(data, [only('text')])
    assert len(searches) == 1
    # What is missing is looked up when it is needed:
    keep = without(modalities(data), 'image')
    user, item = model.views(data, [keep]).embedding()
    assert len(searches) == 2
    torch.testing.assert_close((user, item), naive(model, data, keep))


@BOTH
def test_reset_forgets_the_epoch(case):
    data = case.data()
    model = case.make(data, training=True, k=2)
    model.reset_parameters()
    keep = full(modalities(data))
    torch.testing.assert_close(model(data), naive(model, data, keep))


@BOTH
def test_evaluation_depends_on_parameters_alone(case):
    data = case.data()
    model = case.make(data, training=True, k=2)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    other = case.make(data, k=2)
    other.load_state_dict(model.state_dict())
    assert torch.equal(model.eval()(data)[1], other.eval()(data)[1])


# Ablation ####################################################################


@BOTH
@pytest.mark.parametrize('num_item_layers', [1, 2])
def test_ablation_is_a_limit(case, num_item_layers):
    """Of items that all look alike, when all are neighbours."""
    data = case.data(3)
    model = case.make(data, k=9, num_item_layers=num_item_layers)
    model.neighbors = ItemKNN(9, weight='cosine')
    data = model.neighbors(data)
    alike = copy.copy(data)
    x = data['item'].x_text
    alike['item'].x_text = x.mean(dim=0).expand_as(x)
    alike = model.neighbors(alike)
    keep = without(modalities(data), 'text')
    torch.testing.assert_close(view(model, data, keep), model(alike))


@BOTH
def test_nothing_left(case):
    """Without any modality all items get the same from the item graph."""
    data = case.data(2)
    model = case.make(data, k=3)
    names = modalities(data)
    _, item = model(AblateModality(*names)(data))
    out = interactions(data)
    x = torch.cat([model.user.weight, model.item.weight])
    content = (x + out @ x + out @ out @ x)[12:] / 3
    added = item - content
    torch.testing.assert_close(added, added[:1].expand(9, 4))
    torch.testing.assert_close(
        model.views(data, [frozenset()]).embedding()[1], item
    )


# MICRO's contrast ############################################################


def naive_contrast(model, data, keep, item):
    parts, h = naive_fusion(model, data, keep, {})

    def similarity(x, y):
        return (x @ y / x.norm() / y.norm() / model.tau).exp()

    loss = 0
    for m in keep:
        x = parts[m]
        for i in item:
            negatives = sum(similarity(x[i], h[j]) for j in item)
            negatives += sum(similarity(x[i], x[j]) for j in item if j != i)
            ratio = similarity(x[i], h[i]) / negatives
            loss = loss - ratio.log() / len(item)
    return model.contrastive_weight * loss


@pytest.mark.parametrize('num_modalities', [1, 2, 3])
@pytest.mark.parametrize(
    'arguments', [{}, {'tau': 0.2, 'contrastive_weight': 0.3}]
)
def test_contrast(num_modalities, arguments):
    data = micro.data(num_modalities)
    model = micro.make(data, k=3, **arguments)
    names = modalities(data)
    user, neg = torch.randint(9, (2, 7))
    pos = torch.tensor([3, 1, 3, 8, 0, 1, 5])
    for keep in {full(names), only(names[-1]), without(names, names[-1])}:
        if not keep:
            continue
        # The first view counts, whatever the others are:
        several = model.views(data, [keep, *distinct_views(names)])
        loss = model.regularization(data, keep, several, user, pos, neg)
        expected = naive_contrast(model, data, keep, [0, 1, 3, 5, 8])
        assert_same_with_gradients([loss], [expected], model)

        dropped = AblateModality(*(m for m in names if m not in keep))(data)
        several = model.views(dropped, [full(names)])
        torch.testing.assert_close(
            model.regularization(dropped, full(names), several, user, pos, neg),
            expected,
        )


def test_no_contrast_without_modalities():
    data = micro.data()
    model = micro.make(data)
    keep = frozenset()
    several = model.views(data, [keep])
    item = torch.tensor([1, 2])
    assert model.regularization(data, keep, several, item, item, item) == 0


def test_lattice_has_no_regularization():
    data = micro.data()
    model = TestLATTICE().make(data)
    keep = full(modalities(data))
    several = Views([torch.randn(12, 4)], [], torch.ones(1, 1))
    item = torch.tensor([1, 2])
    assert model.regularization(data, keep, several, item, item, item) == 0


@pytest.mark.parametrize('tau', [0.02, 0.05, 100.0])
def test_contrast_is_finite(tau):
    data = micro.data()
    model = micro.make(data, tau=tau)
    keep = full(modalities(data))
    several = model.views(data, [keep])
    item = torch.arange(9)
    loss = model.regularization(data, keep, several, item, item, item)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(model.item.weight.grad).all()


# Construction ################################################################


@BOTH
def test_initialization(case):
    model = case.model(500, 300, {'text': 100, 'image': 30}, dim=20)
    for table in (model.user.weight, model.item.weight):
        bound = (6 / sum(table.shape)) ** 0.5
        assert 0.95 * bound < table.abs().max() <= bound
    for m, size in (('text', 100), ('image', 30)):
        lin = model.structure[m].lin
        assert 0.9 * size**-0.5 < lin.weight.abs().max() <= size**-0.5
    if case.model is LATTICE:
        assert model.weight.tolist() == [0, 0]


@BOTH
def test_train_features(case):
    sizes = {'text': 5, 'image': 3}
    model = case.model(4, 6, sizes, train_features=True)
    for m, size in sizes.items():
        assert torch.equal(model.offset[m], torch.zeros(6, size))
        nn.init.ones_(model.offset[m])
    model.reset_parameters()
    assert all(not offset.any() for offset in model.offset.values())
    assert len(case.model(4, 6, sizes).offset) == 0


@BOTH
def test_pre_transform(case):
    data = case.model.pre_transform(fake_graph())
    graph = case.model.adjacency.of(data)
    torch.testing.assert_close(graph.adj_t.to_dense(), interactions(data))
    torch.testing.assert_close(graph.adj.to_dense(), interactions(data).t())
    graph = case.model.neighbors.of(data, 'text')
    expected = dense_item_graph(data['item'].x_text, 9)
    torch.testing.assert_close(graph.adj_t.to_dense(), expected)
    large = fake_graph(num_items=30, num_interactions=12)
    large = case.model.pre_transform(large)
    graph = case.model.neighbors.of(large, 'text')
    assert graph.edge_index.size(1) == 300
    expected = dense_item_graph(large['item'].x_text, 10)
    torch.testing.assert_close(graph.adj_t.to_dense(), expected)


@BOTH
@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('num_layers', -1),
        ('num_item_layers', 0),
        ('k', 0),
        ('original_weight', -0.1),
        ('original_weight', 1.1),
    ],
)
def test_argument_error(case, name, value):
    with pytest.raises(
        ValueError, match=rf"'{name}'.*'{case.model.__name__}' \(got {value}\)"
    ):
        case.model(4, 3, {'text': 2}, **{name: value})


@pytest.mark.parametrize('tau', [0.0, -1.0, 0.01])
def test_tau_error(tau):
    with pytest.raises(ValueError, match=rf"'tau'.*'MICRO' \(got {tau}\)"):
        MICRO(4, 3, {'text': 2}, tau=tau)


@BOTH
def test_no_modality(case):
    with pytest.raises(
        ValueError, match=rf"'len\(in_channels\)'.*'{case.model.__name__}'"
    ):
        case.model(4, 3, {})


@BOTH
def test_item_graph_that_is_not_needed(case):
    data = case.data()
    data.graphs = {k: g for k, g in data.graphs.items() if k[1] != 'text'}
    model, name = case.make(data), case.model.__name__
    for call in (
        lambda: model(data),
        lambda: model.views(data, [only('text')]),
    ):
        with pytest.raises(ValueError, match=rf"'{name}' .* of 'text' is not"):
            call()
    model.views(data, [only('image')])
