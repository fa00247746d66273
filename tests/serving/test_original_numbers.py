"""People speak of users and items by the numbers in the files."""

import csv

import numpy as np
import pytest
import torch

from pyg_ckd.datasets.raw.renumbered import renumbered
from pyg_ckd.graph import RATES
from pyg_ckd.nn import VBPR
from pyg_ckd.ranking import recommend
from pyg_ckd.serving import (
    ColdItems,
    Names,
    Served,
    export,
    export_items,
    load,
    save,
    warm_start,
    with_new_items,
)


@pytest.fixture
def mixed(plain):
    """The graph without names, with other numbers than its files have."""
    return renumbered(plain, seed=3)


@pytest.fixture
def model(mixed):
    return VBPR.from_data(mixed, dim=4)


def test_recommendations(model, mixed, tmp_path):
    save(model, mixed, tmp_path / 'model')
    user, item = (mixed[node].original_id for node in ('user', 'item'))
    rows, scores = recommend(model, mixed, user.argsort()[[7, 2]], k=4)
    for served in (Served.from_model(model, mixed), load(tmp_path / 'model')):
        found = served.recommend([7, 2], k=4)
        assert found.users == [7, 2]
        assert found.items == item[rows].tolist()
        for one, other in zip(found.scores, scores.tolist(), strict=True):
            assert one == pytest.approx(other, abs=1e-5)
        owned = {*served.history(7)}
        assert not owned & {*served.recommend([7], k=30).items[0]}
        assert served.users.find('7') == 7
        assert served.items.search('2')[:3] == [2, 20, 21]
        explained = str(served.explain(7, found.items[0][0]))
        assert f'User 7, item {found.items[0][0]},' in explained
    with pytest.raises(ValueError, match='they are numbers from 0 to 39'):
        served.recommend([40])


def test_files_are_in_the_order_of_the_numbers(model, mixed, tmp_path):
    served = Served.from_model(model, mixed)
    export(served, tmp_path / 'all.csv', k=2)
    lines = (tmp_path / 'all.csv').read_text().splitlines()
    users = [row['user'] for row in csv.DictReader(lines)]
    assert users[::2] == [str(number) for number in range(40)]
    export_items(served, tmp_path / 'items.npy')
    found = np.load(tmp_path / 'items.npy')
    _, item_emb = served.embeddings()
    for row, number in enumerate(mixed['item'].original_id.tolist()):
        assert np.array_equal(found[number], item_emb[row].numpy())


def test_names_come_first(model, mixed):
    mixed['user'].name = [f'u{number}' for number in range(40)]
    served = Served.from_model(model, mixed)
    assert served.users.names[0] == 'u0'
    assert served.items.names == mixed['item'].original_id.tolist()


def test_names_that_are_mixed_numbers():
    names = Names('item', 3, [2, 0, 1])
    assert names.order == [1, 2, 0]
    assert names.of(names.order) == names.search('') == [0, 1, 2]
    for other in (True, 1.0, '1', 3):
        assert other not in names
        with pytest.raises(ValueError, match='numbers from 0 to 2'):
            names.row(other)
    for some in ([5, 3, 4], [2, 0, -1], ['2', '0', '1'], [2, 0, '1']):
        assert Names('item', 3, some).order == [0, 1, 2]


def test_new_items_get_the_next_numbers(model, mixed):
    x = {m: mixed['item'][f'x_{m}'][:2] for m in ('image', 'text')}
    bigger, grown = with_new_items(model, mixed, x)
    assert grown['item'].original_id.tolist() == [
        *mixed['item'].original_id.tolist(),
        30,
        31,
    ]
    served = Served.from_model(bigger, grown)
    assert len(served.recommend([7], candidates=[30, 31]).items[0]) == 2


def test_cold_items(mixed):
    cold = ColdItems.of(mixed, share=0.2)
    model = VBPR.from_data(cold.warm, dim=4)
    assert cold.evaluate(model, ks=(5,))
    kept = cold.warm['item'].original_id
    assert len({*kept.tolist()}) == 24


def test_warm_start_of_a_model_of_other_numbers(plain, mixed, tmp_path):
    """Also of one that was saved when numbers were those of the files."""
    for name in ('val_edge_label_index', 'test_edge_label_index'):
        del mixed[RATES][name]  # which the earlier model knew
    for before in (plain, renumbered(plain, seed=5)):
        old = VBPR.from_data(before, dim=4)
        save(old, before, tmp_path / 'model')
        new = VBPR.from_data(mixed, dim=4)
        assert warm_start(new, mixed, tmp_path / 'model') == (40, 30)
        rows = mixed['item'].original_id
        if before is not plain:
            rows = before['item'].original_id.argsort()[rows]
        assert torch.equal(new.item.weight, old.item.weight[rows])
    model = VBPR.from_data(plain, dim=4)
    with pytest.raises(ValueError, match='in neither, to tell who is who'):
        warm_start(model, plain, tmp_path / 'model')
