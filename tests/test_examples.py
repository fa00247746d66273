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


def run(*args: str, cwd: Path, timeout: int = 60) -> str:
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


def test_core_needs_no_lightning(tmp_path):
    names = ('data', 'datasets', 'distill', 'evaluation', 'nn', 'transforms')
    imports = [f'import pyg_ckd.{name}' for name in (*names, 'views')]
    run('-c', '\n'.join([WITHOUT_LIGHTNING, *imports]), cwd=tmp_path)


def test_bare_loop_needs_no_lightning(tmp_path):
    """All that the bare loop imports, its loader of triples included."""
    code = '\n'.join([WITHOUT_LIGHTNING, *imports_of(BARE_LOOP)])
    run('-c', code, cwd=tmp_path)
