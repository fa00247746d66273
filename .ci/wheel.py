"""Build the distributions, check them, and use the wheel as a newcomer would.

An environment that has torch already may be named as the only argument;
without one, a new one is made and thrown away.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / 'dist'
TORCH = os.environ.get('TORCH', 'torch')
PIP = ('-m', 'pip', '--disable-pip-version-check', 'install', '--quiet')
#: What is loaded as a file, one of each kind.
DATA = (
    'pyg_ckd/py.typed',
    'pyg_ckd/datasets/raw/recipes/Baby.toml',
    'pyg_ckd/experiments/settings.toml',
    'pyg_ckd/experiments/spaces.toml',
    'pyg_ckd/_shown/page/page.css',
    'pyg_ckd/_shown/page/page.html.jinja',
    'pyg_ckd/serving/http/page.html',
)
#: Those of users; `sparse` is built against the torch that is installed.
EXTRAS = (
    *('all', 'faiss', 'features', 'hub'),
    *('parquet', 'serve', 'testing', 'tune'),
)
NAMES = """
import importlib, pkgutil, pyg_ckd
assert 'site-packages' in pyg_ckd.__file__, pyg_ckd.__file__
count = 0
for _, name, package in pkgutil.iter_modules(pyg_ckd.__path__, 'pyg_ckd.'):
    if package and not name.startswith('pyg_ckd._') and 'testing' not in name:
        module = importlib.import_module(name)
        count += len([getattr(module, one) for one in module.__all__])
count += len([getattr(pyg_ckd, one) for one in pyg_ckd.__all__])
print(pyg_ckd.__version__, 'has', count, 'public names')
"""
RUN = (
    'run --backbone VBPR Popularity --method base ckd --seed 0 --max-epochs 10'
)


def main() -> None:
    """Do all of it, or end with an error."""
    wheel = build()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, 'home')
        home.mkdir()
        if len(sys.argv) > 1:
            bin_ = Path(sys.argv[1]).resolve() / 'bin'
        else:
            venv.create(Path(folder, 'venv'), with_pip=True)
            bin_ = Path(folder, 'venv', 'bin')
            run(bin_ / 'python', *PIP, TORCH, cwd=home)
        run(bin_ / 'python', *PIP, wheel, cwd=home)
        run(bin_ / 'python', '-m', 'pip', 'check', cwd=home)
        run(bin_ / 'python', '-c', NAMES, cwd=home)
        run(bin_ / 'pyg-ckd', '--help', cwd=home, stdout=subprocess.DEVNULL)
        run(bin_ / 'pyg-ckd', *RUN.split(), cwd=home)
        page = home / 'results' / 'fake' / 'report.html'
        assert '</html>' in page.read_text(encoding='utf-8')
        extras = [f'{wheel}[{extra}]' for extra in EXTRAS]
        run(bin_ / 'python', *PIP, '--dry-run', *extras, cwd=home)


def build() -> Path:
    """Return a wheel that was built from the source distribution."""
    for old in DIST.glob('pyg_ckd-*'):
        old.unlink()
    run(sys.executable, '-m', 'build', ROOT)
    [wheel], [source] = DIST.glob('*.whl'), DIST.glob('*.tar.gz')
    run(sys.executable, '-m', 'twine', 'check', '--strict', wheel, source)

    found = contents(wheel)
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, '-m', 'build', '--wheel', '-o', folder, ROOT)
        [same] = Path(folder).glob('*.whl')
        assert contents(same) == found, 'the two wheels differ'
    tops = {name.partition('/')[0] for name in found}
    info = wheel.name.removesuffix('-py3-none-any.whl') + '.dist-info'
    assert tops == {'pyg_ckd', info}, tops
    assert found.keys() >= set(DATA), set(DATA) - found.keys()
    assert f'{info}/licenses/LICENSE' in found
    tracked = git('ls-files', '--cached', '--others', '--exclude-standard')
    ours = {name for name in tracked if name.startswith('pyg_ckd/')}
    inside = {name for name in found if name.startswith('pyg_ckd/')}
    assert inside == ours, inside ^ ours
    with tarfile.open(source) as archive:
        kept = {name.partition('/')[2] for name in archive.getnames()}
    assert kept == {*ours, 'LICENSE', 'PKG-INFO', 'README.md', 'pyproject.toml'}
    print(f'{len(found)} files, {wheel.stat().st_size:,} bytes: {wheel.name}')
    return wheel


def contents(wheel: Path) -> dict[str, int]:
    """Return the files of a wheel and the checksum of each."""
    with zipfile.ZipFile(wheel) as archive:
        return {one.filename: one.CRC for one in archive.infolist()}


def git(*arguments: str) -> list[str]:
    """Return the lines that a command of git prints."""
    command = ('git', *arguments)
    out = subprocess.check_output(command, cwd=ROOT, text=True)
    return [line for line in out.splitlines() if (ROOT / line).exists()]


def run(*command: object, cwd: Path = ROOT, stdout: int | None = None) -> None:
    """Run a command, which may not fail, and nothing of this checkout in it."""
    words = [str(word) for word in command]
    print('+', *(word for word in words if '\n' not in word), flush=True)
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    subprocess.run(words, cwd=cwd, env=env, stdout=stdout, check=True)


if __name__ == '__main__':
    main()
