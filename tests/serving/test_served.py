from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch

from pyg_ckd.graph import RATES
from pyg_ckd.inspect import explain
from pyg_ckd.nn import VBPR, FixedEmbeddings, InteractionKNN, LightGCN
from pyg_ckd.ranking import recommend
from pyg_ckd.serving import (
    FaissIndex,
    Names,
    Recommendations,
    Served,
    load,
    save,
)
from pyg_ckd.views import only


@pytest.fixture
def model(shop):
    torch.manual_seed(1)
    return VBPR.from_data(shop, dim=4)


@pytest.fixture
def served(model, shop):
    return Served.from_model(model, shop)


def test_repr(served):
    assert repr(served) == (
        "Served(VBPR, 40 users, 30 items, views ['full', 'only(image)', "
        "'only(text)'])"
    )


def test_recommend(served, model, shop):
    found = served.recommend(['u7', 'u3'], k=4)
    item, score = recommend(model, shop, [7, 3], 4)
    assert found.users == ['u7', 'u3']
    assert found.items == [[f'i{i}' for i in row] for row in item.tolist()]
    assert found.scores == score.tolist()
    assert len(found) == 2
    assert [*found] == [found[0], found[1]]


def test_a_user_may_be_asked_for_twice(served):
    one, other, third = served.recommend(['u7', 'u3', 'u7'], k=4)
    assert one == third != other


def test_candidates_and_what_is_known(served, model, shop):
    names = ['i9', 'i2', 'i2', 'i17', 'i5']
    ids = [9, 2, 17, 5]
    for exclude in (True, False):
        found = served.recommend(
            ['u7'], 10, candidates=names, exclude_known=exclude
        )
        item, score = recommend(
            model, shop, 7, 10, candidates=ids, exclude_known=exclude
        )
        kept = item[0] >= 0
        assert found.items[0] == [f'i{i}' for i in item[0, kept].tolist()]
        assert found.scores[0] == score[0, kept].tolist()


def test_lists_are_shorter_where_nothing_is_left(served):
    (found,) = served.recommend(['u3'], k=1000)
    assert len(found) == 30 - len(served.history('u3'))
    assert not {item for item, _ in found} & {*served.history('u3')}


@pytest.mark.parametrize(
    ('arguments', 'match'),
    [
        ({'users': ['u77']}, "no user 'u77', the nearest of 40 is 'u7'"),
        ({'users': [7]}, "no user 7, the nearest of 40 is 'u7'"),
        (
            {'users': ['u1'], 'k': 0},
            "'k' needs to be a whole number, at least 1",
        ),
        ({'users': ['u1'], 'candidates': ['tea']}, "no item 'tea'"),
        ({'users': ['u1'], 'candidates': []}, 'at least one item'),
        ({'users': ['u1'], 'view': ['sound']}, "'view' needs to be one of"),
        ({'users': ['u1'], 'view': 'text'}, "'view' needs to be one of"),
    ],
)
def test_bad_requests(served, arguments, match):
    with pytest.raises(ValueError, match=match):
        served.recommend(**arguments)


def test_one_user_is_no_list(served):
    with pytest.raises(TypeError, match=r"such as \['u7'\]"):
        served.recommend('u7')


def test_users_without_names_are_numbers(plain):
    served = Served.from_model(VBPR.from_data(plain, dim=4), plain)
    assert served.recommend([7], 2).users == [7]
    for wrong in ('7', -1, 40, True, 1.0):
        with pytest.raises(ValueError, match='numbers from 0 to 39'):
            served.recommend([wrong], 2)


def test_no_users(served):
    assert len(served.recommend([])) == 0
    assert len(served.recommend_new([])) == 0


@pytest.mark.parametrize('modality', [None, 'text', 'image'])
def test_similar_items(served, modality):
    place = 0 if modality is None else served.keeps.index(only(modality))
    _, item = served.views.embedding(place)
    unit = torch.nn.functional.normalize(item, dim=1)
    cosine = unit @ unit[7]
    cosine[7] = -torch.inf
    value, index = cosine.sort(descending=True, stable=True)
    found = served.similar_items('i7', 5, modality=modality)
    assert [name for name, _ in found] == [f'i{i}' for i in index[:5].tolist()]
    assert [x for _, x in found] == pytest.approx(value[:5].tolist(), abs=1e-6)


def test_similar_items_of_all(served):
    assert len(served.similar_items('i7', 1000)) == 29
    with pytest.raises(ValueError, match="no item 'tea'"):
        served.similar_items('tea')
    with pytest.raises(ValueError, match="'modality' needs to be one of"):
        served.similar_items('i7', modality='sound')


def test_views_by_name(served):
    for name, keep in served.view_names().items():
        named = served.recommend(['u3'], 5, view=name)
        assert named.items == served.recommend(['u3'], 5, view=keep).items
    with pytest.raises(ValueError, match=r"one of .*'only\(text\)'"):
        served.recommend(['u3'], view='text')


def test_users_who_were_not_trained(shop, tmp_path):
    """They are folded in from what was held out; others stay as they are."""
    data = shop.clone()
    rates = data[RATES]
    new = rates.edge_index[0] < 2
    rates.test_edge_label_index = rates.edge_index[:, new]
    rates.val_edge_label_index = rates.edge_index[:, ~new][:, :5]
    rates.edge_index = rates.edge_index[:, ~new][:, 5:]
    lonely = rates.test_edge_label_index[0] == 1
    rates.test_edge_label_index = rates.test_edge_label_index[:, ~lonely]
    del data['item', 'rated_by', 'user']
    model = VBPR.from_data(data, dim=4)
    save(model, data, tmp_path / 'model')
    served = load(tmp_path / 'model')
    assert served.untrained.tolist() == [0, 1]
    history = served.history('u0')
    assert history and served.history('u1') == []
    for view in served.view_names():
        folded = served.recommend_new([history], view=view)
        found = served.recommend(['u0', 'u2', 'u1'], view=view)
        assert found.items[0] == folded.items[0]
        plain = served.recommend(['u2'], view=view)
        assert found.scores[1] == pytest.approx(plain.scores[0])
    user_emb, _ = served.embeddings()
    trained = user_emb[2:].mean(dim=0)
    torch.testing.assert_close(
        served._users(0, torch.tensor([1]))[0], trained, atol=1e-5, rtol=1e-4
    )


def test_neighbours_of_users_who_were_not_trained(shop):
    data = shop.clone()
    rates = data[RATES]
    first = rates.edge_index[0] == 0
    rates.val_edge_label_index = rates.edge_index[:, first]
    rates.edge_index = rates.edge_index[:, ~first]
    del data['item', 'rated_by', 'user'], rates.test_edge_label_index
    served = Served.from_model(InteractionKNN.from_data(data), data)
    found = served.recommend(['u5', 'u0'])
    assert (
        found.items[1] == served.recommend_new([served.history('u0')]).items[0]
    )
    assert found.items[0] == served.recommend(['u5']).items[0]
    assert found.scores[1][0] > 0


def test_items_that_lack_a_modality(model, shop, tmp_path):
    shop['item'].has_image = torch.arange(30) >= 5
    save(model, shop, tmp_path / 'model')
    served = load(tmp_path / 'model')
    assert served.modalities == ['image', 'text']
    found = served.similar_items('i7', 99, modality='image')
    assert {item for item, _ in found} == {
        f'i{row}' for row in range(5, 30) if row != 7
    }
    assert len(served.similar_items('i7', 99, modality='text')) == 29
    assert len(served.similar_items('i3', 99)) == 29
    with pytest.raises(ValueError, match="Item 'i3' has no image"):
        served.similar_items('i3', modality='image')


def test_explain(served, model, shop):
    found = served.explain('u3', 'i7')
    wanted = explain(model, shop, 3, 7, names=shop['item'].title)
    assert (found.score, found.rank) == (wanted.score, wanted.rank)
    assert found.sentence == wanted.sentence
    assert 'Item “7”' in found.sentence


def test_search(served):
    assert served.users.search('u3')[:3] == ['u3', 'u30', 'u31']
    assert served.search_items('i2', most=3) == ['i2', 'i20', 'i21']
    assert served.search_items('“7') == ['i7']
    assert served.search_items('ITEM', most=2) == ['i0', 'i1']
    assert served.search_items('nothing') == []


def test_names():
    names = Names('user', 3, ['7', 7, 'ann'])
    assert names.rows([7, '7', 'ann']).tolist() == [1, 0, 2]
    assert (names.find('7'), names.find('8')) == ('7', 8)
    assert Names('user', 3).find('2') == 2
    assert Names('user', 3).find('9' * 5000) == '9' * 5000
    with pytest.raises(ValueError, match='2 names were given for 3 users'):
        Names('user', 3, ['a', 'b'])
    with pytest.raises(ValueError, match="Two users have the name 'a'"):
        Names('user', 3, ['a', 'b', 'a'])


def test_titles_are_one_for_each_item(model, shop):
    shop['item'].title = ['one']
    with pytest.raises(ValueError, match='1 titles for 30 items'):
        Served.from_model(model, shop)


def test_a_table_for_people():
    found = Recommendations(['ann', 'bob'], [['tea'], []], [[0.5], []])
    assert found.to_frame().to_dict('records') == [
        {'user': 'ann', 'rank': 1, 'item': 'tea', 'score': 0.5}
    ]
    assert 'tea' in found._repr_html_()
    assert repr(found) == str(found)


# New users ##################################################################


def fitted(shop):
    """Return a model whose users are a linear map of what they have."""
    torch.manual_seed(2)
    item = torch.randn(30, 6)
    known = torch.zeros(40, 30)
    for name in ('edge_index', 'val_edge_label_index', 'test_edge_label_index'):
        user, of = shop[RATES][name]
        known[user, of] = 1.0
    mean = known @ item / known.sum(dim=1, keepdim=True)
    return FixedEmbeddings(mean @ torch.randn(6, 6), item)


def test_a_new_user_is_where_one_with_her_items_is(shop):
    """The map is found where there is one, but for the ridge."""
    model = fitted(shop)
    served = Served.from_model(model, shop)
    for user in (3, 17):
        found = served.fold_in(served.history(f'u{user}'))
        wanted = model.user[user]
        gap = (found - wanted).norm() / wanted.norm()
        assert gap < 0.1
    lists = [served.history('u3'), served.history('u17')]
    new = served.recommend_new(lists, k=3)
    old = served.recommend(['u3', 'u17'], k=3)
    assert new.items == old.items
    assert new.users == [0, 1]


def test_new_users_keep_what_they_have(served):
    lists = [['i3', 'i4', 'i3'], ['i5']]
    for items, history in zip(
        served.recommend_new(lists, k=100).items, lists, strict=True
    ):
        assert not {*items} & {*history}
        assert len(items) == 30 - len({*history})
    kept = served.recommend_new(lists, k=100, exclude_known=False)
    assert [len(items) for items in kept.items] == [30, 30]
    few = served.recommend_new(lists, candidates=['i3', 'i9'])
    assert few.items[0] == ['i9']


def test_new_users_in_a_view(served):
    whole = served.fold_in(['i3', 'i4'])
    text = served.fold_in(['i3', 'i4'], view=only('text'))
    assert whole.shape == (12,)
    assert text.shape == (8,)


@pytest.mark.parametrize('history', [[], 'i3', ['tea'], 7])
def test_histories_that_are_none(served, history):
    match = r'at least one item|no item|needs to be a list of items'
    with pytest.raises((TypeError, ValueError), match=match):
        served.recommend_new([history])


# Many at once ###############################################################


def test_threads(shop):
    """What is computed once is so also if many ask at the same time."""
    data = LightGCN.pre_transform(shop)
    served = Served.from_model(LightGCN.from_data(data, dim=8), data)
    fresh = Served(
        served.views,
        served.keeps,
        dict.fromkeys(served.modalities),
        served.known,
        served.untrained,
        served.users,
        served.items,
    )

    def ask(served):
        found = [
            served.recommend([f'u{user}'], 5, view=keep).items
            for user in range(40)
            for keep in served.keeps
        ]
        return [*found, served.recommend_new([['i3']], 5).items]

    with ThreadPoolExecutor(8) as pool:
        found = [*pool.map(ask, [fresh] * 8)]
    assert found == [ask(served)] * 8


# Approximate ################################################################


def test_an_index_that_looks_everywhere_is_exact(served):
    pytest.importorskip('faiss')
    near = served.approximate(probe=1000)
    users = [f'u{n}' for n in range(40)]
    exact, found = served.recommend(users, 8), near.recommend(users, 8)
    assert found.items == exact.items
    for one, other in zip(found.scores, exact.scores, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    assert served.index is None
    view = near.recommend(users, 3, view=only('text'))
    assert view.items == served.recommend(users, 3, view=only('text')).items


def test_an_index_of_many_items():
    pytest.importorskip('faiss')
    torch.manual_seed(3)
    item, user = torch.randn(20_000, 16), torch.randn(50, 16)
    few, many = FaissIndex(item, probe=4), FaissIndex(item, probe=64)
    assert few.recall(user, item) < many.recall(user, item)
    assert many.recall(user, item) > 0.9
    best = (user @ item.t()).argmax(dim=1)
    known = (torch.arange(50) * 20_000 + best).sort().values
    gone = torch.stack([known // 20_000, known % 20_000])
    score, index = many.search(user, 10, gone)
    assert not (index == best.unsqueeze(1)).any()
    assert (score.diff(dim=1) <= 0).all()
    with pytest.raises(ValueError, match="'probe' needs to be a whole"):
        FaissIndex(item, probe=0)


@pytest.mark.parametrize('kind', [np.array, torch.tensor, pd.Series])
def test_names_in_arrays(kind, plain):
    served = Served.from_model(VBPR.from_data(plain, dim=4), plain)
    new = served.recommend_new([[3, 4], [0]], k=3, candidates=[1, 5, 7])
    found = served.recommend_new(
        [kind([3, 4]), kind([0])], k=3, candidates=kind([1, 5, 7])
    )
    assert found.items == new.items
    assert torch.equal(served.fold_in(kind([3])), served.fold_in([3]))
    known = served.recommend(kind([2, 0]), k=3)
    assert known.items == served.recommend([2, 0], k=3).items
    with pytest.raises(ValueError, match='at least one item'):
        served.recommend_new([kind([])])
