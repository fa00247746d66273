import copy
import json
import math
from dataclasses import FrozenInstanceError

import pytest
import torch
from torch import nn

import pyg_ckd
from pyg_ckd.graph import RATES, modalities
from pyg_ckd.inspect import KnockOut, knock_out
from pyg_ckd.kernels.sparse import Graph, Uniform
from pyg_ckd.nn import (
    BPRMF,
    FREEDOM,
    LATTICE,
    MGCN,
    SMORE,
    STAIR,
    VBPR,
    Cosine,
    FeatureKNN,
    GraphFilter,
    Recommender,
)
from pyg_ckd.ranking import evaluate
from pyg_ckd.testing import PlainRecommender, fake_graph
from pyg_ckd.train import Recommendation
from pyg_ckd.transforms import ItemKNN, MissingModality, NormalizedAdjacency
from pyg_ckd.views import only, without

KINDS = ['noise', 'mean', 'shuffled']
METRICS = ('recall', 'ndcg')


class Spy(nn.Module):
    """A foreign module that keeps what it is shown."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.seen = []

    def forward(self, data):
        assert not self.model.training and not torch.is_grad_enabled()
        self.seen.append(data)
        return self.model(data)


def spied(model, data, **kwargs):
    """The result, and the graph that each row was computed from."""
    spy = Spy(model)
    found = knock_out(spy, data, **kwargs)
    seen, rows = iter(spy.seen), [*modalities(data), 'all']
    table = {'base': next(seen)}
    table |= {(row, kind): next(seen) for kind in KINDS for row in rows}
    assert next(seen, None) is None
    return found, table


def random(model):
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model


def shop(num_modalities=2, **kwargs):
    return fake_graph(num_modalities, 40, 30, **kwargs)


@pytest.fixture
def data():
    return shop()


def naive(user_emb, item_emb, data, split, k):
    """Recall and NDCG by loops."""
    train = data[RATES].edge_index.t().tolist()
    held_out = data[RATES][f'{split}_edge_label_index'].t().tolist()
    score = (user_emb.double() @ item_emb.double().t()).tolist()
    recalls, ndcgs = [], []
    for user in sorted({u for u, _ in held_out}):
        known = {i for u, i in train if u == user}
        wanted = {i for u, i in held_out if u == user}
        items = [i for i in range(len(item_emb)) if i not in known]
        items.sort(key=lambda i, s=score[user]: (-s[i], i))
        gain = [1 / math.log2(place + 2) for place in range(k)]
        hits = [float(i in wanted) for i in items[:k]]
        ideal = sum(gain[: len(wanted)])
        recalls.append(sum(hits) / len(wanted))
        ndcgs.append(
            sum(g * h for g, h in zip(gain, hits, strict=False)) / ideal
        )
    num = len(recalls)
    return {f'recall@{k}': sum(recalls) / num, f'ndcg@{k}': sum(ndcgs) / num}


# What is replaced ############################################################


@pytest.mark.parametrize(('split', 'k'), [('val', 20), ('test', 5)])
@pytest.mark.parametrize('num_modalities', [1, 2, 3])
def test_by_brute_force(split, k, num_modalities):
    data = shop(num_modalities)
    model = random(VBPR.from_data(data, dim=4))
    found, seen = spied(model, data, split=split, k=k)
    names = modalities(data)
    assert (found.split, found.k, found.seed) == (split, k, 0)
    assert list(found.rows) == list(found.depends) == [*names, 'all']
    assert all(list(row) == KINDS for row in found.rows.values())
    assert all(found.depends.values())

    def values(x):
        user, item = [model.user.weight], [model.item.weight]
        for m in names:
            user.append(model.preference[m])
            item.append(model.projection[m](x[f'x_{m}']))
        pair = torch.cat(user, dim=1), torch.cat(item, dim=1)
        return naive(*pair, data, split, k)

    assert found.base == pytest.approx(values(data['item']))
    for (row, kind), shown in list(seen.items())[1:]:
        expected = values(shown['item'])
        assert found.rows[row][kind] == pytest.approx(expected)
        change = expected[f'ndcg@{k}'] / found.base[f'ndcg@{k}'] - 1
        shown = found.change(row, kind, f'ndcg@{k}')
        assert shown == pytest.approx(change, abs=1e-6)
    # A model of ours has views of its own:
    own = knock_out(model, data, split, k=k)
    for row, kinds in found.rows.items():
        for kind, metrics in kinds.items():
            assert own.rows[row][kind] == pytest.approx(metrics)


def test_what_features_become():
    data = fake_graph(3, num_items=800, num_channels=4)
    data['item'].x_text[:, 2] = 7.0
    _, seen = spied(VBPR.from_data(data, dim=4), data)
    names = modalities(data)
    for m in names:
        x = data['item'][f'x_{m}']
        mean, std = x.mean(dim=0), x.std(dim=0, correction=0)
        noise = seen[m, 'noise']['item'][f'x_{m}']
        torch.testing.assert_close(noise.mean(dim=0), mean, rtol=0, atol=0.2)
        torch.testing.assert_close(noise.std(dim=0), std, rtol=0.1, atol=1e-5)
        same = seen[m, 'mean']['item'][f'x_{m}']
        torch.testing.assert_close(same, mean.expand(800, 4))
        for kind in KINDS:
            alone, all_at_once = seen[m, kind]['item'], seen['all', kind]
            for other in names:
                true = torch.equal(
                    alone[f'x_{other}'], data['item'][f'x_{other}']
                )
                assert true == (other != m)
            assert torch.equal(alone[f'x_{m}'], all_at_once['item'][f'x_{m}'])
    noises = [seen['all', 'noise']['item'][f'x_{m}'] for m in names]
    z = [(x - x.mean(dim=0)) / x.std(dim=0) for x in noises]
    assert (z[0] * z[1])[:, :2].mean(dim=0).abs().max() < 0.2

    def joint(x):
        return torch.cat([x[f'x_{m}'] for m in names], dim=1)

    # All features of an item come from one other item:
    shuffled = joint(seen['all', 'shuffled']['item']).tolist()
    true = joint(data['item']).tolist()
    assert shuffled != true
    assert sorted(shuffled) == sorted(true)


def test_missing_stay_missing(data):
    data = MissingModality('text', 0.4)(data)
    has = data['item'].has_text
    x = data['item'].x_text
    x[~has] = 1e3  # would spoil means
    model = random(VBPR.from_data(data, dim=4))
    found, seen = spied(model, data)
    assert found.depends['text']
    for row in ('text', 'all'):
        for kind in KINDS:
            other = seen[row, kind]['item'].x_text
            assert torch.equal(other[~has], x[~has])
            assert not torch.equal(other[has], x[has])
            assert other[has].abs().max() < 100
        other = seen[row, 'mean']['item'].x_text[has]
        torch.testing.assert_close(other, x[has].mean(0).expand_as(other))
        other = seen[row, 'shuffled']['item'].x_text[has]
        assert sorted(other.tolist()) == sorted(x[has].tolist())
        assert seen[row, 'noise']['item'].has_text is has


def test_seed(data):
    model = random(VBPR.from_data(data, dim=4))
    assert knock_out(model, data, k=3) == knock_out(model, data, k=3)
    other = knock_out(model, data, k=3, seed=1)
    assert other.base == knock_out(model, data, k=3).base
    assert other.rows['all'] != knock_out(model, data, k=3).rows['all']


@pytest.mark.parametrize(
    'kind', [VBPR, FeatureKNN, GraphFilter, FREEDOM, MGCN, SMORE, STAIR]
)
def test_mean_is_ablation(kind):
    data = shop(3, pre_transform=kind.pre_transform)
    model = random(kind.from_data(data))
    found = knock_out(model, data, 'test', k=5)
    for m in modalities(data):
        keep = without(modalities(data), m)
        expected = evaluate(model, data, 'test', (5,), view=keep)
        for metric, value in found.rows[m]['mean'].items():
            assert value == pytest.approx(expected[metric])


# Graphs ######################################################################


def knn(x, k):
    """The neighbours of each item by loops, itself included."""
    x = x / x.norm(dim=1, keepdim=True)
    return {(i, j) for i, row in enumerate(x @ x.t()) for j in row.topk(k)[1]}


def check_graphs(seen, data, neighbors):
    """Each graph is made of the features that are shown beside it."""
    for key, shown in list(seen.items())[1:]:
        row, kind = key
        assert shown.graphs.keys() >= data.graphs.keys()
        for m in modalities(data):
            graph = neighbors.of(shown, m)
            if row not in (m, 'all'):
                assert graph is neighbors.of(data, m)
            elif kind == 'mean':
                assert graph == Uniform(30)
            else:
                edges = set(map(tuple, graph.edge_index.flip(0).t().tolist()))
                x = shown['item'][f'x_{m}']
                assert edges == {(i, int(j)) for i, j in knn(x, neighbors.k)}
                true = neighbors.of(data, m)
                assert not graph.edge_index.equal(true.edge_index)
        of_users = (repr(NormalizedAdjacency()), None)
        if of_users in data.graphs:
            assert shown.graphs[of_users] is data.graphs[of_users]


@pytest.mark.parametrize('num_modalities', [2, 3])
def test_graphs_are_made_again(num_modalities):
    data = shop(num_modalities, pre_transform=FREEDOM.pre_transform)
    model = random(FREEDOM.from_data(data, dim=4))
    found, seen = spied(model, data, split='test', k=3)
    check_graphs(seen, data, FREEDOM.neighbors)
    # The metrics are those of a graph that never had the true features:
    for (row, kind), shown in list(seen.items())[1:]:
        if kind == 'mean':
            continue
        fresh = copy.copy(shown)
        del fresh.graphs
        fresh = FREEDOM.pre_transform(fresh)
        expected = evaluate(model, fresh, 'test', (3,), metrics=METRICS)
        assert found.rows[row][kind] == pytest.approx(expected)
    # Features have no other way to the scores of this model:
    assert all(found.depends.values())
    own = knock_out(model, data, 'test', k=3)
    assert own == found


def test_graphs_of_an_instance(data):
    other = ItemKNN(k=4)
    data = other(NormalizedAdjacency()(data))
    model = random(FREEDOM.from_data(data, dim=4))
    model.neighbors = other
    found, seen = spied(model, data)
    check_graphs(seen, data, other)
    assert found.depends['text']


def test_graphs_of_pre_transform_alone(data):
    class Own(Recommender):
        pre_transform = ItemKNN(k=4)

        def __init__(self):
            super().__init__()
            self.user = nn.Embedding(40, 30)

        def forward(self, data):
            graph = self.pre_transform.of(data, 'image')
            return self.user.weight, graph.propagate(torch.eye(30))

    data = Own.pre_transform(data)
    found, seen = spied(Own(), data)
    check_graphs(seen, data, Own.pre_transform)
    assert found.depends == {'image': True, 'text': False, 'all': True}


@pytest.mark.parametrize('kind', [FREEDOM, LATTICE])
def test_wrapped(data, kind):
    data = kind.pre_transform(data)
    model = random(kind.from_data(data, dim=4))
    found = knock_out(Cosine(model), data, k=3)
    _, seen = spied(model, data)
    for row in ('image', 'all'):
        other = evaluate(
            Cosine(model),
            seen[row, 'shuffled'],
            'val',
            (3,),
            metrics=METRICS,
        )
        assert found.rows[row]['shuffled'] == pytest.approx(other)


class Neighbors(nn.Module):
    """A foreign module with a graph that it does not say how to make."""

    def __init__(self, transform, modality='text', direct=False):
        super().__init__()
        self.user = nn.Embedding(40, 30)
        self.transform = transform
        self.modality = modality
        self.direct = direct

    def forward(self, data):
        if self.direct:
            graph = data.graphs[repr(self.transform), self.modality]
        else:
            graph = self.transform.of(data, self.modality)
        return self.user.weight, graph.propagate(torch.eye(30))


@pytest.mark.parametrize('direct', [False, True])
def test_graph_that_cannot_be_made_again(data, direct):
    transform = ItemKNN(k=4)
    model = Neighbors(transform, direct=direct)
    message = (
        r"Neighbors fails with noise in place of 'text': .*k=4.*"
        r"ItemKNN\(k=4, weight='binary'\) of 'text' was left out, as the true "
        r"features made it.*'pyg_ckd.nn.Recommender'.*'neighbors'"
    )
    with pytest.raises(ValueError, match=message):
        knock_out(model, transform(data))


def test_graph_of_several_modalities(data):
    """It tells of each of them, so that it is never left."""
    transform = ItemKNN(k=4)
    data = transform(data)
    name = repr(transform)
    graphs = {(name, 'image+text'): data.graphs[name, 'text']}
    data.graphs = graphs
    model = Neighbors(transform, modality='image+text')
    with pytest.raises(ValueError, match=r"of 'image\+text' was left out"):
        knock_out(model, data)


def test_graph_that_is_not_needed(data):
    model = random(VBPR.from_data(data, dim=4))
    found, seen = spied(model, ItemKNN(k=4)(data))
    assert found == knock_out(model, data)
    assert not any(
        isinstance(graph, Graph)
        for kind in KINDS
        for graph in seen['all', kind].graphs.values()
    )


def test_graph_that_was_missing_before(data):
    with pytest.raises(ValueError, match=r"^'FREEDOM' needs a graph"):
        knock_out(FREEDOM.from_data(data), data)


# What is left as it was ######################################################


class Restless(PlainRecommender):
    """Draws random numbers in evaluation, and counts its calls."""

    def __init__(self, data):
        super().__init__(data)
        self.register_buffer('calls', torch.zeros(2).unsqueeze(0))
        self.register_buffer('last', torch.zeros(()))
        self.alias = nn.Module()
        self.alias.register_buffer('calls', self.calls)
        self.drop = nn.Dropout().eval()

    def forward(self, data):
        self.calls += 1
        assert self.alias.calls is self.calls
        self.last = torch.rand(())
        user, item = super().forward(data)
        return user, item + torch.randn_like(item)


@pytest.mark.parametrize('error', [False, True])
def test_all_is_left_as_it_was(error):
    data = shop(pre_transform=FREEDOM.pre_transform)
    if error:
        data['item'].has_text = torch.zeros(30, dtype=torch.bool)
    model = Restless(data).train()
    model.drop.eval()
    before, graphs = data.clone(), dict(data.graphs)
    state = copy.deepcopy(model.state_dict())
    buffers = {name: id(b) for name, b in model.named_buffers()}
    modes = [part.training for part in model.modules()]
    random_state = torch.get_rng_state()
    if error:
        with pytest.raises(ValueError, match='no item that has'):
            knock_out(model, data)
    else:
        knock_out(model, data)

    assert torch.equal(torch.get_rng_state(), random_state)
    assert [part.training for part in model.modules()] == modes
    assert {name: id(b) for name, b in model.named_buffers()} == buffers
    assert model.state_dict().keys() == state.keys()
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])
    assert all(parameter.grad is None for parameter in model.parameters())
    for store, other in zip(data.stores, before.stores, strict=True):
        assert list(store) == list(other)
        for name, value in store.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, other[name])
    assert data.graphs.keys() == graphs.keys()
    assert all(data.graphs[key] is graphs[key] for key in graphs)


def test_random_numbers_are_the_same_in_each_row(data):
    class Blind(Restless):
        def forward(self, data):
            true = copy.copy(data)
            for m in self.names:
                true['item'][f'x_{m}'] = torch.ones(30, 5)
            return super().forward(true)

    model = Blind(data)
    found = knock_out(model, data, k=3)
    assert not any(found.depends.values())
    assert found.rows['all']['noise'] == found.base
    torch.manual_seed(0)
    again = knock_out(model, data, k=3)
    assert again == found


# What depends on nothing #####################################################


def check_idle(found, row):
    """Nothing changes, and it is said."""
    assert not found.depends[row]
    assert all(metrics == found.base for metrics in found.rows[row].values())
    assert 'no score depends' in found.verdict[row]
    assert found.verdict[row] in str(found).splitlines()


@pytest.mark.parametrize(
    'kind', [VBPR, FREEDOM, LATTICE, FeatureKNN, GraphFilter]
)
def test_modality_that_is_not_used(data, kind):
    if kind.pre_transform:
        data = kind.pre_transform(data)
    model = random(kind.from_data(data, use=['text']))
    found = knock_out(model, data, k=3)
    check_idle(found, 'image')
    assert found.depends['text'] and found.depends['all']
    assert found.rows['text'] == found.rows['all']


def test_no_features(data):
    found = knock_out(random(BPRMF.from_data(data, dim=4)), data)
    for row in ('image', 'text', 'all'):
        check_idle(found, row)


def test_copies_are_out_of_reach(data):
    class Holds(PlainRecommender):
        def __init__(self, data):
            super().__init__(data)
            self.register_buffer('image', data['item'].x_image.clone())

        def forward(self, data):
            data['item'].x_image = self.image
            return super().forward(data)

    found = knock_out(random(Holds(data)), data, k=3)
    check_idle(found, 'image')
    assert "data['item'].x_image" in found.verdict['image']
    assert 'a copy of its own' in found.verdict['image']
    assert found.depends['text']
    assert found.rows['text'] == found.rows['all']


def test_constants_are_no_dependence(data):
    """What is the same for all items of a user changes no ranking."""

    class Constant(BPRMF):
        def forward(self, data):
            user, item = super().forward(data)
            extra = data['item'].x_text.std().expand(len(item), 1)
            return torch.cat([user, user[:, :1]], dim=1), torch.cat(
                [item, extra], dim=1
            )

        views = Recommender.views

    assert not knock_out(random(Constant.from_data(data)), data).depends['all']


def test_small_dependence(data):
    """One item that changes a little is a dependence, if no ranking is."""

    class Small(BPRMF):
        def forward(self, data):
            user, item = super().forward(data)
            item = item.clone()
            item[7] += 1e-4 * data['item'].x_text[7, 0]
            return user, item

        views = Recommender.views

    found = knock_out(random(Small.from_data(data)), data)
    assert found.depends == {'image': False, 'text': True, 'all': True}
    assert found.rows['text']['noise'] == found.base
    assert 'hardly used' in found.verdict['text']


def test_view_of_a_task(data):
    """What a task does not train is ablated, whatever it is replaced by."""
    model = PlainRecommender(data)
    task = Recommendation(random(model), data, keep=only('text'))
    found = knock_out(task, data, k=3)
    alone = evaluate(model, data, 'val', (3,), view=only('text'))
    for metric, value in found.base.items():
        assert value == pytest.approx(alone[metric])
    check_idle(found, 'image')
    assert found.depends['text']


# The result ##################################################################


def result(recall, base=0.2, depends=True):
    """A result with the same values of recall and NDCG."""
    row = {
        kind: {'recall@20': value, 'ndcg@20': value}
        for kind, value in zip(KINDS, recall, strict=True)
    }
    return KnockOut(
        split='val',
        k=20,
        seed=0,
        base={'recall@20': base, 'ndcg@20': base},
        rows={'text': row, 'all': row},
        depends={'text': depends, 'all': depends},
    )


@pytest.mark.parametrize(
    ('recall', 'sentence'),
    [
        (
            [0.15, 0.19, 0.1],
            'used, to its advantage. recall@20 changes by -50.0% to -25.0% '
            'with features that are wrong, by -5.0% with none.',
        ),
        (
            [0.1, 0.21, 0.22],
            'used, but better left out. recall@20 changes by -50.0% to +10.0% '
            'with features that are wrong, by +5.0% with none.',
        ),
        (
            [0.1, 0.197, 0.2],
            'used, but of no advantage. recall@20 changes by -50.0% to +0.0% '
            'with features that are wrong, by -1.5% with none.',
        ),
        (
            [0.201, 0.202, 0.197],
            'hardly used. recall@20 changes by no more than 1.5%.',
        ),
    ],
)
def test_verdict(recall, sentence):
    assert result(recall).verdict == {
        'text': f'text: {sentence}',
        'all': f'all together: {sentence}',
    }


def test_verdict_of_nothing():
    found = result([0.0, 0.0, 0.1], base=0.0)
    assert found.change('text', 'shuffled', 'recall@20') is None
    zero = 'text: scores change, but recall@20 is zero as it is.'
    assert found.verdict['text'] == zero
    assert found.to_dict()['verdict']['text'] == zero
    assert '0.1000        -' in str(found)
    idle = result([0.2, 0.2, 0.2], depends=False).verdict
    assert idle == {
        'text': (
            "text: no score depends on data['item'].x_text. The model does "
            'not use these features, or has a copy of its own, which is out '
            'of reach here.'
        ),
        'all': (
            'all together: no score depends on the features of the data. The '
            'model does not use these features, or has a copy of its own, '
            'which is out of reach here.'
        ),
    }


def test_table():
    assert str(result([0.1, 0.15, 0.2])).splitlines() == [
        "Features replaced, 'val' split, seed 0",
        '',
        'modality   replaced by  recall@20   change    ndcg@20   change',
        'untouched                  0.2000              0.2000',
        'text       noise           0.1000   -50.0%     0.1000   -50.0%',
        '           mean            0.1500   -25.0%     0.1500   -25.0%',
        '           shuffled        0.2000    +0.0%     0.2000    +0.0%',
        'all        noise           0.1000   -50.0%     0.1000   -50.0%',
        '           mean            0.1500   -25.0%     0.1500   -25.0%',
        '           shuffled        0.2000    +0.0%     0.2000    +0.0%',
        '',
        'text: used, to its advantage. recall@20 changes by -50.0% to +0.0% '
        'with features that are wrong, by -25.0% with none.',
        'all together: used, to its advantage. recall@20 changes by -50.0% to '
        '+0.0% with features that are wrong, by -25.0% with none.',
    ]


def test_to_dict(data):
    found = knock_out(random(VBPR.from_data(data, dim=4)), data, 'test', k=3)
    record = found.to_dict()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record.pop('verdict') == found.verdict
    assert KnockOut(**record) == found


def test_frozen():
    with pytest.raises(FrozenInstanceError):
        result([0.1, 0.1, 0.1]).k = 10


def test_first_page():
    assert pyg_ckd.knock_out is knock_out


# Errors ######################################################################


def test_split_error(data):
    with pytest.raises(ValueError, match=r"'val' or 'test' \(got 'train'\)"):
        knock_out(VBPR.from_data(data), data, 'train')


def test_k_error(data):
    with pytest.raises(
        ValueError, match=r"'k' needs .* at least 1, .* \(got 0\)"
    ):
        knock_out(VBPR.from_data(data), data, k=0)


def test_empty_split(data):
    del data[RATES].val_edge_label_index
    with pytest.raises(ValueError, match='val_edge_label_index is missing'):
        knock_out(VBPR.from_data(data), data)


def test_no_modality(data):
    model = VBPR.from_data(data)
    del data['item'].x_image, data['item'].x_text
    data['item'].num_nodes = 30
    with pytest.raises(ValueError, match='no modality to knock out'):
        knock_out(model, data)


def test_modality_named_all(data):
    data['item'].x_all = data['item'].x_text
    with pytest.raises(ValueError, match=r"'all': rename data\['item'\].x_all"):
        knock_out(VBPR.from_data(data), data)


def test_model_that_fails_on_noise(data):
    class Counts(PlainRecommender):
        def forward(self, data):
            user, item = super().forward(data)
            return user, item * data['item'].x_text.sqrt().mean()

    data['item'].x_text = data['item'].x_text.exp()
    message = "Counts fails with noise in place of 'text': .*not finite"
    with pytest.raises(ValueError, match=message):
        knock_out(Counts(data), data)


def test_class_in_place_of_model(data):
    with pytest.raises(TypeError, match='the class itself'):
        knock_out(VBPR, data)
