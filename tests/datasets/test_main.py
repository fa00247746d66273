import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.datasets.__main__ import main
from pyg_ckd.datasets._describe import describe
from pyg_ckd.datasets.export import to_lattice, to_mmrec

DATA = FakeMultimodal(num_users=30, num_items=15)[0]


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command within this process; return its status and outputs."""

    def call(*args: object) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, 'argv', ['datasets', *map(str, args)])
        try:
            status = main()
        except SystemExit as error:
            status = error.code
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def table(capsys):
    """What to print about a data set of the name ``fake``."""
    describe(DATA, title='fake')
    return capsys.readouterr().out


def test_shell(tmp_path, table):
    to_mmrec(DATA, tmp_path / 'fake')
    good, bad = (
        subprocess.Popen(
            [sys.executable, '-m', 'pyg_ckd.datasets', 'describe', *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for args in ([tmp_path / 'fake'], ['missing', '--root', tmp_path])
    )
    assert good.communicate() == (table, '')
    assert good.returncode == 0
    out, err = bad.communicate()
    assert (bad.returncode, out, err.count('\n')) == (1, '', 1)
    assert err.startswith(
        f"pyg-ckd: error: '{tmp_path / 'missing'}' holds "
        f"neither 'missing.inter'"
    )


# Within this process #########################################################


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
def test_describe_finds_folders(tmp_path, monkeypatch, run, table, args):
    to_mmrec(DATA, tmp_path / 'data' / 'fake')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path))
    args = [arg.format(cwd=tmp_path) for arg in args]
    assert run('describe', *args) == (None, table, '')
    assert (tmp_path / 'data' / 'fake' / 'processed').is_dir()


@pytest.mark.parametrize('name', ['fake', '.'])
def test_describe_finds_folders_from_within(
    tmp_path, monkeypatch, run, table, name
):
    to_mmrec(DATA, tmp_path / 'fake')
    monkeypatch.chdir(tmp_path if name == 'fake' else tmp_path / 'fake')
    assert run('describe', name) == (None, table, '')


def test_describe_finds_folders_below_datasets(
    tmp_path, monkeypatch, run, table
):
    to_mmrec(DATA, tmp_path / 'datasets' / 'fake')
    monkeypatch.chdir(tmp_path)
    assert run('describe', 'fake') == (None, table, '')


def test_describe_prefers_the_root_that_is_given(
    tmp_path, monkeypatch, run, table
):
    to_mmrec(DATA, tmp_path / 'data' / 'fake')
    to_mmrec(FakeMultimodal(num_users=9, num_items=5)[0], tmp_path / 'fake')
    monkeypatch.chdir(tmp_path)
    assert run('describe', 'fake', '--root', 'data')[1] == table
    assert run('describe', 'fake')[1] != table


def test_describe_keeps_results_elsewhere(tmp_path, run, table):
    to_mmrec(DATA, tmp_path / 'raw' / 'fake')
    out = run(
        *('describe', 'fake', '--root', tmp_path / 'raw'),
        *('--processed-root', tmp_path / 'out'),
    )
    assert out == (None, table, '')
    assert os.listdir(tmp_path / 'out') == ['fake']
    assert not (tmp_path / 'raw' / 'fake' / 'processed').exists()


def test_describe_takes_a_core_of_lattice(tmp_path, run, table):
    to_lattice(DATA, tmp_path / 'fake', core=3)
    assert run('describe', tmp_path / 'fake') == (None, table, '')

    other = tmp_path / 'fake' / '10-core'
    other.mkdir()
    (other / 'train.json').write_text('{}')
    status, out, err = run('describe', tmp_path / 'fake')
    assert (status, out) == (1, '')
    assert "pass one of them as 'core' (3, 10)" in err
    assert run('describe', tmp_path / 'fake', '--core', 3)[:2] == (None, table)


# Errors ######################################################################


def check_error(result: tuple[object, str, str], *parts: object) -> None:
    status, out, err = result
    assert (status, out) == (1, '')
    assert err.startswith('pyg-ckd: error: ')
    assert err.count('\n') == 1 and err.endswith('\n')
    for part in parts:
        assert str(part) in err


@pytest.mark.parametrize('path', ['missing', 'no/such/folder', 'babi/'])
def test_describe_reports_unknown_names(tmp_path, monkeypatch, run, path):
    monkeypatch.chdir(tmp_path)
    place = Path('datasets', path) if path == 'missing' else path
    name = Path(path).name
    check_error(
        run('describe', path),
        f"'{tmp_path / place}' holds neither '{name}.inter'",
        f"'{name}' is no category of Amazon",
    )
    assert os.listdir(tmp_path) == []


def test_describe_reports_malformed_files(tmp_path, run):
    folder = tmp_path / 'fake'
    to_mmrec(DATA, folder)
    file = folder / 'fake.inter'
    file.write_text('userID\titemID\tx_label\n0\t0\t0\n0\tone\t1\n')
    check_error(run('describe', folder), f"'{file}', line 3: itemID")


def test_describe_reports_messages_of_several_lines_in_one(tmp_path, run):
    result = run('describe', tmp_path / 'two\nlines')
    check_error(result, f"'{tmp_path / 'two lines'}' holds neither")


def test_describe_reports_a_core_of_another_format(tmp_path, run):
    to_mmrec(DATA, tmp_path / 'fake')
    check_error(
        run('describe', tmp_path / 'fake', '--core', 5),
        f"'{tmp_path / 'fake'}' needs to hold the splits '5-core/train.json'",
    )


def test_describe_reports_a_place_that_cannot_be_written(tmp_path, run):
    to_mmrec(DATA, tmp_path / 'fake')
    (tmp_path / 'file').write_text('')
    check_error(
        run(
            'describe', tmp_path / 'fake', '--processed-root', tmp_path / 'file'
        ),
        f"'{tmp_path / 'file' / 'fake' / 'processed'}' cannot be written",
        "'processed_root'",
    )


def test_describe_reports_missing_packages(tmp_path, monkeypatch, run):
    # As if a package that the format needs were not installed:
    monkeypatch.setitem(sys.modules, 'pyg_ckd.datasets.amazon_multimodal', None)
    check_error(run('describe', tmp_path / 'other'), 'amazon_multimodal')


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        (('--help',), ['describe', 'print statistics']),
        (
            ('describe', '--help'),
            ['NAME', '--root', '--processed-root', '--core', 'category'],
        ),
    ],
)
def test_help(run, args, words):
    status, out, err = run(*args)
    assert (status, err) == (0, '')
    for word in words:
        assert word in out


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        ((), 'required: COMMAND'),
        (('describe',), 'required: NAME'),
        (('describe', 'fake', '--core', 'five'), "invalid int value: 'five'"),
        (('destroy', 'fake'), "invalid choice: 'destroy'"),
    ],
)
def test_wrong_usage(run, args, words):
    status, out, err = run(*args)
    assert (status, out) == (2, '')
    assert words in err
