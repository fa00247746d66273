"""Small inputs on which serving once went wrong without a word."""

import json
import os

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.nn import Linear

from pyg_ckd import from_interactions
from pyg_ckd.datasets import RandomSplit
from pyg_ckd.nn import (
    BPRMF,
    VBPR,
    FixedEmbeddings,
    ItemBias,
    LightGCN,
    Popularity,
)
from pyg_ckd.serving import (
    LinearMap,
    Served,
    export,
    export_items,
    load,
    load_model,
    save,
    warm_start,
    with_new_items,
)
from pyg_ckd.serving._rows import sides_by_size
from pyg_ckd.train import Recommendation, fit
from pyg_ckd.transforms import NormalizedAdjacency
from pyg_ckd.views import only


def twins(data):
    return {m: data['item'][f'x_{m}'][:2] for m in ('image', 'text')}


# Folders ####################################################################


def test_folders_of_other_programs_are_not_replaced(plain, tmp_path):
    model = BPRMF.from_data(plain, dim=4)
    (tmp_path / 'model.json').write_text('{"format": "layers-model"}')
    with pytest.raises(FileExistsError, match=r"it holds 'model\.json'"):
        save(model, plain, tmp_path)
    save(model, plain, tmp_path / 'own')
    (tmp_path / 'own' / 'notes.txt').write_text('mine')
    with pytest.raises(FileExistsError, match=r"it holds 'notes\.txt'"):
        save(model, plain, tmp_path / 'own')
    assert (tmp_path / 'own' / 'notes.txt').read_text() == 'mine'


def test_links_stay_links(plain, tmp_path):
    model = BPRMF.from_data(plain, dim=4)
    (tmp_path / 'real').mkdir()
    (tmp_path / 'link').symlink_to('real')
    save(model, plain, tmp_path / 'link')
    assert (tmp_path / 'link').is_symlink()
    assert load(tmp_path / 'real').users.size == 40
    assert sorted(os.listdir(tmp_path)) == ['link', 'real']


def test_here(plain, tmp_path, monkeypatch):
    (tmp_path / 'place').mkdir()
    monkeypatch.chdir(tmp_path / 'place')
    save(BPRMF.from_data(plain, dim=4), plain, '.')
    assert load(tmp_path / 'place').users.size == 40


def test_numbers_of_numpy_and_odd_titles(plain, tmp_path):
    data = plain.clone()
    data['item'].title = ['lone \ud800'] * 30
    save(BPRMF.from_data(data, dim=np.int64(4)), data, tmp_path / 'model')
    assert load(tmp_path / 'model').title(3) == 'lone \ud800'
    assert load_model(tmp_path / 'model').dim == 4
    data['item'].title = [None] * 30
    with pytest.raises(ValueError, match='Title 0 is no text'):
        Served.from_model(BPRMF.from_data(data, dim=4), data)


# Names ######################################################################


@pytest.mark.parametrize('of', [torch.arange, np.arange, list, range])
def test_whole_numbers_stay_so(plain, of):
    data = plain.clone()
    data['item'].name = of(30) if of is not list else list(range(30))
    served = Served.from_model(BPRMF.from_data(data, dim=4), data)
    assert served.items.names == list(range(30))
    assert served.recommend([np.int64(7)], 3).items == (
        served.recommend([7], 3).items
    )


def test_negative_numbers_are_found(plain):
    data = plain.clone()
    data['user'].name = list(range(-20, 20))
    users = Served.from_model(BPRMF.from_data(data, dim=4), data).users
    assert (users.find('-5'), users.find('5'), users.find('-0')) == (
        -5,
        5,
        '-0',
    )
    for text in ('005', '٥', '5.0', ''):
        assert users.find(text) == text


def test_users_that_can_be_read_once(plain):
    served = Served.from_model(BPRMF.from_data(plain, dim=4), plain)
    found = served.recommend((user for user in (1, 2)), 3)
    assert found.users == [1, 2]
    assert len([*found]) == 2
    with pytest.raises(ValueError, match="'view' needs to be one of"):
        served.recommend([1], view=(name for name in ['sound']))


@pytest.mark.parametrize('k', [2.5, '3', True, None])
def test_lengths_that_are_none(plain, k):
    served = Served.from_model(BPRMF.from_data(plain, dim=4), plain)
    with pytest.raises(ValueError, match="'k' needs to be a whole number"):
        served.recommend([1], k)
    assert len(served.recommend([1], 10**12)[0]) == 30 - len(served.history(1))
    with pytest.raises(TypeError, match='needs to be a list of items'):
        served.recommend_new([1, 2])


# New users ##################################################################


def test_a_constant_column_stays_constant(plain):
    """As that of a bias, which else would be turned over for some users."""
    torch.manual_seed(0)
    model = ItemBias(BPRMF.from_data(plain, dim=4))
    nn.init.normal_(model.bias, std=5.0)
    served = Served.from_model(model, plain)
    for item in range(30):
        assert served.fold_in([item])[0] == pytest.approx(1.0, abs=1e-4)


def test_the_map_is_the_best_one():
    torch.manual_seed(0)
    item = torch.randn(20, 3)
    known = (torch.rand(50, 20) < 0.3).nonzero()
    keys = known[:, 0] * 20 + known[:, 1]
    user = torch.randn(50, 2)
    owned = torch.zeros(50, 20)
    owned[known[:, 0], known[:, 1]] = 1.0
    mean = owned @ item / owned.sum(1, keepdim=True)
    fitted = LinearMap.fitted(user, item, keys, strength=0.0)
    ones = torch.cat([mean, torch.ones(50, 1)], dim=1)
    naive = ones @ torch.linalg.lstsq(ones, user).solution
    torch.testing.assert_close(fitted(mean), naive, atol=1e-4, rtol=1e-4)
    flat = LinearMap.fitted(torch.zeros(50, 2), torch.zeros(20, 3), keys)
    assert torch.equal(flat(torch.zeros(4, 3)), torch.zeros(4, 2))


# New items ##################################################################


def test_graphs_of_ones_own_are_not_lost(plain, tmp_path):
    model = LightGCN.from_data(plain)
    model.adjacency = NormalizedAdjacency('row', add_self_loops=True)
    data = model.adjacency(plain)
    with pytest.raises(ValueError, match='not made by its arguments alone'):
        with_new_items(model, data, twins(data))
    save(model, data, tmp_path / 'model')
    with pytest.raises(ValueError, match='cannot be made by its name'):
        load_model(tmp_path / 'model')


def test_the_view_of_a_task_is_not_forgotten(plain):
    model = VBPR.from_data(plain, dim=4)
    task = Recommendation(model, plain, keep=only('text'))
    with pytest.raises(ValueError, match='was trained in one view alone'):
        with_new_items(task, plain, twins(plain))


@pytest.mark.parametrize('dtype', [torch.double, torch.bfloat16, torch.half])
def test_other_precisions(plain, dtype, tmp_path):
    model = VBPR.from_data(plain, dim=4).to(dtype)
    bigger, grown = with_new_items(model, plain, twins(plain))
    assert bigger.item.weight.dtype == dtype
    assert torch.equal(bigger.item.weight[:30], model.item.weight)
    served = Served.from_model(bigger, grown)
    assert served.recommend_new([[3, 30]], 5).items[0]
    export_items(served, tmp_path / 'items.npy')
    assert np.load(tmp_path / 'items.npy').shape == (32, 12)
    save(bigger, grown, tmp_path / 'model')
    again = VBPR.from_data(grown, dim=4)
    warm_start(again, grown, tmp_path / 'model')
    assert torch.equal(again.item.weight, bigger.item.weight.float())


# Warm starts ################################################################


def test_what_the_earlier_model_knew_is_told(tmp_path):
    torch.manual_seed(0)
    pairs = [(f'u{n % 20}', f'i{(7 * n) % 30}') for n in range(200)]
    users, items = zip(*dict.fromkeys(pairs), strict=True)
    cut = len(users) - 10
    before = from_interactions(users[:cut], items[:cut], split='random')
    save(BPRMF.from_data(before, dim=4), before, tmp_path / 'model')
    after = from_interactions(users, items, split=RandomSplit(seed=1))
    with pytest.warns(UserWarning, match='interactions that are held out now'):
        warm_start(BPRMF.from_data(after, dim=4), after, tmp_path / 'model')
    label = ['train'] * cut + ['val'] * 5 + ['test'] * 5
    by_time = from_interactions(users, items, split=label)
    warm_start(BPRMF.from_data(by_time, dim=4), by_time, tmp_path / 'model')


class Odd(nn.Module):
    """One table for users and items, and a layer as wide as items are many."""

    def __init__(self, data):
        super().__init__()
        self.users = data['user'].num_nodes
        items = data['item'].num_nodes
        self.nodes = nn.Embedding(self.users + items, 30)
        self.layer = nn.Linear(30, 30, bias=False)

    def forward(self, data):
        x = self.layer(self.nodes.weight)
        return x[: self.users], x[self.users :]


def test_tables_of_foreign_models(shop, tmp_path):
    model = Odd(shop)
    save(model, shop, tmp_path / 'model')
    other = shop.clone()
    for node in ('user', 'item'):
        other[node].name = shop[node].name[::-1]
    new = Odd(other)
    with pytest.warns(UserWarning, match='held out now'):
        warm_start(new, other, tmp_path / 'model')
    assert torch.equal(new.layer.weight, model.layer.weight)
    parts = model.nodes.weight.split([40, 30])
    wanted = torch.cat([part.flip(0) for part in parts])
    assert torch.equal(new.nodes.weight, wanted)


def test_layers_are_no_tables(shop):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.user = nn.Embedding(40, 4)
            self.own = nn.Parameter(torch.zeros(30, 4))
            self.layer = nn.Linear(30, 30)
            self.of_pyg = Linear(30, 40)

    model = Model()
    found = sides_by_size(model, model.state_dict(), 40, 30)
    assert found == {'own': 'item', 'user.weight': 'user'}


def test_without_content_new_items_are_the_mean(tmp_path):
    before = from_interactions(
        ['u', 'v', 'w'], ['a', 'b', 'c'], split=['train'] * 3
    )
    model = BPRMF.from_data(before, dim=2)
    save(model, before, tmp_path / 'model')
    after = from_interactions(
        ['u', 'v', 'w'], ['a', 'b', 'd'], split=['train'] * 3
    )
    new = BPRMF.from_data(after, dim=2)
    warm_start(new, after, tmp_path / 'model')
    mean = model.item.weight.mean(dim=0)
    torch.testing.assert_close(new.item.weight[2], mean)


def test_a_warm_start_of_nothing(shop, tmp_path):
    save(Popularity.from_data(shop), shop, tmp_path / 'model')
    task = Recommendation(Popularity.from_data(shop), shop)
    with pytest.raises(ValueError, match="'warm_start' needs a training"):
        fit(task, warm_start=tmp_path / 'model', progress=False)


def test_refused_models_stay_as_they_are(shop, tmp_path):
    save(VBPR.from_data(shop, dim=4), shop, tmp_path / 'model')
    other = shop.clone()
    other['item'].x_text = torch.randn(30, 7)
    new = VBPR.from_data(other, dim=4)
    before = {name: x.clone() for name, x in new.state_dict().items()}
    with pytest.raises(ValueError, match='with the settings of then'):
        warm_start(new, other, tmp_path / 'model')
    for name, value in new.state_dict().items():
        assert torch.equal(value, before[name])


# Files ######################################################################


def test_a_block_without_recommendations(tmp_path):
    parquet = pytest.importorskip('pyarrow.parquet')
    data = from_interactions(
        ['all', 'all', 'some'], ['a', 'b', 'a'], split=['train'] * 3
    )
    model = FixedEmbeddings(torch.rand(2, 2), torch.rand(2, 2))
    served = Served.from_model(model, data)
    from pyg_ckd.serving import _export

    block, _export.BLOCK = _export.BLOCK, 1
    try:
        assert export(served, tmp_path / 'lists.parquet') == 1
    finally:
        _export.BLOCK = block
    table = parquet.read_table(tmp_path / 'lists.parquet').to_pydict()
    assert (table['user'], table['item']) == (['some'], ['b'])


def test_requests_that_are_no_json_values(shop, tmp_path):
    pytest.importorskip('fastapi')
    from fastapi.testclient import TestClient

    from pyg_ckd.serving.http import create_app

    save(BPRMF.from_data(shop, dim=4), shop, tmp_path / 'model')
    app = create_app(tmp_path / 'model')
    client = TestClient(app, raise_server_exceptions=False)
    for body, status in (
        ('{"k": NaN}', 422),
        ('{"users": [NaN]}', 422),
        ('{"users": [1e400]}', 422),
        ('{"users": [true]}', 422),
        ('{"users": [5.0]}', 422),
        (json.dumps({'users': ['\ud800']}), 422),
        (json.dumps({'users': ['\u0000']}), 404),
    ):
        head = {'content-type': 'application/json'}
        answer = client.post('/recommend', content=body, headers=head)
        assert answer.status_code == status, body
        assert answer.json()['detail']
