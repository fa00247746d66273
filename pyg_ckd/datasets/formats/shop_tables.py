"""A user's own tables of interactions and items."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pyg_ckd.datasets.formats.row_numbers import HEADER, RowNumbers
from pyg_ckd.datasets.interaction_table import InteractionTable
from pyg_ckd.datasets.item_table import ItemTable
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.problems import Problems
from pyg_ckd.datasets.raw.spelling import likely_spelling, two_of

_DATE = 'a number, or a date such as 2024-01-31 12:30, as most rows have'


def read_interactions(
    tables: Sequence[InteractionTable],
    skip_invalid: bool = False,
    limits: Limits = Limits(),
) -> Interactions:
    r"""Return the interactions of tables.

    A user and an item have one interaction: of the rows of the largest weight
    the earliest where there are times, wherever it is, at equal times the
    first; and the first without.

    Args:
        tables: Tables of interactions, one or several.
        skip_invalid: Whether to skip invalid rows, with one warning for all of
            a table. (default: ``False``)
        limits: As in :func:`read_table`. (default: ``Limits()``)

    Returns:
        The interactions in the order of the tables, the users and items sorted.
        ``rating`` is ``float32``, ``time`` is ``int64``, or ``float64`` if a
        table has fractions. ``weight`` is ``float32`` in (0, 1], compared with
        the largest that a row may have, or ``None`` if all are 1.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a table is malformed, or lacks a column; or, unless
            ``skip_invalid``, if a row has no user or item, a rating or time
            that is none, a type that has no weight, or a user and an item are
            paired twice in a table without types; or if only some tables have
            ratings or times, or times are written in two ways.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with open(f'{root}/a.csv', 'w') as file:
        ...         _ = file.write('user,item,on\n7,x,1970-01-02\n')
        ...     sales = InteractionTable(f'{root}/a.csv', time='on')
        ...     read_interactions([sales]).time
        tensor([86400])
    """
    for column in ('rating', 'time'):
        has = [getattr(table, column) is not None for table in tables]
        if any(has) and not all(has):
            raise ValueError(
                f"'{tables[has.index(False)].name}' has no '{column}', but "
                f"'{tables[has.index(True)].name}' does; name that column of "
                f'all tables of interactions, or of none'
            )
    rows, kinds = [], {}
    for table in tables:
        text = table.read(table.columns, limits)
        valid, kind = _valid_rows(text, table, table.row_numbers, skip_invalid)
        rows.append(valid)
        kinds[kind] = table.name
    if len(kinds) > 1:
        one, other = kinds
        raise ValueError(
            f"'{kinds[one]}' has a {one} for each time, '{kinds[other]}' a "
            f'{other}; write times in the same way in all tables'
        )
    together = rows[0] if len(rows) == 1 else pd.concat(rows, ignore_index=True)
    largest = max(max(table.all_weights) for table in tables)
    together['weight'] = together['weight'] / largest
    return _pairs(together)


def interactions_of(
    table: pd.DataFrame,
    path: str | os.PathLike[str],
    user_column: str = 'user',
    item_column: str = 'item',
    rating_column: str | None = None,
    time_column: str | None = None,
    skip_invalid: bool = False,
    row_numbers: RowNumbers = HEADER,
) -> Interactions:
    """Return the interactions of a table that has been read.

    Args:
        table: Text, its rows numbered from zero.
        path: Where it comes from, for messages.
        user_column: The column of users. (default: ``'user'``)
        item_column: The column of items. (default: ``'item'``)
        rating_column: The column of ratings. (default: ``None``)
        time_column: The column of times. (default: ``None``)
        skip_invalid: Whether to skip invalid rows. (default: ``False``)
        row_numbers: How rows are counted in messages. (default: from 1 below a
            header)

    Raises:
        ValueError: As in :func:`read_interactions`.

    Example:
        >>> table = pd.DataFrame({'user': ['b', 'a'], 'item': ['x', 'x']})
        >>> interactions_of(table, 'sales.csv').users
        ['a', 'b']
    """
    columns = InteractionTable(
        path, user_column, item_column, rating_column, time_column
    )
    return _pairs(_valid_rows(table, columns, row_numbers, skip_invalid)[0])


def _valid_rows(
    table: pd.DataFrame,
    columns: InteractionTable,
    row_numbers: RowNumbers,
    skip_invalid: bool,
) -> tuple[pd.DataFrame, str]:
    """Return the rows of a table that are valid.

    Returns:
        Their ``user`` and ``item``, ``weight``, and where known ``rating`` and
        ``time``; and how times are written.
    """
    rows = pd.DataFrame(
        {'user': table[columns.user], 'item': table[columns.item]}
    )
    rules = [
        _id_rule(column, _is_blank(table[column]))
        for column in (columns.user, columns.item)
    ]
    if columns.rating is not None:
        rows['rating'], rule = _ratings(table, columns.rating)
        rules.append(rule)
    kind = ''
    if columns.time is not None:
        rows['time'], kind = _to_seconds(table[columns.time])
        rules.append(_time_rule(rows['time'], columns.time, kind))
    rows['weight'] = float(columns.weight)
    if columns.type is not None and columns.weights is not None:
        given = columns.weights.items()
        weights = {str(name): float(weight) for name, weight in given}
        rows['weight'] = table[columns.type].map(weights).astype(float)
        rules.append(_type_rule(table[columns.type], weights))
    is_valid = ~_any(rules, table)
    valid = rows[is_valid].copy()
    if kind == 'number':
        # Beside NaN, whole numbers were floats and had lost digits:
        valid['time'] = pd.to_numeric(table[columns.time][is_valid])
    if columns.type is None:  # A log has whatever a user did again.
        rules.append(_twin_rule(valid, table, columns))
    _check(columns.name, table, rules, skip_invalid, row_numbers)
    return valid, kind


def _ratings(
    table: pd.DataFrame, column: str
) -> tuple[pd.Series[float], _Rule]:
    rating = pd.to_numeric(table[column], errors='coerce')
    is_bad = ~(rating.abs() <= np.finfo(np.float32).max)
    reason = f'has no finite number in {column!r}'
    return rating, _Rule(is_bad, column, 'a finite number', reason)


def _time_rule(time: pd.Series[float], column: str, kind: str) -> _Rule:
    is_bad = ~(time.abs() < 2**63)
    return _Rule(is_bad, column, _DATE, f'has no valid {kind} in {column!r}')


def _type_rule(types: pd.Series[str], weights: Mapping[str, float]) -> _Rule:
    """Return the rule that types have weights."""
    is_bad = ~types.isin(list(weights))
    others = types[is_bad].value_counts()
    counts = [f'{name!r} ({num})' for name, num in others.items()]
    expected = f'a type that has a weight: {", ".join(map(repr, weights))}'
    if len(counts) > 1:
        expected += f'; all types without one are {_some(counts)}'
    reason = f'has a type without weight in {types.name!r}'
    return _Rule(is_bad, str(types.name), expected, reason)


def _some(names: Sequence[str], most: int = 20) -> str:
    return ', '.join([*names[:most], *(['...'] if len(names) > most else [])])


def _twin_rule(
    valid: pd.DataFrame, table: pd.DataFrame, columns: InteractionTable
) -> _Rule:
    """Return the rule that a user and an item are paired once."""
    pairs = valid[['user', 'item']]
    is_twin = pairs.duplicated().reindex(table.index, fill_value=False)
    return _Rule(
        is_twin,
        columns.item,
        'an item that this user does not have in a row before',
        'repeats a user and item',
        (columns.user, columns.item),
    )


def _pairs(rows: pd.DataFrame) -> Interactions:
    """Return the interactions of valid rows, one for each user and item."""
    if rows.duplicated(['user', 'item']).any():
        by = ['weight', *(['time'] if 'time' in rows else [])]
        order = rows.sort_values(
            by, ascending=[False, True][: len(by)], kind='stable'
        )
        rows = order.drop_duplicates(['user', 'item']).sort_index()
    weight = _to_tensor(rows['weight'], 'float32')
    if (weight == 0).any():
        raise ValueError(
            'The smallest weight is nothing beside the largest (0 in float32); '
            'leave out rows that should not count'
        )
    return Interactions.from_ids(
        rows['user'].tolist(),
        rows['item'].tolist(),
        _to_tensor(rows['rating'], 'float32') if 'rating' in rows else None,
        _to_tensor(rows['time'], 'int64') if 'time' in rows else None,
        None if (weight == 1).all() else weight,
    )


def read_items(
    items: ItemTable, skip_invalid: bool = False, limits: Limits = Limits()
) -> pd.DataFrame:
    """Return the columns of a table of items, as text, with all of its rows.

    Args:
        items: The table.
        skip_invalid: Whether to accept several rows of the same item, of which
            the first counts, and rows without an item, with one warning for
            all. (default: ``False``)
        limits: As in :func:`read_table`. (default: ``Limits()``)

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the table is malformed, or lacks a column; or, unless
            ``skip_invalid``, if a row has no item, or that of a row before.
    """
    table = items.read(items.columns, limits)
    check_items(table, items.name, items.item, skip_invalid, items.row_numbers)
    return table


def check_items(
    table: pd.DataFrame,
    path: str | os.PathLike[str],
    item_column: str = 'item',
    skip_invalid: bool = False,
    row_numbers: RowNumbers = HEADER,
) -> None:
    """Refuse a table with several rows of an item, or a row without one.

    Args:
        table: Text, its rows numbered from zero.
        path: Where it comes from, for messages.
        item_column: The column of items. (default: ``'item'``)
        skip_invalid: Whether to warn instead. (default: ``False``)
        row_numbers: How rows are counted in messages. (default: from 1 below a
            header)

    Raises:
        ValueError: If a row has no item, or that of a row before, unless
            ``skip_invalid``.

    Example:
        >>> check_items(pd.DataFrame({'item': ['cup', 'pot']}), 'items.csv')
    """
    is_blank = _is_blank(table[item_column])
    is_twin = table[item_column].duplicated() & ~is_blank
    other, reason = 'an item that has no row before', 'repeats an item'
    rules = [
        _id_rule(item_column, is_blank),
        _Rule(is_twin, item_column, other, reason),
    ]
    _check(path, table, rules, skip_invalid, row_numbers)


def compare_ids(
    path: str | os.PathLike[str], known: Collection[str], items: Sequence[str]
) -> None:
    """Warn of items that have no row in a table of items.

    Args:
        path: The table, for the message.
        known: The items that have one.
        items: The items of interactions.

    Raises:
        ValueError: If none of them has one.
    """
    known = {name for name in known if name.strip()}
    missing = [item for item in items if item not in known]
    if not missing:
        return
    others = known.difference(items)
    text = (
        f'{len(missing)} of {len(items)} sold items '
        f'{"has" if len(missing) == 1 else "have"} no row in '
        f"'{os.fspath(path)}', such as {two_of(missing)}"
    )
    if others:
        text += (
            f', and {len(others)} of its {len(known)} items '
            f'{"is" if len(others) == 1 else "are"} none of these, such as '
            f'{two_of(others)}'
        )
    likely = likely_spelling(missing, known)
    if likely:
        text += f'; {likely}: write ids in the same way in both tables'
    if len(missing) == len(items):
        raise ValueError(
            text if likely else f'{text}; name the columns of the same ids'
        )
    if not likely:
        text += '; they count as having none of what it holds'
    warnings.warn(text, stacklevel=2)


def new_ids(
    table: ItemTable, column: pd.Series[str], known: Collection[str]
) -> list[str]:
    """Return the items of a table of new items, in its order, each once.

    Args:
        table: The table, for messages.
        column: Its column of items.
        known: The items that are not new.

    Raises:
        ValueError: If one is not new, or there are none.
    """
    is_known = column.isin(set(known))
    if is_known.any():
        row = int(is_known.argmax())
        unit, below, first = table.row_numbers
        raise ValueError(
            f"'{table.name}', {unit} {row + first}{below and f' {below}'}: "
            f'{column.name} is {column[row]!r}, which is in the catalogue '
            f'already, as are {is_known.sum()} of {len(column)} rows; leave '
            f'such rows out'
        )
    ids = [name for name in dict.fromkeys(column) if name.strip()]
    if not ids:
        raise ValueError(f"'{table.name}' has no items; add a row for one")
    return ids


class _Rule(NamedTuple):
    """What may be wrong with a row of a table."""

    #: In which rows it is.
    is_wrong: pd.Series[bool]
    #: The column that it is about, and what was expected there.
    column: str
    expected: str
    #: What such rows have in common, and the columns that show it, if that is
    #: not the one column.
    reason: str
    shown: tuple[str, ...] = ()


def _id_rule(column: str, is_blank: pd.Series[bool]) -> _Rule:
    return _Rule(is_blank, column, 'an id', f'has no id in {column!r}')


def _is_blank(column: pd.Series[str]) -> pd.Series[bool]:
    return column.str.strip() == ''


def _to_seconds(column: pd.Series[str]) -> tuple[pd.Series[float], str]:
    """Return times, and whether they are written as numbers or as dates.

    Those that are not written as most are become NaN.
    """
    numbers = pd.to_numeric(column, errors='coerce')
    if numbers.notna().sum() * 2 >= len(column):
        return numbers, 'number'
    dates = pd.to_datetime(column, errors='coerce', utc=True, format='ISO8601')
    whole = dates.dt.floor('s')
    seconds = whole.dt.as_unit('s').astype('int64').where(dates.notna())
    rest = (dates - whole).dt.total_seconds()
    return seconds + rest if rest.any() else seconds, 'date'


def _to_tensor(numbers: pd.Series[float], dtype: str) -> Tensor:
    if dtype == 'int64' and (numbers % 1 != 0).any():
        dtype = 'float64'
    return torch.from_numpy(numbers.to_numpy(dtype, copy=True))


def _any(rules: Sequence[_Rule], table: pd.DataFrame) -> pd.Series[bool]:
    """Return in which rows of a table at least one column is wrong."""
    is_bad = pd.Series(False, index=table.index)
    for rule in rules:
        is_bad |= rule.is_wrong
    return is_bad


def _check(
    path: str | os.PathLike[str],
    table: pd.DataFrame,
    rules: Sequence[_Rule],
    skip_invalid: bool,
    row_numbers: RowNumbers,
) -> None:
    """Raise an error for the first row that is invalid, or warn of all."""
    unit, below, first = row_numbers
    problems = Problems(path, unit, skip_invalid, below=below)
    # [num_rules, num_rows]
    is_wrong = np.stack([rule.is_wrong.to_numpy(bool) for rule in rules])
    for row in np.flatnonzero(is_wrong.any(axis=0)).tolist():
        rule = rules[int(is_wrong[:, row].argmax())]
        shown = rule.shown or (rule.column,)
        problems.add(
            row + first,
            rule.reason,
            ' and '.join(repr(table[column].iat[row]) for column in shown),
            f'{rule.column} is {table[rule.column].iat[row]!r}, expected '
            f'{rule.expected}',
        )
    if problems and len(problems) == len(table):
        raise ValueError(f"'{os.fspath(path)}' has no valid {unit}: {problems}")
    problems.warn(stacklevel=5)
