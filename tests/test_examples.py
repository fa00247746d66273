import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
    """Each example runs, says something and leaves nothing behind."""
    out = run(str(path), cwd=tmp_path)
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


def imports_of(path: Path) -> list[str]:
    """Return the import statements of a script."""
    tree = ast.parse(path.read_text(encoding='utf-8'))
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]


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


@pytest.mark.parametrize(
    'name',
    [
        'pyg_ckd',
        'pyg_ckd.balance',
        'pyg_ckd.datasets',
        'pyg_ckd.graph',
        'pyg_ckd.inspect',
        'pyg_ckd.metrics',
        'pyg_ckd.nn',
        'pyg_ckd.objectives',
        'pyg_ckd.ranking',
        'pyg_ckd.testing',
        'pyg_ckd.train.losses',
        'pyg_ckd.transforms',
        'pyg_ckd.triplet_loader',
        'pyg_ckd.views',
    ],
)
def test_import_needs_no_lightning(name, tmp_path):
    run('-c', f'{WITHOUT_LIGHTNING}; import {name}', cwd=tmp_path)


def test_bare_loop_needs_no_lightning(tmp_path):
    """All that the bare loop imports, its loader of triples included."""
    code = '\n'.join([WITHOUT_LIGHTNING, *imports_of(BARE_LOOP)])
    run('-c', code, cwd=tmp_path)


def test_whole_step_needs_no_lightning(tmp_path):
    """CKD as a part, in a loop of one's own."""
    code = """
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
    out = run('-c', f'{WITHOUT_LIGHTNING}\n{code}', cwd=tmp_path)
    assert float(out) > 0
