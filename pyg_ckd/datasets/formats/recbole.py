"""The folder format of RecBole."""

from __future__ import annotations

import os
import os.path as osp
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.formats.splits_of import splits_of
from pyg_ckd.datasets.formats.tables import read_table
from pyg_ckd.datasets.formats.text_lines import first_line
from pyg_ckd.datasets.raw.files import new_folder
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.graph import RATES, modalities

#: The splits of interactions, as RecBole's own files are named.
SPLITS = ('train', 'valid', 'test')
_TIMES = {
    'train': 'time',
    'valid': 'val_edge_label_time',
    'test': 'test_edge_label_time',
}
_TYPES = ('token', 'token_seq', 'float', 'float_seq')


def column_types(
    path: str | os.PathLike[str], limits: Limits = Limits()
) -> dict[str, str]:
    r"""Return the type of each column of one of RecBole's files.

    Args:
        path: A table separated by tabs, whose header names columns and types,
            such as ``item_id:token`` and ``title:token_seq``.
        limits: How large the header may be. (default: ``Limits()``)

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no regular file, the header is too long, a column
            has no type, or two have the same name.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with open(f'{root}/a.item', 'w') as file:
        ...         _ = file.write('item_id:token\temb:float_seq\n')
        ...     column_types(f'{root}/a.item')
        {'item_id': 'token', 'emb': 'float_seq'}
    """
    path = os.fspath(path)
    types: dict[str, str] = {}
    for entry in _header(path, limits):
        name, _, kind = entry.rpartition(':')
        is_joined = any(f':{each}' in name for each in _TYPES)  # By commas.
        if not name or kind not in _TYPES or is_joined:
            raise ValueError(
                f"'{path}', line 1: expected columns with types, separated by "
                f"tabs, such as 'user_id:token' (got {entry!r}); the types are "
                f'{", ".join(_TYPES)}'
            )
        if name in types:
            raise ValueError(
                f"'{path}', line 1: there are two columns {name!r}; rename one"
            )
        types[name] = kind
    return types


def is_recbole(path: str | os.PathLike[str]) -> bool:
    """Return whether a file ``.inter`` is of RecBole, and not of MMRec.

    Columns of RecBole have types.

    Args:
        path: The file.
    """
    return all(
        entry.rpartition(':')[2] in _TYPES
        for entry in _header(os.fspath(path), Limits())
    )


def read_recbole(
    path: str | os.PathLike[str],
    columns: Sequence[str],
    limits: Limits = Limits(),
) -> pd.DataFrame:
    r"""Return columns of one of RecBole's files, as text.

    Args:
        path: A table as in :func:`column_types`, with the types in its header.
        columns: The names of columns, without types.
        limits: How large a line may be. (default: ``Limits()``)

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is malformed or lacks a column.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with open(f'{root}/a.inter', 'w') as file:
        ...         _ = file.write('user_id:token\titem_id:token\n007\tx\n')
        ...     read_recbole(f'{root}/a.inter', ['user_id']).values.tolist()
        [['007']]
    """
    types = column_types(path, limits)
    for name in columns:
        if name not in types:
            raise ValueError(
                f"'{os.fspath(path)}' has no column {name!r} (it has "
                f'{", ".join(map(repr, types))}); name another by '
                f"'user_column', 'item_column' or the like"
            )
    typed = [f'{name}:{types[name]}' for name in columns]
    table = read_table(path, typed, limits=limits)
    return table.set_axis(list(columns), axis='columns')


def float_rows(
    column: pd.Series[str], path: str, name: str
) -> tuple[Tensor, Tensor]:
    """Return the vectors of a column ``float_seq``, and which rows have one.

    Args:
        column: Numbers separated by blanks, or nothing.
        path: Where they come from, for messages.
        name: The name of the column.

    Returns:
        ``float32`` of shape ``[num_rows, num_features]``, with zeros where
        there is none, and Booleans ``[num_rows]``.

    Raises:
        ValueError: If a row is not of finite numbers, or has another length
            than the first.

    Example:
        >>> float_rows(pd.Series(['1 2', '', '0.5 4']), 'a.item', 'emb')[0]
        tensor([[1.0000, 2.0000],
                [0.0000, 0.0000],
                [0.5000, 4.0000]])
    """
    has = column.str.strip().ne('').to_numpy(bool, copy=True)
    rows = np.flatnonzero(has)
    x = np.zeros((len(column), 0), dtype=np.float32)
    for i, row in enumerate(rows.tolist()):
        try:
            vector = np.array(column.iat[row].split(), dtype=np.float64)
        except ValueError:
            vector = np.array([np.nan])
        if not (np.abs(vector) <= np.finfo(np.float32).max).all():
            raise ValueError(
                f"'{path}', row {row + 1} below the header: {name} is "
                f'{column.iat[row][:60]!r}, expected finite numbers separated '
                f'by blanks'
            )
        if i == 0:
            x = np.zeros((len(column), len(vector)), dtype=np.float32)
        if len(vector) != x.shape[1]:
            raise ValueError(
                f"'{path}', row {row + 1} below the header: {name} has "
                f'{len(vector)} numbers, but {x.shape[1]} in row '
                f'{int(rows[0]) + 1}; all need the same length'
            )
        x[row] = vector
    return torch.from_numpy(x), torch.from_numpy(has)


def split_files(folder: str | os.PathLike[str]) -> list[str]:
    """Return the files ``<name>.train.inter`` and the like of a folder.

    Args:
        folder: The folder, whose name is that of the data.

    Returns:
        The paths of training, validation and test, or nothing where there is
        no such file.

    Raises:
        FileNotFoundError: If one or two of the three are missing.
    """
    folder = osp.abspath(folder)
    name = osp.basename(folder)
    paths = [osp.join(folder, f'{name}.{split}.inter') for split in SPLITS]
    missing = [path for path in paths if not osp.isfile(path)]
    if len(missing) == len(paths):
        return []
    if missing:
        raise FileNotFoundError(
            f"'{folder}' holds a split, but there is no "
            f"'{osp.basename(missing[0])}'; add it"
        )
    return paths


def split_rows(
    folder: str | os.PathLike[str],
    user_column: str = 'user_id',
    item_column: str = 'item_id',
    limits: Limits = Limits(),
) -> Iterator[tuple[str, str, int]]:
    """Yield the user, the item and the split of each published interaction.

    Args:
        folder: As in :func:`split_files`.
        user_column: The column of users. (default: ``'user_id'``)
        item_column: The column of items. (default: ``'item_id'``)
        limits: How large a line may be. (default: ``Limits()``)
    """
    for label, path in enumerate(split_files(folder)):
        table = read_recbole(path, [user_column, item_column], limits)
        for user, item in table.itertuples(index=False):
            yield user, item, label


def to_recbole(data: HeteroData, folder: str | os.PathLike[str]) -> None:
    r"""Write a user-item graph as a folder of RecBole.

    A folder ``shop`` then holds ``shop.train.inter``, ``shop.valid.inter`` and
    ``shop.test.inter``, with the columns ``user_id:token`` and
    ``item_id:token``, ``timestamp:float`` where times are known, and in the
    first ``rating:float``, as a graph has no ratings of what is held out; and
    ``shop.item``, with ``item_id:token``, where there are titles
    ``title:token_seq``, and for each modality ``<modality>:float_seq``, empty
    for items that lack it. RecBole takes the split by
    ``benchmark_filename: ['train', 'valid', 'test']``, and
    :class:`RecBoleFolder` reads it as well, but for ratings. Titles it takes
    for texts to encode, unless it gets ``text_encoder=None`` and
    ``title_column='title'``.

    Users and items are called by their names, or else by ``original_id``, or
    else by their numbers. The format has no place for users and items without
    any interaction.

    Args:
        data (HeteroData): A user-item graph.
        folder (str or PathLike): The folder to create, of which nothing is
            there until all is written. Its name becomes that of the data.

    Raises:
        FileExistsError: If ``folder`` exists and is not an empty folder.
        ValueError: If the graph has no interactions of a split, or two users or
            items have the same name.
        OSError: If writing fails, such as on a full disk.

    Example:
        >>> import tempfile
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> with tempfile.TemporaryDirectory() as root:
        ...     to_recbole(data, f'{root}/fake')
        ...     sorted(os.listdir(f'{root}/fake'))
        ['fake.item', 'fake.test.inter', 'fake.train.inter',
         'fake.valid.inter']
    """
    splits = splits_of(data)
    users, items = _tokens(data, 'user'), _tokens(data, 'item')
    rates = data[RATES]
    with new_folder(folder) as (path, name):
        for split, pairs in zip(SPLITS, splits.values(), strict=True):
            columns: dict[str, Any] = {
                'user_id:token': [users[i] for i in pairs[0].tolist()],
                'item_id:token': [items[i] for i in pairs[1].tolist()],
            }
            if split == 'train' and 'rating' in rates:
                columns['rating:float'] = rates['rating'].tolist()
            if _TIMES[split] in rates:
                columns['timestamp:float'] = rates[_TIMES[split]].tolist()
            _write(columns, osp.join(path, f'{name}.{split}.inter'))
        columns = {'item_id:token': items}
        if 'title' in data['item']:
            columns['title:token_seq'] = list(data['item'].title)
        for modality in modalities(data):
            columns[f'{modality}:float_seq'] = _vectors(data, modality)
        _write(columns, osp.join(path, f'{name}.item'))


def _header(path: str, limits: Limits) -> list[str]:
    if not osp.exists(path) or osp.isdir(path):
        raise FileNotFoundError(f"There is no file '{path}'")
    return first_line(path, limits).split('\t')


def _tokens(data: HeteroData, node: str) -> list[str]:
    names = data[node].get('name')
    if names is None:
        names = data[node].get('original_id')
    if names is None:
        names = range(data[node].num_nodes)
    if isinstance(names, Tensor):
        names = names.tolist()
    tokens = list(map(str, names))
    if len(set(tokens)) < len(tokens):
        token, count = Counter(tokens).most_common(1)[0]
        raise ValueError(
            f'{count} of the {node}s are called {token!r}, which would make '
            f'them one; give each a name of its own'
        )
    return tokens


def _vectors(data: HeteroData, modality: str) -> list[str]:
    x = data['item'][f'x_{modality}'].detach().cpu().to(torch.float32).numpy()
    has = data['item'].get(f'has_{modality}')
    kept = [True] * len(x) if has is None else has.tolist()
    return [
        ' '.join(map(repr, map(float, row))) if is_there else ''
        for row, is_there in zip(x, kept, strict=True)
    ]


def _write(columns: dict[str, Any], path: str) -> None:
    table = pd.DataFrame(columns)
    table.to_csv(path, sep='\t', index=False, lineterminator='\n')
