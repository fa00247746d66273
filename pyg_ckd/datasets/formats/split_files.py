"""Splits that others have published."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from reprlib import repr as shorten
from typing import Any

import torch
from torch import Tensor

from pyg_ckd.datasets.formats.json_records import unique
from pyg_ckd.datasets.formats.recbole import split_files, split_rows
from pyg_ckd.datasets.formats.tables import read_table
from pyg_ckd.datasets.formats.text_lines import text_lines
from pyg_ckd.datasets.raw.digests import Digests
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.regular_file import read_regular

_LABELS = {'train': 0, 'validation': 1, 'test': 2}
_NUMBERS = {'0', '1', '2'}
# Of text that is no JSON, or is JSON of another form:
_JSON_ERRORS = (
    ValueError,
    RecursionError,
    AttributeError,
    TypeError,
    KeyError,
)
Rows = Iterator[tuple[str, str, int]]  # user, item, label


def read_split(
    path: str | os.PathLike[str],
    interactions: Interactions,
    limits: Limits = Limits(),
) -> Tensor:
    r"""Return the split of each interaction, as it was published.

    ``path`` is one of

    - a folder of MMRec: ``<name>.inter`` (with the columns ``userID``,
      ``itemID`` and ``x_label``) beside the ids ``u_id_mapping.csv``
      (``user_id``, ``userID``) and ``i_id_mapping.csv`` (``asin``, ``itemID``),
      all separated by tabs;
    - a folder of LATTICE: ``train.json``, ``val.json`` and ``test.json`` beside
      the ids ``user_list.txt`` and ``item_list.txt``, such as ``5-core``;
    - a folder of RecBole: ``<name>.train.inter``, ``<name>.valid.inter`` and
      ``<name>.test.inter``, with the columns ``user_id:token`` and
      ``item_id:token``;
    - a table (CSV, TSV or Parquet) of the columns ``user``, ``item`` and
      ``split``, which is ``train``, ``validation`` or ``test``.

    Args:
        path: The folder or table.
        interactions: The interactions. Each has to be in the split once, and
            the split has no others.
        limits: The most bytes of a line and of a JSON document, and what a
            table unpacks to. (default: ``Limits()``)

    Returns:
        For each interaction 0 (training), 1 (validation) or 2 (test).

    Raises:
        FileNotFoundError: If the folder holds neither format, or lacks one of
            the files.
        ValueError: If a file is malformed, the folder holds several ``.inter``
            files, or the split does not have the same interactions.

    Example:
        >>> import tempfile
        >>> interactions = Interactions.from_ids(['ann'] * 3, ['a', 'b', 'c'])
        >>> with tempfile.TemporaryDirectory() as root:
        ...     _ = Path(root, 'split.csv').write_text(
        ...         'user,item,split\n'
        ...         'ann,b,train\n'
        ...         'ann,c,validation\n'
        ...         'ann,a,test\n'
        ...     )
        ...     read_split(f'{root}/split.csv', interactions)
        tensor([2, 0, 1])
    """
    path = Path(path)
    if path.is_file():
        rows = _table(path, limits)
    elif split_files(path):
        rows = split_rows(path, limits=limits)
    elif inter := sorted(path.glob('*.inter')):
        if len(inter) > 1:
            raise ValueError(
                f"'{path}' holds {' and '.join(file.name for file in inter)}; "
                f'keep one of them'
            )
        rows = _mmrec(inter[0], limits)
    elif (path / 'train.json').is_file():
        rows = _lattice(path, limits)
    else:
        raise FileNotFoundError(
            f"'{path}' holds neither '<name>.inter' with 'u_id_mapping.csv' "
            f"and 'i_id_mapping.csv', nor 'train.json', 'val.json' and "
            f"'test.json' with 'user_list.txt' and 'item_list.txt'"
        )
    return _look_up(path, rows, interactions)


def split_state(path: str | os.PathLike[str]) -> Any:
    """Return what tells a published split from a changed one.

    Folders within the folder do not count: results may be kept there.

    Args:
        path: The folder or table.
    """
    path = Path(path)
    files = [path] if path.is_file() else sorted(path.glob('*'))
    digests = Digests()
    return [(f.name, digests.of(str(f))) for f in files if f.is_file()]


def _look_up(path: Path, rows: Rows, interactions: Interactions) -> Tensor:
    user = {name: i for i, name in enumerate(interactions.users)}
    item = {name: i for i, name in enumerate(interactions.items)}
    pairs = torch.stack([interactions.user, interactions.item], dim=1)
    row_of = {(u, i): row for row, (u, i) in enumerate(pairs.tolist())}
    label = [-1] * len(pairs)
    for user_id, item_id, value in rows:
        row = row_of.get((user.get(user_id, -1), item.get(item_id, -1)))
        if row is None or label[row] >= 0:
            problem = 'is not in the data' if row is None else 'is there twice'
            raise ValueError(
                f"'{path}': the interaction of user '{user_id}' and item "
                f"'{item_id}' {problem}; the split belongs to other data, or "
                f'to another core'
            )
        label[row] = value
    if -1 in label:
        u, i = pairs[label.index(-1)].tolist()
        raise ValueError(
            f"'{path}' lacks {label.count(-1)} interactions, such as that of "
            f"user '{interactions.users[u]}' and item "
            f"'{interactions.items[i]}'; the split belongs to other data, or "
            f'to another core'
        )
    return torch.tensor(label)


def _table(path: Path, limits: Limits) -> Rows:
    table = read_table(
        path, ['user', 'item', 'split'], 'a split needs these three', limits
    )
    for row, (user, item, split) in enumerate(table.itertuples(index=False)):
        if split not in _LABELS:
            raise ValueError(
                f"'{path}', row {row + 1} below the header: split is "
                f"'{split}', expected one of {', '.join(_LABELS)}"
            )
        yield user, item, _LABELS[split]


def _mmrec(path: Path, limits: Limits) -> Rows:
    users, items = (
        _mapping(path.with_name(file), columns, limits)
        for file, columns in (
            ('u_id_mapping.csv', ('userID', 'user_id')),
            ('i_id_mapping.csv', ('itemID', 'asin')),
        )
    )
    columns = ('userID', 'itemID', 'x_label')
    for line, row in _rows(path, columns, limits):
        user, item, label = row
        if user not in users or item not in items or label not in _NUMBERS:
            raise ValueError(
                f"'{path}', line {line}: user '{user}', item '{item}' and "
                f"x_label '{label}' need to be in 'u_id_mapping.csv', in "
                f"'i_id_mapping.csv' and 0, 1 or 2"
            )
        yield users[user], items[item], int(label)


def _mapping(
    path: Path, columns: Sequence[str], limits: Limits
) -> dict[str, str]:
    """Return the name of each number."""
    names: dict[str, str] = {}
    for line, (number, name) in _rows(path, columns, limits):
        _add(path, line, names, number, name)
    return names


def _add(
    path: Path, line: int, names: dict[str, str], number: str, name: str
) -> None:
    if names.setdefault(number, name) != name:
        raise ValueError(
            f"'{path}', line {line}: the number {number!r} is that of "
            f"'{names[number]}' already; give '{name}' another"
        )


def _rows(
    path: Path, columns: Sequence[str], limits: Limits
) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the named columns of each row."""
    # The separator is a tab, whatever the ending of the file says.
    lines = text_lines(path, limits)
    header = next(lines, (1, ''))[1].split('\t')
    for column in columns:
        if header.count(column) != 1:
            once = 'once ' if column in header else ''
            raise ValueError(
                f"'{path}', line 1: expected columns separated by tabs, with "
                f"'{column}' {once}among them"
            )
    for line, text in lines:
        row = dict(zip(header, text.split('\t'), strict=False))
        if len(row) < len(set(header)):
            raise ValueError(
                f"'{path}', line {line}: {len(row)} of {len(header)} fields; "
                f'separate them by tabs'
            )
        yield line, [row[column] for column in columns]


def _lattice(path: Path, limits: Limits) -> Rows:
    users, items = (
        _id_list(path / f'{name}_list.txt', limits) for name in ('user', 'item')
    )
    for file, label in (('train', 0), ('val', 1), ('test', 2)):
        part = path / f'{file}.json'
        text = read_regular(part, limits)
        try:
            for user, picks in json.loads(
                text.decode('utf-8-sig'), object_pairs_hook=unique
            ).items():
                if not isinstance(picks, list):
                    raise TypeError(f'{shorten(picks)} is no list')
                for item in picks:
                    yield users[user], items[str(item)], label
        except _JSON_ERRORS as error:
            raise ValueError(
                f"'{part}' does not hold lists of items by user, with numbers "
                f"from 'user_list.txt' and 'item_list.txt' ({error!r})"
            ) from error


def _id_list(path: Path, limits: Limits) -> dict[str, str]:
    ids: dict[str, str] = {}
    for line, text in text_lines(path, limits):
        name, _, number = text.rpartition('\t')
        if not name:
            raise ValueError(
                f"'{path}', line {line}: expected an id, a tab and a number"
            )
        _add(path, line, ids, number, name)
    return ids
