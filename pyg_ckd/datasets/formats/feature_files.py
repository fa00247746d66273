"""Feature matrices ``<modality>_feat.npy``, as MMRec and LATTICE keep them."""

from __future__ import annotations

import os
import os.path as osp
from collections.abc import Sequence
from io import BufferedReader
from math import prod
from typing import IO, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import ModuleDict, ParameterDict
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.raw.regular_file import open_regular
from pyg_ckd.graph import modalities

FEATURES = '_feat.npy'
_ARCHIVE = b'PK'  # How a file of `numpy.savez` begins.


def feature_files(folder: str) -> list[str]:
    """Return the names of the feature files in a folder, sorted by modality."""
    if not osp.isdir(folder):
        return []
    names = [name for name in os.listdir(folder) if name.endswith(FEATURES)]
    return sorted(names, key=lambda name: name.removesuffix(FEATURES))


def read_features(paths: Sequence[str]) -> dict[str, Tensor]:
    """Return the matrix of each file, of shape ``[num_items, num_features]``.

    Args:
        paths: Files ``<modality>_feat.npy``.

    Raises:
        ValueError: If a file is not a complete, finite matrix of floating
            point numbers, or its modality cannot name an attribute.
    """
    return {_modality(path): _read(path) for path in paths}


def count_items(paths: Sequence[str], features: dict[str, Tensor]) -> int:
    """Return the number of items, on which all features have to agree.

    Args:
        paths: The files of features, for messages.
        features: The matrix of each.

    Raises:
        ValueError: If they have different numbers of rows.
    """
    num_rows = [len(x) for x in features.values()]
    folder, first = osp.split(paths[0])
    for path, num in zip(paths, num_rows, strict=True):
        if num != num_rows[0]:
            raise ValueError(
                f"'{folder}': '{first}' has {num_rows[0]} rows, but "
                f"'{osp.basename(path)}' has {num}; write one row for each "
                f'item in both'
            )
    return num_rows[0]


def load_floats(
    path: str, shape: Sequence[str], file: IO[bytes] | None = None
) -> NDArray[np.float32]:
    """Return the array in a ``.npy`` file, as ``float32``.

    No memory is taken before the file proved as long as its header says, and
    nothing is unpickled.

    Args:
        path: The file.
        shape: The names of its dimensions, such as ``['num_features']``.
        file: The file once it is open, such as one in an archive.
            (default: ``None``)

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file does not hold a complete array of floating point
            numbers with as many dimensions, and nothing else.
    """
    if file is None:
        with open_regular(path) as opened:
            return load_floats(path, shape, opened)
    try:
        sizes, is_fortran, dtype = _read_header(file)
    except Exception as error:  # NumPy raises many kinds on a corrupt header.
        raise _incomplete(path, str(error)) from error
    if dtype.hasobject:
        raise _incomplete(path, 'nothing is unpickled: allow_pickle=False')
    if sizes is None or len(sizes) != len(shape):
        raise ValueError(
            f"'{path}' needs to hold one array of shape [{', '.join(shape)}] "
            f'(got {"an archive" if sizes is None else sizes})'
        )
    if dtype.type not in (np.float16, np.float32, np.float64):
        raise ValueError(
            f"'{path}' holds '{dtype}', expected 'float16', 'float32' or "
            f"'float64'; convert it by `array.astype('float32')`"
        )
    start, expected = file.tell(), prod(sizes) * dtype.itemsize
    found = file.seek(0, os.SEEK_END) - start
    if found != expected or min(sizes) < 0:
        raise _incomplete(
            path, f'{found:,} bytes of numbers, expected {expected:,}'
        )
    file.seek(start)
    order: Literal['F', 'C'] = 'F' if is_fortran else 'C'
    array: NDArray[Any]
    if isinstance(file, BufferedReader) and expected:
        array = np.memmap(file, dtype, 'r', start, sizes, order)
    else:
        array = np.frombuffer(file.read(), dtype).reshape(sizes, order=order)
    with np.errstate(over='ignore'):  # To infinity, which callers refuse.
        return np.array(array, dtype=np.float32, order='C')


def first_bad(x: NDArray[np.float32]) -> int | None:
    """Return the first row of a matrix that no model can use, if there is one.

    Such a row is not finite, or its square is not.

    Example:
        >>> first_bad(np.array([[1, 2], [3, 1e30]], np.float32))
        1
    """
    norm = torch.linalg.vector_norm(torch.from_numpy(x), dim=1)
    is_bad = ~(norm < torch.finfo(torch.float32).max ** 0.5)
    return int(is_bad.int().argmax()) if is_bad.any() else None


def problem_with(row: NDArray[np.float32], remedy: str) -> str:
    """Return what is wrong with a bad row, for messages.

    Args:
        row: The row.
        remedy: What to do if it is not finite.
    """
    if not np.isfinite(row).all():
        return f"not finite as 'float32'; {remedy}"
    return (
        f'{row[np.abs(row).argmax()]:.6g} is too large, as its square is not '
        f"finite as 'float32'; divide all features by a constant"
    )


def write_features(data: HeteroData, folder: str) -> None:
    """Write the features of each modality into a folder, as ``float32``."""
    for modality in modalities(data):
        x = data['item'][f'x_{modality}'].detach().cpu().to(torch.float32)
        np.save(osp.join(folder, f'{modality}{FEATURES}'), x.numpy())


def check_modality(name: str) -> str | None:
    """Return why a name cannot be that of a modality, or ``None``."""
    # PyTorch keeps one module or parameter a modality, under its name:
    if hasattr(ModuleDict(), name) or hasattr(ParameterDict(), name):
        return 'is reserved by PyTorch'
    return None if name.isidentifier() else 'is not an identifier'


def _modality(path: str) -> str:
    name = osp.basename(path).removesuffix(FEATURES)
    reason = check_modality(name)
    if reason:
        raise ValueError(
            f"'{path}': the modality '{name}' {reason}; rename the file"
        )
    return name


def _read_header(
    file: IO[bytes],
) -> tuple[tuple[int, ...] | None, bool, np.dtype[Any]]:
    """Return the shape, the order and the type of an array.

    There is no shape if it is an archive of several.
    """
    is_archive = file.read(len(_ARCHIVE)) == _ARCHIVE
    file.seek(0)
    if is_archive:
        return None, False, np.dtype(float)
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f'version {version}, expected (1, 0)')


def _incomplete(path: str, problem: str) -> ValueError:
    return ValueError(
        f"'{path}' is not a complete '.npy' file of numbers ({problem}); write "
        f'it anew by `numpy.save`'
    )


def _read(path: str) -> Tensor:
    x = load_floats(path, ['num_items', 'num_features'])
    bad = first_bad(x)
    if bad is not None:
        remedy = 'replace missing values, e.g. by the mean of the other rows'
        raise ValueError(
            f"'{path}', row {bad} (counted from 0, as itemID): "
            f'{problem_with(x[bad], remedy)}'
        )
    return torch.from_numpy(x)
