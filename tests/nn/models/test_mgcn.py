import pytest
import torch

from pyg_ckd.graph import RATES, modalities
from pyg_ckd.nn import MGCN
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
from pyg_ckd.views import distinct_views, full, only, view


class TestMGCN(RecommenderSuite):
    model = MGCN


case = TestMGCN()


def linear(layer, x):
    return x @ layer.weight.t() + layer.bias


def naive(model, data, keep):
    """Recompute sides and content by the formulas, node by node."""
    num_users, num_items = model.num_users, model.num_items
    a = symmetric(dense_adjacency(data[RATES].edge_index, 12, 9))
    content = dense_light_gcn(
        data, model.user.weight, model.item.weight, model.num_layers
    )

    nodes = {}
    for m in model.in_channels:
        x, s = (
            data['item'][f'x_{m}'],
            dense_item_graph(data['item'][f'x_{m}'], 3),
        )
        if m in model.offset:
            x = x + model.offset[m]
        if m not in keep:
            x = x.mean(dim=0).repeat(num_items, 1)
            s = torch.full_like(s, 1 / num_items)
        h = linear(model.projection[m], x)
        gate = linear(model.purifier[m][0], h).sigmoid()
        item = s @ (model.item.weight * gate)
        nodes[m] = torch.cat([a[:num_users, num_users:] @ item, item])

    sides = []
    for v in range(num_users + num_items):
        hidden, _, last = model.query
        score = torch.stack(
            [
                linear(hidden, x[v]).tanh() @ last.weight[0]
                for x in nodes.values()
            ]
        )
        alpha = score.exp() / score.exp().sum()
        common = sum(
            w * x[v] for w, x in zip(alpha, nodes.values(), strict=True)
        )
        side = common
        for m, x in nodes.items():
            gate = linear(model.gate[m][0], content[v]).sigmoid()
            side = side + gate * (x[v] - common)
        sides.append(side / (len(nodes) + 1))
    return torch.stack(sides), content


@pytest.mark.parametrize(
    ('num_layers', 'train_features'), [(0, False), (2, True)]
)
@pytest.mark.parametrize('num_modalities', [1, 2, 3])
def test_by_formula(num_modalities, num_layers, train_features):
    data = case.data(num_modalities)
    model = case.make(
        data, num_layers=num_layers, train_features=train_features
    )
    names = modalities(data)
    assert len(model.offset) == train_features * num_modalities
    for keep in {full(names), *distinct_views(names), frozenset()}:
        side, content = naive(model, data, keep)
        expected = (content + side).split([12, 9])
        assert_same_with_gradients(view(model, data, keep), expected, model)


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
                        side[b]
                        @ content[k]
                        / side[b].norm()
                        / content[k].norm()
                        for k in index
                    ]
                )
                same = side[b] @ content[b] / side[b].norm() / content[b].norm()
                share = (same / 0.5).exp() / (cosine / 0.5).exp().sum()
                expected = expected - 0.3 * share.log() / 7
        assert_same_with_gradients([result], [expected], model)


def test_ablated_modality_is_the_same_for_all_items():
    """What is left of it tells two items apart by their IDs alone."""
    data = case.data(2)
    model = case.make(data)
    nodes = model._branches(data, [only('image')])['text', False]
    torch.testing.assert_close(nodes[12:], nodes[12].expand(9, -1))
    assert not torch.allclose(nodes[0], nodes[1])  # by degrees
    torch.testing.assert_close(
        nodes[0] / nodes[0].norm(), nodes[12] / nodes[12].norm()
    )


def test_initialization():
    model = MGCN(500, 300, {'text': 100}, dim=20)
    for table in (model.user.weight, model.item.weight):
        bound = (6 / sum(table.shape)) ** 0.5
        assert 0.95 * bound < table.abs().max() <= bound


def test_pre_transform():
    data = fake_graph(num_items=30, num_interactions=12)
    data = MGCN.pre_transform(data)
    expected = ItemKNN(k=10, weight='cosine')(data)
    for m in modalities(data):
        graph = MGCN.neighbors.of(data, m)
        assert torch.equal(
            graph.adj_t.to_dense(),
            ItemKNN(10, 'cosine').of(expected, m).adj_t.to_dense(),
        )
        torch.testing.assert_close(
            graph.adj_t.to_dense(), dense_item_graph(data['item'][f'x_{m}'], 10)
        )
    a = dense_adjacency(data[RATES].edge_index, 12, 30)
    graph = MGCN.adjacency.of(data)
    torch.testing.assert_close(graph.adj_t.to_dense(), symmetric(a))


def test_item_graph_that_is_not_needed():
    data = case.data()
    data.graphs = {k: g for k, g in data.graphs.items() if k[1] != 'text'}
    model = case.make(data)
    with pytest.raises(ValueError, match=r"'MGCN' .* of 'text' is not"):
        model(data)
    model.views(data, [only('image')])


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'num_layers': -1}, r"'num_layers'.*'MGCN' \(got -1\)"),
        ({'in_channels': {}}, r"'len\(in_channels\)'.*'MGCN' \(got 0\)"),
    ],
)
def test_errors(kwargs, message):
    with pytest.raises(ValueError, match=message):
        MGCN(
            **{
                'num_users': 4,
                'num_items': 3,
                'in_channels': {'a': 2},
                **kwargs,
            }
        )
