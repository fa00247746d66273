"""What is saved serves as the model did, to the last bit."""

import json
import os
import stat
import subprocess
import sys

import pytest
import torch
from torch import nn

from pyg_ckd.experiments.backbones import BACKBONES
from pyg_ckd.graph import fingerprint, owned_keys
from pyg_ckd.inspect import explain
from pyg_ckd.nn import VBPR, Cosine, FixedEmbeddings, ItemBias, Popularity
from pyg_ckd.ranking import evaluate, recommend
from pyg_ckd.serving import Served, load, load_model, save
from pyg_ckd.train import Recommendation, fit
from pyg_ckd.views import only

SPARSE = {'InteractionKNN', 'FeatureKNN', 'GraphFilter'}


def made(name, data):
    """Return a backbone, and the data that it needs."""
    backbone = BACKBONES[name]
    if backbone.pre_transform is not None:
        data = backbone.pre_transform(data)
    torch.manual_seed(0)
    return backbone.from_data(data), data


def check_alike(served, model, data):
    """Compare what is served with the model, in all views."""
    users = list(range(data['user'].num_nodes))
    for keep in served.keeps:
        item, score = recommend(model, data, users, 5, view=keep)
        found = served.recommend(served.users.of(users), 5, view=keep)
        assert found.items == [
            served.items.of(row[row >= 0].tolist()) for row in item
        ]
        assert found.scores == [row[row > -torch.inf].tolist() for row in score]


@pytest.mark.parametrize('name', BACKBONES)
def test_backbones(name, plain, tmp_path):
    model, data = made(name, plain)
    save(model, data, tmp_path / 'model')
    served = load(tmp_path / 'model')
    check_alike(served, model, data)
    assert str(served.explain(3, 7)) == str(explain(model, data, 3, 7))
    again = load_model(tmp_path / 'model')
    assert repr(again) == repr(model)
    state = model.state_dict()
    assert again.state_dict().keys() == state.keys()
    for key, value in again.state_dict().items():
        assert torch.equal(value, state[key])
    pairs = zip(again(data), model.eval()(data), strict=True)
    assert all(torch.equal(a.to_dense(), b.to_dense()) for a, b in pairs)


@pytest.mark.parametrize('wrapper', [Cosine, ItemBias])
@pytest.mark.parametrize('name', ['VBPR', 'LightGCN', 'FREEDOM', 'MMGCN'])
def test_wrappers(name, wrapper, plain, tmp_path):
    model, data = made(name, plain)
    model = wrapper(model)
    save(model, data, tmp_path / 'model')
    check_alike(load(tmp_path / 'model'), model, data)
    assert repr(load_model(tmp_path / 'model')) == repr(model)


class Foreign(nn.Module):
    """A model of another library, with a table under two names."""

    def __init__(self, num_users, num_items):
        super().__init__()
        self.user = nn.Embedding(num_users, 4)
        self.item = nn.Embedding(num_items, 4)
        self.tied = self.item

    def forward(self, data):
        x = data['item'].x_text[:, :4]
        return self.user.weight, self.item.weight + x


def test_foreign_models(plain, tmp_path):
    model = Foreign(40, 30)
    save(model, plain, tmp_path / 'model')
    check_alike(load(tmp_path / 'model'), model, plain)
    with pytest.raises(ValueError, match=r"test_save\.Foreign' cannot be made"):
        load_model(tmp_path / 'model')
    again = Foreign(40, 30)
    assert load_model(tmp_path / 'model', again) is again
    assert not again.training
    assert torch.equal(again.user.weight, model.user.weight)
    assert torch.equal(again.tied.weight, model.item.weight)
    with pytest.raises(ValueError, match='cannot be made anew'):
        load_model(tmp_path / 'model', Foreign(41, 30))


def test_a_task_is_saved_in_its_view(plain, tmp_path):
    task = Recommendation(
        VBPR.from_data(plain, dim=4), plain, keep=only('text')
    )
    fit(task, max_epochs=1, progress=False)
    task.save(tmp_path / 'model')
    served = load(tmp_path / 'model')
    assert served.keeps[0] == only('text')
    check_alike(served, task.model, plain)
    item, _ = task.recommend(7)
    assert served.recommend([7])[0] == served.recommend([7], view=['text'])[0]
    assert [i for i, _ in served.recommend([7])[0]] == item[0].tolist()


def test_manifest(shop, tmp_path):
    model = VBPR.from_data(shop, dim=4)
    save(model, shop, tmp_path / 'model')
    manifest = json.loads((tmp_path / 'model' / 'model.json').read_text())
    assert manifest['class'] == 'VBPR'
    assert manifest['arguments'] == {
        'num_users': 40,
        'num_items': 30,
        'in_channels': {'image': 32, 'text': 32},
        'dim': 4,
    }
    assert manifest['modalities'] == {'image': 32, 'text': 32}
    assert manifest['views'] == [['image', 'text'], ['image'], ['text']]
    assert manifest['data'] == fingerprint(shop)
    assert manifest['metrics'] == evaluate(model, shop, split='val')
    assert set(manifest['versions']) == {'pyg_ckd', 'torch', 'torch_geometric'}
    assert set(manifest['files']) == {
        'weights.safetensors',
        'embeddings.safetensors',
        'interactions.safetensors',
        'users.json',
        'items.json',
        'titles.json',
    }
    assert set(manifest['files']) | {'model.json'} == set(
        os.listdir(tmp_path / 'model')
    )
    modes = {
        stat.S_IMODE(path.stat().st_mode)
        for path in (tmp_path / 'model').iterdir()
    }
    assert len(modes) == 1  # all may be read by whom one may be


def test_names_and_what_is_known(shop, tmp_path):
    save(Popularity.from_data(shop), shop, tmp_path / 'model')
    served = load(tmp_path / 'model')
    known = owned_keys(shop)
    assert torch.equal(served.known, known)
    assert served.history('u3') == [
        f'i{key % 30}' for key in known.tolist() if key // 30 == 3
    ]
    assert served.title('i7') == 'Item “7”'


def test_views_that_are_equal_are_stored_once(plain, tmp_path):
    model, data = made('InteractionKNN', plain)
    assert len(Served.from_model(model, data).views.item) == 1
    model, data = made('FREEDOM', plain)
    views = Served.from_model(model, data).views
    assert (len(views.user), len(views.item)) == (1, 3)


def test_an_earlier_model_is_replaced_as_a_whole(plain, shop, tmp_path):
    folder = tmp_path / 'new' / 'model'
    save(Popularity.from_data(shop), shop, folder)
    save(VBPR.from_data(plain, dim=4), plain, folder)
    assert not (folder / 'users.json').exists()
    assert load(folder).about['class'] == 'VBPR'
    assert os.listdir(folder.parent) == ['model']


def test_what_is_no_model_is_not_replaced(plain, tmp_path):
    model = Popularity.from_data(plain)
    (tmp_path / 'letter.txt').write_text('Dear')
    with pytest.raises(FileExistsError, match=r"it holds 'letter\.txt'"):
        save(model, plain, tmp_path)
    with pytest.raises(FileExistsError, match='it is a file'):
        save(model, plain, tmp_path / 'letter.txt')
    assert os.listdir(tmp_path) == ['letter.txt']


def test_a_failed_save_leaves_what_was_there(plain, tmp_path, monkeypatch):
    folder = tmp_path / 'model'
    save(Popularity.from_data(plain), plain, folder)
    before = (folder / 'model.json').read_bytes()
    bad = plain.clone()
    bad['user'].name = ['one'] * 40
    with pytest.raises(ValueError, match="Two users have the name 'one'"):
        save(VBPR.from_data(plain), bad, folder)
    weights = VBPR.from_data(plain)
    nn.init.constant_(weights.user.weight, torch.nan)
    with pytest.raises(ValueError, match='are not finite'):
        save(weights, plain, folder)
    from pyg_ckd.serving import _save

    def full(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(_save, 'write_manifest', full)
    with pytest.raises(OSError, match='No space'):
        save(VBPR.from_data(plain), plain, folder)
    assert (folder / 'model.json').read_bytes() == before
    assert os.listdir(tmp_path) == ['model']


def test_loading_needs_no_lightning(plain, tmp_path):
    save(VBPR.from_data(plain, dim=4), plain, tmp_path / 'model')
    found = load(tmp_path / 'model').recommend([7], 3)
    code = (
        'import sys, pyg_ckd\n'
        f'served = pyg_ckd.load({str(tmp_path / "model")!r})\n'
        'print(served.recommend([7], 3)[0])\n'
        "assert 'pytorch_lightning' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True
    )
    assert done.stdout == f'{found[0]}\n'


def test_models_of_embeddings(plain, tmp_path):
    model = FixedEmbeddings(torch.rand(40, 4), torch.rand(30, 4))
    save(model, plain, tmp_path / 'model')
    check_alike(load(tmp_path / 'model'), model, plain)
