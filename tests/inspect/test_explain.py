from dataclasses import FrozenInstanceError

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch_geometric.data import HeteroData

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.graph import RATES, modalities
from pyg_ckd.inspect import Explanation, explain
from pyg_ckd.nn import (
    VBPR,
    FeatureKNN,
    GraphFilter,
    InteractionKNN,
    Recommender,
)
from pyg_ckd.ranking import recommend
from pyg_ckd.serving import Served
from pyg_ckd.train import Recommendation, fit
from pyg_ckd.views import distinct_views, only, view_name, without

NAMES = ['image', 'text', 'sound']


class Shop(nn.Module):
    """A recommender that knows nothing of this library."""

    def __init__(self, taste, with_constant=False):
        super().__init__()
        self.taste = nn.ParameterDict(taste)
        self.with_constant = with_constant

    def forward(self, data):
        names = modalities(data)
        user = [self.taste[m] for m in names]
        item = [data['item'][f'x_{m}'] for m in names]
        if self.with_constant:
            # The same for all items, but not in all views:
            spread = item[0].std().expand(len(item[0]), 1)
            user, item = [*user, user[0][:, :1]], [*item, spread]
        return torch.cat(user, dim=1), torch.cat(item, dim=1)


@st.composite
def shops(draw):
    """A graph and a model, with integers so that sums are exact and tie."""
    names = NAMES[: draw(st.integers(1, 3))]
    seed = draw(st.integers(0, 1000))
    random = torch.Generator().manual_seed(seed)
    data, taste = HeteroData(), {}
    data['user'].num_nodes, data['item'].num_nodes = 3, 8
    for m in names:
        x = torch.randint(-2, 3, (8, 2), generator=random)
        data['item'][f'x_{m}'] = x.float()
        taste[m] = torch.randint(-2, 3, (3, 2), generator=random).float()
    edge_index = torch.rand(3, 8, generator=random) < 0.3
    data[RATES].edge_index = edge_index.nonzero().t()
    return data, Shop(taste)


def naive(data, model, user, item, keep):
    """The relative score and the rank in a view, by loops."""
    score = [0.0] * 8
    for m in modalities(data):
        taste = model.taste[m][user].tolist()
        rows = data['item'][f'x_{m}'].tolist()
        mean = [sum(column) / 8 for column in zip(*rows, strict=True)]
        for i, row in enumerate(rows):
            x = row if m in keep else mean
            score[i] += sum(t * f for t, f in zip(taste, x, strict=True))
    seen = [i for u, i in data[RATES].edge_index.t().tolist() if u == user]
    ranked = [i for i in range(8) if i not in seen or i == item]
    ranked.sort(key=lambda i: (-score[i], i))
    return score[item] - sum(score) / 8, ranked.index(item) + 1, len(ranked)


@given(shops(), st.integers(0, 2), st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_by_brute_force(shop, user, item):
    data, model = shop
    names = modalities(data)
    result = explain(model, data, user, item)
    keeps = distinct_views(names)
    labels = [view_name(keep, names) for keep in keeps]
    assert list(result.score) == list(result.rank) == labels
    for keep, label in zip(keeps, labels, strict=True):
        score, rank, num_ranked = naive(data, model, user, item, keep)
        assert result.score[label] == pytest.approx(score, abs=1e-6)
        assert result.rank[label] == rank
        assert result.num_ranked == num_ranked
    full = naive(data, model, user, item, frozenset(names))[0]
    assert list(result.effect) == names
    for m, effect in result.effect.items():
        rest = naive(data, model, user, item, without(names, m))[0]
        assert effect == pytest.approx(full - rest, abs=1e-6)
    seen = [user, item] in data[RATES].edge_index.t().tolist()
    assert result.known == seen
    assert ('has it, in training or held out' in str(result)) == seen
    assert (result.user, result.item) == (user, item)


@given(shops(), st.integers(0, 2), st.integers(0, 7))
@settings(max_examples=20, deadline=None)
def test_constants_cancel(shop, user, item):
    data, model = shop
    result = explain(model, data, user, item)
    other = explain(Shop(model.taste, with_constant=True), data, user, item)
    assert other.score == pytest.approx(result.score, abs=1e-5)
    assert other.effect == pytest.approx(result.effect, abs=1e-5)


@pytest.fixture
def data():
    return FakeMultimodal(num_users=12, num_items=30)[0]


@pytest.mark.parametrize(
    'kind', [VBPR, FeatureKNN, GraphFilter, InteractionKNN]
)
def test_ranks_are_those_of_recommend(data, kind):
    model = kind.from_data(data)
    names = modalities(data)
    splits = 'edge_index', 'val_edge_label_index', 'test_edge_label_index'
    user, owned = torch.cat([data[RATES][name] for name in splits], dim=1)
    owned = owned[user == 7].unique()
    for keep in distinct_views(names):
        ids, scores = recommend(model, data, torch.tensor([7]), 30, view=keep)
        ids = ids[0, scores[0] > -torch.inf]
        assert len(ids) == 30 - len(owned)
        for place, item in enumerate(ids, start=1):
            result = explain(model, data, 7, item)
            assert result.rank[view_name(keep, names)] == place
            assert result.num_ranked == len(ids)


def test_sparse_embeddings(data):
    class Dense(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, data):
            user, item = self.model(data)
            assert user.is_sparse and item.is_sparse
            return user.to_dense(), item.to_dense()

    model = FeatureKNN.from_data(data, k=5)
    for item in range(30):
        result = explain(model, data, 3, item)
        expected = explain(Dense(model), data, 3, item)
        assert result.score == pytest.approx(expected.score, abs=1e-5)
        assert result.effect == pytest.approx(expected.effect, abs=1e-5)
    assert any(abs(effect) > 0.1 for effect in result.effect.values())


def test_no_modality_matters(data):
    result = explain(InteractionKNN.from_data(data), data, 7, 4)
    assert result.effect == {'image': 0.0, 'text': 0.0}
    assert len(set(result.rank.values())) == 1
    assert result.sentence == (
        f'Without any one modality, item 4 would stay at rank '
        f'{result.rank["full"]}.'
    )


def test_model_is_left_as_it_was(data):
    class Noisy(VBPR):
        def forward(self, data):
            assert not self.training and not torch.is_grad_enabled()
            return super().forward(data)

        views = Recommender.views  # so that `forward` is called

    model = Noisy.from_data(data).train()
    before = data.clone()
    explain(model, data, 7, 4)
    assert model.training
    for m in modalities(data):
        assert torch.equal(data['item'][f'x_{m}'], before['item'][f'x_{m}'])


def explanation(full, rest, effect, known=False):
    """An explanation with ranks in the full view and without each of three."""
    views = ['full', *(f'only({m})' for m in NAMES)]
    views += [f'without({m})' for m in NAMES]
    rank = dict.fromkeys(views, 9)
    rank['full'] = full
    rank |= {f'without({m})': r for m, r in zip(NAMES, rest, strict=True)}
    return Explanation(
        user=7,
        item=4,
        name="'Blue cup'",
        score=dict.fromkeys(views, 0.25),
        rank=rank,
        effect=dict(zip(NAMES, effect, strict=True)),
        num_ranked=300,
        known=known,
    )


@pytest.mark.parametrize(
    ('full', 'rest', 'effect', 'who', 'what'),
    [
        (3, [4, 250, 1], [0, 0, 0], 'text', 'fall from rank 3 to rank 250'),
        (9, [10, 8, 2], [9, 0, 0], 'sound', 'rise from rank 9 to rank 2'),
        # Ranks change equally, effects do not:
        (9, [6, 6, 12], [1, -3, 2], 'text', 'rise from rank 9 to rank 6'),
        (9, [6, 6, 12], [1, -3, 4], 'sound', 'fall from rank 9 to rank 12'),
        (9, [9, 9, 9], [1, -3, 4], 'any one modality', 'stay at rank 9'),
    ],
)
def test_sentence(full, rest, effect, who, what):
    sentence = explanation(full, rest, effect).sentence
    assert sentence == f"Without {who}, 'Blue cup' would {what}."


def test_table():
    text = str(explanation(3, [4, 250, 1], [0.5, -1234.5, 0], True))
    assert text.splitlines() == [
        "User 7, 'Blue cup', among 300 items",
        '',
        'view                 score     rank',
        'full                +0.250        3',
        'only(image)         +0.250        9',
        'only(text)          +0.250        9',
        'only(sound)         +0.250        9',
        'without(image)      +0.250        4',
        'without(text)       +0.250      250',
        'without(sound)      +0.250        1',
        'effect of image     +0.500',
        'effect of text   -1.23e+03',
        'effect of sound      +0.00',
        '',
        "Without text, 'Blue cup' would fall from rank 3 to rank 250.",
        'User 7 has it, in training or held out, so that it is not '
        'recommended; its ranks are what they would be otherwise.',
    ]


def test_names(data):
    model = VBPR.from_data(data)
    titles = [f'Cup [red] {{{i}}}' for i in range(30)]
    result = explain(model, data, 7, 4, names=titles)
    assert result.name == "'Cup [red] {4}'"
    assert result.name in result.sentence
    assert result.name in str(result).splitlines()[0]
    assert explain(model, data, 7, 4).name == 'item 4'


def test_frozen():
    with pytest.raises(FrozenInstanceError):
        explanation(3, [4, 250, 1], [0, 0, 0]).user = 8


@pytest.mark.parametrize(
    ('user', 'item', 'message'),
    [
        (12, 4, r"'user'.*from 0 to 11 \(got 12\)"),
        (-1, 4, r"'user'.*from 0 to 11 \(got -1\)"),
        (7, 30, r"'item'.*from 0 to 29 \(got 30\)"),
        (7, -1, r"'item'.*from 0 to 29 \(got -1\)"),
    ],
)
def test_id_error(data, user, item, message):
    with pytest.raises(ValueError, match=message):
        explain(VBPR.from_data(data), data, user, item)


def test_names_error(data):
    message = r"'names' needs one name for each of 30 items \(got 2\)"
    with pytest.raises(ValueError, match=message):
        explain(VBPR.from_data(data), data, 7, 4, names=['a', 'b'])


def test_no_modality(data):
    del data['item'].x_image, data['item'].x_text
    data['item'].num_nodes = 30
    with pytest.raises(ValueError, match='no modality'):
        explain(InteractionKNN.from_data(data), data, 7, 4)


def test_not_finite(data):
    model = VBPR.from_data(data)
    with torch.no_grad():
        next(model.parameters())[7] = torch.nan
    message = r'user.*VBPR.*full.*not finite.*row 7.*diverged'
    with pytest.raises(ValueError, match=message):
        explain(model, data, 7, 4)


def test_overflow(data):
    model = VBPR.from_data(data)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter[:] = 1e30
    with pytest.raises(ValueError, match=r'score of user 7 is not finite'):
        explain(model, data, 7, 4)


@pytest.mark.parametrize('keep', [only('text'), frozenset({'text', 'image'})])
def test_a_task_of_a_view(keep):
    """What it recommends first is first in the explanation."""
    data = FakeMultimodal(num_users=30, num_items=20)[0]
    data['item'].x_sound = data['item'].x_text.flip(0)
    model = VBPR.from_data(data, dim=8)
    task = Recommendation(model, data, keep=keep, lr=0.05)
    fit(task, max_epochs=5, progress=False)
    served = Served.from_model(task, data)
    for user in range(30):
        best = int(task.recommend(user, k=1)[0])
        for found in (
            explain(task, data, user, best),
            served.explain(user, best),
        ):
            assert found.rank['full'] == 1
            assert set(found.effect) == keep
    task.keep = frozenset()
    with pytest.raises(ValueError, match='trained in keeps none'):
        explain(task, data, 0, 0)
