import json
import os
import resource
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.datasets import FakeMultimodal, MMRecFolder, to_lattice, to_mmrec
from pyg_ckd.datasets.formats.splits_of import splits_of
from pyg_ckd.datasets.lattice_folder import LATTICEFolder
from pyg_ckd.datasets.raw.graph_of_splits import graph_of_splits
from pyg_ckd.datasets.raw.renumbered import renumbered, restored
from pyg_ckd.graph import RATES
from pyg_ckd.testing import fake_graph

KEYS = ('edge_index', 'val_edge_label_index', 'test_edge_label_index')


def tiny() -> HeteroData:
    user, item, label = torch.tensor(
        [[1, 0, 1, 0, 1, 1], [2, 1, 0, 0, 3, 1], [0, 0, 2, 1, 1, 0]]
    )
    return graph_of_splits(
        user,
        item,
        label,
        num_users=2,
        num_items=4,
        features={'image': torch.rand(4, 2), 'text': torch.rand(4, 3)},
        present={'text': torch.tensor([True, False, True, True])},
        rating=torch.rand(6),
        time=torch.arange(6),
    )


@st.composite
def graphs(draw):
    """Draw a split graph, the last user of which has an interaction."""
    pairs = draw(
        st.lists(
            st.tuples(st.integers(0, 9), st.integers(0, 9)),
            min_size=3,
            max_size=30,
            unique=True,
        )
    )
    size = len(pairs)
    rest = st.lists(st.integers(0, 2), min_size=size - 3, max_size=size - 3)
    label = draw(st.permutations([0, 1, 2, *draw(rest)]))
    user, item = torch.tensor(pairs).t()
    floats = st.floats(-(2.0**40), 2.0**40, width=32)
    features = {}
    for modality in draw(st.sets(st.sampled_from(['audio', 'image', 'text']))):
        width = draw(st.integers(1, 3))
        row = st.lists(floats, min_size=width, max_size=width)
        rows = draw(st.lists(row, min_size=10, max_size=10))
        features[modality] = torch.tensor(rows, dtype=torch.float32)
    return graph_of_splits(
        user,
        item,
        torch.tensor(label),
        num_users=int(user.max()) + 1,
        num_items=10 if features else int(item.max()) + 1,
        features=features,
    )


def by_user(pairs: Tensor) -> list[list[int]]:
    return sorted(pairs.t().tolist(), key=lambda pair: pair[0])


def check_features(data: HeteroData, expected: HeteroData) -> None:
    for node in ('user', 'item'):
        assert data[node].num_nodes == expected[node].num_nodes
    assert set(data['item'].keys()) == set(expected['item'].keys())
    for key, x in expected['item'].items():
        if key != 'num_nodes':
            same = data['item'][key].view(torch.int32) == x.view(torch.int32)
            assert same.all()  # Bit for bit, zeros with their signs.


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_to_mmrec_round_trip(expected):
    with tempfile.TemporaryDirectory() as root:
        to_mmrec(expected, Path(root, 'some name'))
        data = restored(MMRecFolder(root, 'some name')[0])
    for key in KEYS:
        assert data[RATES][key].equal(expected[RATES][key])
    check_features(data, expected)


@settings(max_examples=40, deadline=None)
@given(graphs(), st.sampled_from([0, 5, 10]))
def test_to_lattice_round_trip(expected, core):
    with tempfile.TemporaryDirectory() as root:
        to_lattice(expected, f'{root}/name', core)
        data = restored(LATTICEFolder(root, 'name', core)[0])
    for key in KEYS:
        assert data[RATES][key].t().tolist() == by_user(expected[RATES][key])
    check_features(data, expected)


@settings(max_examples=20, deadline=None)
@given(graphs(), st.integers(0, 9))
def test_numbers_of_before_are_written(expected, seed):
    """A folder that is read and written is the same, to the byte."""
    for export, cls in ((to_mmrec, MMRecFolder), (to_lattice, LATTICEFolder)):
        with tempfile.TemporaryDirectory() as root:
            export(expected, f'{root}/one/a')
            export(renumbered(expected, seed), f'{root}/two/a')
            export(cls(f'{root}/one', 'a')[0], f'{root}/three/a')
            files = [
                {
                    str(path.relative_to(f'{root}/{name}')): path.read_bytes()
                    for path in Path(root, name).rglob('*')
                    if path.suffix in ('.inter', '.json', '.npy')
                    and 'processed' not in path.parts
                }
                for name in ('one', 'two', 'three')
            ]
        assert files[0] == files[1] == files[2]


@pytest.mark.parametrize('export', [to_mmrec, to_lattice])
def test_numbers_that_leave_gaps(tmp_path, export):
    data = tiny()
    data['item'].original_id = torch.tensor([0, 1, 2, 4])
    with pytest.raises(ValueError) as info:
        export(data, tmp_path / 'out')
    for part in (
        "data['item'].original_id is not each number from 0 to 3 once",
        "(del data['item'].original_id)",
    ):
        assert part in str(info.value)
    assert os.listdir(tmp_path) == []
    del data['item'].original_id
    export(data, tmp_path / 'out')


def test_to_mmrec_files(tmp_path):
    data = tiny()
    to_mmrec(data, f'{tmp_path}/tiny/')
    folder = tmp_path / 'tiny'
    assert sorted(os.listdir(tmp_path)) == ['tiny']
    assert sorted(os.listdir(folder)) == [
        'image_feat.npy',
        'text_feat.npy',
        'tiny.inter',
    ]
    assert (folder / 'tiny.inter').read_bytes() == (
        b'userID\titemID\tx_label\n'
        b'1\t2\t0\n'
        b'0\t1\t0\n'
        b'1\t1\t0\n'
        b'0\t0\t1\n'
        b'1\t3\t1\n'
        b'1\t0\t2\n'
    )
    x = np.load(folder / 'image_feat.npy')
    assert x.dtype == np.float32
    assert x.tolist() == data['item'].x_image.tolist()


def test_to_lattice_files(tmp_path):
    data = tiny()
    data['user'].num_nodes = 3
    to_lattice(data, tmp_path / 'tiny', core=7)
    folder = tmp_path / 'tiny'
    assert sorted(os.listdir(tmp_path)) == ['tiny']
    assert sorted(os.listdir(folder)) == [
        '7-core',
        'image_feat.npy',
        'text_feat.npy',
    ]
    splits = {
        path.stem: list(json.loads(path.read_text()).items())
        for path in (folder / '7-core').iterdir()
    }
    assert splits == {
        'train': [('0', [1]), ('1', [2, 1]), ('2', [])],
        'val': [('0', [0]), ('1', [3]), ('2', [])],
        'test': [('0', []), ('1', [0]), ('2', [])],
    }
    x = np.load(folder / 'text_feat.npy')
    assert x.dtype == np.float32
    assert x.tolist() == data['item'].x_text.tolist()


@pytest.mark.parametrize('dtype', [torch.float16, torch.float64])
@pytest.mark.parametrize('export', [to_mmrec, to_lattice])
def test_export_converts_features(tmp_path, export, dtype):
    data = tiny()
    data['item'].x_text = data['item'].x_text.to(dtype).requires_grad_()
    export(data, tmp_path / 'out')
    x = np.load(tmp_path / 'out' / 'text_feat.npy')
    assert x.dtype == np.float32
    assert x.tolist() == data['item'].x_text.float().tolist()


@pytest.mark.parametrize('export', [to_mmrec, to_lattice])
def test_export_takes_an_empty_folder(tmp_path, export):
    (tmp_path / 'out').mkdir()
    export(tiny(), tmp_path / 'out')
    assert len(os.listdir(tmp_path / 'out')) == 3


@pytest.mark.parametrize('export', [to_mmrec, to_lattice])
def test_export_creates_parents(tmp_path, export):
    export(tiny(), tmp_path / 'a' / 'b')
    assert len(os.listdir(tmp_path / 'a' / 'b')) == 3


@pytest.mark.parametrize('export', [to_mmrec, to_lattice])
def test_export_overwrites_nothing(tmp_path, export):
    folder, file = tmp_path / 'folder', tmp_path / 'file'
    folder.mkdir()
    (folder / 'mine.txt').write_text('mine')
    file.write_text('mine')
    for path in (folder, file):
        with pytest.raises(FileExistsError) as info:
            export(tiny(), path)
        assert str(info.value) == (
            f"'{path}' is there already; remove it, or write to another folder"
        )
    assert sorted(os.listdir(tmp_path)) == ['file', 'folder']
    assert os.listdir(folder) == ['mine.txt']
    assert file.read_text() == 'mine'


@pytest.mark.parametrize('export', [to_mmrec, to_lattice])
@pytest.mark.parametrize('key', KEYS)
@pytest.mark.parametrize('empty', [True, False])
def test_export_refuses_graphs_without_splits(tmp_path, export, key, empty):
    data = tiny()
    if empty:
        data[RATES][key] = torch.empty(2, 0, dtype=torch.long)
    else:
        del data[RATES][key]
    with pytest.raises(ValueError) as info:
        export(data, tmp_path / 'out')
    for part in [f"('user', 'rates', 'item')].{key}'", 'missing or empty']:
        assert part in str(info.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('export', [to_mmrec, to_lattice])
def test_export_leaves_nothing_half_written(tmp_path, export):
    data = tiny()
    # A modality that cannot name a file is found late, after the splits:
    data['item']['x_no/folder'] = torch.rand(4, 1)
    with pytest.raises(OSError) as info:
        export(data, tmp_path / 'out')
    assert str(tmp_path / 'out') in str(info.value)
    assert 'could not be written (No such file' in str(info.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('export', [to_mmrec, to_lattice])
@pytest.mark.parametrize('num_bytes', [20, 1000])
def test_export_leaves_nothing_on_a_full_disk(tmp_path, export, num_bytes):
    data = tiny()
    data['item'].x_text = torch.rand(4, 1000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        with pytest.raises(OSError) as info:
            export(data, tmp_path / 'out')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    start, end = str(info.value).split(' (')
    assert start.endswith(f"'{tmp_path / 'out'}' could not be written")
    assert not end.startswith('None')  # A reason is told.
    assert end.endswith('); make room, or choose another folder')
    assert os.listdir(tmp_path) == []


def test_export_survives_interruption(tmp_path, monkeypatch):
    def interrupt(*args):
        assert os.listdir(tmp_path)  # Something was written already.
        raise KeyboardInterrupt

    monkeypatch.setattr(np, 'save', interrupt)
    for export in (to_mmrec, to_lattice):
        with pytest.raises(KeyboardInterrupt):
            export(tiny(), tmp_path / 'out')
        assert os.listdir(tmp_path) == []


def test_export_names_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError) as info:
        to_mmrec(tiny(), tmp_path / 'file' / 'out')
    assert f"'{tmp_path / 'file' / 'out'}' could not be" in str(info.value)


def test_export_of_one_format_to_the_other(tmp_path):
    expected = FakeMultimodal(num_users=40, num_items=20)[0]
    to_lattice(expected, tmp_path / 'a')
    to_mmrec(LATTICEFolder(tmp_path, 'a')[0], tmp_path / 'b')
    data = restored(MMRecFolder(tmp_path, 'b')[0])
    for key in KEYS:  # The users of FakeMultimodal are ascending already.
        assert data[RATES][key].equal(expected[RATES][key])
    check_features(data, expected)


def test_to_mmrec_and_to_lattice_keep_amazon_baby(tmp_path, shared):
    root = shared / 'data'
    if not (root / 'baby').is_dir():
        pytest.skip("needs the folder 'baby' in 'shared/data'")
    expected = MMRecFolder(root, 'baby', processed_root=tmp_path)[0]

    to_mmrec(expected, tmp_path / 'mmrec')
    data = MMRecFolder(tmp_path, 'mmrec')[0]
    for key in KEYS:
        assert data[RATES][key].equal(expected[RATES][key])
    check_features(data, expected)

    to_lattice(expected, tmp_path / 'lattice')
    data = restored(LATTICEFolder(tmp_path, 'lattice')[0])
    expected = restored(expected)
    for key in KEYS:
        assert data[RATES][key].t().tolist() == by_user(expected[RATES][key])
    check_features(data, expected)


def test_edges_in_arrays():
    data = fake_graph()
    wanted = {split: pairs.tolist() for split, pairs in splits_of(data).items()}
    for name in ('edge_index', 'val_edge_label_index', 'test_edge_label_index'):
        data[RATES][name] = data[RATES][name].numpy()
    found = {split: pairs.tolist() for split, pairs in splits_of(data).items()}
    assert found == wanted
