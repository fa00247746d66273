import copy
import inspect

import pytest
import torch
from torch import nn

from pyg_ckd.balance import AGM, CKD, OGMGE, UMT
from pyg_ckd.graph import RATED_BY, RATES, modalities
from pyg_ckd.nn import STAIR
from pyg_ckd.ranking import evaluate
from pyg_ckd.testing import (
    RecommenderSuite,
    assert_same_with_gradients,
    dense_adjacency,
    dense_item_graph,
    fake_graph,
    gradients,
    symmetric,
    train_steps,
)
from pyg_ckd.train import Recommendation, fit
from pyg_ckd.transforms import MissingModality
from pyg_ckd.views import distinct_views, full, only, view


class TestSTAIR(RecommenderSuite):
    model = STAIR

    def test_reset_parameters(self):
        """Tables are drawn anew, the whitening stays."""
        data = self.data()
        model = STAIR.from_data(data, dim=4)
        states = [copy.deepcopy(model.state_dict())]
        for _ in range(2):
            for parameter in model.parameters():
                nn.init.constant_(parameter, 7.0)
            model.reset_parameters()
            states.append(copy.deepcopy(model.state_dict()))
        parameters = dict(model.named_parameters())
        assert set(parameters) == {'user.weight', 'item.weight'}
        for name, value in states[0].items():
            same = [torch.equal(value, state[name]) for state in states[1:]]
            assert same == [name not in parameters] * 2, name
            if name in parameters:
                assert not torch.equal(states[1][name], states[2][name])
                assert states[2][name].abs().max() < 6


case = TestSTAIR()


def weights_of(model, dim=4):
    return [0.9 * (1 - (j / dim) ** model.gamma) for j in range(dim)]


def naive_neumann(matrix, x, beta, num_layers):
    """Add up powers of a dense matrix, dimension by dimension."""
    columns = []
    for j, b in enumerate(beta):
        total, power = 0, torch.eye(len(matrix))
        for layer in range(num_layers + 1):
            total = total + b**layer * power
            power = power @ matrix
        scale = (1 - b) / (1 - b ** (num_layers + 1))
        columns.append(scale * total @ x[:, j])
    return torch.stack(columns, dim=1)


def naive_graph(model, data, weights):
    return sum(
        w * dense_item_graph(data['item'][f'x_{m}'], 3, 'binary')
        for m, w in weights.items()
    )


def naive_start(model, data, weights):
    """Whiten by a decomposition, and average over the items of users."""
    item = torch.zeros(9, 4)
    for m, w in weights.items():
        x = data['item'][f'x_{m}']
        u, _, vh = torch.linalg.svd(x - x.mean(dim=0), full_matrices=False)
        sign = vh.gather(1, vh.abs().argmax(1, keepdim=True)).sign()
        item = item + w * (u * sign.t())[:, :4] * (9 / 4) ** 0.5
    items = [[] for _ in range(12)]
    for u, i in data[RATES].edge_index.t().tolist():
        items[u].append(item[i])
    user = [
        torch.stack(own).mean(dim=0) if own else torch.zeros(4) for own in items
    ]
    return torch.stack(user), item


def naive_forward(model, data, user, item):
    """Propagate over interactions what users and items have come to."""
    matrix = dense_adjacency(data[RATES].edge_index, 12, 9)
    x, beta = torch.cat([user, item]), weights_of(model)
    out = naive_neumann(symmetric(matrix), x, beta, model.num_layers)
    return out[:12], out[12:]


@pytest.mark.parametrize('gamma', [0.2, 1.0, 3.0])
@pytest.mark.parametrize('num_layers', [0, 1, 3])
def test_embeddings(num_layers, gamma):
    data = case.data()
    weights = {'image': 0.2, 'text': 0.8}
    model = case.make(
        data, num_layers=num_layers, gamma=gamma, modality_weight=weights
    )
    user, item = naive_start(model, data, weights)
    smoothed = naive_neumann(
        naive_graph(model, data, weights),
        model.item.weight,
        [1 - b for b in weights_of(model)],
        num_layers,
    )
    expected = naive_forward(
        model, data, user + model.user.weight, item + smoothed
    )
    torch.testing.assert_close(model(data), expected, rtol=1e-4, atol=1e-4)


def test_gradients_are_those_of_embeddings():
    """Offsets get the gradient of what they are smoothed to."""
    data = case.data()
    model = case.make(data, num_layers=2)
    weights = {'image': 0.5, 'text': 0.5}
    user, item = naive_start(model, data, weights)
    with torch.no_grad():
        smoothed = naive_neumann(
            naive_graph(model, data, weights),
            model.item.weight,
            [1 - b for b in weights_of(model)],
            2,
        )
    offset = model.item.weight - model.item.weight.detach()
    expected = naive_forward(
        model, data, user + model.user.weight, item + smoothed + offset
    )
    assert_same_with_gradients(model(data), expected, model)


@pytest.mark.parametrize('optimizer', [torch.optim.Adam, torch.optim.SGD])
def test_direction_of_the_optimizer_is_smoothed(optimizer):
    """Steps are those of the paper, which change embeddings themselves."""
    data = case.data()
    model = STAIR.from_data(data, dim=4)
    model.neighbors = case.few_neighbors()
    weights = {'image': 0.5, 'text': 0.5}
    graph = naive_graph(model, data, weights)
    beta = [1 - b for b in weights_of(model)]
    user, item = (
        nn.Parameter(start + table.weight.detach())
        for start, table in zip(
            naive_start(model, data, weights),
            (model.user, model.item),
            strict=True,
        )
    )
    with torch.no_grad():
        start = item - model.item.weight
        item.copy_(start + naive_neumann(graph, model.item.weight, beta, 3))
    target = torch.randn(12, 9)
    own = optimizer(model.parameters(), lr=0.02)
    other = optimizer([user, item], lr=0.02)
    for _ in range(5):
        for emb, step in (
            (model(data), own),
            (naive_forward(model, data, user, item), other),
        ):
            step.zero_grad()
            (emb[0] @ emb[1].t() - target).square().sum().backward()
            before = item.detach().clone()
            step.step()
        with torch.no_grad():  # what the optimizer added is smoothed:
            item.copy_(before + naive_neumann(graph, item - before, beta, 3))
        torch.testing.assert_close(
            model(data),
            naive_forward(model, data, user, item),
            rtol=1e-3,
            atol=1e-3,
        )
    assert (item - before).abs().max() > 0.01


def test_first_dimensions_learn_from_interactions_last_from_neighbours():
    model = STAIR(3, 2, {}, dim=64)
    beta = model._beta()
    torch.testing.assert_close(beta, torch.tensor(weights_of(model, 64)))
    assert beta[0] == pytest.approx(0.9)
    assert 0 < beta[-1] < 0.01
    assert beta.diff().max() < 0


def test_views_scale_the_weights_of_what_is_left():
    data = case.data(3)
    weights = {'image': 0.1, 'text': 0.6, 'audio': 0.3}
    model = case.make(data, modality_weight=weights)
    for keep in distinct_views(modalities(data)):
        total = sum(weights[m] for m in keep)
        part = case.make(
            data,
            use=sorted(keep),
            modality_weight={m: weights[m] / total for m in sorted(keep)},
        )
        for name in ('user', 'item'):
            table, source = getattr(part, name), getattr(model, name)
            table.load_state_dict(source.state_dict())
        torch.testing.assert_close(view(model, data, keep), part(data))


@pytest.mark.parametrize('use', [[], None])
def test_without_modalities(use):
    """What is left is a graph filter of tables, not smoothed at all."""
    data = case.data()
    model = case.make(data, use=use)
    expected = naive_forward(model, data, model.user.weight, model.item.weight)
    result = view(model, data, frozenset())
    assert_same_with_gradients(result, expected, model)


def test_going_on():
    """What a model and Adam save is all there is."""
    data = case.data()
    target = torch.randn(12, 9)

    def steps(model, optimizer):
        for _ in range(3):
            user, item = model(data)
            optimizer.zero_grad()
            (user @ item.t() - target).square().sum().backward()
            optimizer.step()

    first, second = STAIR.from_data(data), STAIR(12, 9, {'image': 5, 'text': 5})
    adam, other = (
        torch.optim.Adam(m.parameters(), lr=0.1) for m in (first, second)
    )
    first.neighbors = second.neighbors = case.few_neighbors()
    steps(first, adam)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    other.load_state_dict(copy.deepcopy(adam.state_dict()))
    before = first(data)
    steps(first, adam)
    steps(second, other)
    torch.testing.assert_close(first(data), second(data), rtol=0, atol=0)
    assert not torch.allclose(first(data)[1], before[1], atol=0.01)


def test_start():
    """Before training, embeddings are propagated features."""
    data = case.data()
    model = STAIR.from_data(data, dim=4)
    model.neighbors = case.few_neighbors()
    start = naive_start(model, data, {'image': 0.5, 'text': 0.5})
    torch.testing.assert_close(
        model(data),
        naive_forward(model, data, *start),
        rtol=1e-3,
        atol=1e-3,
    )
    for table in (model.user.weight, model.item.weight):
        assert 0 < table.abs().max() < 1e-3


def test_made_from_sizes_alone():
    data = case.data()
    model = STAIR(12, 9, {'image': 5, 'text': 5}, dim=4)
    model.neighbors = case.few_neighbors()
    assert model(data)[1].abs().max() < 1e-3
    model.whiten(data)
    other = STAIR.from_data(data, dim=4)
    other.load_state_dict(model.state_dict())
    other.neighbors = model.neighbors
    torch.testing.assert_close(model(data), other(data), rtol=0, atol=0)
    assert model(data)[1].abs().max() > 0.1


def test_whitening_is_that_of_the_data_it_was_made_from():
    """Other features are mapped as those of training were."""
    data = case.data()
    model = case.make(data)
    other = copy.copy(data)
    x = 2 * data['item'].x_text
    other['item'].x_text = x  # the graph stays
    change = model(other)[1] - model(data)[1]
    text, image = (
        model.whitening[m](data['item'][f'x_{m}']) for m in ('text', 'image')
    )
    assert not torch.allclose(text, image, atol=0.1)
    more = model.whitening['text'](x) - text
    users, items = naive_start(model, data, {})
    for u, i in data[RATES].edge_index.t().tolist():
        count = (data[RATES].edge_index[0] == u).sum()
        users[u] += 0.5 * more[i] / count
    expected = naive_forward(model, data, users, items + 0.5 * more)[1]
    torch.testing.assert_close(change, expected, rtol=1e-3, atol=1e-3)


def test_items_that_lack_a_modality():
    """They start at zero, and do not take part in the whitening."""
    data = fake_graph(lonely=True)
    data = MissingModality('text', 0.4)(data)
    has = data['item'].has_text
    data = case.with_graphs(data)
    model = case.make(data)
    x = data['item'].x_text[has]
    whitened = model.whitening['text'](x)
    torch.testing.assert_close(
        whitened.mean(dim=0), torch.zeros(4), rtol=0, atol=1e-4
    )
    start = model._start(data, model._graphs(data))
    image = model.whitening['image'](data['item'].x_image)
    torch.testing.assert_close(start[~has], 0.5 * image[~has])
    torch.testing.assert_close(start[has], 0.5 * (image[has] + whitened))
    # Whatever stands in the rows of those that lack it:
    data['item'].x_text = torch.where(has.unsqueeze(1), data['item'].x_text, 9)
    torch.testing.assert_close(
        case.make(data)._start(data, model._graphs(data)), start
    )


def test_constant_features_and_few_of_them():
    data = fake_graph(lonely=True)
    data['item'].x_text = torch.full((9, 3), 0.1)
    data['item'].x_image = data['item'].x_image[:, :2]
    data = case.with_graphs(data)
    model = case.make(data)
    start = model._start(data, model._graphs(data))
    assert start[:, 2:].eq(0).all()
    assert start[:, :2].ne(0).all()
    for emb in model(data):
        assert emb.isfinite().all()
    train_steps(model, data, full(modalities(data)))
    assert all(p.isfinite().all() for p in model.parameters())


def test_features_that_are_no_numbers():
    data = case.data()
    data['item'].x_text = torch.full((9, 5), torch.nan)
    with pytest.raises(ValueError, match='x_text'):
        STAIR.from_data(data, dim=4)


def test_interactions_that_occur_several_times():
    """A user's mean counts each as often as it is there."""
    data = case.data()
    edge_index = data[RATES].edge_index
    data[RATES].edge_index = torch.cat([edge_index, edge_index[:, :5]], dim=1)
    data[RATED_BY].edge_index = data[RATES].edge_index.flip(0)
    data = STAIR.adjacency(data)
    model = case.make(data, num_layers=0)
    user, _ = naive_start(model, data, {'image': 0.5, 'text': 0.5})
    torch.testing.assert_close(
        model(data)[0], user + model.user.weight, rtol=1e-4, atol=1e-4
    )


def test_training():
    data = fake_graph(num_users=150, num_items=60, num_interactions=12)
    data = STAIR.pre_transform(data)
    model = STAIR.from_data(data, dim=16)
    before = evaluate(model, data)['ndcg@20']
    train_steps(model, data, full(modalities(data)), num_epochs=100, lr=0.02)
    assert evaluate(model, data)['ndcg@20'] > before + 0.05


def test_a_view_trains_without_the_others():
    """Neither starts nor updates of one modality depend on another."""
    data = case.data()
    other = copy.copy(data)
    other['item'].x_image = data['item'].x_image.roll(1, dims=0)
    other = case.with_graphs(other)
    embeddings = []
    for graph in (data, other):
        torch.manual_seed(0)
        model = STAIR.from_data(graph, dim=4)
        model.neighbors = case.few_neighbors()
        train_steps(model, graph, only('text'), num_epochs=3, lr=0.1)
        embeddings.append(view(model, graph, only('text')))
    torch.testing.assert_close(*embeddings)


@pytest.mark.parametrize('balance', [AGM(), OGMGE()])
def test_no_parameters_of_a_modality(balance):
    data = case.data()
    with pytest.raises(ValueError, match=r"STAIR has none of 'image'"):
        Recommendation(case.make(data), data, balance=balance)


@pytest.mark.filterwarnings('ignore:Epoch', 'ignore:.*LeafSpec')
@pytest.mark.parametrize('balance', [CKD(), UMT()])
def test_teachers(balance):
    """They are copies that have the whitening, each trained in one view."""
    data = case.data()
    model = case.make(data)
    task = fit(
        Recommendation(model, data, balance=balance),
        max_epochs=2,
        progress=False,
    )
    assert len(task.history) > 0
    for keep, teacher in task.balance.teachers.items():
        assert keep in (only('image'), only('text'))
        assert teacher.user.isfinite().all()


def test_parameters_and_repr():
    model = STAIR(10, 8, {'image': 5, 'text': 7}, dim=4)
    assert sum(p.numel() for p in model.parameters()) == 4 * (10 + 8)
    assert all(p.requires_grad for p in model.parameters())
    assert sum(b.numel() for b in model.buffers()) == 4 * (5 + 1) + 4 * (7 + 1)
    assert repr(model) == (
        "STAIR(10, 8, {'image': 5, 'text': 7}, dim=4, num_layers=3, "
        "gamma=0.2, modality_weight={'image': 0.5, 'text': 0.5})"
    )
    assert inspect.signature(STAIR).parameters['dim'].default == 64


def test_nothing_reaches_what_is_fixed():
    data = case.data()
    model = case.make(data)
    loss = sum(emb.square().sum() for emb in model(data))
    assert set(gradients(loss, model)) == {'user.weight', 'item.weight'}
    assert all(not buffer.requires_grad for buffer in model.buffers())


@pytest.mark.parametrize(
    'modality_weight',
    [
        {},
        {'image': 1.0},
        {'image': 0.1, 'text': 0.8, 'audio': 0.1},
        {'image': 0.0, 'text': 1.0},
        {'image': -0.1, 'text': 1.1},
    ],
)
def test_modality_weight_error(modality_weight):
    with pytest.raises(
        ValueError,
        match=r"'modality_weight'.*\['image', 'text'\] in 'STAIR'",
    ):
        STAIR(4, 3, {'image': 2, 'text': 2}, modality_weight=modality_weight)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(gamma=0.0), r"'gamma'.*'STAIR' \(got 0\.0\)"),
        (dict(gamma=-1.0), r"'gamma'.*'STAIR' \(got -1\.0\)"),
        (dict(num_layers=-1), r"'num_layers'.*'STAIR' \(got -1\)"),
    ],
)
def test_argument_errors(kwargs, message):
    with pytest.raises(ValueError, match=message):
        STAIR(3, 2, {'text': 4}, **kwargs)
