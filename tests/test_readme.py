import re
from pathlib import Path
from typing import Any

import pytest

README = Path(__file__).resolve().parents[1] / 'README.md'

# A fence of exactly "```python"; any other info string is not run:
BLOCK = re.compile(r'^```python\n(.*?)^```$', re.DOTALL | re.MULTILINE)


def test_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All Python blocks of the README run, in order, in one namespace."""
    monkeypatch.chdir(tmp_path)
    text = README.read_text(encoding='utf-8')
    blocks = list(BLOCK.finditer(text))
    assert blocks, f"no '```python' block in '{README.name}'"

    namespace: dict[str, Any] = {'__name__': 'readme'}
    for block in blocks:
        # Leading blank lines let a traceback show the line of the README:
        padding = '\n' * text.count('\n', 0, block.start(1))
        code = compile(padding + block[1], str(README), 'exec')
        exec(code, namespace)
