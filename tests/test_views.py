import pytest
import torch
from torch import nn

from pyg_ckd.graph import modalities
from pyg_ckd.nn import VBPR, as_recommender
from pyg_ckd.testing import assert_same_with_gradients, fake_graph
from pyg_ckd.views import (
    Triples,
    Views,
    check_view,
    crossed,
    default_views,
    distinct_views,
    full,
    only,
    view,
    view_name,
    without,
)

NAMES = ['image', 'text']


class Foreign(nn.Module):
    """A recommender that knows nothing of this library."""

    def __init__(self, data, with_preference=True):
        super().__init__()
        num_users, num_items = data['user'].num_nodes, data['item'].num_nodes
        self.item = nn.Parameter(torch.randn(num_items, 6))
        self.weight = nn.Parameter(torch.randn(8, 3))
        if with_preference:
            self.preference = nn.ParameterDict(
                {m: nn.Parameter(torch.randn(num_users, 3)) for m in NAMES}
            )
        else:
            self.user = nn.Parameter(torch.randn(num_users, 6))

    def forward(self, data):
        parts = [data['item'][f'x_{m}'] @ self.weight for m in NAMES]
        item = torch.cat(parts, dim=-1).tanh() * self.item
        if hasattr(self, 'user'):
            return self.user, item
        return torch.cat([self.preference[m] for m in NAMES], dim=-1), item


@pytest.fixture
def data():
    return fake_graph(
        num_users=6, num_items=5, num_interactions=4, num_channels=8
    )


def test_names_of_two_views():
    assert full(NAMES) == {'image', 'text'}
    assert only('text') == {'text'}
    assert without(NAMES, 'text') == only('image')
    keeps = distinct_views(NAMES)
    assert keeps == [{'image', 'text'}, {'image'}, {'text'}]
    names = [view_name(keep, NAMES) for keep in keeps]
    assert names == ['full', 'only(image)', 'only(text)']


@pytest.mark.parametrize('num_modalities', [3, 4, 5])
def test_names_of_many_views(num_modalities):
    names = list('abcde'[:num_modalities])
    keeps = distinct_views(names)
    assert len(keeps) == len(set(keeps)) == 2 * num_modalities + 1
    assert keeps[0] == full(names) == set(names)
    assert {only(m) for m in names} < set(keeps)
    assert {without(names, m) for m in names} < set(keeps)
    assert [view_name(keep, names) for keep in keeps] == [
        'full',
        *(f'only({m})' for m in names),
        *(f'without({m})' for m in names),
    ]


def test_name_of_another_view():
    assert view_name(frozenset('db'), list('abcd')) == 'only(b, d)'


def test_view_full(data):
    model = as_recommender(Foreign(data))
    for result, expected in zip(
        view(model, data, full(NAMES)), model(data), strict=True
    ):
        assert torch.equal(result, expected)


def test_view_averages_features_and_preference(data):
    module = Foreign(data)
    model = as_recommender(module)
    result = view(model, data, only('text'))

    # The same by hand:
    x = data['item'].x_image
    x = torch.stack([sum(x) / len(x)] * len(x))
    preference = module.preference['image']
    mean = torch.stack([sum(preference) / len(preference)] * len(preference))
    parts = [x @ module.weight, data['item'].x_text @ module.weight]
    expected = (
        torch.cat([mean, module.preference['text']], dim=-1),
        torch.cat(parts, dim=-1).tanh() * module.item,
    )
    assert_same_with_gradients(result, expected, model)
    # Gradients flow through the mean, and nothing was changed:
    (grad,) = torch.autograd.grad(
        result, preference, [torch.randn(6, 6), torch.randn(5, 6)]
    )
    assert grad.abs().min() > 0
    assert module.preference['image'] is preference
    assert preference.std(dim=0).min() > 0


def test_view_gradient_of_features(data):
    x = data['item'].x_image.requires_grad_()
    _, item = view(as_recommender(Foreign(data)), data, only('text'))
    (grad,) = torch.autograd.grad(item.square().sum(), x)
    assert grad.abs().max() > 0
    torch.testing.assert_close(grad, grad[:1].expand_as(grad))


def test_view_without_preference(data):
    model = Foreign(data, with_preference=False)
    user, item = view(as_recommender(model), data, only('image'))
    assert user is model.user
    assert not torch.allclose(item, model(data)[1])


def test_views_of_foreign_model(data):
    model = as_recommender(Foreign(data))
    keeps = distinct_views(NAMES)
    result = model.views(data, keeps)
    user = torch.tensor([0, 5, 5, 1])
    pos, neg = torch.tensor([4, 0, 2, 2]), torch.tensor([1, 3, 0, 2])
    margin = result.triples(user, pos, neg).margin()
    assert margin.shape == (4, 3)
    for v, keep in enumerate(keeps):
        expected = view(model, data, keep)
        torch.testing.assert_close(result.embedding(v), expected)
        score = expected[0] @ expected[1].t()
        torch.testing.assert_close(
            margin[:, v], score[user, pos] - score[user, neg]
        )


@pytest.mark.parametrize(
    ('keep', 'message'),
    [
        ('text', r"write only\('text'\)"),
        (only('sound'), r"keeps the modality 'sound', .*\['image', 'text'\]"),
        (frozenset(['text', 'sound', 'b']), "modality 'b'"),
    ],
)
def test_check_view_error(data, keep, message):
    with pytest.raises(ValueError, match=message):
        check_view(keep, data)


def test_check_view(data):
    for keep in (*distinct_views(NAMES), frozenset()):
        assert check_view(keep, data) == keep
    result = check_view({'text'}, data)
    assert result == only('text')
    assert isinstance(result, frozenset)


class Rows:
    def __init__(self, x):
        self.x = x
        self.asked = []

    def rows(self, index=None):
        self.asked.append(index)
        return self.x if index is None else self.x[index]


@pytest.fixture(params=['a user block for each', 'one for all', 'lazy'])
def blocks(request):
    """Views by choice of blocks, and their scores by the formula."""
    keep = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    sizes = [2, 2, 2] if request.param == 'one for all' else [2, 3, 1]
    user = [torch.randn(4, size) for size in sizes]
    item = [torch.randn(6, size) for size in sizes]
    if request.param == 'one for all':
        user = [user[0]] * 3
    score = torch.zeros(3, 4, 6)
    for v in range(3):
        for b in range(3):
            score[v] += keep[v, b] * user[b] @ item[b].t()
    if request.param == 'one for all':
        user = user[:1]
    if request.param == 'lazy':
        item[1] = Rows(item[1])
    return Views(user, item, keep), score


def test_embedding_of_blocks(blocks):
    result, score = blocks
    for v in range(3):
        user, item = result.embedding(v)
        torch.testing.assert_close(user @ item.t(), score[v])
    # The first view is the default:
    assert torch.equal(result.embedding()[0], result.embedding(0)[0])


def test_rows_of_a_view(blocks):
    """Only the rows that are asked for, in their order."""
    result, score = blocks
    users, items = torch.tensor([3, 0, 3]), torch.tensor([5, 1])
    for v in range(3):
        user, item = result.embedding(v, user=users, item=items)
        torch.testing.assert_close(user @ item.t(), score[v][users][:, items])
        user, item = result.embedding(v, item=items)
        torch.testing.assert_close(user @ item.t(), score[v][:, items])
    if isinstance(result.item[1], Rows):  # nothing else was computed
        assert {tuple(index.tolist()) for index in result.item[1].asked} == {
            (5, 1)
        }


def test_constant_blocks():
    """They are left out of all that compares items, unless asked for."""
    user = [torch.randn(4, size) for size in (2, 3, 1)]
    item = [torch.randn(6, size) for size in (2, 3, 1)]
    keep = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    several = Views(user, item, keep, constant=1)
    without_them = Views(user[:2], item[:2], keep[:, :2])
    assert several.num_blocks == without_them.num_blocks == 2
    triples = torch.tensor([[3, 3, 0, 1], [5, 0, 2, 2], [0, 5, 1, 2]])
    for v in range(2):
        for result, expected in zip(
            several.embedding(v), without_them.embedding(v), strict=True
        ):
            assert torch.equal(result, expected)
        with_them = several.embedding(v, constants=True)
        score = sum(
            keep[v, b] * user[b] @ item[b].t() for b in range(len(user))
        )
        torch.testing.assert_close(with_them[0] @ with_them[1].t(), score)
        rows = several.embedding(v, user=triples[0], constants=True)
        assert torch.equal(rows[0], with_them[0][triples[0]])
    result, expected = (
        views.triples(*triples) for views in (several, without_them)
    )
    torch.testing.assert_close(result.margin(), expected.margin())
    torch.testing.assert_close(
        result.crossed_margin(2), expected.crossed_margin(2)
    )
    for part, other in zip(result.split(1), expected.split(1), strict=True):
        assert torch.equal(part.margin(), other.margin())
        assert torch.equal(part.embedding(1)[0], other.embedding(1)[0])


def test_lazy_constant_blocks_are_not_computed():
    lazy = Rows(torch.randn(6, 2))
    user = [torch.randn(4, 2), torch.randn(4, 2)]
    several = Views(user, [torch.randn(6, 2), lazy], torch.ones(1, 2), {}, 1)
    several.triples(*torch.tensor([[0], [1], [2]])).margin()
    several.embedding()
    assert lazy.asked == []
    several.embedding(constants=True)
    assert lazy.asked == [None]


@pytest.mark.parametrize('size', [1, 2, 5])
def test_crossed(size):
    user, preferred = torch.randn(2, 5, 3)
    expected = [
        user[u] @ preferred[pair]
        for start in range(0, 5 - size + 1, size)
        for u in range(start, start + size)
        for pair in range(start, start + size)
    ]
    torch.testing.assert_close(
        crossed(user, preferred, size), torch.stack(expected)
    )


def test_triples_of_blocks(blocks):
    result, score = blocks
    user = torch.tensor([3, 3, 0, 1, 2])
    pos, neg = torch.tensor([5, 0, 0, 2, 5]), torch.tensor([0, 5, 0, 1, 4])
    triples = result.triples(user, pos, neg)
    expected = (score[:, user, pos] - score[:, user, neg]).t()
    torch.testing.assert_close(triples.margin(), expected)
    for v in range(3):
        u, i, j = triples.embedding(v)
        whole = result.embedding(v)
        torch.testing.assert_close(u, whole[0][user])
        torch.testing.assert_close(i, whole[1][pos])
        torch.testing.assert_close(j, whole[1][neg])


@pytest.mark.parametrize('size', [0, 1, 5])
def test_split_of_blocks(blocks, size):
    result, _ = blocks
    triples = result.triples(*torch.tensor([[3, 3, 0, 1, 2]] * 3))
    for part, rows in zip(
        triples.split(size), (slice(size), slice(size, None)), strict=True
    ):
        for v in range(3):
            for value, whole in zip(
                part.embedding(v), triples.embedding(v), strict=True
            ):
                torch.testing.assert_close(value, whole[rows])


@pytest.mark.parametrize('size', [1, 2, 3])
def test_crossed_margin_of_blocks(blocks, size):
    result, score = blocks
    user = torch.tensor([3, 1, 0, 1, 2])
    pos, neg = torch.tensor([5, 0, 2, 2, 1]), torch.tensor([0, 5, 2, 1, 4])
    margin = result.triples(user, pos, neg).crossed_margin(size)
    expected = [
        score[:, user[u], pos[pair]] - score[:, user[u], neg[pair]]
        for start in range(0, 5 - size + 1, size)
        for u in range(start, start + size)
        for pair in range(start, start + size)
    ]
    torch.testing.assert_close(margin, torch.stack(expected))


def test_triples_asks_for_each_row_once():
    lazy = Rows(torch.randn(9, 2))
    result = Views([torch.randn(4, 2)], [lazy], torch.ones(1, 1))
    user = torch.tensor([0, 1, 2])
    result.triples(user, torch.tensor([7, 7, 3]), torch.tensor([3, 8, 7]))
    assert [index.tolist() for index in lazy.asked] == [[3, 7, 8]]


def test_default_views_of_one_view(data):
    model = as_recommender(Foreign(data))
    result = default_views(model, data, [only('image')])
    torch.testing.assert_close(
        result.embedding(), view(model, data, only('image'))
    )


def test_margin_in_double_precision(data):
    data = data.apply(lambda x: x.double() if x.is_floating_point() else x)
    model = VBPR.from_data(data, dim=4).double()
    index = torch.tensor([0, 1])
    for result in (
        model.views(data, distinct_views(NAMES)),
        default_views(model, data, distinct_views(NAMES)),
    ):
        margin = result.triples(index, index, index + 1).margin()
        assert margin.dtype == torch.double


def test_further_views_do_not_count():
    """Batch normalisation learns from the trained view alone."""

    class Normalised(nn.Module):
        def __init__(self):
            super().__init__()
            self.user = nn.Parameter(torch.randn(12, 5))
            self.norm = nn.BatchNorm1d(5)

        def forward(self, data):
            return self.user, self.norm(data['item'].x_text)

    data = fake_graph(2)
    names = modalities(data)
    for first, other in (
        (full(names), only('image')),
        (only('text'), full(names)),
    ):
        alone, several = Normalised(), Normalised()
        as_recommender(alone).views(data, [first])
        as_recommender(several).views(data, [first, other, only('image')])
        for name, buffer in several.named_buffers():
            assert torch.equal(buffer, alone.get_buffer(name))
        assert several.norm.num_batches_tracked == 1


@pytest.mark.parametrize('size', [1, 4])
def test_margins_are_precise_under_autocast(size):
    user, pos, neg = torch.randn(3, 2, 8, 16, requires_grad=True).unbind()
    keep = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    triples = Triples(list(user), list(pos), list(neg), keep)
    expected = triples.crossed_margin(size)
    with torch.autocast('cpu', torch.bfloat16):
        found = triples.crossed_margin(size)
        half = crossed(user[0].bfloat16(), pos[0], size)
    assert torch.equal(found, expected)
    for one, other in zip(
        torch.autograd.grad(found.square().sum(), [user, pos, neg]),
        torch.autograd.grad(expected.square().sum(), [user, pos, neg]),
        strict=True,
    ):
        assert torch.equal(one, other)
    assert half.dtype == torch.float
    assert torch.equal(half, crossed(user[0].bfloat16().float(), pos[0], size))
