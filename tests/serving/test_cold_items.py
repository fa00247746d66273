import pytest
import torch

from pyg_ckd.graph import RATES, check
from pyg_ckd.nn import VBPR, FeatureKNN, FixedEmbeddings
from pyg_ckd.serving import ColdItems
from pyg_ckd.serving.cold_items import LABELS


def pairs_of(data, names):
    """Return all pairs of some splits, items by their features."""
    text = data['item'].x_text
    return {
        (user, tuple(text[item].tolist()))
        for name in names
        for user, item in data[RATES][name].t().tolist()
    }


def test_nothing_is_lost_or_leaks(shop):
    cold = ColdItems.of(shop, share=0.3, seed=1)
    warm = check(cold.warm)
    assert (len(cold.item), warm['item'].num_nodes) == (9, 21)
    assert warm['user'].num_nodes == 40
    names = [shop['item'].name[i] for i in range(30) if i not in cold.item]
    assert warm['item'].name == names
    assert warm['item'].title == [f'Item “{name[1:]}”' for name in names]
    for name in ('edge_index', *LABELS):
        gone = {tuple(x.tolist()) for x in cold.features['text']}
        wanted = {
            pair for pair in pairs_of(shop, [name]) if pair[1] not in gone
        }
        assert pairs_of(warm, [name]) == wanted
    trained = {*warm[RATES].edge_index[0].tolist()}
    held_out = {
        (user, tuple(cold.features['text'][place].tolist()))
        for user, place in cold.test.t().tolist()
    }
    assert held_out == {
        (user, text)
        for user, text in pairs_of(shop, ['edge_index', *LABELS])
        if text in gone and user in trained
    }
    for m in ('image', 'text'):
        x = shop['item'][f'x_{m}'][cold.item]
        assert torch.equal(cold.features[m], x)


def test_the_seed_says_which(plain):
    one, other, third = (ColdItems.of(plain, seed=s).item for s in (0, 0, 1))
    assert torch.equal(one, other)
    assert not torch.equal(one, third)


def test_a_model_that_knows_is_right(plain):
    """A model whose items are their features finds what users have."""
    cold = ColdItems.of(plain, share=0.3)
    model = VBPR.from_data(cold.warm, dim=8)
    chance = cold.evaluate(model, ks=(2,))['recall@2']
    with torch.no_grad():
        for name in ('user', 'item'):
            getattr(model, name).weight.zero_()
        # Users lie where what they have lies, in text:
        x = plain['item'].x_text
        for user in range(40):
            own = cold.test[1, cold.test[0] == user]
            if len(own):
                mean = cold.features['text'][own] - x.mean(0)
                taken = mean.mean(0) @ model.projection['text'].weight.t()
                model.preference['text'][user] = 100 * taken
            model.preference['image'][user] = 0.0
    assert cold.evaluate(model, ks=(2,))['recall@2'] > chance + 0.2
    some = cold.evaluate(model, ks=(2,), among_all=True)['recall@2']
    assert some <= cold.evaluate(model, ks=(2,))['recall@2']


def test_graphs_are_those_of_the_model(plain):
    cold = ColdItems.of(plain)
    model = FeatureKNN.from_data(cold.warm, k=5)
    warm = cold.warm
    if FeatureKNN.pre_transform is not None:
        warm = FeatureKNN.pre_transform(warm)
    found = cold.evaluate(model, warm=warm)
    assert 0 < found['recall@20'] <= 1


@pytest.mark.parametrize('share', [0, 1, -0.5, float('nan')])
def test_shares(plain, share):
    with pytest.raises(ValueError, match="'share' needs to be in"):
        ColdItems.of(plain, share=share)


def test_models_and_data_without_features(plain):
    cold = ColdItems.of(plain)
    model = FixedEmbeddings(torch.rand(40, 2), torch.rand(24, 2))
    with pytest.raises(ValueError, match='not made by its arguments'):
        cold.evaluate(model)
    bare = plain.clone()
    del bare['item'].x_text, bare['item'].x_image
    with pytest.raises(ValueError, match='cannot be told apart'):
        ColdItems.of(bare)


def test_what_cold_items_lack(shop):
    shop['item'].has_image = torch.arange(30) % 2 == 0
    cold = ColdItems.of(shop, share=0.3)
    assert torch.equal(cold.has['image'], cold.item % 2 == 0)
    model = VBPR.from_data(cold.warm, dim=4)
    hidden = cold.evaluate(model)
    cold.features['image'][~cold.has['image']] += 100
    assert cold.evaluate(model) == hidden


def test_attributes_of_any_kind(plain):
    """What has an entry an item loses those of cold ones, all else stays."""
    data = plain.clone()
    prices = torch.arange(30)
    data['item'].price = prices
    data['item'].array = prices.numpy()
    data['item'].row = tuple(prices.tolist())
    data['item'].scale, data['item'].table = torch.tensor(2.0), torch.ones(5, 2)
    cold = ColdItems.of(data, share=0.2)
    item = cold.warm['item']
    warm = [row for row in range(30) if row not in cold.item]
    assert item.price.tolist() == item.array.tolist() == list(item.row) == warm
    assert (item.scale, item.table.shape) == (2.0, (5, 2))
