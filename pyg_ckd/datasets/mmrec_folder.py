"""Datasets in the preprocessed folder format of MMRec."""

from __future__ import annotations

import os
import os.path as osp
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.feature_files import (
    FEATURES,
    count_items,
    feature_files,
    read_features,
)
from pyg_ckd.datasets.graph_dataset import GraphDataset
from pyg_ckd.datasets.graph_of_splits import graph_of_splits
from pyg_ckd.datasets.row_numbers import check_highest

_Ids: TypeAlias = NDArray[np.int64]
_Mask: TypeAlias = NDArray[np.bool_]

_VERSION = 2  # Of the processed files, to be raised when their content changes.
_SPLITS = ('train', 'validation', 'test')  # In the order of `x_label`.
_REQUIRED = ('userID', 'itemID', 'x_label')
_DTYPES: dict[str, Any] = {
    **dict.fromkeys(_REQUIRED, np.int64),
    'rating': np.float32,
    'timestamp': np.int64,
}


class MMRecFolder(GraphDataset):
    r"""A dataset in the preprocessed folder format of `"MMRec: Simplifying
    Multimodal Recommendation" <https://arxiv.org/abs/2302.03497>`_.

    The folder ``root/name`` is read in place. It holds the interactions
    ``name.inter``, a tab-separated table whose header names the columns
    ``userID``, ``itemID``, ``x_label`` (0: train, 1: validation, 2: test) and
    optionally ``rating`` and ``timestamp``, in any order; and any number of
    feature matrices ``<modality>_feat.npy``, a row an item. The graph has

    - ``data['item'].x_<modality>`` of shape ``[num_items, num_features]``;
    - ``data['user', 'rates', 'item'].edge_index``, the interactions of
      training in the order of the file, with ``.rating`` and ``.time`` where
      known, and its reverse ``data['item', 'rated_by', 'user'].edge_index``;
    - ``.val_edge_label_index`` and ``.test_edge_label_index`` of
      ``data['user', 'rates', 'item']``.

    Results are kept below ``processed_root/name/processed``, in one folder for
    each state of the raw files and each ``pre_transform``. These folders can be
    deleted at any time.

    Args:
        root (str or PathLike): The directory that holds the folder.
        name (str): The name of the folder.
        transform (callable, optional): Applied to the graph at every access.
            (default: :obj:`None`)
        pre_transform (callable, optional): Applied to the graph before it is
            saved. Its ``repr`` has to name all its arguments: that is how a
            saved result is found again. A plain function, which has no such
            ``repr``, is applied anew every time. (default: :obj:`None`)
        processed_root (str or PathLike, optional): The directory to save
            results in. (default: ``root``)
        force_reload (bool, optional): Whether to ignore what has been saved.
            (default: :obj:`False`)

    Raises:
        FileNotFoundError: If there is no file ``root/name/name.inter``.
        PermissionError: If ``processed_root`` cannot be written.
        ValueError: If a file is malformed or does not fit the others, a split
            is empty, or a user and an item are paired twice.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as root:
        ...     folder = Path(root, 'tiny')
        ...     folder.mkdir()
        ...     np.save(folder / 'text_feat.npy', np.eye(2, 4))
        ...     _ = (folder / 'tiny.inter').write_text(
        ...         'userID\titemID\tx_label\n'
        ...         '0\t1\t0\n'
        ...         '0\t0\t1\n'
        ...         '1\t1\t2\n'
        ...     )
        ...     data = MMRecFolder(root, 'tiny')[0]
        >>> data['user', 'rates', 'item'].edge_index
        tensor([[0],
                [1]])
        >>> data['item'].x_text.shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        name: str,
        transform: Callable[[HeteroData], Any] | None = None,
        pre_transform: Callable[[HeteroData], Any] | None = None,
        processed_root: str | os.PathLike[str] | None = None,
        force_reload: bool = False,
    ) -> None:
        self.name = name
        self.processed_root = osp.expanduser(processed_root or root)
        super().__init__(root, transform, pre_transform, force_reload)

    @property
    def settings(self) -> int:
        return _VERSION

    @property
    def raw_dir(self) -> str:
        return osp.join(self.root, self.name)

    @property
    def processed_parent(self) -> str:
        return osp.join(self.processed_root, self.name, 'processed')

    @property
    def raw_file_names(self) -> list[str]:
        return [f'{self.name}.inter', *feature_files(self.raw_dir)]

    def download(self) -> None:
        raise FileNotFoundError(
            f"'{self.raw_dir}' needs to hold the interactions "
            f"'{self.name}.inter' and the features '<modality>{FEATURES}'. "
            f'Download the preprocessed data of MMRec '
            f'(https://github.com/enoche/MMRec), or write these files yourself'
        )

    def build(self) -> HeteroData:
        path, *feature_paths = self.raw_paths
        table = _read_interactions(path)
        features = read_features(feature_paths)
        item = table['itemID']
        for name in ('userID', 'itemID'):
            row = int(table[name].argmax())
            where = f"'{path}', line {row + 2}"
            check_highest(where, name, int(table[name][row]), len(item))
        if features:
            num_items = count_items(self.raw_dir, features)
            expected = (
                f'less than {num_items}, the number of rows in '
                f"'{osp.basename(feature_paths[0])}'; write one row for each "
                f'item in all features'
            )
            _refuse(path, 'itemID', item, item >= num_items, expected)
        else:
            num_items = int(item.max()) + 1
        columns = {name: torch.from_numpy(table[name]) for name in table}
        return graph_of_splits(
            user=columns['userID'],
            item=columns['itemID'],
            label=columns['x_label'],
            num_users=int(table['userID'].max()) + 1,
            num_items=num_items,
            features=features,
            rating=columns.get('rating'),
            time=columns.get('timestamp'),
        )

    def __repr__(self) -> str:
        return f'{self.name}()'


def _read_interactions(path: str) -> dict[str, NDArray[Any]]:
    """Return the columns of an interaction file; row `i` is in line `i + 2`."""
    with open(path, encoding='utf-8-sig', errors='replace') as file:
        header, *rows = file.read().rstrip('\n').split('\n')
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
    read = partial(
        np.loadtxt,
        dtype=_DTYPES[name],
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
                kind = 'a number' if name == 'rating' else 'a 64-bit integer'
                raise ValueError(
                    f"'{path}', line {line}: {name} is '{value}', expected "
                    f'{kind}'
                ) from None
        raise


def _check_interactions(path: str, user: _Ids, item: _Ids, label: _Ids) -> None:
    _refuse(path, 'userID', user, user < 0, 'an integer counted from 0')
    _refuse(path, 'itemID', item, item < 0, 'an integer counted from 0')
    expected = '0 (train), 1 (validation) or 2 (test)'
    _refuse(path, 'x_label', label, (label < 0) | (label > 2), expected)
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


def _refuse(
    path: str, name: str, values: _Ids, is_bad: _Mask, expected: str
) -> None:
    """Raise an error that names the first bad line, if there is one."""
    if is_bad.any():
        row = int(is_bad.argmax())
        raise ValueError(
            f"'{path}', line {row + 2}: {name} is {values[row]}, expected "
            f'{expected}'
        )
