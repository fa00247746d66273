import pytest
import torch

from pyg_ckd.graph import modalities
from pyg_ckd.nn import VBPR
from pyg_ckd.testing import RecommenderSuite
from pyg_ckd.views import distinct_views, only, view


class TestVBPR(RecommenderSuite):
    model = VBPR


case = TestVBPR()


@pytest.mark.parametrize('num_modalities', [1, 2, 3])
def test_score(num_modalities):
    """The score is the sum in the docstring, term by term."""
    data = case.data(num_modalities)
    model = case.make(data)
    user_emb, item_emb = model(data)
    assert user_emb.shape == (12, 4 * (1 + num_modalities))
    assert item_emb.shape == (9, 4 * (1 + num_modalities))
    score = user_emb @ item_emb.t()
    for u in range(12):
        for i in range(9):
            expected = model.user.weight[u].dot(model.item.weight[i])
            for m in modalities(data):
                linear = model.projection[m]
                x = data['item'][f'x_{m}'][i]
                projected = linear.weight.mv(x) + linear.bias
                expected = expected + model.preference[m][u].dot(projected)
            torch.testing.assert_close(score[u, i], expected)


def test_order_of_parts():
    data = case.data()
    model = case.make(data)
    user_emb, item_emb = model(data)
    assert torch.equal(user_emb[:, :4], model.user.weight)
    assert torch.equal(user_emb[:, 4:8], model.preference['image'])
    assert torch.equal(user_emb[:, 8:], model.preference['text'])
    assert torch.equal(item_emb[:, :4], model.item.weight)


def test_without_modality():
    model = VBPR(12, 9, {}, dim=4)
    user_emb, item_emb = model(case.data())
    assert torch.equal(user_emb, model.user.weight)
    assert torch.equal(item_emb, model.item.weight)


def test_constant_blocks():
    """They are what is left of ablated modalities, one number a user."""
    data = case.data(3)
    model = case.make(data)
    keeps = [*distinct_views(modalities(data)), frozenset()]
    several = model.views(data, keeps)
    for v, keep in enumerate(keeps):
        user, item = several.embedding(v, constants=True)
        by_ablation = view(model, data, keep)
        torch.testing.assert_close(
            user @ item.t(), by_ablation[0] @ by_ablation[1].t()
        )
        left = several.embedding(v)
        assert left[0].shape == (12, 4 * (1 + len(keep)))
        added = user @ item.t() - left[0] @ left[1].t()
        torch.testing.assert_close(added, added[:, :1].expand(12, 9))
        assert (added.abs().max() > 1e-3) == (len(keep) < 3)


def test_initialization():
    """As the authors: Xavier-uniform tables, the projection as in torch."""
    model = VBPR(500, 300, {'text': 100}, dim=20)
    for table in (model.user.weight, model.item.weight, model.preference.text):
        bound = (6 / sum(table.shape)) ** 0.5
        assert table.abs().max() <= bound
        assert table.abs().max() > 0.95 * bound
        assert table.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    for parameter in model.projection['text'].parameters():
        assert 0.08 < parameter.abs().max() <= 1 / 100**0.5


def projected_rows(model):
    """Count the rows that each projection is applied to."""
    rows = {m: [] for m in model.in_channels}
    for m, linear in model.projection.items():
        linear.register_forward_hook(
            lambda _, args, __, m=m: rows[m].append(len(args[0]))
        )
    return rows


def test_only_needed_rows_are_projected():
    data = case.data()
    model = case.make(data)
    rows = projected_rows(model)
    views = model.views(data, distinct_views(['image', 'text']))
    assert rows == {'image': [], 'text': []}
    user = torch.tensor([0, 1, 2, 3])
    pos, neg = torch.tensor([5, 5, 8, 5]), torch.tensor([8, 5, 1, 1])
    views.triples(user, pos, neg).margin()
    assert rows == {'image': [3], 'text': [3]}


def test_only_needed_modalities_are_projected():
    data = case.data(3)
    model = case.make(data)
    rows = projected_rows(model)
    views = model.views(data, [only('text')])
    views.triples(*torch.tensor([[0, 1], [2, 3], [4, 4]])).margin()
    assert rows == {'image': [], 'text': [3], 'audio': []}
    user_emb, _ = views.embedding()
    assert user_emb.shape == (12, 8)
    assert rows == {'image': [], 'text': [3, 9], 'audio': []}


def test_gradient_touches_needed_rows_only():
    data = case.data()
    model = case.make(data)
    views = model.views(data, distinct_views(['image', 'text']))
    triples = views.triples(*torch.tensor([[7, 2], [0, 3], [5, 5]]))
    triples.margin().sum().backward()
    for table, rows in (
        (model.user.weight, [2, 7]),
        (model.preference['text'], [2, 7]),
        (model.item.weight, [0, 3, 5]),
    ):
        assert table.grad.any(dim=1).nonzero().flatten().tolist() == rows
