import numpy as np
import pytest
import torch

from pyg_ckd.experiments.backbones import BACKBONES
from pyg_ckd.graph import check
from pyg_ckd.nn import BPRMF, FREEDOM, GRCN, VBPR, Cosine, ItemBias
from pyg_ckd.ranking import recommend
from pyg_ckd.serving import load, save, with_new_items
from pyg_ckd.testing import PlainRecommender


def twins(data, num=3):
    """Return features of new items that look like the first ones."""
    return {m: data['item'][f'x_{m}'][:num] for m in ('image', 'text')}


@pytest.mark.parametrize('name', BACKBONES)
def test_backbones(name, plain):
    """What was there stays, but for neighbours that are new."""
    backbone = BACKBONES[name]
    data = plain
    if backbone.pre_transform is not None:
        data = backbone.pre_transform(data)
    model = backbone.from_data(data).eval()
    bigger, grown = with_new_items(model, data, twins(data))
    assert check(grown)['item'].num_nodes == 33
    user, item = bigger(grown)
    assert (len(user), len(item)) == (40, 33)
    before = model.state_dict()
    for key, value in bigger.state_dict().items():
        rows = tuple(slice(0, size) for size in before[key].shape)
        if name != 'GRCN':  # it has a table of users above items
            assert torch.equal(value[rows], before[key])
    new, _ = recommend(bigger, grown, [7], 33, exclude_known=False)
    assert {30, 31, 32} <= {*new[0].tolist()}


@pytest.mark.parametrize('wrapper', [Cosine, ItemBias])
def test_wrappers(wrapper, plain):
    model = wrapper(VBPR.from_data(plain, dim=8))
    bigger, grown = with_new_items(model, plain, twins(plain))
    assert len(bigger(grown)[1]) == 33


def test_a_twin_is_recommended_to_the_same_users(plain):
    """Where features say all, so do they for new items."""
    model = VBPR.from_data(plain, dim=8)
    torch.nn.init.zeros_(model.item.weight)
    bigger, grown = with_new_items(model, plain, twins(plain))
    user, item = bigger(grown)
    score = user @ item.t()
    assert torch.allclose(score[:, 30:], score[:, :3], atol=1e-5)


def test_ids_are_those_of_items_alike(plain):
    data = plain.clone()
    torch.manual_seed(0)
    centre = torch.nn.functional.one_hot(torch.arange(30) % 2, 32).float()
    for m in ('image', 'text'):
        data['item'][f'x_{m}'] = centre + 1e-3 * torch.rand(30, 32)
    model = BPRMF.from_data(data, dim=4)
    with torch.no_grad():
        model.item.weight.copy_((torch.arange(30) % 2).unsqueeze(1))
    new = {m: centre[:2] for m in ('image', 'text')}
    bigger, _ = with_new_items(model, data, new)
    assert torch.allclose(
        bigger.item.weight[30:], torch.tensor([[0.0] * 4, [1.0] * 4])
    )


def test_tables_of_users_above_items(plain):
    model = GRCN.from_data(plain)
    bigger, _ = with_new_items(model, plain, twins(plain))
    assert torch.equal(bigger.confidence[:70], model.confidence)


def test_settings_of_graphs_are_kept(plain):
    data = FREEDOM.pre_transform(plain)
    model = FREEDOM.from_data(data, dim=8, num_layers=1, prune=0.5)
    bigger, _ = with_new_items(model, data, twins(data))
    assert (bigger.num_layers, bigger.prune, bigger.num_items) == (1, 0.5, 33)


def test_names_titles_and_what_is_missing(shop, tmp_path):
    shop['item'].has_image = torch.arange(30) > 3
    model = VBPR.from_data(shop, dim=4)
    bigger, grown = with_new_items(
        model, shop, twins(shop), ['a', 'b', 'c'], ['A', 'B', 'C']
    )
    assert grown['item'].title[29:] == ['Item “29”', 'A', 'B', 'C']
    assert grown['item'].name[29:] == ['i29', 'a', 'b', 'c']
    assert grown['item'].has_image.tolist() == [*[False] * 4, *[True] * 29]
    save(bigger, grown, tmp_path / 'model')
    served = load(tmp_path / 'model')
    assert {*served.recommend(['u7'], candidates=['a', 'b'])[0][0]} & {'a', 'b'}
    assert served.similar_items('i0', 1)[0][0] == 'a'


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        (lambda x: {'text': x['text']}, r"the modalities \['image', 'text'\]"),
        (lambda x: {**x, 'text': x['text'][:2]}, 'one row for each new item'),
        (lambda x: {**x, 'text': x['text'][:, :2]}, 'of the widths'),
        (lambda x: {m: y[:0] for m, y in x.items()}, 'one row for each'),
        (lambda x: {**x, 'text': x['text'] * torch.nan}, 'nan|NaN|finite'),
    ],
)
def test_features_that_do_not_fit(plain, change, match):
    model = VBPR.from_data(plain, dim=4)
    with pytest.raises(ValueError, match=match):
        with_new_items(model, plain, change(twins(plain)))


def test_a_modality_that_new_items_lack(plain):
    """They look like an average item in it."""
    model = VBPR.from_data(plain, dim=8)
    new = twins(plain)
    new['image'] = new['image'].clone()
    new['image'][1] = torch.nan
    has = {'image': [True, False, True]}
    _, grown = with_new_items(model, plain, new, has=has)
    item = grown['item']
    assert item.has_image.tolist() == [*[True] * 31, False, True]
    assert torch.allclose(item.x_image[31], plain['item'].x_image.mean(dim=0))
    assert torch.equal(item.x_image[30], plain['item'].x_image[0])
    assert 'has_text' not in item


def test_the_mean_is_of_those_that_have_it(plain):
    data = plain.clone()
    data['item'].has_text = torch.arange(30) < 10
    data['item'].x_text[10:] = 0.0
    model = VBPR.from_data(data, dim=8)
    none = {'text': torch.zeros(3, dtype=torch.bool)}
    _, grown = with_new_items(model, data, twins(data), has=none)
    mean = data['item'].x_text[:10].mean(dim=0)
    assert torch.allclose(grown['item'].x_text[30:], mean.expand(3, -1))


@pytest.mark.parametrize(
    ('has', 'match'),
    [
        ({'sound': [True] * 3}, r"of the modalities .* \(got \['sound'\]\)"),
        ({'text': [True] * 2}, "needs 3 Booleans for 'text'"),
        ({'text': [1, 0, 1]}, r'got torch.int64 of the shape \[3\]'),
    ],
)
def test_masks_that_do_not_fit(plain, has, match):
    model = VBPR.from_data(plain, dim=8)
    with pytest.raises(ValueError, match=match):
        with_new_items(model, plain, twins(plain), has=has)


def test_attributes_of_ones_own(plain):
    """Those of users are kept, and of items a warning says what is lost."""
    data = plain.clone()
    data['user'].age = torch.arange(40)
    data['item'].price = torch.ones(30)
    model = VBPR.from_data(data, dim=8)
    with pytest.warns(UserWarning, match=r"\['price'\]") as warned:
        _, grown = with_new_items(model, data, twins(data))
    assert warned[0].filename == __file__
    assert torch.equal(grown['user'].age, data['user'].age)


def test_features_far_from_what_was_learned(plain):
    model = VBPR.from_data(plain, dim=8)
    new = {m: x.clone() for m, x in twins(plain).items()}
    new['text'][1] *= 40
    with pytest.warns(UserWarning, match="'text' of new item 1 are ") as said:
        with_new_items(model, plain, new)
    assert said[0].filename == __file__


def test_names_that_do_not_fit(plain, shop):
    for names in (['i0', 'b', 'c'], ['a', 'a', 'b']):
        with pytest.raises(ValueError, match=f"the name '{names[0]}'"):
            with_new_items(
                VBPR.from_data(shop, dim=4),
                shop,
                twins(shop),
                names,
                ['A', 'B', 'C'],
            )
    model = VBPR.from_data(plain, dim=4)
    with pytest.raises(ValueError, match="'titles' needs a title for each"):
        with_new_items(model, shop, twins(shop), ['a', 'b', 'c'])
    for data, names in ((plain, ['a', 'b', 'c']), (shop, None), (shop, ['a'])):
        with pytest.raises(ValueError, match="'names' needs a name for each"):
            with_new_items(model, data, twins(data), names)


def test_foreign_models(plain):
    with pytest.raises(ValueError, match='not made by its arguments'):
        with_new_items(PlainRecommender(plain), plain, twins(plain))


def test_names_in_an_array(shop):
    model = VBPR.from_data(shop, dim=4)
    features = {m: torch.randn(2, 32) for m in ('image', 'text')}
    texts = {'names': ['new', 'newer'], 'titles': ['New', 'Newer']}
    _, one = with_new_items(model, shop, features, **texts)
    arrays = {kind: np.array(value) for kind, value in texts.items()}
    _, other = with_new_items(model, shop, features, **arrays)
    assert one['item'].name == other['item'].name
    assert one['item'].title == other['item'].title
