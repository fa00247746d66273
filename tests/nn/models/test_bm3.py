import pytest
import torch
import torch.nn.functional as F

from pyg_ckd.graph import modalities
from pyg_ckd.nn import BM3
from pyg_ckd.ranking import evaluate
from pyg_ckd.testing import (
    RecommenderSuite,
    assert_same_with_gradients,
    dense_light_gcn,
    fake_graph,
    gradients,
    train_steps,
)
from pyg_ckd.transforms import AblateModality
from pyg_ckd.views import distinct_views, full, only


class TestBM3(RecommenderSuite):
    model = BM3
    blind = True


case = TestBM3()


def naive(model, data):
    """Recompute what comes before the predictor, on dense matrices."""
    out = dense_light_gcn(
        data, model.user.weight, model.item.weight, model.num_layers
    )
    return out[:12], out[12:] + model.item.weight


def predict(model, x):
    return model.predictor.weight @ x + model.predictor.bias


def naive_loss(model, data, user, pos, mask):
    all_users, all_items = naive(model, data)

    def distance(x, target):
        x, target = predict(model, x), mask * target.detach()
        return 1 - x @ target / x.norm() / target.norm()

    total = 0.0
    for b in range(len(user)):
        u, i = all_users[user[b]], all_items[pos[b]]
        loss = distance(u, i) + distance(i, u)
        for m, linear in model.projection.items():
            x = data['item'][f'x_{m}'][pos[b]]
            if m in model.offset:
                x = x + model.offset[m][pos[b]]
            z = linear.weight @ x + linear.bias
            loss = loss + model.feature_weight * (
                distance(z, i) + distance(z, z)
            )
        total = total + loss / len(user)
    norms = (all_users**2).sum().sqrt() + (all_items**2).sum().sqrt()
    return total + model.norm_weight * norms / 9


def loss_of(model, data, user, pos, keep=None):
    """The items nobody prefers must not matter."""
    keep = full(modalities(data)) if keep is None else keep
    several = model.views(data, [keep])
    neg = torch.randint(9, pos.shape)
    return model.loss(data, keep, several, user, pos, neg)


def assert_equal_with_gradients(model, result, expected):
    assert_same_with_gradients([result], [expected], model, atol=1e-5)
    for grad in gradients(expected, model).values():
        assert grad.abs().sum() > 0


@pytest.mark.parametrize('num_layers', [0, 1, 3])
def test_embeddings(num_layers):
    data = case.data()
    model = case.make(data, num_layers=num_layers)
    expected = [
        torch.stack([predict(model, x) for x in side])
        for side in naive(model, data)
    ]
    assert_same_with_gradients(model(data), expected, model, atol=1e-5)


@pytest.mark.parametrize('train_features', [False, True])
@pytest.mark.parametrize('num_modalities', [1, 2, 3])
def test_loss(num_modalities, train_features):
    data = case.data(num_modalities)
    model = case.make(
        data,
        num_layers=2,
        dropout=0.0,
        feature_weight=0.7,
        norm_weight=3.0,
        train_features=train_features,
    )
    user, pos, _ = case.batch()
    assert_equal_with_gradients(
        model,
        loss_of(model, data, user, pos),
        naive_loss(model, data, user, pos, mask=1.0),
    )


def test_loss_of_a_view():
    """What is ablated is not projected."""
    data = case.data()
    model = case.make(data, dropout=0.0)
    user, pos, _ = case.batch()
    result = loss_of(model, data, user, pos, only('text'))
    del model.projection['image']
    expected = naive_loss(model, data, user, pos, mask=1.0)
    assert_equal_with_gradients(model, result, expected)


def test_dropout_of_targets(monkeypatch):
    """Dropout is replaced by one and the same mask for all targets."""
    data = case.data()
    model = case.make(data, training=True, dropout=0.3)
    mask = torch.tensor([0.0, 1.0, 0.5, 2.0])
    calls = []

    def dropout(x, p, training):
        assert not x.requires_grad
        calls.append((len(x), p, training))
        return mask * x

    monkeypatch.setattr(F, 'dropout', dropout)
    user, pos, _ = case.batch(20)
    assert_equal_with_gradients(
        model,
        loss_of(model, data, user, pos),
        naive_loss(model, data, user, pos, mask),
    )
    assert calls == [(20, 0.3, True)] * 4  # users, items, two modalities


def test_dropout_in_training_only():
    data = case.data()
    model = case.make(data, training=True, dropout=0.5)
    user, pos, _ = case.batch()
    first, second = (loss_of(model, data, user, pos) for _ in range(2))
    assert not torch.allclose(first, second)
    torch.testing.assert_close(
        loss_of(model.eval(), data, user, pos),
        naive_loss(model, data, user, pos, mask=1.0),
    )


def test_loss_without_modalities():
    data = case.data()
    model = case.make(data, use=[], dropout=0.0)
    user, pos, _ = case.batch()
    assert_equal_with_gradients(
        model,
        loss_of(model, data, user, pos),
        naive_loss(model, data, user, pos, mask=1.0),
    )


def test_all_views_rank_alike():
    data = case.data(3)
    model = case.make(data)
    keeps = distinct_views(modalities(data))
    several = model.views(data, keeps)
    for place in range(len(keeps)):
        torch.testing.assert_close(several.embedding(place), model(data))
    blind = AblateModality('text', 'image')(data)
    torch.testing.assert_close(model(blind), model(data))


def test_training():
    data = fake_graph(num_users=150, num_items=60, num_interactions=12)
    data = BM3.pre_transform(data)
    model = BM3.from_data(data, dim=16)
    before = evaluate(model, data)['ndcg@20']
    train_steps(model, data, full(modalities(data)), num_epochs=150, lr=0.02)
    assert evaluate(model, data)['ndcg@20'] > before + 0.05


def test_initialization():
    model = BM3(500, 300, {'text': 100}, dim=20, train_features=True)
    for table in (model.user.weight, model.item.weight):
        bound = (6 / sum(table.shape)) ** 0.5
        assert 0.95 * bound < table.abs().max() <= bound
    for linear, size in (
        (model.projection['text'], 100),
        (model.predictor, 20),
    ):
        assert linear.weight.std().item() == pytest.approx(
            (2 / (size + 20)) ** 0.5, rel=0.15
        )
        assert 0 < linear.bias.abs().max() <= size**-0.5
    assert model.offset['text'].shape == (300, 100)
    assert model.offset['text'].eq(0).all()


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(dropout=1.0), r"'dropout'.*'BM3' \(got 1\.0\)"),
        (dict(dropout=-0.1), r"'dropout'.*'BM3' \(got -0\.1\)"),
        (dict(num_layers=-1), r"'num_layers'.*'BM3' \(got -1\)"),
    ],
)
def test_argument_errors(kwargs, message):
    with pytest.raises(ValueError, match=message):
        BM3(3, 2, {'text': 4}, **kwargs)
