import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from pyg_ckd.datasets.features.vectors import read_rows, read_vectors
from pyg_ckd.datasets.raw.limits import Limits

VECTORS = {
    'cup': np.array([1, 2], 'f8'),
    'deep/pot': np.array([3, 4], 'f4'),
    'mug': np.array([5, 6], 'f2'),
}


def npy(array: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(array), allow_pickle=True)
    return file.getvalue()


def header(length: object) -> bytes:
    """Return a file of one number whose header promises others."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({length},)}}"
    size = len(text).to_bytes(4, 'little')
    return b'\x93NUMPY\2\0' + size + text.encode() + bytes(8)


def write(root, vectors, archive=False):
    """Write a file for each vector, into a folder or a zip archive."""
    path = root / ('vectors.zip' if archive else 'vectors')
    contents = {
        f'{name}.npy': x if isinstance(x, bytes) else npy(x)
        for name, x in vectors.items()
    }
    if archive:
        with zipfile.ZipFile(path, 'w') as file:
            for name, content in contents.items():
                file.writestr(name, content)
    for name, content in {} if archive else contents.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize('archive', [False, True])
def test_read_vectors(tmp_path, archive):
    path = write(tmp_path, VECTORS, archive)

    x, has = read_vectors(path, ['pot', 'tea', 'cup'])
    assert x.dtype == torch.float32
    assert x.tolist() == [[3, 4], [0, 0], [1, 2]]
    assert has.tolist() == [True, False, True]


@pytest.mark.parametrize('archive', [False, True])
def test_read_vectors_compares_names_in_composed_unicode(tmp_path, archive):
    path = write(tmp_path, {'cafe\u0301': [1.0], 'th\u00e9': [2.0]}, archive)

    x, has = read_vectors(path, ['caf\u00e9', 'the\u0301'])
    assert x.tolist() == [[1], [2]]
    assert has.all()


def test_read_vectors_of_none(tmp_path):
    x, has = read_vectors(write(tmp_path, VECTORS), ['tea', 'jar'])
    assert len(x) == 2
    assert has.tolist() == [False, False]


BAD = [
    (npy([[1.0]]), r'cup.npy. needs to hold .* \[num_features\].*\(1, 1\)'),
    (npy(1.0), r'cup.npy. needs to hold .* \[num_features\].*\(\)'),
    (npy([1.0, np.nan]), r'cup.npy.: not finite as'),
    (npy([1.0, -np.inf]), r'cup.npy.: not finite as'),
    (npy([1.0, 1e300]), r'cup.npy.: not finite as'),
    (npy([1.0, -3e19]), r'cup.npy.: -3e\+19 is too large, .*divide all'),
    (npy([1, 2]), r"cup.npy. holds 'int64'"),
    (npy(['1', '2']), r"cup.npy. holds '<U1'"),
    (npy([1j, 2]), r"cup.npy. holds 'complex128'"),
    (npy([None]), r'cup.npy. is not a complete .*allow_pickle'),
    (npy([1.0, 2.0])[:-1], r'cup.npy. is not a complete'),
    (b'', r'cup.npy. is not a complete'),
    (b'1 2', r'cup.npy. is not a complete'),
    (npy([1.0, 2.0]) + b'0', r'cup.npy. .*17 bytes of numbers, expected 16'),
    (header(10**15), r'cup.npy. .*8 bytes of numbers, expected 8,000,000,000,'),
    (header(-1), r'cup.npy. .*8 bytes of numbers, expected -8'),
    (header('9' * 20_000), r'cup.npy. is not a complete.*Header info length'),
    (header('[' * 5000 + ']' * 5000), r'cup.npy. is not a complete'),
    (b'\x93NUMPY\2\0\xff\xff\xff\xff{', r'cup.npy. is not a complete'),
    (b'\x93NUMPY\7\0v\0{', r'cup.npy. is not a complete.*version'),
]


@pytest.mark.parametrize('archive', [False, True])
@pytest.mark.parametrize(('content', 'expected'), BAD)
def test_read_vectors_refuses(tmp_path, content, expected, archive):
    path = write(tmp_path, {**VECTORS, 'cup': content}, archive)

    with pytest.raises(ValueError, match=f'vectors.*{expected}'):
        read_vectors(path, ['mug', 'cup'])
    # The files of other items are not even opened:
    assert read_vectors(path, ['mug'])[0].tolist() == [[5, 6]]


def test_read_vectors_refuses_an_archive_of_numpy(tmp_path):
    file = io.BytesIO()
    np.savez(file, np.ones(2))
    path = write(tmp_path, {'cup': file.getvalue()})
    with pytest.raises(ValueError, match=r'cup.npy. needs .*an archive'):
        read_vectors(path, ['cup'])


def test_read_vectors_refuses_other_lengths(tmp_path):
    path = write(tmp_path, {**VECTORS, 'deep/pot': np.ones(3)}, archive=True)
    with pytest.raises(
        ValueError, match=r"pot.npy' has 3 numbers, but '.*cup.npy' has 2"
    ):
        read_vectors(path, ['tea', 'cup', 'mug', 'pot'])


@pytest.mark.parametrize('archive', [False, True])
def test_vectors_execute_nothing(tmp_path, archive):
    touched = tmp_path / 'touched'
    content = pickle.dumps(Touch(touched))
    matrix = tmp_path / 'matrix.npy'
    matrix.write_bytes(content)

    with pytest.raises(ValueError, match='not a complete'):
        read_vectors(write(tmp_path, {'cup': content}, archive), ['cup'])
    with pytest.raises(ValueError, match='not a complete'):
        read_rows(str(matrix), ['cup'], ['cup'])
    assert not touched.exists()
    pickle.loads(content)
    assert touched.exists()


def test_read_rows(tmp_path):
    path = str(tmp_path / 'matrix.npy')
    np.save(path, np.array([[1.0, 2], [3, 4], [5, 6]]))

    x, has = read_rows(path, ['mug', 'cup', 'pot'], ['cup', 'tea', 'mug'])
    assert x.dtype == torch.float32
    assert x.tolist() == [[3, 4], [0, 0], [1, 2]]
    assert has.tolist() == [True, False, True]

    # Of two rows of an item, the first counts:
    x, has = read_rows(path, ['cup', 'mug', 'cup'], ['cup'])
    assert x.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ('content', 'expected'),
    [
        (npy(np.ones(2)), r' needs to hold .* \[num_items, num_features\]'),
        (npy(np.ones((3, 1))), r' has 3 rows, expected 2'),
        (npy([[1.0], [np.nan]]), r", row 1 .*, of item 'cup': not finite"),
        (npy([[1.0], [1e39]]), r", row 1 .*, of item 'cup': not finite"),
        (npy([[1.0], [3e19]]), r", row 1 .*'cup': 3e\+19 is too large, .*div"),
        (npy([[1], [2]]), r" holds 'int64'"),
        (npy([[1.0], [2.0]])[:-1], r' is not a complete'),
        (npy([[None], [None]]), r' is not a complete'),
    ],
)
def test_read_rows_refuses(tmp_path, content, expected):
    path = tmp_path / 'matrix.npy'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"matrix.npy'{expected}"):
        read_rows(str(path), ['mug', 'cup'], ['cup', 'tea'])


def test_read_rows_ignores_rows_of_others(tmp_path):
    path = str(tmp_path / 'matrix.npy')
    np.save(path, np.array([[1.0], [np.nan]]))
    assert read_rows(path, ['mug', 'cup'], ['mug'])[0].tolist() == [[1]]


def test_vectors_refuse_missing_paths(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere'):
        read_vectors(tmp_path / 'nowhere', ['cup'])
    with pytest.raises(FileNotFoundError, match=r'nowhere.npy'):
        read_rows(os.fspath(tmp_path / 'nowhere.npy'), ['cup'], ['cup'])


def test_the_order_of_a_matrix(tmp_path):
    path = str(tmp_path / 'matrix.npy')
    matrix = np.arange(6, dtype='>f4').reshape(2, 3)
    for array in (matrix, np.asfortranarray(matrix)):
        np.save(path, array)
        x, _ = read_rows(path, ['mug', 'cup'], ['mug', 'cup'])
        assert x.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_vectors_that_are_too_large(tmp_path):
    path = write(tmp_path, VECTORS, archive=True)
    size = len(npy(VECTORS['cup']))
    assert len(read_vectors(path, ['cup'], limits=Limits(file=size))[0]) == 1
    with pytest.raises(
        ValueError, match=r'cup.npy. has 144 .*Limits\(file=143'
    ):
        read_vectors(path, ['cup'], limits=Limits(file=size - 1))
