"""What type checkers tell a user, whose settings are the default ones.

In the scripts of ``users/`` a line that ends in ``# error`` has to be one, and
no other may be; one that ends in ``# HeteroData`` reveals that type.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / '.mypy_cache' / 'users'
MYPY = re.compile(r'(\w+\.py):(\d+): (error|note): (.*)')
#: How mypy knows the types of PyG, which has no marker `py.typed`.
FOLLOWED = """
[mypy]
[mypy-torch_geometric.*]
follow_untyped_imports = True
"""
Lines = set[tuple[str, int]]


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """The scripts, where no settings of the library hold."""
    return shutil.copytree(HERE / 'users', tmp_path / 'users')


def marked(mark: str) -> Lines:
    """The lines that end in a mark."""
    return {
        (path.name, number)
        for path in (HERE / 'users').glob('*.py')
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if line.endswith(f'  # {mark}')
    }


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, '-m', *command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def test_marks():
    """There is something to find."""
    assert len(marked('error')) > 30
    assert len(marked('HeteroData')) == 7


def mypy(folder: Path, settings: str) -> Iterator[tuple[str, int, str, str]]:
    (folder / 'mypy.ini').write_text(settings)
    cache = f'--cache-dir={CACHE}'
    out = run(folder, 'mypy', '--config-file=mypy.ini', cache, '.')
    for file, line, kind, text in MYPY.findall(out):
        yield file, int(line), kind, text


@pytest.mark.parametrize('settings', ['[mypy]', FOLLOWED])
def test_mypy(scripts, settings):
    said = list(mypy(scripts, settings))
    errors = {(file, line) for file, line, kind, _ in said if kind == 'error'}
    assert errors == marked('error')
    revealed = {
        (file, line): text.split('"')[1].rpartition('.')[2]
        for file, line, _, text in said
        if text.startswith('Revealed type')
    }
    known = 'HeteroData' if settings == FOLLOWED else 'Any'
    assert revealed == dict.fromkeys(marked('HeteroData'), known)


def test_pyright(scripts):
    """By the fork of it that brings what it runs on along."""
    settings = scripts / 'pyrightconfig.json'
    settings.write_text('{"typeCheckingMode": "standard"}')
    command = ('basedpyright', '--outputjson', '--pythonpath', sys.executable)
    said = json.loads(run(scripts, *command))['generalDiagnostics']
    found: dict[str, Lines] = {'error': set(), 'information': set()}
    for one in said:
        where = Path(one['file']).name, one['range']['start']['line'] + 1
        found[one['severity']].add(where)
        if one['severity'] == 'information':
            assert one['message'].endswith(' is "HeteroData"')
    assert found['error'] == marked('error')
    assert found['information'] == marked('HeteroData')
