"""Modules that are not ours, and what they may do to us."""

import copy

import pytest
import torch
from torch import nn

from pyg_ckd.graph import modalities
from pyg_ckd.nn import VBPR, FeatureKNN, Recommender, as_recommender
from pyg_ckd.nn.door import check_finite, checked_embeddings, matched
from pyg_ckd.ranking import evaluate, recommend
from pyg_ckd.testing import (
    PlainRecommender,
    assert_same_with_gradients,
    fake_graph,
    gradients,
    step_loss,
    train_steps,
)
from pyg_ckd.transforms import AblateModality
from pyg_ckd.views import default_views, distinct_views, full, only, view


def test_ours_goes_through_as_it_is():
    model = VBPR.from_data(fake_graph(), dim=4)
    assert as_recommender(model) is model
    plain = PlainRecommender(fake_graph())
    wrapped = as_recommender(plain)
    assert isinstance(wrapped, Recommender)
    assert wrapped.module is plain
    assert as_recommender(wrapped) is wrapped
    assert repr(wrapped) == repr(plain)
    assert list(wrapped.parameters()) == list(plain.parameters())


@pytest.mark.parametrize('other', [None, 'VBPR', VBPR, lambda data: data])
def test_no_module(other):
    name = 'VBPR' if other is VBPR else type(other).__name__
    with pytest.raises(TypeError, match=rf'\(user_emb, item_emb\).*{name}'):
        as_recommender(other)


# Names that mean something else ##############################################


def with_embedding(model):
    model.preference = nn.Embedding(12, 4)


def with_loss(model):
    model.loss = nn.BCELoss()


def with_numbers(model):
    model.offset, model.dim, model.tables = 3, 'four', [1]


def with_one_table(model):
    model.preference = nn.Parameter(torch.randn(12, 4))


def with_buffers(model):
    model.register_buffer('offset', torch.randn(9, 5))
    model.register_buffer('neighbors', torch.randn(3))


def with_methods(model):
    model.views = model.start_epoch = model.regularization = 'no method'
    model.loss = lambda: 1 / 0


def with_modules_by_modality(model):
    model.preference = nn.ModuleDict({'text': nn.Linear(4, 4)})
    model.offset = nn.ParameterDict({'text': nn.Parameter(torch.randn(()))})


FOREIGN_NAMES = pytest.mark.parametrize(
    'add',
    [
        with_embedding,
        with_loss,
        with_numbers,
        with_one_table,
        with_buffers,
        with_methods,
        with_modules_by_modality,
    ],
)


@FOREIGN_NAMES
def test_names_that_mean_something_else(add):
    """They are neither called nor indexed nor ablated."""
    data = fake_graph()
    plain = PlainRecommender(data)
    other = copy.deepcopy(plain)
    add(other)
    keeps = distinct_views(modalities(data))
    user, pos, neg = torch.randint(9, (3, 30))
    margins = []
    for model in (as_recommender(plain), as_recommender(other)):
        model.start_epoch(data, keeps[0])
        several = model.views(data, keeps)
        assert model.tables('text') == []
        arguments = data, keeps[0], several, user, pos, neg
        assert model.regularization(*arguments) == 0
        assert model.loss(*arguments) is None
        margins.append(several.triples(user, pos, neg).margin())
    assert torch.equal(*margins)
    assert evaluate(other, data) == evaluate(plain, data)
    before = copy.deepcopy(other.state_dict())
    train_steps(as_recommender(other), data, keeps[1])
    assert not torch.equal(before['user.weight'], other.user.weight)


def test_a_table_under_a_second_name():
    """Also if that comes first, as it does in an ensemble of old and new."""
    data = fake_graph()
    model = PlainRecommender(data)
    table = nn.ParameterDict({'text': nn.Parameter(torch.randn(12, 4))})
    model.users = table
    model.preference = table
    assert as_recommender(model).tables('text') == [table['text']]


class Tied(nn.Module):
    """One table of users for all modalities."""

    def __init__(self):
        super().__init__()
        users = nn.Parameter(torch.randn(12, 5))
        names = ('image', 'text')
        self.preference = nn.ParameterDict(dict.fromkeys(names, users))

    def forward(self, data):
        item = data['item'].x_image + data['item'].x_text
        return (self.preference['image'] + self.preference['text']) / 2, item


def test_a_table_of_two_modalities_is_ablated_with_the_last():
    data, model = fake_graph(), Tied()
    users = model.preference['text']
    for keep in (full(['image', 'text']), only('text'), only('image')):
        user, _ = view(as_recommender(model), data, keep)
        assert torch.equal(user, users)
        (grad,) = torch.autograd.grad(user.square().sum(), users)
        torch.testing.assert_close(grad, 2 * users)
    user, _ = view(as_recommender(model), data, frozenset())
    torch.testing.assert_close(user, users.mean(0).expand(12, 5))


class TwoPrecisions(PlainRecommender):
    """Has a frozen part of half precision that comes first."""

    def __init__(self, data, kind):
        super().__init__(data)
        frozen = nn.Parameter(torch.zeros(3, dtype=kind), requires_grad=False)
        self._parameters = {'frozen': frozen, **self._parameters}


@pytest.mark.parametrize('kind', [torch.float16, torch.bfloat16, torch.double])
@pytest.mark.parametrize('trained', [True, False])
def test_features_have_the_precision_of_what_is_trained(kind, trained):
    data = fake_graph()
    model = TwoPrecisions(data, kind).requires_grad_(trained)
    model.frozen.requires_grad_(False)
    assert next(iter(model.parameters())) is model.frozen
    plain = PlainRecommender(data)
    plain.load_state_dict(model.state_dict(), strict=False)
    assert evaluate(model, data) == evaluate(plain, data)
    assert matched(data, model) is data
    model.double().frozen.data = torch.zeros(3)
    found = matched(data, model)['item'].x_text.dtype
    assert found == (torch.double if trained else torch.float)


# Outputs #####################################################################


class Returns(nn.Module):
    """A module that returns what a function makes of good embeddings."""

    def __init__(self, change):
        super().__init__()
        self.user = nn.Parameter(torch.randn(12, 4))
        self.item = nn.Parameter(torch.randn(9, 4))
        self.change = change

    def forward(self, data):
        return self.change(self.user, self.item)


@pytest.mark.parametrize(
    ('change', 'found'),
    [
        (lambda u, i: torch.cat([u, i]), r'one tensor of shape \[21, 4\]'),
        (lambda u, i: u @ i.t(), r'one tensor of shape \[12, 9\] and .*32'),
        (lambda u, i: {'user': u, 'item': i}, r"a dict .*\['user', 'item'\]"),
        (lambda u, i: None, 'NoneType'),
        (lambda u, i: (u,), r'tuple \(\[12, 4\] of torch.float32\)'),
        (lambda u, i: (u, i, i), r'tuple \(.*, .*, .*\)'),
        (lambda u, i: (u, None), r'tuple \(\[12, 4\] of .*, NoneType\)'),
        (lambda u, i: (u, {'x': i}), r'dict'),
        (lambda u, i: (i, u), 'items come before users, swap them'),
        (
            lambda u, i: (torch.cat([u, i]),) * 2,
            r'both hold all nodes, .*split\(\[num_users, num_items\]\)',
        ),
        (lambda u, i: (u, i[:8]), r'\[12, 4\] .* \[8, 4\]'),
        (lambda u, i: (u[:1], i), r'\[1, 4\]'),
        (
            lambda u, i: (u, i[:, :3]),
            r'with one d for both.*\[9, 3\]',
        ),
        (lambda u, i: (u.flatten(), i.flatten()), r'\[48\] .* \[36\]'),
        (lambda u, i: (u.unsqueeze(1), i.unsqueeze(1)), r'\[12, 1, 4\]'),
        (lambda u, i: (u.long(), i.long()), 'torch.int64'),
        (lambda u, i: (u, i > 0), 'torch.bool'),
        (lambda u, i: (u.detach().numpy(), i), r'ndarray'),
    ],
)
def test_wrong_outputs(change, found):
    """One error tells what was returned and what is wanted, everywhere."""
    data = fake_graph()
    module = Returns(change)
    model = as_recommender(module)
    text = (
        r"'Returns' needs to return \(user_emb, item_emb\).*"
        rf'\[12, d\] and \[9, d\].*{found}'
    )
    for call in (
        lambda: model(data),
        lambda: model.views(data, [only('text')]),
        lambda: step_loss(model, data, only('text'), *torch.ones(3, 2).long()),
        lambda: evaluate(module, data),
        lambda: recommend(module, data, 7, k=3),
    ):
        with pytest.raises(ValueError, match=text):
            call()


@pytest.mark.parametrize('as_type', [tuple, list])
def test_right_outputs(as_type):
    data = fake_graph()
    module = Returns(lambda u, i: as_type([u, i]))
    user, item = as_recommender(module)(data)
    assert user is module.user
    assert item is module.item
    half = Returns(lambda u, i: (u.bfloat16(), i.bfloat16()))
    assert as_recommender(half)(data)[0].dtype == torch.bfloat16


def test_as_many_users_as_items():
    """Swapped sides cannot be told then; wrong sizes still can."""
    data = fake_graph(num_users=9)
    good = torch.randn(9, 4), torch.randn(9, 4)
    assert checked_embeddings(good, data, 'M') is not None
    both = torch.randn(18, 4)
    with pytest.raises(ValueError, match='both hold all nodes'):
        checked_embeddings((both, both), data, 'M')
    with pytest.raises(ValueError, match=r'with one d for both'):
        checked_embeddings((good[0], good[1][:, :1]), data, 'M')


def test_sparse_outputs():
    data = fake_graph()
    pair = FeatureKNN.from_data(data, k=3)(data)
    user, item = checked_embeddings(pair, data, 'FeatureKNN')
    assert user.is_sparse
    check_finite(user, item, 'FeatureKNN')


@pytest.mark.parametrize('value', [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize(('side', 'row'), [('user', 7), ('item', 0)])
def test_not_finite(side, row, value):
    embs = {'user': torch.randn(12, 4), 'item': torch.randn(9, 4)}
    check_finite(**embs, name='M')
    embs[side][row, 2] = value
    match = rf"The {side} embeddings of 'M' are not finite, first in row {row}:"
    with pytest.raises(ValueError, match=match):
        check_finite(**embs, name='M')
    embs[side] = embs[side].to_sparse()
    with pytest.raises(ValueError, match=match):
        check_finite(**embs, name='M')


# Refinements that a module may declare #######################################


class WithTables(PlainRecommender):
    """It has a table of users for each modality, and offsets of features."""

    def __init__(self, data):
        super().__init__(data)
        self.preference = nn.ParameterDict(
            {m: nn.Parameter(torch.randn(12, 4)) for m in self.names}
        )
        self.offset = nn.ParameterDict(
            {m: nn.Parameter(torch.randn(9, 5)) for m in self.names}
        )

    def forward(self, data):
        data = copy.copy(data)
        for m in self.names:
            data['item'][f'x_{m}'] = data['item'][f'x_{m}'] + self.offset[m]
        user, item = super().forward(data)
        return user * sum(self.preference[m].tanh() for m in self.names), item


def test_declared_tables_are_ablated():
    data = fake_graph()
    module = WithTables(data)
    model = as_recommender(module)
    assert set(map(id, model.tables('text'))) == {
        id(module.preference['text']),
        id(module.offset['text']),
    }
    result = model.views(data, [only('image')]).embedding()
    other = copy.deepcopy(module)
    del other.preference['text'], other.offset['text']
    mean = {
        name: table['text'].mean(dim=0, keepdim=True)
        for name, table in (
            ('preference', module.preference),
            ('offset', module.offset),
        )
    }
    x = data['item'].x_text.mean(dim=0) + mean['offset']
    x = torch.cat(
        [data['item'].x_image + module.offset['image'], x.expand(9, 5)], dim=-1
    )
    user = module.preference['image'].tanh() + mean['preference'].tanh()
    expected = module.user.weight * user, module.item(x)
    assert_same_with_gradients(result, expected, module)


# Wrappers ####################################################################


class Shares(nn.Module):
    """It shares the inner model's tables under a second name."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.preference = inner.preference

    def forward(self, data):
        return self.inner(data)


class Ties(nn.Module):
    """It holds tables of the inner model in a module of its own."""

    def __init__(self, inner):
        super().__init__()
        self.head = nn.Linear(4, 9, bias=False)
        self.head.weight = inner.item.weight
        self.twin = nn.ParameterDict({'t': inner.preference['text']})
        self.inner = inner

    def forward(self, data):
        user, item = self.inner(data)
        return user + 0 * self.twin[
            't'
        ].sum(), item + 0 * self.head.weight.sum()


class Wraps(nn.Module):
    """It knows nothing of what it wraps."""

    def __init__(self, inner):
        super().__init__()
        self.layers = nn.ModuleList([nn.Identity(), inner])

    def forward(self, data):
        return self.layers[1](self.layers[0](data))


class Reads(nn.Module):
    """It reads the tied tables itself, in place of the inner model."""

    def __init__(self, inner):
        super().__init__()
        self.tables = nn.ParameterDict(dict(inner.preference))
        self.inner = inner

    def forward(self, data):
        parts = [
            (self.inner.user.weight, self.inner.item.weight),
            *(
                (self.tables[m], self.inner.branch(data, m)[1])
                for m in self.inner.in_channels
            ),
        ]
        return tuple(torch.cat(side, -1) for side in zip(*parts, strict=True))


class Twice(Reads):
    """It has each of them twice, and reads the second."""

    def __init__(self, inner):
        super().__init__(inner)
        self.tables = nn.ParameterDict(
            {
                prefix + m: table
                for prefix in ('first_', '')
                for m, table in inner.preference.items()
            }
        )


@pytest.mark.parametrize('wrapper', [Shares, Ties, Wraps, Reads, Twice])
@pytest.mark.parametrize('num_modalities', [2, 3])
def test_wrappers(wrapper, num_modalities):
    """Views are those of the inner model, and parameters stay as they are."""
    data = fake_graph(num_modalities)
    inner = VBPR.from_data(data, dim=4)
    model = as_recommender(wrapper(inner))
    state = copy.deepcopy(model.state_dict())
    places = {
        name: id(parameter)
        for name, parameter in model.named_parameters(remove_duplicate=False)
    }
    keeps = [*distinct_views(modalities(data)), frozenset()]
    user, pos, neg = torch.randint(9, (3, 40))
    margin = model.views(data, keeps).triples(user, pos, neg).margin()
    for several in (
        inner.views(data, keeps),
        default_views(inner, data, keeps),
    ):
        expected = several.triples(user, pos, neg).margin()
        assert_same_with_gradients([margin], [expected], inner)
    for keep in keeps:
        assert_same_with_gradients(
            view(model, data, keep), view(inner, data, keep), inner
        )
    # Not a bit of it has changed, and every name still means the same:
    assert list(model.state_dict()) == list(state)
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])
    assert places == {
        name: id(parameter)
        for name, parameter in model.named_parameters(remove_duplicate=False)
    }
    # An ablated modality's table gets a gradient through its mean:
    only_image = view(model, data, only('image'))
    score = only_image[0] @ only_image[1].t()
    grad = gradients(score.square().sum(), inner)['preference.text']
    assert grad.abs().max() > 0
    torch.testing.assert_close(grad, grad[:1].expand(12, 4))


def test_views_of_a_plain_module():
    """They are those of the module on ablated data."""
    data = fake_graph(3)
    module = PlainRecommender(data)
    model = as_recommender(module)
    names = modalities(data)
    keeps = distinct_views(names)
    several = model.views(data, keeps)
    for v, keep in enumerate(keeps):
        blind = AblateModality(*(m for m in names if m not in keep))(data)
        assert_same_with_gradients(several.embedding(v), module(blind), module)
    assert torch.equal(
        model.views(data, [full(names)]).embedding()[1], module(data)[1]
    )


def test_two_precisions_become_one():
    model = as_recommender(Returns(lambda u, i: (u.double(), i)))
    assert [x.dtype for x in model(fake_graph())] == [torch.double] * 2


def test_a_module_that_needs_more_than_the_graph():
    """Such as PyG's `to_hetero` returns."""

    class Network(torch.nn.Module):
        def forward(self, x_dict, edge_index_dict):
            return x_dict

    wanted = "'Network' is called as model.data., .* takes .x_dict, edge_index"
    with pytest.raises(TypeError, match=wanted):
        as_recommender(Network())
