import re
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [
    'README.md',
    'docs/add_a_backbone.md',
    'docs/add_a_balance.md',
    'docs/choose.md',
]

# A fence of exactly "```python"; any other info string is not run:
BLOCK = re.compile(r'^```python\n(.*?)^```$', re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize('page', PAGES)
def test_python_blocks(
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All Python blocks of a page run, in order, in one namespace."""
    monkeypatch.chdir(tmp_path)
    text = (REPOSITORY / page).read_text(encoding='utf-8')
    blocks = list(BLOCK.finditer(text))
    assert blocks, f"no '```python' block in '{page}'"

    namespace: dict[str, Any] = {'__name__': page}
    printed = []
    for block in blocks:
        # Leading blank lines let a traceback show the line of the page:
        padding = '\n' * text.count('\n', 0, block.start(1))
        code = compile(padding + block[1], page, 'exec', dont_inherit=True)
        exec(code, namespace)
        printed.append(capsys.readouterr().out)
    if page == 'README.md':
        check_first_example(printed[0], text[blocks[0].end() :])


def check_first_example(printed: str, rest: str) -> None:
    """The first example prints what the page says, and CKD wins in it."""
    found = table(printed)
    shown = table(rest.split('```text\n')[1].split('```')[0])
    assert list(found) == list(shown) == ['full', 'only(image)', 'only(text)']
    for view, (base, ckd) in found.items():
        assert ckd > base
        assert (base, ckd) == pytest.approx(shown[view], abs=0.02)


def table(text: str) -> dict[str, tuple[float, float]]:
    rows = (line.split() for line in text.splitlines())
    return {view: (float(base), float(ckd)) for view, base, ckd in rows}
