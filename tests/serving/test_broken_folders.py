"""Whatever is in a folder, it is served rightly or refused by name."""

import json
import random
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from pyg_ckd.nn import VBPR
from pyg_ckd.serving import load, load_model, save
from pyg_ckd.serving._folder import write_manifest
from pyg_ckd.serving._load import features_of


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    from pyg_ckd.datasets import FakeMultimodal

    data = FakeMultimodal(num_users=12, num_items=9)[0]
    data['item'].name = [f'i{number}' for number in range(9)]
    folder = tmp_path_factory.mktemp('models') / 'whole'
    torch.manual_seed(0)
    save(VBPR.from_data(data, dim=2), data, folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / 'model')


def rewritten(folder, **changes):
    """Write a manifest with other values, and the digests of the files."""
    path = folder / 'model.json'
    values = json.loads(path.read_text())
    path.unlink()
    for name in ('format', 'format_version', 'files'):
        values.pop(name)
    write_manifest(folder, {**values, **changes})


def test_no_byte_may_differ(whole, tmp_path):
    """Any file, cut, with a flipped bit or with more at its end."""
    random.seed(0)
    wanted = load(whole).recommend([3]).items
    for turn in range(60):
        folder = shutil.copytree(whole, tmp_path / f'{turn}')
        path = random.choice(sorted(folder.iterdir()))
        raw = bytearray(path.read_bytes())
        kind = random.choice(['cut', 'flip', 'more'])
        if kind == 'cut':
            del raw[random.randrange(len(raw)) :]
        elif kind == 'flip':
            raw[random.randrange(len(raw))] ^= 1 << random.randrange(8)
        else:
            raw += b'x'
        path.write_bytes(raw)
        if path.name == 'model.json':
            # Its own bytes are not digested, what they say is checked:
            try:
                assert load(folder).recommend([3]).items == wanted
            except ValueError as error:
                assert str(tmp_path) in str(error)
            continue
        for reader in (load, load_model):
            with pytest.raises(ValueError, match='not as it was') as caught:
                reader(folder)
            assert path.name in str(caught.value)


@pytest.mark.parametrize(
    ('changes', 'match'),
    [
        ({'num_users': 13}, "'user.0' has 12 rows, not 13"),
        ({'num_items': 10**12}, "'item.0' has 9 rows"),
        ({'num_users': '12'}, "'num_users' is no positive number"),
        ({'num_users': True}, "'num_users' is no positive number"),
        ({'views': []}, "'views' are no lists"),
        ({'views': [['sound']] * 3}, "'views' are no lists"),
        ({'views': [['text'], ['text'], []]}, "'views' are no lists"),
        ({'views': [['text'], ['image']]}, r"'keep' needs the shape \[2,"),
        ({'views': 'full'}, "'views' are no lists"),
        ({'modalities': ['text']}, "'views' are no lists"),
        ({'scales': None}, "'scales' are no numbers"),
        ({'scales': {'text': 1.0}}, "'scales' are no numbers"),
        ({'scales': {'text': 1.0, 'image': 'a'}}, "'scales' are no numbers"),
    ],
)
def test_manifests_that_lie(folder, changes, match):
    rewritten(folder, **changes)
    with pytest.raises(ValueError, match=match):
        load(folder)


@pytest.mark.parametrize(
    ('changes', 'match'),
    [
        ({'class': 'os.system'}, "no recommender 'os.system'"),
        ({'class': 'Recommender'}, 'cannot be made of'),
        ({'class': 'DotAttentionConv'}, "no recommender 'DotAttentionConv'"),
        ({'class': 'as_recommender'}, "no recommender 'as_recommender'"),
        ({'class': ['VBPR']}, "needs a 'class' and 'arguments'"),
        ({'arguments': []}, 'are no names and values'),
        ({'arguments': {'num_users': 'x'}}, 'cannot be made'),
        ({'arguments': {'command': 'x'}}, 'cannot be made of'),
        ({'class': 'Cosine', 'arguments': {'recommender': 7}}, "'class' and"),
    ],
)
def test_classes_that_are_none(folder, changes, match):
    rewritten(folder, **changes)
    with pytest.raises(ValueError, match=match) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)


def test_sizes_take_no_memory(folder):
    values = json.loads((folder / 'model.json').read_text())['arguments']
    rewritten(folder, arguments={**values, 'num_users': 10**12})
    with pytest.raises(ValueError, match='size mismatch'):
        load_model(folder)


@pytest.mark.parametrize(
    ('name', 'change', 'match'),
    [
        ('embeddings', lambda x: x.pop('item.1'), "'item.1' is missing"),
        ('embeddings', lambda x: x.pop('keep'), "'keep' needs the shape"),
        ('embeddings', lambda x: x.update(more=torch.ones(1)), 'too many'),
        ('embeddings', lambda x: x.update({'item.0': torch.ones(9)}), 'matrix'),
        (
            'embeddings',
            lambda x: x.update({'item.0': torch.full((9, 2), torch.nan)}),
            'NaN or infinity',
        ),
        (
            'embeddings',
            lambda x: x.update({'item.0': torch.ones(9, 3)}),
            'has the width 3',
        ),
        (
            'embeddings',
            lambda x: x.update(keep=torch.zeros(3, 3, dtype=torch.bool)),
            'has no block',
        ),
        ('interactions', lambda x: x.pop('known'), 'no list of whole numbers'),
        (
            'interactions',
            lambda x: x.update(known=x['known'].flip(0)),
            'out of order or range',
        ),
        (
            'interactions',
            lambda x: x.update(known=x['known'] + 100),
            'out of order or range',
        ),
    ],
)
def test_tensors_that_do_not_fit(folder, name, change, match):
    path = folder / f'{name}.safetensors'
    tensors = load_file(path)
    change(tensors)
    save_file({key: x.clone() for key, x in tensors.items()}, path)
    rewritten(folder)
    with pytest.raises(ValueError, match=match) as caught:
        load(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ('text', 'match'),
    [
        ('[', 'is not JSON'),
        ('[' * 100_000, 'is not JSON'),
        ('{}', 'no list of names'),
        ('["a"]', '1 names were given for 9 items'),
        ('["a", "a", 1, 2, 3, 4, 5, 6, 7]', "Two items have the name 'a'"),
        ('[1.5, 2, 3, 4, 5, 6, 7, 8, 9]', 'no list of names'),
        ('[NaN, 2, 3, 4, 5, 6, 7, 8, 9]', 'no number of JSON'),
    ],
)
def test_names_that_do_not_fit(folder, text, match):
    (folder / 'items.json').write_text(text)
    rewritten(folder)
    with pytest.raises(ValueError, match=match):
        load(folder)


@pytest.mark.parametrize(
    ('text', 'match'),
    [
        ('', 'is not JSON'),
        ('7', "another format than 'pyg_ckd'"),
        ('{"format": "pickle"}', "another format than 'pyg_ckd'"),
        ('{"format": "pyg_ckd", "format_version": 3}', 'format version 3'),
        ('{"format": "pyg_ckd", "format_version": 2}', "list its 'files'"),
        (
            '{"format": "pyg_ckd", "format_version": 2, "files": {}}',
            'no positive number',
        ),
        (
            '{"format": "pyg_ckd", "format_version": 2, '
            '"files": {"../../secret": {}}}',
            'of its own',
        ),
        (' ' * (2**20 + 1), 'longer than'),
    ],
)
def test_other_manifests(folder, text, match):
    (folder / 'model.json').write_text(text)
    with pytest.raises(ValueError, match=match):
        load(folder)


def test_pickles_are_not_read(folder):
    torch.save({'known': torch.arange(3)}, folder / 'interactions.safetensors')
    rewritten(folder)
    with pytest.raises(ValueError, match='no file of safetensors'):
        load(folder)


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no 'model\.json'"):
        load(tmp_path)


@pytest.mark.parametrize(
    ('name', 'value', 'match'),
    [
        ('sample.text', None, 'float32'),
        ('sample.text', torch.ones(2, 3), 'float32'),
        ('sample.text', 'whole numbers', 'float32'),
        ('sampled.text', torch.tensor([2, 1]), 'out of order'),
        ('sampled.text', torch.tensor([9]), 'out of order or range'),
        ('sampled.text', torch.ones(2), 'no list of whole numbers'),
    ],
)
def test_samples_of_features(folder, name, value, match):
    """They are read by a warm start alone."""
    path = folder / 'interactions.safetensors'
    owned = load_file(path)
    assert features_of(folder)['text'][1].dtype == torch.float32
    if value is None:
        del owned[name]
    elif isinstance(value, str):
        owned[name] = owned[name].long()
    else:
        owned[name] = value
    save_file(owned, path)
    rewritten(folder)
    with pytest.raises(ValueError, match=match) as caught:
        features_of(folder)
    assert str(folder) in str(caught.value)
