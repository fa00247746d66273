import os
import resource
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from pyg_ckd.datasets.raw.files import make_writable, open_atomic

NOBODY = 65534


@contextmanager
def full_disk(size):
    """Let no file grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def read_only_folder():
    """Create a folder that cannot be written, not even by root."""
    # Only root may enter the folder of `tmp_path`:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        is_root = os.getuid() == 0
        if is_root:
            os.setresuid(NOBODY, NOBODY, 0)
        try:
            yield Path(folder)
        finally:
            if is_root:
                os.setresuid(0, 0, 0)
            os.chmod(folder, 0o755)


@pytest.mark.parametrize('as_path', [str, Path])
def test_open_atomic(tmp_path, as_path):
    path = tmp_path / 'new' / 'folder' / 'target'
    with open_atomic(as_path(path)) as file:
        file.write(b'wh')
        file.flush()
        assert not path.exists()
        file.write(b'ole')
    assert path.read_bytes() == b'whole'
    assert os.listdir(path.parent) == ['target']


def test_open_atomic_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_atomic('target') as file:
        file.write(b'whole')
    assert (tmp_path / 'target').read_bytes() == b'whole'


def test_open_atomic_replaces(tmp_path):
    path = tmp_path / 'target'
    path.write_bytes(b'old and longer')
    with open_atomic(path) as file:
        file.write(b'new')
        file.flush()
        assert path.read_bytes() == b'old and longer'
    assert path.read_bytes() == b'new'
    assert os.listdir(tmp_path) == ['target']


def test_open_atomic_two_writers(tmp_path):
    path = tmp_path / 'target'
    with open_atomic(path) as first, open_atomic(path) as second:
        first.write(b'first')
        second.write(b'second')
    assert path.read_bytes() == b'first'  # Closed last.
    assert os.listdir(tmp_path) == ['target']


@pytest.mark.parametrize('error', [ValueError, RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize('old', [None, b'old'])
def test_open_atomic_exception(tmp_path, error, old):
    path = tmp_path / 'target'
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(error, match='stop'), open_atomic(path) as file:
        file.write(b'half')
        raise error('stop')
    assert os.listdir(tmp_path) == ([] if old is None else ['target'])
    assert old is None or path.read_bytes() == old


@pytest.mark.parametrize(
    'save',
    [
        lambda file: file.write(bytes(80_000)),
        lambda file: np.save(file, np.zeros(10_000)),
        lambda file: torch.save(torch.zeros(10_000), file),
    ],
    ids=['write', 'numpy', 'torch'],
)
@pytest.mark.parametrize('old', [None, b'old'])
def test_open_atomic_full_disk(tmp_path, save, old):
    path = tmp_path / 'target'
    if old is not None:
        path.write_bytes(old)
    with (
        pytest.raises(OSError, match='target') as info,
        full_disk(20_000),
        open_atomic(path) as file,
    ):
        save(file)
    message = str(info.value)
    assert f"'{path}' could not be written (" in message
    assert 'make room, or choose another folder' in message
    assert 'None' not in message
    assert os.listdir(tmp_path) == ([] if old is None else ['target'])
    assert old is None or path.read_bytes() == old


def test_open_atomic_full_disk_at_close(tmp_path):
    path = tmp_path / 'target'
    with (
        pytest.raises(OSError, match="target' could not be written"),
        full_disk(10),
        open_atomic(path) as file,
    ):
        file.write(b'kept in a buffer')
    assert os.listdir(tmp_path) == []


def test_open_atomic_over_folder(tmp_path):
    (tmp_path / 'target').mkdir()
    with (
        pytest.raises(IsADirectoryError, match="target' could not be written"),
        open_atomic(tmp_path / 'target') as file,
    ):
        file.write(b'whole')
    assert os.listdir(tmp_path) == ['target']


def test_open_atomic_read_only():
    with read_only_folder() as folder:
        for path in [folder / 'target', folder / 'new' / 'target']:
            with (
                pytest.raises(PermissionError) as info,
                open_atomic(path) as file,
            ):
                file.write(b'whole')
            assert f"'{path.parent}' cannot be written" in str(info.value)
        assert os.listdir(folder) == []


def test_make_writable(tmp_path):
    make_writable(str(tmp_path / 'new' / 'folder'))
    make_writable(str(tmp_path / 'new' / 'folder'))
    assert (tmp_path / 'new' / 'folder').is_dir()

    # A file where a folder should be:
    (tmp_path / 'file').touch()
    for path in [tmp_path / 'file', tmp_path / 'file' / 'folder']:
        with pytest.raises(PermissionError, match="'root'") as info:
            make_writable(str(path))
        assert f"'{path}' cannot be written" in str(info.value)
