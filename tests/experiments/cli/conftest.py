import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pyg_ckd.experiments.cli import main

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys) -> Call:
    """Run a command within this process; return its status and outputs."""

    def call(*args: object) -> tuple[int, str, str]:
        status = main([str(arg) for arg in args])
        return status, *capsys.readouterr()

    return call


@pytest.fixture(scope='session')
def shops(tmp_path_factory) -> Path:
    """A folder with a tiny data set in MMRec's format, ``corner``."""
    folder = tmp_path_factory.mktemp('shops') / 'corner'
    folder.mkdir()
    random = np.random.default_rng(0)
    lines = ['userID\titemID\tx_label']
    for user in range(30):
        items = random.permutation(25)[:6]
        lines += [
            f'{user}\t{item}\t{label}'
            for item, label in zip(items, (0, 0, 0, 0, 1, 2), strict=True)
        ]
    (folder / 'corner.inter').write_text('\n'.join(lines) + '\n')
    for name in ('scent', 'sound'):
        np.save(folder / f'{name}_feat.npy', random.normal(size=(25, 6)))
    return folder.parent


@pytest.fixture(scope='session')
def finished(shops, tmp_path_factory) -> Path:
    """The results of a few runs of two epochs on ``corner``."""
    results = tmp_path_factory.mktemp('finished')
    settings = results / 'settings.toml'
    settings.write_text(
        '[default.VBPR]\nmodel = { dim = 4 }\ntrain = { lr = 0.1 }\n'
    )
    words = f'run --dataset corner --root {shops} --results {results} --device '
    words += f'cpu --max-epochs 2 --settings {settings} --seed 0 1 --json'
    words += ' --backbone VBPR Popularity --method base ckd'
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(words.split()) == 0
    (results / 'out.json').write_text(out.getvalue())
    return results


@pytest.fixture
def results(finished, tmp_path) -> Path:
    """A copy of them that may be changed."""
    return Path(shutil.copytree(finished, tmp_path / 'results'))


@pytest.fixture
def start() -> Callable[..., subprocess.Popen[str]]:
    """Start the command as a process of its own."""
    started = []

    def start(*args: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, '-m', 'pyg_ckd', *map(str, args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, 'OMP_NUM_THREADS': '1'},
            # Lest it ignores Ctrl+C, as all do that a script put into the
            # background:
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()
