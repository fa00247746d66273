"""The folder format of MMRec."""

from __future__ import annotations

import os
import os.path as osp
import re
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.formats.feature_files import write_features
from pyg_ckd.datasets.formats.splits_of import splits_of
from pyg_ckd.datasets.formats.text_lines import text_lines
from pyg_ckd.datasets.raw.files import new_folder
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.renumbered import restored

_Ids: TypeAlias = NDArray[np.int64]
_Mask: TypeAlias = NDArray[np.bool_]

_WHOLE = re.compile(r'\s*[+-]?[0-9]+\s*')
_SPLITS = ('train', 'validation', 'test')  # In the order of `x_label`.
_REQUIRED = ('userID', 'itemID', 'x_label')
_DTYPES: dict[str, Any] = {
    **dict.fromkeys(_REQUIRED, np.int64),
    'rating': np.float32,
    'timestamp': np.int64,
}


def to_mmrec(data: HeteroData, folder: str | os.PathLike[str]) -> None:
    r"""Write a user-item graph as a folder of MMRec.

    A folder ``baby`` then holds ``baby.inter``, a tab-separated table of
    ``userID``, ``itemID`` and ``x_label`` (first training, 0, then validation,
    1, then test, 2, each in the order of the graph); and a file
    ``<modality>_feat.npy`` of ``float32`` for each modality.
    :class:`MMRecFolder` reads the same graph from it, with numbers of its own.

    Users and items have the numbers ``original_id`` where the graph has those,
    and features are in that order, so that a folder which is read and written
    holds the same interactions and features as before. Otherwise they have the
    numbers of the graph.

    The format has no place for which items lack a modality
    (``has_<modality>``), nor for trailing users without any interaction, or
    trailing items if there are no features. Ratings and times, which the graph
    knows for training only, are left out.

    Args:
        data (HeteroData): A user-item graph.
        folder (str or PathLike): The folder to create, of which nothing is
            there until all is written. Its name becomes that of the data.

    Raises:
        FileExistsError: If ``folder`` exists and is not an empty folder.
        ValueError: If the graph has no interactions of a split, or
            ``original_id`` leaves gaps.
        OSError: If writing fails, such as on a full disk.

    Example:
        >>> import tempfile
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> with tempfile.TemporaryDirectory() as root:
        ...     to_mmrec(data, f'{root}/fake')
        ...     sorted(os.listdir(f'{root}/fake'))
        ['fake.inter', 'image_feat.npy', 'text_feat.npy']
    """
    data = restored(data)
    parts = [
        np.column_stack([*pairs.numpy(), np.full(pairs.size(1), label)])
        for label, pairs in enumerate(splits_of(data).values())
    ]
    with new_folder(folder) as (path, name):
        np.savetxt(
            osp.join(path, f'{name}.inter'),
            np.concatenate(parts),
            fmt='%d',
            delimiter='\t',
            header='userID\titemID\tx_label',
            comments='',
        )
        write_features(data, path)


def read_mmrec(path: str, limits: Limits = Limits()) -> dict[str, NDArray[Any]]:
    """Return the columns of an interaction file; row `i` is in line `i + 2`.

    Args:
        path: A table separated by tabs.
        limits: ``line`` is the most bytes of a line. (default: ``Limits()``)

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no regular file or malformed, has no interactions
            of a split, or pairs a user and an item twice.
    """
    rows = [text for _, text in text_lines(path, limits)]
    while rows and not rows[-1]:
        rows.pop()
    header = rows.pop(0) if rows else ''
    names = header.split('\t')
    for name in _REQUIRED:
        if name not in names:
            raise ValueError(
                f"'{path}', line 1: column '{name}' is missing; start the file "
                f'with a tab-separated header of {", ".join(_REQUIRED)}'
            )
    if not rows:
        raise ValueError(
            f"'{path}' has no interactions below its header; write one in each "
            f'line'
        )
    for line, row in enumerate(rows, start=2):
        num_fields = row.count('\t') + 1
        if num_fields < len(names):
            raise ValueError(
                f"'{path}', line {line}: {num_fields} of {len(names)} fields; "
                f'separate them by tabs, as in the header'
            )

    table = {
        name: _read_column(path, rows, name, names.index(name))
        for name in _DTYPES
        if name in names
    }
    _check_interactions(path, *(table[name] for name in _REQUIRED))
    return table


def _read_column(
    path: str, rows: list[str], name: str, column: int
) -> NDArray[Any]:
    dtype = _DTYPES[name]
    if dtype is np.int64:  # Some NumPys, such as 2.2, read '1.7' as 1.
        for line, row in enumerate(rows, start=2):
            value = row.split('\t', column + 1)[column]
            if not _WHOLE.fullmatch(value):
                raise _no_number(path, line, name, value)
    read = partial(
        np.loadtxt,
        dtype=dtype,
        delimiter='\t',
        usecols=column,
        comments=None,
        ndmin=1,
    )
    try:
        return read(rows)
    except ValueError:
        for line, row in enumerate(rows, start=2):
            try:
                read([row])
            except ValueError:
                value = row.split('\t')[column]
                raise _no_number(path, line, name, value) from None
        raise


def _no_number(path: str, line: int, name: str, value: str) -> ValueError:
    kind = 'a number' if name == 'rating' else 'a 64-bit integer'
    return ValueError(
        f"'{path}', line {line}: {name} is '{value}', expected {kind}"
    )


def _check_interactions(path: str, user: _Ids, item: _Ids, label: _Ids) -> None:
    refuse(path, 'userID', user, user < 0, 'an integer counted from 0')
    refuse(path, 'itemID', item, item < 0, 'an integer counted from 0')
    expected = '0 (train), 1 (validation) or 2 (test)'
    refuse(path, 'x_label', label, (label < 0) | (label > 2), expected)
    for value, split in enumerate(_SPLITS):
        if not (label == value).any():
            raise ValueError(
                f"'{path}' has no {split} interactions; set x_label to {value} "
                f'in at least one line'
            )

    order = np.lexsort((item, user))  # Stable: equal pairs stay in file order.
    same = (np.diff(user[order]) == 0) & (np.diff(item[order]) == 0)
    if same.any():
        row, twin = order[same.argmax() :][:2]
        raise ValueError(
            f"'{path}', lines {row + 2} and {twin + 2}: user {user[row]} and "
            f'item {item[row]} are paired twice ({_SPLITS[label[row]]} and '
            f'{_SPLITS[label[twin]]}); remove one of the two lines'
        )


def refuse(
    path: str, name: str, values: _Ids, is_bad: _Mask, expected: str
) -> None:
    """Raise an error that names the first bad line, if there is one."""
    if is_bad.any():
        row = int(is_bad.argmax())
        raise ValueError(
            f"'{path}', line {row + 2}: {name} is {values[row]}, expected "
            f'{expected}'
        )
