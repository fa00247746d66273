import pytest
import torch

from pyg_ckd import from_interactions
from pyg_ckd.graph import RATES
from pyg_ckd.nn import VBPR, Cosine, LightGCN
from pyg_ckd.serving import save, warm_start
from pyg_ckd.testing import PlainRecommender
from pyg_ckd.train import Recommendation, fit
from pyg_ckd.transforms import FeaturePCA


def part_of(shop, users, items):
    """Return the graph of some users and items, by name."""
    user, item = shop[RATES].edge_index
    names = shop['user'].name, shop['item'].name
    pairs = [
        (names[0][u], names[1][i])
        for u, i in zip(user.tolist(), item.tolist(), strict=True)
        if names[0][u] in users and names[1][i] in items
    ]
    rows = {name: row for row, name in enumerate(names[1])}
    return from_interactions(
        [u for u, _ in pairs],
        [i for _, i in pairs],
        features={
            m: {
                name: shop['item'][f'x_{m}'][rows[name]].tolist()
                for name in {i for _, i in pairs}
            }
            for m in ('image', 'text')
        },
    )


@pytest.fixture
def before(shop):
    return part_of(shop, shop['user'].name[:35], shop['item'].name[:25])


@pytest.fixture
def after(shop):
    """Some users and items are new, and some are gone."""
    return part_of(shop, shop['user'].name[2:], shop['item'].name[1:])


def test_rows_go_where_their_names_are(before, after, tmp_path):
    old = VBPR.from_data(before, dim=4)
    save(old, before, tmp_path / 'model')
    new = VBPR.from_data(after, dim=4)
    known = warm_start(new, after, tmp_path / 'model')
    shared = [
        [name for name in after[node].name if name in before[node].name]
        for node in ('user', 'item')
    ]
    assert known == tuple(map(len, shared))
    for node, tables in (
        ('user', lambda m: [m.user.weight, m.preference['text']]),
        ('item', lambda m: [m.item.weight]),
    ):
        for was, now in zip(tables(old), tables(new), strict=True):
            for name in shared[0] if node == 'user' else shared[1]:
                row = was[before[node].name.index(name)]
                assert torch.equal(now[after[node].name.index(name)], row)
            assert now.isfinite().all()
    for name in ('image', 'text'):
        weight = old.projection[name].weight
        assert torch.equal(new.projection[name].weight, weight)


def test_the_same_data_is_the_same_model(shop, tmp_path):
    old = Cosine(VBPR.from_data(shop, dim=4))
    save(old, shop, tmp_path / 'model')
    new = Cosine(VBPR.from_data(shop, dim=4))
    assert warm_start(new, shop, tmp_path / 'model') == (40, 30)
    for one, other in zip(new(shop), old(shop), strict=True):
        assert torch.equal(one, other)


def test_without_names_numbers_count(plain, tmp_path):
    old = VBPR.from_data(plain, dim=4)
    save(old, plain, tmp_path / 'model')
    new = VBPR.from_data(plain, dim=4)
    warm_start(new, plain, tmp_path / 'model')
    assert torch.equal(new.item.weight, old.item.weight)


def test_fit_begins_there(shop, tmp_path):
    task = Recommendation(VBPR.from_data(shop, dim=8), shop, lr=1e-2)
    fit(task, max_epochs=30, progress=False)
    task.save(tmp_path / 'model')
    best = max(entry['val_recall@20'] for entry in task.history)
    again = Recommendation(VBPR.from_data(shop, dim=8), shop, lr=1e-9)
    fit(
        again,
        max_epochs=1,
        eval_every=1,
        progress=False,
        warm_start=tmp_path / 'model',
    )
    assert again.history[0]['val_recall@20'] == pytest.approx(best)
    with pytest.raises(ValueError, match='exclude each other'):
        fit(
            again,
            ckpt_path=tmp_path / 'model' / 'model.json',
            warm_start=tmp_path / 'model',
        )


def test_foreign_models(before, after, tmp_path):
    old = PlainRecommender(before)
    save(old, before, tmp_path / 'model')
    new = PlainRecommender(after)
    warm_start(new, after, tmp_path / 'model')
    name = next(x for x in after['user'].name if x in before['user'].name)
    assert torch.equal(
        new.user.weight[after['user'].name.index(name)],
        old.user.weight[before['user'].name.index(name)],
    )


def test_other_settings(shop, tmp_path):
    save(VBPR.from_data(shop, dim=4), shop, tmp_path / 'model')
    with pytest.raises(ValueError, match='with the settings of then'):
        warm_start(VBPR.from_data(shop, dim=8), shop, tmp_path / 'model')
    data = LightGCN.pre_transform(shop)
    with pytest.raises(
        ValueError, match="'VBPR' was saved, so that a 'LightGCN'"
    ):
        warm_start(
            LightGCN.from_data(data, use=['text'], dim=4),
            data,
            tmp_path / 'model',
        )


def test_features_of_another_form(shop, tmp_path):
    save(VBPR.from_data(shop, dim=4), shop, tmp_path / 'model')
    after = shop.clone()
    after['item'].x_text = after['item'].x_text * 20
    model = VBPR.from_data(after, dim=4)
    with pytest.warns(UserWarning, match="'text' have the scale"):
        warm_start(model, after, tmp_path / 'model')


def test_features_of_other_axes(shop, tmp_path):
    """They have the same scale, and mean something else."""
    before = FeaturePCA(3)(shop)
    save(VBPR.from_data(before, dim=4), before, tmp_path / 'model')
    after = before.clone()
    after['item'].x_text = after['item'].x_text * torch.tensor([1.0, -1.0, 1.0])
    with pytest.warns(UserWarning, match=r"'text' are not those of then.*%"):
        warm_start(VBPR.from_data(after, dim=4), after, tmp_path / 'model')


@pytest.mark.filterwarnings('error:Features of')
def test_features_of_some_may_change(shop, tmp_path):
    """A few items have new pictures, some are gone, others have come."""
    save(VBPR.from_data(shop, dim=4), shop, tmp_path / 'model')
    after = shop.clone()
    num = after['item'].num_nodes
    after['item'].x_text = after['item'].x_text.clone()
    after['item'].x_text[::4] += 3
    after['item'].name = [
        f'new {name}' if i % 3 == 0 else name
        for i, name in enumerate(shop['item'].name)
    ]
    assert num > 9
    warm_start(VBPR.from_data(after, dim=4), after, tmp_path / 'model')


def test_other_shops(shop, plain, tmp_path):
    save(VBPR.from_data(shop, dim=4), shop, tmp_path / 'model')
    model = VBPR.from_data(plain, dim=4)
    with pytest.raises(ValueError, match='in neither, to tell who is who'):
        warm_start(model, plain, tmp_path / 'model')
    other = shop.clone()
    other['item'].name = [f'x{name}' for name in shop['item'].name]
    with pytest.raises(ValueError, match='one of another shop'):
        warm_start(model, other, tmp_path / 'model')


def test_what_are_tables_of_foreign_models_is_said(before, after, tmp_path):
    save(PlainRecommender(before), before, tmp_path / 'model')
    new = PlainRecommender(after)
    with pytest.warns(UserWarning, match=r"tables, .* of users 'user.weight';"):
        warm_start(new, after, tmp_path / 'model')
