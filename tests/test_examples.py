import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pyg_ckd.testing

EXAMPLES = sorted(Path(__file__).resolve().parents[1].glob('examples/*.py'))
BARE_LOOP = next(path for path in EXAMPLES if path.name == 'bare_loop.py')

# What a process does that has no Lightning:
WITHOUT_LIGHTNING = (
    'import sys; sys.modules.update(pytorch_lightning=None, lightning=None)'
)


def run(*args: str, cwd: Path, timeout: int = 300) -> str:
    """Run Python in a process of its own and return what it prints."""
    process = subprocess.run(
        [sys.executable, *args],
        cwd=cwd,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.parametrize('path', EXAMPLES, ids=lambda path: path.stem)
def test_example(path, tmp_path):
    """Each example runs, says something and leaves nothing behind.

    The bare loop needs no Lightning, its loader of triples included.
    """
    code = f"import runpy; runpy.run_path({str(path)!r}, run_name='__main__')"
    if path == BARE_LOOP:
        code = f'{WITHOUT_LIGHTNING}; {code}'
    out = run('-c', code, cwd=tmp_path)
    assert out.strip()
    assert not list(tmp_path.iterdir())
    check = globals().get(f'check_{path.stem}')
    if check:
        check(out)


def check_bare_loop(out: str) -> None:
    head, *rows = out.splitlines()
    assert head.split() == ['Recall@20', 'base', 'CKD']
    table = {
        name: (float(base), float(ckd))
        for name, base, ckd in (row.split() for row in rows)
    }
    assert list(table) == ['full', 'only(image)', 'only(text)']
    for pair in table.values():
        assert all(20 / 500 < value < 1 for value in pair)  # beats chance
    base, ckd = table['full']
    assert ckd > base


def test_bare_loop_is_short():
    """At most 40 lines, beside docstrings, comments and imports."""
    text = BARE_LOOP.read_text(encoding='utf-8')
    assert not re.search(r'^\s*(import|from) \S*lightning', text, re.MULTILINE)
    lines = {
        number
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.strip().startswith('#')
    }
    for node in ast.walk(ast.parse(text)):
        is_docstring = isinstance(node, ast.Expr) and isinstance(
            node.value, ast.Constant
        )
        if is_docstring or isinstance(node, ast.Import | ast.ImportFrom):
            lines -= set(range(node.lineno, node.end_lineno + 1))
    assert len(lines) <= 40


#: What needs no Lightning, from the top down: the first import is the largest.
WITHOUT = """
import pyg_ckd
import pyg_ckd.balance
import pyg_ckd.datasets
import pyg_ckd.graph
import pyg_ckd.inspect
import pyg_ckd.metrics
import pyg_ckd.nn
import pyg_ckd.objectives
import pyg_ckd.ranking
import pyg_ckd.testing
import pyg_ckd.train.losses
import pyg_ckd.transforms
import pyg_ckd.triplet_loader
import pyg_ckd.views
"""

#: CKD as a part, in a loop of one's own.
STEPS = """
import torch
from pyg_ckd import Teacher, TripletLoader, full, only
from pyg_ckd.balance import CKD
from pyg_ckd.nn import VBPR
from pyg_ckd.testing import fake_graph
from pyg_ckd.train import compute_losses

data = fake_graph()
model = VBPR.from_data(data, dim=4)
ckd = CKD({only(m): Teacher.from_model(model, data, only(m))
           for m in ('image', 'text')})
ckd.attach(model, data)
ckd.begin(data)
for batch in TripletLoader(data):
    keep = full(['image', 'text'])
    losses = compute_losses(model, data, keep, None, ckd, batch)
    losses.total.backward()
    print(float(losses.added))
"""

#: Lightning is blocked indeed, and asked for by what trains with it:
BLOCKED = """
try:
    pyg_ckd.fit
except ModuleNotFoundError:
    print('blocked')
"""


def test_imports_and_steps_need_no_lightning(tmp_path):
    code = '\n'.join([WITHOUT_LIGHTNING, WITHOUT, STEPS, BLOCKED])
    *added, last = run('-c', code, cwd=tmp_path).split()
    assert float(added[-1]) > 0
    assert last == 'blocked'


def test_names_need_no_pytest(tmp_path):
    """Whoever lists the names of the package does not ask for the suites."""
    code = """
import sys
sys.modules['pytest'] = None
import inspect, rlcompleter
import pyg_ckd

assert not hasattr(pyg_ckd, 'testing')
assert dict(inspect.getmembers(pyg_ckd)).keys() == set(dir(pyg_ckd))
completer = rlcompleter.Completer({'pyg_ckd': pyg_ckd})
assert 'pyg_ckd.train' in completer.attr_matches('pyg_ckd.tr')
try:
    import pyg_ckd.testing
except ModuleNotFoundError as error:
    print(error)
"""
    assert "pip install 'pyg_ckd[testing]'" in run('-c', code, cwd=tmp_path)


def test_names_of_the_package():
    """What type checkers see is what is there, and nothing else is shown."""
    tree = ast.parse(Path(pyg_ckd.__file__).read_text(encoding='utf-8'))
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If)
        and ast.unparse(node.test) == 'TYPE_CHECKING'
    )
    seen = {}
    for node in block.body:
        for alias in node.names:
            assert alias.asname == alias.name  # exported for type checkers
            if node.module == 'pyg_ckd':
                assert alias.name in dir(pyg_ckd)
            else:
                seen[alias.name] = node.module
    assert pyg_ckd.__all__ == sorted(seen)
    for name, module in seen.items():
        value = getattr(importlib.import_module(module), name)
        assert getattr(pyg_ckd, name) is value
    shown = dir(pyg_ckd)
    assert set(pyg_ckd.__all__) < set(shown)
    assert not any(name.startswith('_') for name in shown)
    for name in set(shown) - set(pyg_ckd.__all__):
        assert getattr(pyg_ckd, name).__name__ == f'pyg_ckd.{name}'
    assert dir(pyg_ckd.testing) == sorted(pyg_ckd.testing.__all__)
    for name in dir(pyg_ckd.testing):
        assert getattr(pyg_ckd.testing, name).__name__ == name
