import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pyg_ckd

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [
    REPOSITORY / 'README.md',
    REPOSITORY / 'CHANGELOG.md',
    *sorted(REPOSITORY.glob('docs/*.md')),
]
NOTEBOOKS = sorted(REPOSITORY.glob('docs/tutorials/*.ipynb'))
PARTS = REPOSITORY / 'benchmarks' / 'results'  # of `benchmarks/RESULTS.md`

# A fence of exactly "```python"; any other info string is not run:
BLOCK = re.compile(r'^```python\n(.*?)^```$', re.DOTALL | re.MULTILINE)
FENCE = re.compile(r'^```.*?^```$|`[^`\n]+`', re.DOTALL | re.MULTILINE)
LINK = re.compile(r'\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)')
SHOWN = re.compile(r'\n+```text\n(.*?)^```$', re.DOTALL | re.MULTILINE)
FRACTION = re.compile(r'\d*\.\d+')  # which may differ between machines
HEADING = re.compile(r'^#+ (.+)$', re.MULTILINE)


def read(page: Path) -> str:
    return page.read_text(encoding='utf-8')


def name(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


@pytest.mark.parametrize(
    'page', [page for page in PAGES if BLOCK.search(read(page))], ids=name
)
def test_python_blocks(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All Python blocks of a page run, in order, in one namespace."""
    monkeypatch.chdir(tmp_path)
    text = read(page)
    blocks = list(BLOCK.finditer(text))

    namespace: dict[str, Any] = {'__name__': name(page)}
    printed = []
    for block in blocks:
        # Leading blank lines let a traceback show the line of the page:
        padding = '\n' * text.count('\n', 0, block.start(1))
        code = compile(padding + block[1], str(page), 'exec', dont_inherit=True)
        exec(code, namespace)
        printed.append(capsys.readouterr().out)
        shown = SHOWN.match(text, block.end())
        if shown and page.name in ('faq.md', 'leak.md', 'own_data.md'):
            assert words(printed[-1]) == words(shown[1])
    if page.name == 'README.md':
        check_first_example(printed[0], text[blocks[0].end() :])
    if page.name == 'concepts.md':
        check_imbalance(printed[3], printed[4], text)


def words(text: str) -> list[str]:
    return FRACTION.sub('#', text).split()


def check_first_example(printed: str, rest: str) -> None:
    """The first example prints what the page says, and CKD wins in it."""
    found = table(printed)
    shown = table(rest.split('```text\n')[1].split('```')[0])
    assert list(found) == list(shown) == ['base', 'CKD']
    views = ['full', 'only(image)', 'only(text)']
    assert list(found['base']) == list(found['CKD']) == views
    for view in views:
        assert found['CKD'][view] > found['base'][view]
    for method in found:
        assert found[method] == pytest.approx(shown[method], abs=0.02)


def check_imbalance(base: str, ckd: str, text: str) -> None:
    """The table that `docs/pictures/imbalance.svg` is drawn from is true."""
    rows = text.split('```text\n')[1].split('```')[0].splitlines()[1:]
    *ckd_lines, image, text_alone = ckd.splitlines()
    alone = ['-', image.split()[-1], text_alone.split()[-1]]
    lines = zip(alone, base.splitlines(), ckd_lines, strict=True)
    for row, (teacher, before, after) in zip(rows, lines, strict=True):
        view, *shown = row.split()
        assert before.split()[0] == after.split()[0] == view
        for value, found in zip(shown, (teacher, before, after), strict=True):
            if value != '-':
                found = float(found.split()[-1])
                assert found == pytest.approx(float(value), abs=0.02)


def table(text: str) -> dict[str, dict[str, float]]:
    rows = (line.split(maxsplit=1) for line in text.splitlines())
    return {method: json.loads(row.replace("'", '"')) for method, row in rows}


# The page, its file, its test, where the class is exported, some of its tests:
JOINING = [
    (
        'add_a_backbone.md',
        'pyg_ckd/nn/models/mean_gcn.py',
        ['pyg_ckd/nn/models/__init__.py', 'pyg_ckd/nn/__init__.py'],
        'from pyg_ckd.nn.models.mean_gcn import MeanGCN',
        'formula or renumbering',
    ),
    (
        'add_a_balance.md',
        'pyg_ckd/balance/catch_up.py',
        ['pyg_ckd/balance/__init__.py'],
        'from .catch_up import CatchUp',
        'formula or weights or attach or state_dict',
    ),
]


@pytest.mark.parametrize(
    ('page', 'file', 'exports', 'line', 'some'),
    JOINING,
    ids=[page for page, *_ in JOINING],
)
def test_the_files_of_a_page_join_the_library(
    page: str,
    file: str,
    exports: list[str],
    line: str,
    some: str,
    tmp_path: Path,
) -> None:
    """They are saved where the page says, linted, and tested as it says."""
    text = read(REPOSITORY / 'docs' / page)
    package = tmp_path / 'pyg_ckd'
    shutil.copytree(
        REPOSITORY / 'pyg_ckd',
        package,
        ignore=shutil.ignore_patterns('__pycache__'),
    )
    (first,) = BLOCK.findall(text)[:1]
    test = re.findall(r'^```py\n(.*?)^```$', text, re.DOTALL | re.MULTILINE)[-1]
    assert file in text
    (tmp_path / file).write_text(f'"""A file of a page."""\n\n{first}')
    (tmp_path / 'test_page.py').write_text(test)
    for export in exports:
        with open(tmp_path / export, 'a') as init:
            init.write(f'{line}\n')
    (tmp_path / 'pytest.ini').write_text('[pytest]\n')

    def run(*command: str) -> None:
        environment = {**os.environ, 'PYTHONPATH': str(tmp_path)}
        done = subprocess.run(
            [sys.executable, '-m', *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    settings = f'--config={REPOSITORY / "pyproject.toml"}'
    run('ruff', 'check', settings, '--ignore=INP,D', file, 'test_page.py')
    run('pytest', '-q', '-p', 'no:cacheprovider', '-k', some, 'test_page.py')


def tracked(pattern: str) -> list[Path]:
    found = subprocess.run(
        ['git', 'ls-files', '-co', '--exclude-standard', pattern],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    return [REPOSITORY / line for line in found.stdout.splitlines()]


def prose(page: Path) -> str:
    """The Markdown of a page or of a notebook, without code."""
    if page.suffix == '.ipynb':
        cells = json.loads(read(page))['cells']
        texts = [c['source'] for c in cells if c['cell_type'] == 'markdown']
        return '\n\n'.join(''.join(text) for text in texts)
    return FENCE.sub('', read(page))


def anchors(page: Path) -> set[str]:
    """What GitHub and MyST call the headings of a page."""
    text = re.sub(r'^```.*?^```$', '', read(page), flags=re.S | re.M)
    return {
        re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-')
        for title in HEADING.findall(text)
    }


@pytest.mark.parametrize(
    'page',
    [p for p in tracked('*.md') + NOTEBOOKS if not p.is_relative_to(PARTS)],
    ids=name,
)
def test_links(page: Path) -> None:
    """Each relative link leads to a file, and each anchor to a heading."""
    for path, anchor in LINK.findall(prose(page)):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"'{path}' in '{name(page)}' does not exist"
        assert target.is_relative_to(REPOSITORY)
        if anchor:
            assert anchor in anchors(target), f"no '#{anchor}' in '{path}'"


@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=name)
def test_notebooks_hold_no_outputs(notebook: Path) -> None:
    """Outputs are made when the site is built, so that they are today's."""
    for cell in json.loads(read(notebook))['cells']:
        assert not cell.get('outputs')
        assert cell.get('execution_count') is None


def test_the_version_is_one() -> None:
    """What is cited, what has changed and what is installed are one version."""
    cited = re.search(
        r'^version: (.+)$', read(REPOSITORY / 'CITATION.cff'), re.M
    )
    released = re.search(
        r'^## \[(\d.+?)\]', read(REPOSITORY / 'CHANGELOG.md'), re.M
    )
    assert cited and released
    assert cited[1] == released[1] == pyg_ckd.__version__


@pytest.mark.parametrize('page', ['findings.md', 'evidence.md'])
def test_findings_stand_in_their_tables(page: str) -> None:
    """Each figure of the findings is in the part that it is linked to."""
    results = read(REPOSITORY / 'benchmarks' / 'RESULTS.md')
    parts = re.split(r'^#+ (.+)$', results, flags=re.M)
    tables = {
        re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-'): text
        for title, text in zip(parts[1::2], parts[2::2], strict=True)
    }
    linked = re.findall(
        r'\[((?:[^\[\]]|\[[^\]]*\])*)\]\(\.\./benchmarks/RESULTS\.md#([\w-]+)\)',
        read(REPOSITORY / 'docs' / page),
    )
    assert len(linked) > 20
    for text, anchor in linked:
        for figure in re.findall(r'[+-]?\d+\.\d+', text):
            found = re.search(
                rf'(?<![\d.+-]){re.escape(figure)}(?!\d)', tables[anchor]
            )
            assert found, f"{figure} is not in '{anchor}'"


def test_each_benchmark_is_listed():
    folder = REPOSITORY / 'benchmarks'
    table = read(folder / 'README.md')
    listed = re.findall(r'`(\w+\.py)`', table.split('## How results')[0])
    assert sorted(listed) == sorted(path.name for path in folder.glob('*.py'))
