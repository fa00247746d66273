"""Splits that others have published."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from pyg_ckd.datasets.interactions import Interactions
from pyg_ckd.datasets.tables import read_table

_LABELS = {'train': 0, 'validation': 1, 'test': 2}
Rows = Iterator[tuple[str, str, int]]  # user, item, label


def read_split(
    path: str | os.PathLike[str], interactions: Interactions
) -> Tensor:
    """Return the split of each interaction, as it was published.

    ``path`` is one of

    - a folder of MMRec: ``<name>.inter`` beside the ids ``u_id_mapping.csv``
      (``user_id``, ``userID``) and ``i_id_mapping.csv`` (``asin``, ``itemID``),
      each in any order and separated by tabs;
    - a folder of LATTICE: ``train.json``, ``val.json`` and ``test.json`` beside
      the ids ``user_list.txt`` and ``item_list.txt``, such as ``5-core``;
    - a table (CSV, TSV or Parquet) of the columns ``user``, ``item`` and
      ``split``, which is ``train``, ``validation`` or ``test``.

    Args:
        path: The folder or table.
        interactions: The interactions. Each has to be in the split once, and
            the split has no others.

    Returns:
        For each interaction 0 (training), 1 (validation) or 2 (test).

    Raises:
        FileNotFoundError: If the folder holds neither format.
        ValueError: If a file is malformed, or does not have the same
            interactions.
    """
    path = Path(path)
    if path.is_file():
        rows = _table(path)
    elif inter := sorted(path.glob('*.inter')):
        rows = _mmrec(inter[0])
    elif (path / 'train.json').is_file():
        rows = _lattice(path)
    else:
        raise FileNotFoundError(
            f"'{path}' holds neither '<name>.inter' with 'u_id_mapping.csv' "
            f"and 'i_id_mapping.csv', nor 'train.json', 'val.json' and "
            f"'test.json' with 'user_list.txt' and 'item_list.txt'"
        )
    return _look_up(path, rows, interactions)


def _look_up(path: Path, rows: Rows, interactions: Interactions) -> Tensor:
    user = {name: i for i, name in enumerate(interactions.users)}
    item = {name: i for i, name in enumerate(interactions.items)}
    pairs = torch.stack([interactions.user, interactions.item], dim=1)
    row_of = {(u, i): row for row, (u, i) in enumerate(pairs.tolist())}
    label = [-1] * len(row_of)
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


def _table(path: Path) -> Rows:
    table = read_table(path, ['user', 'item', 'split'])
    for row, (user, item, split) in enumerate(table.itertuples(index=False)):
        if split not in _LABELS:
            raise ValueError(
                f"'{path}', row {row + 1}: split is '{split}', expected "
                f'{", ".join(_LABELS)}'
            )
        yield user, item, _LABELS[split]


def _mmrec(path: Path) -> Rows:
    users = _mapping(path.with_name('u_id_mapping.csv'), 'userID', 'user_id')
    items = _mapping(path.with_name('i_id_mapping.csv'), 'itemID', 'asin')
    table = read_table(path, ['userID', 'itemID', 'x_label'])
    for row, (user, item, label) in enumerate(table.itertuples(index=False)):
        if user not in users or item not in items or label not in '012':
            raise ValueError(
                f"'{path}', line {row + 2}: user '{user}', item '{item}' and "
                f"x_label '{label}' need to be in 'u_id_mapping.csv', in "
                f"'i_id_mapping.csv' and 0, 1 or 2"
            )
        yield users[user], items[item], int(label)


def _mapping(path: Path, number: str, name: str) -> dict[str, str]:
    # A table of tabs, whatever its ending says:
    with open(path, encoding='utf-8-sig') as file:
        rows = [line.rstrip('\n').split('\t') for line in file]
    if not rows or sorted(rows[0]) != sorted([number, name]):
        raise ValueError(
            f"'{path}', line 1: expected the tab-separated columns '{number}' "
            f"and '{name}'"
        )
    key, value = rows[0].index(number), rows[0].index(name)
    for line, row in enumerate(rows, start=1):
        if len(row) != 2:
            raise ValueError(f"'{path}', line {line}: {len(row)} of 2 fields")
    return {row[key]: row[value] for row in rows[1:]}


def _lattice(path: Path) -> Rows:
    users, items = (_id_list(path / f'{n}_list.txt') for n in ('user', 'item'))
    for file, label in (('train', 0), ('val', 1), ('test', 2)):
        part = path / f'{file}.json'
        try:
            lists = json.loads(part.read_text())
            for user, picks in lists.items():
                for item in picks:
                    yield users[user], items[str(item)], label
        except (ValueError, AttributeError, TypeError, KeyError) as error:
            raise ValueError(
                f"'{part}' does not hold lists of items by user, with numbers "
                f"from 'user_list.txt' and 'item_list.txt' ({error!r})"
            ) from error


def _id_list(path: Path) -> dict[str, str]:
    ids = {}
    for line, text in enumerate(path.read_text().splitlines(), start=1):
        name, _, number = text.rpartition('\t')
        if not name:
            raise ValueError(
                f"'{path}', line {line}: expected an id, a tab and a number"
            )
        ids[number] = name
    return ids
