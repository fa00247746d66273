import os
import subprocess
import sys
from pathlib import Path

import pytest

import pyg_ckd
from pyg_ckd import nn
from pyg_ckd.experiments import BACKBONES, METHODS, names
from pyg_ckd.experiments.method import OBJECTIVES

COMMANDS = ('run', 'tune', 'report', 'describe', 'recommend', 'export')


def test_names_are_those_of_the_library():
    for name, backbone in BACKBONES.items():
        assert issubclass(backbone, vars(nn)[names.BACKBONES[name]])
    assert tuple(METHODS) == names.METHODS
    assert tuple(OBJECTIVES) == names.OBJECTIVES
    assert set(names.QUICK) <= set(names.BACKBONES)


@pytest.mark.parametrize('args', [('--help',), ('run', '--help')])
def test_help_comes_before_heavy_imports(args):
    code = (
        'import sys; from pyg_ckd.experiments.cli import main; '
        f'status = main({args}); heavy = {{"torch", "numpy", "matplotlib"}}; '
        'sys.exit(status or len(heavy & sys.modules.keys()))'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.startswith('usage: pyg-ckd')


def test_help_of_all(call, monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    status, out, err = call('--help')
    assert (status, err) == (0, '')
    for command in COMMANDS:
        assert f'\n    {command}' in out


@pytest.mark.parametrize('command', COMMANDS)
def test_help(call, monkeypatch, command):
    monkeypatch.setenv('COLUMNS', '80')
    status, out, err = call(command, '--help')
    assert (status, err) == (0, '')
    assert f'examples:\n  pyg-ckd {command}' in out
    assert '--json' in out
    assert max(map(len, out.splitlines())) <= 80


def test_help_of_run_says_how_to_share_a_grid(call):
    out = call('run', '--help')[1]
    for text in ('several with a shared file system', '#SBATCH', '--retry'):
        assert text in out
    joined = ''.join(out.split())  # lines are broken at hyphens
    for name in (*BACKBONES, *METHODS):
        assert name in joined


def test_version(call):
    assert call('--version') == (0, f'pyg-ckd {pyg_ckd.__version__}\n', '')


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        ((), 'required: COMMAND'),
        (('destroy', 'fake'), "invalid choice: 'destroy'"),
        (('describe',), 'required: NAME'),
        (('describe', 'fake', '--core', 'five'), "invalid int value: 'five'"),
        (('run', '--backbone', 'VPBR'), "invalid choice: 'VPBR'"),
        (('run', '--method', 'base', 'cdk'), "invalid choice: 'cdk'"),
        (('run', '--objective', 'bpr'), "invalid choice: 'bpr'"),
        (('run', '--seed', 'one'), "invalid int value: 'one'"),
        (('run', '--max-epochs', '0'), "positive number (got '0')"),
        (('run', '--device', 'gpu3'), "invalid choice: 'gpu3'"),
        (('run', '--settings', 'no.toml'), "be a file (got 'no.toml')"),
        (('report',), 'required: FOLDER'),
        (('recommend', '--backbone', 'VBPR'), 'required: --user'),
        (('export', '--backbone', 'VBPR'), 'required: --out'),
    ],
)
def test_wrong_usage(call, args, words):
    status, out, err = call(*args)
    assert (status, out) == (2, '')
    assert words in err
    assert err.startswith('usage: pyg-ckd')


def test_module(start):
    process = start('--version')
    out, err = process.communicate()
    assert (process.returncode, err) == (0, '')
    assert out == f'pyg-ckd {pyg_ckd.__version__}\n'


def test_the_old_script_is_the_command_run(load_benchmark):
    script = load_benchmark('run_all')
    root = Path(script.__file__).parents[1]
    assert root / 'results' == script.RESULTS
    done = subprocess.run(
        [sys.executable, script.__file__, '--seed', 'one'],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr.startswith('usage: pyg-ckd run')


def test_huge_pages_are_asked_for_before_torch_allocates():
    code = """
import os, sys
from pyg_ckd.experiments.cli import main
assert 'torch' not in sys.modules
main(['report', 'nowhere'])
assert os.environ['THP_MEM_ALLOC_ENABLE'] == '1'
"""
    own = {k: v for k, v in os.environ.items() if k != 'THP_MEM_ALLOC_ENABLE'}
    subprocess.run([sys.executable, '-c', code], env=own, check=True)
