import csv
import json
import os
import sys

import numpy as np
import pytest
import torch

from pyg_ckd.datasets import MMRecFolder
from pyg_ckd.nn import VBPR, FixedEmbeddings
from pyg_ckd.ranking import recommend
from pyg_ckd.serving import _export, save

USAGE = ('--dataset', 'corner', '--backbone', 'VBPR')


@pytest.fixture
def place(results, shops):
    return ('--root', shops, '--results', results)


@pytest.fixture
def wanted(call, place):
    """The best three items of all users, by the command `recommend`."""
    out = call(
        *('recommend', *USAGE, *place, '-k', 3, '--json'),
        *('--user', *range(30)),
    )[1]
    return [
        (one['user'], rank, each['item'], each['score'])
        for one in json.loads(out)
        for rank, each in enumerate(one['items'], 1)
    ]


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch):
    monkeypatch.setattr(_export, 'BLOCK', 7)


def check(rows, wanted):
    assert [row[:3] for row in rows] == [row[:3] for row in wanted]
    scores = [row[3] for row in wanted]
    assert [row[3] for row in rows] == pytest.approx(scores, rel=1e-5)


def test_csv(call, place, wanted, tmp_path):
    path = tmp_path / 'new' / 'corner.csv'
    status, out, err = call('export', *USAGE, *place, '-k', 3, '--out', path)
    assert (status, err) == (0, '')
    assert out == f'{path}: 90 recommendations for 30 users\n'
    assert os.listdir(path.parent) == ['corner.csv']
    header, *lines = csv.reader(path.open(newline=''))
    assert header == ['user', 'rank', 'item', 'score']
    rows = [(*map(int, line[:3]), float(line[3])) for line in lines]
    check(rows, wanted)


def test_jsonl(call, place, wanted, tmp_path):
    path = tmp_path / 'corner.jsonl'
    status, out, _ = call(
        'export', *USAGE, *place, '-k', 3, '--out', path, '--json'
    )
    assert status == 0
    size = {'file': str(path), 'users': 30, 'recommendations': 90}
    assert json.loads(out) == size
    lines = list(map(json.loads, path.read_text().splitlines()))
    rows = [
        (line['user'], rank, item, score)
        for line in lines
        for rank, (item, score) in enumerate(
            zip(line['items'], line['scores'], strict=True), 1
        )
    ]
    assert len(lines) == 30
    check(rows, wanted)


def test_parquet(call, place, wanted, tmp_path):
    parquet = pytest.importorskip('pyarrow.parquet')
    path = tmp_path / 'corner.parquet'
    assert call('export', *USAGE, *place, '-k', 3, '--out', path)[0] == 0
    table = parquet.read_table(path).to_pydict()
    assert list(table) == ['user', 'rank', 'item', 'score']
    check(list(zip(*table.values(), strict=True)), wanted)


def test_parquet_needs_a_package(call, place, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'pyarrow', None)
    path = tmp_path / 'corner.parquet'
    status, out, err = call('export', *USAGE, *place, '--out', path)
    assert (status, out) == (2, '')
    assert "need 'pyarrow'; `pip install 'pyg_ckd[parquet]'`" in err
    assert not path.exists()


def test_of_a_saved_model(call, shops, tmp_path):
    data = MMRecFolder(shops, 'corner', processed_root=tmp_path)[0]
    data['user'].name = [f'user {number}' for number in range(30)]
    data['item'].name = [f'item {number}' for number in range(25)]
    model = FixedEmbeddings(torch.rand(30, 4), torch.rand(25, 4))
    save(model, data, tmp_path / 'model')
    path = tmp_path / 'all.jsonl'
    usage = ('--model', tmp_path / 'model', '-k', 2, '--out', path)
    assert call('export', *usage)[0] == 0
    rows = [*map(json.loads, path.read_text().splitlines())]
    items, _ = recommend(model, data, range(30), 2)
    assert [row['user'] for row in rows] == data['user'].name
    assert [row['items'] for row in rows] == [
        [f'item {item}' for item in found] for found in items.tolist()
    ]


def test_of_a_view(call, shops, tmp_path):
    data = MMRecFolder(shops, 'corner', processed_root=tmp_path)[0]
    model = VBPR.from_data(data, dim=4)
    save(model, data, tmp_path / 'model')
    usage = ('--model', tmp_path / 'model', '--view', 'only(sound)')
    path = tmp_path / 'items.npy'
    status, _, err = call('export', *usage, '--out', path)
    assert (status, err) == (0, '')
    _, item_emb = model.views(data, [frozenset({'sound'})]).embedding()
    rows = data['item'].original_id.argsort()  # item 7 of the file in row 7
    assert np.array_equal(np.load(path), item_emb[rows].detach().numpy())
    path = tmp_path / 'lists.jsonl'
    assert call('export', *usage, '--out', path)[0] == 0
    first = json.loads(path.read_text().splitlines()[0])
    status, out, _ = call('recommend', *usage, '--user', '0', '--json')
    assert status == 0
    assert [one['item'] for one in json.loads(out)[0]['items']] == (
        first['items']
    )
    status, _, err = call('export', *usage[:3], 'smell', '--out', path)
    assert status == 2
    assert "'view' needs to be one of ['full', 'only(" in err


def test_more_than_there_are(call, place, tmp_path):
    path = tmp_path / 'corner.jsonl'
    out = call('export', *USAGE, *place, '-k', 99, '--out', path)[1]
    assert out == f'{path}: 570 recommendations for 30 users\n'
    for line in map(json.loads, path.read_text().splitlines()):
        assert len(line['items']) == len(line['scores']) == 25 - 6
        assert min(line['items']) >= 0


def test_a_place_that_cannot_be_written(call, place, tmp_path):
    (tmp_path / 'file').write_text('')
    path = tmp_path / 'file' / 'corner.csv'
    status, out, err = call('export', *USAGE, *place, '--out', path)
    assert (status, out, err.count('\n')) == (2, '', 1)
    assert err.startswith(f"pyg-ckd: error: '{path.parent}' cannot be written")
    path = tmp_path / 'folder.csv'
    path.mkdir()
    status, out, err = call('export', *USAGE, *place, '--out', path)
    assert (status, out, err.count('\n')) == (2, '', 1)
    assert err.startswith(f"pyg-ckd: error: '{path}' could not be written")


@pytest.mark.parametrize('name', ['corner.txt', 'corner', 'corner.csv.gz'])
def test_unknown_formats(call, place, tmp_path, name):
    path = tmp_path / name
    status, out, err = call('export', *USAGE, *place, '--out', path)
    assert (status, out) == (2, '')
    assert 'ends with .csv, .jsonl, .parquet, one of items with .npy' in err
    assert f"(got '{path}')" in err


def test_a_file_is_whole_or_as_it_was(call, place, tmp_path):
    path = tmp_path / 'corner.csv'
    path.write_text('before')
    status, out, err = call(
        'export', *USAGE, *place, '--out', path, '--seed', 9
    )
    assert (status, out) == (2, '')
    assert '--seed 9' in err
    assert path.read_text() == 'before'
    assert 'corner.csv' in os.listdir(tmp_path)
