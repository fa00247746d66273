"""The folder format of MRLib."""

from __future__ import annotations

import os.path as osp
import re
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyg_ckd.datasets.formats.tables import read_table
from pyg_ckd.datasets.raw.files import is_of_system
from pyg_ckd.datasets.raw.limits import Limits

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
    optional = [name for name in _OPTIONAL if name in _header(path)]
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


def read_tensors(paths: list[str]) -> dict[str, Tensor]:
    """Return the matrix of each file ``<modality>_feat.pt``.

    Args:
        paths: Files of :func:`torch.save`, of a tensor each.

    Raises:
        ValueError: If a file holds anything else than a finite matrix of
            floating point numbers. No other object is unpickled.
    """
    return {
        osp.basename(path).removesuffix('_feat.pt'): _tensor(path)
        for path in paths
    }


def _tensor(path: str) -> Tensor:
    try:
        x = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # PyTorch raises many kinds on a damaged file.
        if is_of_system(error):
            raise
        raise ValueError(
            f"'{path}' is not a whole file of a tensor; write it anew by "
            f'`torch.save(x, path)`'
        ) from error
    if not isinstance(x, Tensor) or x.dim() != 2 or not x.is_floating_point():
        got = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(
            f"'{path}' needs to hold one tensor of floating point numbers, of "
            f'shape [num_items, num_features] (got {got})'
        )
    x = x.detach().to_dense().float()
    finite = x.isfinite().all(dim=1)
    if not finite.all():
        raise ValueError(
            f"'{path}', row {int(finite.int().argmin())} (counted from 0, as "
            f"item_id): not finite as 'float32'; replace missing values, e.g. "
            f'by the mean of the other rows'
        )
    return x.contiguous()


def _header(path: str) -> list[str]:
    if not osp.isfile(path):
        return []  # Of which `read_table` complains.
    with open(path, encoding='utf-8-sig', errors='replace') as file:
        return file.readline(2**16).rstrip('\r\n').split(',')


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
