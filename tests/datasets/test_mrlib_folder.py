import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.datasets._open_dataset import open_dataset
from pyg_ckd.datasets.formats.mrlib import read_mrlib, read_tensors
from pyg_ckd.datasets.mrlib_folder import MRLibFolder
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.graph import RATES, check

HEADER = 'user_id,item_id,rating,label\n'
ROWS = '0,1,5,0\n0,0,4.5,1\n2,1,1,2\n1,2,3,0\n'


def put(root: Path, text: str = HEADER + ROWS) -> Path:
    folder = root / 'tiny'
    folder.mkdir(exist_ok=True)
    (folder / 'inter.csv').write_text(text)
    return folder


def error_of(root: Path, **kwargs) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as info:
        MRLibFolder(root, 'tiny', **kwargs)
    assert str(root) in str(info.value)
    return str(info.value)


def test_mrlib_folder(tmp_path):
    folder = put(tmp_path)
    x = np.arange(8, dtype=np.float32).reshape(4, 2)
    np.save(folder / 'visual_feat.npy', x)
    torch.save(
        torch.arange(4.0).unsqueeze(1).double(), folder / 'audio_feat.pt'
    )
    dataset = open_dataset(tmp_path, 'tiny')
    assert type(dataset) is MRLibFolder
    data = dataset[0]
    check(data, splits=('val', 'test'))
    user, item = data['user'].original_id, data['item'].original_id
    assert sorted(user.tolist()) == [0, 1, 2]
    assert data['item'].x_visual.equal(torch.from_numpy(x)[item])
    assert data['item'].x_audio.flatten().equal(item.float())
    rates = data[RATES]
    pairs = {
        key: [(int(user[u]), int(item[i])) for u, i in rates[key].t().tolist()]
        for key in (
            'edge_index',
            'val_edge_label_index',
            'test_edge_label_index',
        )
    }
    assert list(pairs.values()) == [[(0, 1), (1, 2)], [(0, 0)], [(2, 1)]]
    assert rates.rating.tolist() == [5, 3]


def test_mrlib_folder_holds_a_fake(tmp_path):
    data = FakeMultimodal(num_users=40, num_items=20)[0]
    rates = data[RATES]
    rows = [
        f'{u},{i},1,{label}'
        for label, key in enumerate(
            ('edge_index', 'val_edge_label_index', 'test_edge_label_index')
        )
        for u, i in rates[key].t().tolist()
    ]
    folder = put(tmp_path, HEADER + '\n'.join(rows) + '\n')
    np.save(folder / 'text_feat.npy', data['item'].x_text.numpy())
    found = MRLibFolder(tmp_path, 'tiny')[0]
    user, item = found['user'].original_id, found['item'].original_id
    edges = found[RATES].edge_index
    assert torch.stack([user[edges[0]], item[edges[1]]]).equal(rates.edge_index)
    assert found['item'].x_text.equal(data['item'].x_text[item])


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('user_id,item_id,rating\n0,1,5\n', "has no column 'label'"),
        ('user_id\titem_id\tlabel\n0\t1\t0\n', 'looks separated by tabs'),
        (HEADER, 'has no interactions for training'),
        (f'{HEADER}0,1,5,1\n0,2,5,2\n', 'training; set label to 0'),
        (f'{HEADER}0,1,5,0\n0,2,5,2\n', 'validation; set label to 1'),
        (f'{HEADER}{ROWS}0,9,1,3\n', 'line 6: label is 3, expected 0'),
        (f'{HEADER}{ROWS}-1,9,1,0\n', "line 6: user_id is '-1', expected an"),
        (f'{HEADER}{ROWS}1,9.0,1,0\n', "line 6: item_id is '9.0'"),
        (f'{HEADER}{ROWS}1,,1,0\n', "line 6: item_id is ''"),
        (f'{HEADER}{ROWS}1,9,inf,0\n', "line 6: rating is 'inf'"),
        (f'{HEADER}{ROWS}2,1,1,0\n', 'lines 4 and 6: user 2 and item 1'),
        (f'{HEADER}{ROWS}90000,9,1,0\n', 'line 6: user_id is 90000, but'),
    ],
)
def test_mrlib_folder_refuses_interactions(tmp_path, text, expected):
    put(tmp_path, text)
    assert expected in error_of(tmp_path)


def test_mrlib_folder_believes_higher_ids(tmp_path):
    put(tmp_path, f'{HEADER}{ROWS}90000,9,1,0\n')
    data = MRLibFolder(tmp_path, 'tiny', limits=Limits(ids=100_000))[0]
    assert data['user'].num_nodes == 90001


@pytest.mark.parametrize(
    ('files', 'expected'),
    [
        (
            {'a_feat.npy': np.ones((2, 3))},
            'line 5: item_id is 2, expected less than 2, the number of rows in '
            "'a_feat.npy'",
        ),
        (
            {'b_feat.pt': torch.ones(1, 3)},
            'line 2: item_id is 1, expected less than 1',
        ),
        (
            {'a_feat.npy': np.ones((3, 3)), 'b_feat.pt': torch.ones(4, 2)},
            "'a_feat.npy' has 3 rows, but 'b_feat.pt' has 4; write one row",
        ),
        (
            {'a_feat.npy': np.ones((3, 3)), 'a_feat.pt': torch.ones(3, 2)},
            "'a_feat.pt' is in 'a_feat.npy' as well",
        ),
        ({'a b_feat.pt': torch.ones(3, 2)}, 'is not an identifier'),
        ({'a_feat.pt': torch.ones(3)}, '(got [3])'),
        ({'a_feat.pt': torch.ones(3, 2, dtype=torch.int64)}, 'floating point'),
        ({'a_feat.pt': torch.tensor([[1.0], [torch.nan]])}, 'row 1 (counted'),
        ({'a_feat.pt': torch.tensor([[1.0], [1e30]])}, '1e+30 is too large'),
        ({'a_feat.pt': [1, 2]}, '(got list)'),
        ({'a_feat.pt': b'no tensor'}, 'is not a whole file of a tensor'),
    ],
)
def test_mrlib_folder_refuses_features(tmp_path, files, expected):
    folder = put(tmp_path)
    for name, content in files.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        elif name.endswith('.npy'):
            np.save(folder / name, content)
        else:
            torch.save(content, folder / name)
    assert expected in error_of(tmp_path)


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path('exploded'),)


def test_mrlib_folder_executes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = put(tmp_path)
    (folder / 'a_feat.pt').write_bytes(pickle.dumps(Bomb()))
    error_of(tmp_path)
    torch.save(Bomb(), folder / 'a_feat.pt')
    error_of(tmp_path)
    assert not Path('exploded').exists()


def test_mrlib_folder_says_where_to_get_it(tmp_path):
    assert 'Multimodal-Recommendation-Library' in error_of(tmp_path)


PAIRS = st.dictionaries(
    st.tuples(st.integers(0, 60), st.integers(0, 60)),
    st.tuples(st.integers(0, 2), st.integers(0, 5)),
    min_size=3,
).filter(lambda pairs: {label for label, _ in pairs.values()} == {0, 1, 2})


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(PAIRS)
def test_read_mrlib_reads_what_is_written(tmp_path, pairs):
    path = tmp_path / 'inter.csv'
    rows = [f'{u},{i},{r},{lab}' for (u, i), (lab, r) in pairs.items()]
    path.write_text(HEADER + '\n'.join(rows))
    table = read_mrlib(str(path))
    assert [
        *zip(
            table['user_id'].tolist(),
            table['item_id'].tolist(),
            table['label'].tolist(),
            table['rating'].tolist(),
            strict=True,
        )
    ] == [(u, i, lab, float(r)) for (u, i), (lab, r) in pairs.items()]


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.binary(max_size=80))
def test_read_mrlib_refuses_anything_else(tmp_path, tail):
    path = tmp_path / 'inter.csv'
    path.write_bytes((HEADER + ROWS).encode() + tail)
    try:
        table = read_mrlib(str(path))
    except ValueError as error:
        assert 'inter.csv' in str(error)
    else:
        assert table['user_id'][:4].tolist() == [0, 0, 2, 1]


def read_or_error(path: Path) -> torch.Tensor | str:
    try:
        return read_tensors([str(path)])['audio']
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize('is_old', [False, True])
def test_read_tensors_names_a_file_that_is_cut(tmp_path, is_old):
    path = tmp_path / 'audio_feat.pt'
    x = torch.arange(3.0).unsqueeze(1)
    torch.save(x, path, _use_new_zipfile_serialization=not is_old)
    whole = path.read_bytes()
    assert read_or_error(path).equal(x)
    for damaged in (
        *(whole[:cut] for cut in range(0, len(whole), 7)),
        whole[:-1],
        whole[:300] + 4000 * b'f',  # for which torch names no file
    ):
        path.write_bytes(damaged)
        error = read_or_error(path)
        assert isinstance(error, str), len(damaged)
        assert f"'{path}' is not a whole file of a tensor" in error


def test_read_tensors_reads_no_other_numbers(tmp_path):
    """One bit of a file that is another one, wherever it is."""
    path = tmp_path / 'audio_feat.pt'
    x = torch.arange(3.0).unsqueeze(1)
    torch.save(x, path)
    whole = path.read_bytes()
    num_refused = 0
    for position in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        found = read_or_error(path)
        if isinstance(found, str):
            assert str(path) in found
            num_refused += 1
        else:  # The bit says nothing of numbers, such as one of a date.
            assert found.equal(x), position
    assert num_refused > 50


def test_read_tensors_refuses_numbers_marked_as_a_folder(tmp_path):
    """PyTorch would not read them, and return what is in the memory."""
    path = tmp_path / 'audio_feat.pt'
    torch.save(torch.ones(3, 1), path)
    content = bytearray(path.read_bytes())
    content[content.rindex(b'audio_feat/data/0') - 8] |= 0x10
    path.write_bytes(content)
    assert "'audio_feat/data/0' is a folder" in read_or_error(path)


def test_read_tensors_refuses_tensors_beyond_the_limits(tmp_path):
    path = tmp_path / 'audio_feat.pt'
    message = r"audio_feat.pt' has .* bytes and unpacks to .*'unpacked' of"
    for large in (
        torch.ones(1, 1).expand(10**9, 10**6),
        torch.sparse_coo_tensor(size=(10**9, 10**6)),
    ):
        torch.save(large, path)
        with pytest.raises(ValueError, match=message):
            read_tensors([str(path)])
    torch.save(torch.ones(1, 2).expand(3, 2), path)
    assert read_tensors([str(path)])['audio'].equal(torch.ones(3, 2))


def test_read_tensors_refuses_what_is_no_file(tmp_path):
    path = tmp_path / 'audio_feat.pt'
    os.mkfifo(path)
    with pytest.raises(ValueError, match=r"audio_feat\.pt' is no regular file"):
        read_tensors([str(path)])
