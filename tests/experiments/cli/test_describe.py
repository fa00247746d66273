import json
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from pyg_ckd.datasets import (
    FakeMultimodal,
    describe,
    statistics,
    to_lattice,
    to_mmrec,
)

DATA = FakeMultimodal(num_users=30, num_items=15)[0]


@pytest.fixture
def table(capsys):
    """What to print about a data set of the name ``fake``."""
    describe(DATA, title='fake')
    return capsys.readouterr().out


@pytest.mark.parametrize(
    'args',
    [
        ('fake', '--root', 'data'),
        ('fake', '--root', 'data/'),
        ('fake/', '--root', '{cwd}/data'),
        ('fake', '--root', '~/data'),
        ('data/fake',),
        ('data/fake/',),
        ('./data/../data/fake',),
        ('{cwd}/data/fake',),
        ('~/data/fake',),
    ],
)
def test_describe_finds_folders(tmp_path, monkeypatch, call, table, args):
    to_mmrec(DATA, tmp_path / 'data' / 'fake')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path))
    args = [arg.format(cwd=tmp_path) for arg in args]
    assert call('describe', *args) == (0, table, '')
    assert (tmp_path / 'data' / 'fake' / 'processed').is_dir()


@pytest.mark.parametrize('name', ['fake', '.'])
def test_describe_finds_folders_from_within(
    tmp_path, monkeypatch, call, table, name
):
    to_mmrec(DATA, tmp_path / 'fake')
    monkeypatch.chdir(tmp_path if name == 'fake' else tmp_path / 'fake')
    assert call('describe', name) == (0, table, '')


def test_describe_finds_folders_below_datasets(
    tmp_path, monkeypatch, call, table
):
    to_mmrec(DATA, tmp_path / 'datasets' / 'fake')
    monkeypatch.chdir(tmp_path)
    assert call('describe', 'fake') == (0, table, '')


def test_describe_prefers_the_root_that_is_given(
    tmp_path, monkeypatch, call, table
):
    to_mmrec(DATA, tmp_path / 'data' / 'fake')
    to_mmrec(FakeMultimodal(num_users=9, num_items=5)[0], tmp_path / 'fake')
    monkeypatch.chdir(tmp_path)
    assert call('describe', 'fake', '--root', 'data')[1] == table
    assert call('describe', 'fake')[1] != table


def test_describe_keeps_results_elsewhere(tmp_path, call, table):
    to_mmrec(DATA, tmp_path / 'raw' / 'fake')
    out = call(
        *('describe', 'fake', '--root', tmp_path / 'raw'),
        *('--processed-root', tmp_path / 'out'),
    )
    assert out == (0, table, '')
    assert os.listdir(tmp_path / 'out') == ['fake']
    assert not (tmp_path / 'raw' / 'fake' / 'processed').exists()


def test_describe_takes_a_core_of_lattice(tmp_path, call, table):
    to_lattice(DATA, tmp_path / 'fake', core=3)
    assert call('describe', tmp_path / 'fake') == (0, table, '')

    other = tmp_path / 'fake' / '10-core'
    other.mkdir()
    (other / 'train.json').write_text('{}')
    status, out, err = call('describe', tmp_path / 'fake')
    assert (status, out) == (2, '')
    assert "pass one of them as 'core' (3, 10)" in err
    assert call('describe', tmp_path / 'fake', '--core', 3)[:2] == (0, table)


def test_describe_knows_the_synthetic_ones(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    status, out, err = call('describe', 'fake3')
    assert (status, err) == (0, '')
    assert 'audio' in out
    to_mmrec(DATA, tmp_path / 'datasets' / 'fake3')
    assert 'audio' not in call('describe', 'fake3')[1]


def test_describe_as_json(tmp_path, call):
    to_mmrec(DATA, tmp_path / 'fake')
    status, out, err = call('describe', tmp_path / 'fake', '--json')
    assert (status, err) == (0, '')
    found = json.loads(out)
    assert found.pop('degrees')['user']['mean'] == 10
    assert found.pop('neighbors').keys() == {'image', 'text'}
    assert found == {**statistics(DATA), 'leaks': []}


def test_describe_writes_a_page(tmp_path, call, table):
    to_mmrec(DATA, tmp_path / 'fake')
    page = tmp_path / 'new' / 'page.html'
    out = call('describe', tmp_path / 'fake', '--html', page)
    assert out == (0, f'{table}\nPage: {page}\n', '')
    text = page.read_text('utf-8')
    assert text.startswith('<!DOCTYPE html>') and '<h1>fake</h1>' in text
    assert '<img' not in text

    pictures = tmp_path / 'pictures'
    pictures.mkdir()
    for item in range(15):
        Image.new('RGB', (9, 9), 'red').save(pictures / f'{item}.png')
    status, out, err = call(
        *('describe', tmp_path / 'fake', '--html', page, '--json'),
        *('--pictures', pictures),
    )
    assert (status, err) == (0, '')
    assert json.loads(out)['page'] == str(page)
    assert page.read_text('utf-8').count('<img src="data:image/jpeg') > 50


# Errors ######################################################################


def check_error(result: tuple[object, str, str], *parts: object) -> None:
    status, out, err = result
    assert (status, out) == (2, '')
    assert err.startswith('pyg-ckd: error: ')
    assert err.count('\n') == 1 and err.endswith('\n')
    for part in parts:
        assert str(part) in err


@pytest.mark.parametrize('path', ['missing', 'no/such/folder', 'babi/'])
def test_describe_reports_unknown_names(tmp_path, monkeypatch, call, path):
    monkeypatch.chdir(tmp_path)
    place = Path('datasets', path) if path == 'missing' else path
    name = Path(path).name
    check_error(
        call('describe', path),
        f"'{tmp_path / place}' holds neither '{name}.inter'",
        f"'{name}' is no category of Amazon",
    )
    assert os.listdir(tmp_path) == []


def test_describe_reports_pictures_without_a_page(tmp_path, call):
    check_error(
        call('describe', 'fake', '--pictures', tmp_path),
        "'--pictures' needs '--html'",
    )


def test_describe_reports_pictures_that_are_missing(tmp_path, call):
    to_mmrec(DATA, tmp_path / 'fake')
    page = tmp_path / 'page.html'
    check_error(
        call(
            *('describe', tmp_path / 'fake', '--html', page),
            *('--pictures', tmp_path / 'none'),
        ),
        f"There is no folder or zip archive '{tmp_path / 'none'}'",
    )
    assert not page.exists()


def test_describe_reports_malformed_files(tmp_path, call):
    folder = tmp_path / 'fake'
    to_mmrec(DATA, folder)
    file = folder / 'fake.inter'
    file.write_text('userID\titemID\tx_label\n0\t0\t0\n0\tone\t1\n')
    check_error(call('describe', folder), f"'{file}', line 3: itemID")


def test_describe_reports_messages_of_several_lines_in_one(tmp_path, call):
    result = call('describe', tmp_path / 'two\nlines')
    check_error(result, f"'{tmp_path / 'two lines'}' holds neither")


def test_describe_reports_a_core_of_another_format(tmp_path, call):
    to_mmrec(DATA, tmp_path / 'fake')
    check_error(
        call('describe', tmp_path / 'fake', '--core', 5),
        f"'{tmp_path / 'fake'}' needs to hold the splits '5-core/train.json'",
    )


def test_describe_reports_a_place_that_cannot_be_written(tmp_path, call):
    to_mmrec(DATA, tmp_path / 'fake')
    (tmp_path / 'file').write_text('')
    check_error(
        call(
            'describe', tmp_path / 'fake', '--processed-root', tmp_path / 'file'
        ),
        f"'{tmp_path / 'file' / 'fake' / 'processed'}' cannot be written",
        "'processed_root'",
    )


def test_a_missing_part_of_the_library_is_a_bug(tmp_path, monkeypatch, call):
    monkeypatch.setitem(sys.modules, 'pyg_ckd.datasets.amazon_multimodal', None)
    with pytest.raises(ModuleNotFoundError, match='amazon_multimodal'):
        call('describe', tmp_path / 'other')
