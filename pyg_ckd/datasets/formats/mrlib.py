"""The folder format of MRLib."""

from __future__ import annotations

import os.path as osp
import re
import zipfile
from typing import IO, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyg_ckd.datasets.formats.feature_files import first_bad, problem_with
from pyg_ckd.datasets.formats.tables import read_table
from pyg_ckd.datasets.formats.text_lines import first_line
from pyg_ckd.datasets.raw.files import is_of_system
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.regular_file import open_regular

_CHUNK = 2**20  # bytes
_FOLDER = 0x10  # How an archive marks one.
_ARCHIVE = b'PK\x03\x04'  # How a zip archive begins.
_SPLITS = ('training', 'validation', 'test')  # In the order of `label`.
_IDS = ('user_id', 'item_id', 'label')
_OPTIONAL = {'rating': np.float32, 'timestamp': np.float64}
_WHOLE = re.compile('0|[1-9][0-9]{0,17}')  # Any 18 digits fit 64 bits.


def read_mrlib(path: str, limits: Limits = Limits()) -> dict[str, NDArray[Any]]:
    r"""Return the columns of the interactions of MRLib.

    Args:
        path: A CSV file ``inter.csv`` of the columns ``user_id`` and
            ``item_id``, counted from 0, ``label``, which is 0 (training), 1
            (validation) or 2 (test) as in MMRec, and optionally ``rating`` and
            ``timestamp``.
        limits: How large a line may be. (default: ``Limits()``)

    Returns:
        For each column a value a row. Row `i` is in line `i + 2`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is malformed, has no interactions of a split, or pairs
            a user and an item twice.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with open(f'{root}/inter.csv', 'w') as file:
        ...         _ = file.write(
        ...             'user_id,item_id,rating,label\n'
        ...             '0,1,5,0\n0,2,4,1\n0,0,1,2\n'
        ...         )
        ...     read_mrlib(f'{root}/inter.csv')['item_id']
        array([1, 2, 0])
    """
    optional = [name for name in _OPTIONAL if name in _header(path, limits)]
    table = read_table(path, [*_IDS, *optional], 'MRLib needs these', limits)
    columns = {name: _whole(path, table[name], name) for name in _IDS}
    for name in optional:
        columns[name] = _number(path, table[name], name)
    label = columns['label']
    if (label > 2).any():
        row = int((label > 2).argmax())
        raise ValueError(
            f"'{path}', line {row + 2}: label is {label[row]}, expected 0 "
            f'(training), 1 (validation) or 2 (test)'
        )
    for value, split in enumerate(_SPLITS):
        if not (label == value).any():
            raise ValueError(
                f"'{path}' has no interactions for {split}; set label to "
                f'{value} in at least one line'
            )
    _refuse_twins(path, table)
    return columns


def read_tensors(
    paths: list[str], limits: Limits = Limits()
) -> dict[str, Tensor]:
    """Return the matrix of each file ``<modality>_feat.pt``.

    Args:
        paths: Files of :func:`torch.save`, of a tensor each.
        limits: What a file may unpack to. (default: ``Limits()``)

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file is damaged, no regular one, larger than the limit,
            or holds anything else than a finite matrix of floating point
            numbers. No other object is unpickled.
    """
    return {
        osp.basename(path).removesuffix('_feat.pt'): _tensor(path, limits)
        for path in paths
    }


def _tensor(path: str, limits: Limits) -> Tensor:
    x, packed = _load(path, limits), osp.getsize(path)
    if not isinstance(x, Tensor) or x.dim() != 2 or not x.is_floating_point():
        got = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(
            f"'{path}' needs to hold one tensor of floating point numbers, of "
            f'shape [num_items, num_features] (got {got})'
        )
    # One that is sparse or repeats a row may be larger than any memory:
    limits.check_unpacked(path, packed, x.numel() * x.element_size())
    x = x.detach().to_dense().float().contiguous()
    bad = first_bad(x.numpy())
    if bad is not None:
        remedy = 'replace missing values, e.g. by the mean of the other rows'
        raise ValueError(
            f"'{path}', row {bad} (counted from 0, as item_id): "
            f'{problem_with(x[bad].numpy(), remedy)}'
        )
    return x


def _load(path: str, limits: Limits) -> Any:
    """Return what a file holds, once it proved whole."""
    with open_regular(path) as file:
        unpacked = _unpacked(path, file)
        limits.check_unpacked(path, osp.getsize(path), unpacked)
        try:
            if unpacked:
                _check_sums(file)
            file.seek(0)
            return torch.load(file, map_location='cpu', weights_only=True)
        except Exception as error:  # Each part of it raises its own kinds.
            if is_of_system(error):
                raise
            raise _damaged(path, error) from error


def _unpacked(path: str, file: IO[bytes]) -> int:
    """Return the bytes of a file of today's form, 0 for PyTorch before 1.6."""
    if file.read(len(_ARCHIVE)) != _ARCHIVE:  # As PyTorch tells them apart.
        return 0
    try:
        with zipfile.ZipFile(file) as archive:
            return sum(info.file_size for info in archive.infolist())
    except Exception as error:  # Damaged names and numbers raise other kinds.
        raise _damaged(path, error) from error


def _check_sums(file: IO[bytes]) -> None:
    """Raise an error if a part is no file, or has another sum than is noted."""
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if info.external_attr & _FOLDER:  # Of which PyTorch reads nothing.
                raise ValueError(f'{info.filename!r} is a folder')
            if info.CRC:  # PyTorch may be told to note none.
                with archive.open(info) as part:
                    while part.read(_CHUNK):
                        pass


def _damaged(path: str, error: Exception) -> ValueError:
    return ValueError(
        f"'{path}' is not a whole file of a tensor ({error}); write it anew by "
        f'`torch.save(x, path)`'
    )


def _header(path: str, limits: Limits) -> list[str]:
    if not osp.isfile(path):
        return []  # Of which `read_table` complains.
    return first_line(path, limits).split(',')


def _whole(path: str, column: pd.Series[str], name: str) -> NDArray[np.int64]:
    good = column.str.fullmatch(_WHOLE.pattern)
    if not good.all():
        row = int((~good).to_numpy(bool).argmax())
        raise ValueError(
            f"'{path}', line {row + 2}: {name} is {column.iat[row]!r}, "
            f'expected an integer counted from 0'
        )
    return column.to_numpy(np.int64, copy=True)


def _number(path: str, column: pd.Series[str], name: str) -> NDArray[Any]:
    numbers = pd.to_numeric(column, errors='coerce').to_numpy(np.float64)
    bad = ~(np.abs(numbers) <= np.finfo(np.float32).max)
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"'{path}', line {row + 2}: {name} is {column.iat[row]!r}, "
            f'expected a finite number'
        )
    return numbers.astype(_OPTIONAL[name])


def _refuse_twins(path: str, table: pd.DataFrame) -> None:
    pairs = ['user_id', 'item_id']
    twin = table.duplicated(pairs).to_numpy(bool)
    if twin.any():
        row = int(twin.argmax())
        same = (table[pairs] == table[pairs].iloc[row]).all(axis=1)
        first = int(same.to_numpy(bool).argmax())
        user, item = table[pairs].iloc[row]
        raise ValueError(
            f"'{path}', lines {first + 2} and {row + 2}: user {user} and item "
            f'{item} are paired twice; remove one of the two lines'
        )
