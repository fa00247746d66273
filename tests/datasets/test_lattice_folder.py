import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.transforms import Compose

from pyg_ckd.datasets import LATTICEFolder, open_dataset
from pyg_ckd.datasets.formats.lattice import read_lattice
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.renumbered import restored
from pyg_ckd.graph import RATED_BY, RATES
from pyg_ckd.transforms import ItemKNN, NormalizedAdjacency

SPLITS = ('train', 'val', 'test')
TRAIN = {'2': [3, 0], '0': [2, 1], '1': []}
VAL = {'0': [0]}
TEST = {'0': [], '2': [2]}


def write(
    root: Path,
    train: object = TRAIN,
    val: object = VAL,
    test: object = TEST,
    core: int = 5,
    **features: np.ndarray,
) -> Path:
    """Write the folder `root/tiny`; splits are written as JSON or as bytes."""
    folder = root / 'tiny'
    splits = folder / f'{core}-core'
    splits.mkdir(parents=True, exist_ok=True)
    for name, content in zip(SPLITS, (train, val, test), strict=True):
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        (splits / f'{name}.json').write_bytes(content)
    for modality, x in features.items():
        np.save(folder / f'{modality}_feat.npy', x)
    return folder


def error_of(root: Path) -> str:
    with pytest.raises(ValueError) as info:
        LATTICEFolder(root, 'tiny')
    assert not list(root.rglob('data.pt*')), 'left a trace of a bad folder'
    return str(info.value)


def test_lattice_folder(tmp_path):
    image, text = np.random.rand(4, 3), np.random.rand(4, 2)
    write(tmp_path, text=text, image=image)

    dataset = LATTICEFolder(tmp_path, 'tiny')
    assert str(dataset) == 'tiny()'
    assert len(dataset) == 1

    data = dataset[0]
    data.validate()
    for node in ('user', 'item'):  # they are in another order in the graph
        ids = data[node].original_id.sort().values
        assert ids.tolist() == list(range(data[node].num_nodes))
    data = restored(data)
    data.validate()
    assert data.node_types == ['user', 'item']
    assert data.edge_types == [RATES, RATED_BY]
    assert data['user'].num_nodes == 3
    assert data['item'].num_nodes == 4
    assert list(data['item'].keys()) == ['num_nodes', 'x_image', 'x_text']
    for x, expected in [
        (data['item'].x_image, image),
        (data['item'].x_text, text),
    ]:
        assert x.dtype == torch.float32
        assert x.tolist() == expected.astype(np.float32).tolist()

    rates = data[RATES]
    assert rates.edge_index.dtype == torch.long
    assert rates.edge_index.is_contiguous()
    assert rates.edge_index.tolist() == [[0, 0, 2, 2], [2, 1, 3, 0]]
    assert rates.val_edge_label_index.tolist() == [[0], [0]]
    assert rates.test_edge_label_index.tolist() == [[2], [2]]
    assert data[RATED_BY].edge_index.tolist() == [[2, 1, 3, 0], [0, 0, 2, 2]]


def test_lattice_folder_counts_items_by_features(tmp_path):
    write(tmp_path)
    assert LATTICEFolder(tmp_path, 'tiny')[0]['item'].num_nodes == 4
    write(tmp_path, text=np.ones((7, 1)))
    assert LATTICEFolder(tmp_path, 'tiny')[0]['item'].num_nodes == 7


@pytest.mark.parametrize('split', SPLITS)
def test_lattice_folder_counts_users_of_all_splits(tmp_path, split):
    content = {'train': TRAIN, 'val': VAL, 'test': TEST}[split]
    write(tmp_path, **{split: {**content, '10': [], '9': [3]}})
    data = LATTICEFolder(str(tmp_path), 'tiny')[0]
    assert data['user'].num_nodes == 11


def test_lattice_folder_reads_what_tools_write(tmp_path):
    write(
        tmp_path,
        train=b'\xef\xbb\xbf' + json.dumps(TRAIN).encode(),
        val=json.dumps(VAL, indent=2).replace('\n', '\r\n').encode(),
    )
    rates = restored(LATTICEFolder(tmp_path, 'tiny')[0])[RATES]
    assert rates.edge_index.tolist() == [[0, 0, 2, 2], [2, 1, 3, 0]]
    assert rates.val_edge_label_index.tolist() == [[0], [0]]


@st.composite
def splits(draw):
    """Draw lists of items by user for each split, users in any order."""
    pairs = draw(
        st.lists(
            st.tuples(st.integers(0, 12), st.integers(0, 12)),
            min_size=3,
            max_size=40,
            unique=True,
        )
    )
    size = len(pairs)
    rest = st.lists(st.integers(0, 2), min_size=size - 3, max_size=size - 3)
    labels = draw(st.permutations([0, 1, 2, *draw(rest)]))
    out = []
    for label in range(3):
        lists = {user: [] for user in draw(st.sets(st.integers(0, 12)))}
        for (user, item), other in zip(pairs, labels, strict=True):
            if other == label:
                lists.setdefault(user, []).append(item)
        out.append(
            {user: lists[user] for user in draw(st.permutations([*lists]))}
        )
    return out


@settings(max_examples=50, deadline=None)
@given(splits())
def test_lattice_folder_round_trip(lists):
    with tempfile.TemporaryDirectory() as root:
        write(Path(root), *lists)
        data = restored(LATTICEFolder(root, 'tiny')[0])

    rates = data[RATES]
    for split, index in zip(
        lists,
        [
            rates.edge_index,
            rates.val_edge_label_index,
            rates.test_edge_label_index,
        ],
        strict=True,
    ):
        expected = [(u, i) for u in sorted(split) for i in split[u]]
        assert [tuple(pair) for pair in index.t().tolist()] == expected
    users = [user for split in lists for user in split]
    items = [i for split in lists for row in split.values() for i in row]
    assert data['user'].num_nodes == max(users) + 1
    assert data['item'].num_nodes == max(items) + 1


# Bad files ###################################################################


DEEP = b'{"0": ' + b'[' * 100_000 + b']' * 100_000 + b'}'


@pytest.mark.parametrize(
    ('train', 'expected'),
    [
        (b'', ['is not valid JSON in UTF-8', 'line 1 column 1', 'json.dump']),
        (b'{"0": [1],\n "2": [3 0]}', ['line 2 column 10']),
        (b'{"0": [1]} {', ['Extra data: line 1 column 12']),
        (b'{"0": [\xff]}', ["'utf-8' codec", '0xff in position 7']),
        ('{"0": [1]}'.encode('utf-16'), ["'utf-8' codec"]),
        (DEEP, ['is not valid JSON in UTF-8', 'recursion']),
        (b'{"0": [' + b'9' * 5000 + b']}', ['is not valid JSON', 'digits']),
        (b'{"0": [1], "1": [], "0": [2]}', ["the key '0' is there twice"]),
        ([[0, 1]], ['a JSON object from users', '(got [[0, 1]])']),
        (None, ['a JSON object from users', '(got None)']),
        ({'-1': [0]}, ["user '-1' is not an integer counted from 0"]),
        ({'1.0': [0]}, ["user '1.0' is not an integer", "'0', '1', '2'"]),
        ({'01': [0]}, ["user '01' is not an integer"]),
        ({'': [0]}, ["user '' is not an integer"]),
        ({'1\n': [0]}, ["user '1\\n' is not an integer"]),
        ({'²': [0]}, ["user '²' is not an integer"]),
        ({'٣': [0]}, ["user '٣' is not an integer"]),
        ({f'{2**63}': [0]}, [f"user '{2**63}' is not an integer"]),
        ({'A3X': [0]}, ["user 'A3X' is not an integer"]),
        (b'{"\\ud800": [0]}', ["user '\\ud800' is not an integer"]),
        ({'1': 3}, ["user '1': expected a list of items", '(got 3)']),
        ({'1': None}, ["user '1': expected a list of items", '(got None)']),
        ({'1': {'0': 1}}, ["user '1': expected a list", "(got {'0': 1})"]),
        ({'1': [0, '2']}, ["user '1', position 1", "item is '2', expected"]),
        ({'1': [0, 2.0]}, ['position 1 (counted from 0)', 'item is 2.0']),
        ({'1': [True]}, ["user '1', position 0", 'item is True']),
        ({'1': [None]}, ["user '1', position 0", 'item is None']),
        ({'1': [[2]]}, ["user '1', position 0", 'item is [2]']),
        (b'{"1": [NaN]}', ["user '1', position 0", 'item is nan']),
        (
            {'1': [3, 2, -1]},
            ['position 2', 'item is -1, expected a 64-bit integer counted'],
        ),
        ({'1': [2**63]}, ['expected a 64-bit integer counted from 0']),
        (
            b'{"1": [' + b'[' * 400 + b']' * 400 + b']}',
            ["user '1', position 0", 'item is [[[[[[[...]]]]]]], expected'],
        ),
        ({}, ['has no interactions; list an item of at least one user']),
        ({'0': [], '1': []}, ['has no interactions']),
    ],
)
def test_lattice_folder_refuses_splits(tmp_path, train, expected):
    path = write(tmp_path, train) / '5-core' / 'train.json'
    message = error_of(tmp_path)
    for part in [f"'{path}'", *expected]:
        assert part in message


@pytest.mark.parametrize('split', SPLITS)
def test_lattice_folder_names_the_bad_file(tmp_path, split):
    folder = write(tmp_path, **{split: {'0': [None]}})
    path = folder / '5-core' / f'{split}.json'
    assert error_of(tmp_path).startswith(f"'{path}', user '0', position 0")


@pytest.mark.parametrize(
    ('splits', 'expected'),
    [
        (
            {'train': {'0': [1], '2': [3, 2, 3]}},
            "'{}/train.json', user '2', position 0 and "
            "'{}/train.json', position 2 (counted from 0): "
            'item 3 is there twice; remove one of the two',
        ),
        (
            {'train': {'1': [0], '0': [1, 0]}},
            "'{}/train.json', user '0', position 1 and "
            "'{}/val.json', position 0 (counted from 0): "
            'item 0 is there twice; remove one of the two',
        ),
        (
            {'val': {'0': [0], '2': [4, 2]}},
            "'{}/val.json', user '2', position 1 and "
            "'{}/test.json', position 0 (counted from 0): "
            'item 2 is there twice; remove one of the two',
        ),
    ],
)
def test_lattice_folder_refuses_twins(tmp_path, splits, expected):
    folder = write(tmp_path, **splits) / '5-core'
    assert error_of(tmp_path) == expected.format(folder, folder)


def test_lattice_folder_refuses_features_that_do_not_fit(tmp_path):
    folder = write(tmp_path, text=np.ones((3, 1)))
    assert error_of(tmp_path) == (
        f"'{folder / '5-core' / 'train.json'}', user '2', position 0 (counted "
        f'from 0): item is 3, expected an integer counted from 0 and less than '
        f"3, the number of rows in 'text_feat.npy'; write one row for each "
        f'item in all features'
    )
    write(tmp_path, image=np.ones((4, 1)))
    assert "'image_feat.npy' has 4 rows, but 'text_feat.npy' has 3" in error_of(
        tmp_path
    )


def test_lattice_folder_refuses_features_that_are_not_finite(tmp_path):
    folder = write(tmp_path, text=np.full((4, 1), np.nan))
    assert f"'{folder / 'text_feat.npy'}', row 0" in error_of(tmp_path)


@pytest.mark.parametrize('missing', SPLITS)
def test_lattice_folder_refuses_missing_splits(tmp_path, missing):
    folder = write(tmp_path)
    (folder / '5-core' / f'{missing}.json').unlink()
    with pytest.raises(FileNotFoundError) as info:
        LATTICEFolder(tmp_path, 'tiny')
    for part in [
        f"'{folder}'",
        *(os.path.join('5-core', f'{split}.json') for split in SPLITS),
        '_feat.npy',
        'https://github.com/CRIPAC-DIG/LATTICE',
        "another 'core'",
    ]:
        assert part in str(info.value)


def test_lattice_folder_refuses_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        LATTICEFolder(tmp_path, 'tiny')
    assert not (tmp_path / 'tiny').exists()


# Processed files #############################################################


def test_lattice_folder_tells_cores_apart(tmp_path):
    write(tmp_path)
    write(tmp_path, {'0': [3]}, {'0': [1]}, {'1': [2]}, core=0)
    # Same names and sizes, and the same times in case the clock is coarse:
    write(tmp_path, {'0': [2]}, {'0': [1]}, {'1': [3]}, core=1)
    for path in tmp_path.rglob('*.json'):
        os.utime(path, ns=(10**18, 10**18))
    for _ in range(2):
        for core, items in [(5, [2, 1, 3, 0]), (0, [3]), (1, [2])]:
            data = restored(LATTICEFolder(tmp_path, 'tiny', core=core)[0])
            assert data[RATES].edge_index[1].tolist() == items


def test_lattice_folder_is_processed_once(tmp_path, monkeypatch):
    write(tmp_path)
    expected = LATTICEFolder(tmp_path, 'tiny')[0]
    monkeypatch.setattr(LATTICEFolder, 'build', None)
    data = LATTICEFolder(tmp_path, 'tiny')[0]
    assert data[RATES].edge_index.equal(expected[RATES].edge_index)
    with pytest.raises(TypeError):
        LATTICEFolder(tmp_path, 'tiny', force_reload=True)


def test_lattice_folder_transforms(tmp_path):
    write(tmp_path, text=np.random.rand(4, 3))
    plain = LATTICEFolder(tmp_path, 'tiny')[0]
    assert 'graphs' not in plain
    pre_transform = Compose([NormalizedAdjacency(), ItemKNN(k=2)])
    adjacency = NormalizedAdjacency()
    expected = adjacency.of(pre_transform(plain)).adj_t.to_dense()
    for options in [
        {'pre_transform': pre_transform},
        {'transform': pre_transform},
    ]:
        data = LATTICEFolder(tmp_path, 'tiny', **options)[0]
        assert adjacency.of(data).adj_t.to_dense().equal(expected)


def test_lattice_folder_processed_root(tmp_path):
    folder = write(tmp_path / 'raw')
    dataset = LATTICEFolder(
        tmp_path / 'raw', 'tiny', processed_root=tmp_path / 'out'
    )
    path = Path(dataset.processed_paths[0])
    assert path.parents[1] == tmp_path / 'out' / 'tiny' / 'processed'
    assert os.listdir(folder) == ['5-core']


def test_splits_without_a_folder_of_their_own(tmp_path):
    """As MMSSL has them."""
    write(tmp_path, {'0': [3]}, {'0': [1]}, {'1': [2]}, core=5)
    wanted = LATTICEFolder(tmp_path, 'tiny')[0]
    folder = tmp_path / 'tiny'
    for split in SPLITS:
        (folder / '5-core' / f'{split}.json').rename(folder / f'{split}.json')
    for dataset in (
        LATTICEFolder(tmp_path, 'tiny'),
        open_dataset(tmp_path, 'tiny'),
    ):
        rates = dataset[0]['user', 'rates', 'item']
        for name, value in wanted['user', 'rates', 'item'].items():
            assert torch.equal(rates[name], value)
    with pytest.raises(FileNotFoundError, match='5-core'):
        LATTICEFolder(tmp_path, 'tiny', core=5)


@pytest.mark.parametrize(
    ('train', 'name'),
    [({'100000000': [3]}, 'user'), ({'0': [100_000_000]}, 'item')],
)
def test_ids_of_a_database(tmp_path, train, name):
    write(tmp_path, train, {'0': [1]}, {'1': [2]}, core=5)
    message = f'{name} is 100000000, but there are 3 interactions'
    with pytest.raises(ValueError, match=message):
        LATTICEFolder(tmp_path, 'tiny')


def test_read_lattice_refuses_what_is_no_file(tmp_path):
    paths = [str(tmp_path / f'{name}.json') for name in SPLITS]
    os.mkfifo(paths[0])
    with pytest.raises(ValueError, match=r"train\.json' is no regular file"):
        read_lattice(paths, 9, 'less than 9')


def test_lattice_folder_refuses_files_that_are_too_large(tmp_path):
    write(tmp_path, train={**TRAIN, '3': [0, 1, 2, 3] * 0, '4': [1, 2, 3, 0]})
    size = (tmp_path / 'tiny' / '5-core' / 'train.json').stat().st_size
    message = f"train.json' has {size} bytes, more than 40; .*file=40"
    with pytest.raises(ValueError, match=message):
        LATTICEFolder(tmp_path, 'tiny', limits=Limits(file=40))
    data = LATTICEFolder(tmp_path, 'tiny', limits=Limits(file=size))[0]
    assert data['user'].num_nodes == 5
