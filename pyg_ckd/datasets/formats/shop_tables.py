"""A user's own tables of interactions and items."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pyg_ckd.datasets.formats.tables import read_table
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.problems import Problems
from pyg_ckd.datasets.raw.spelling import likely_spelling

_DATE = 'a number, or a date such as 2024-01-31 12:30, as most rows have'


def read_interactions(
    path: str | os.PathLike[str],
    user_column: str = 'user',
    item_column: str = 'item',
    rating_column: str | None = None,
    time_column: str | None = None,
    skip_invalid: bool = False,
    limits: Limits = Limits(),
) -> Interactions:
    r"""Return the interactions of a table.

    Args:
        path: A table, see :func:`read_table`.
        user_column: The column of users. (default: ``'user'``)
        item_column: The column of items. (default: ``'item'``)
        rating_column: The column of ratings, numbers. (default: ``None``)
        time_column: The column of times: numbers, which are kept as they are,
            or dates of ISO 8601, which become seconds since 1970.
            (default: ``None``)
        skip_invalid: Whether to skip invalid rows, and of several rows of the
            same user and item all but one, with one warning for all. With a
            ``time_column`` the earliest stays, wherever it is in the file, at
            equal times the first; without one the first. (default: ``False``)
        limits: As in :func:`read_table`. (default: ``Limits()``)

    Returns:
        The interactions in the order of the file, the users and items sorted.
        ``rating`` is ``float32``, ``time`` is ``int64``, or ``float64`` if the
        file has fractions.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the table is malformed, or lacks a column; or, unless
            ``skip_invalid``, if a row has no user or item, or a rating or time
            that is none, or a user and an item are paired twice.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with open(f'{root}/a.csv', 'w') as file:
        ...         _ = file.write('user,item,on\n7,x,1970-01-02\n')
        ...     read_interactions(f'{root}/a.csv', time_column='on').time
        tensor([86400])
    """
    columns = [user_column, item_column]
    columns += [c for c in (rating_column, time_column) if c is not None]
    hint = "name another by 'user_column', 'item_column' or the like"
    return interactions_of(
        read_table(path, columns, hint, limits),
        path,
        user_column,
        item_column,
        rating_column,
        time_column,
        skip_invalid,
    )


def interactions_of(
    table: pd.DataFrame,
    path: str | os.PathLike[str],
    user_column: str = 'user',
    item_column: str = 'item',
    rating_column: str | None = None,
    time_column: str | None = None,
    skip_invalid: bool = False,
    header: bool = True,
) -> Interactions:
    """Return the interactions of a table that has been read.

    Args:
        table: Text, its rows numbered from zero.
        path: Where it comes from, for messages.
        user_column: As in :func:`read_interactions`, as the others are.
        item_column: The column of items. (default: ``'item'``)
        rating_column: The column of ratings. (default: ``None``)
        time_column: The column of times. (default: ``None``)
        skip_invalid: Whether to skip invalid rows. (default: ``False``)
        header: Whether the file has one line above the rows, for messages.
            (default: ``True``)

    Raises:
        ValueError: As in :func:`read_interactions`.

    Example:
        >>> table = pd.DataFrame({'user': ['b', 'a'], 'item': ['x', 'x']})
        >>> interactions_of(table, 'sales.csv').users
        ['a', 'b']
    """
    rules = [
        _id_rule(column, _is_blank(table[column]))
        for column in (user_column, item_column)
    ]
    if rating_column is not None:
        rating = pd.to_numeric(table[rating_column], errors='coerce')
        is_bad = ~(rating.abs() <= np.finfo(np.float32).max)
        reason = f'has no finite number in {rating_column!r}'
        rules.append(_Rule(is_bad, rating_column, 'a finite number', reason))
    if time_column is not None:
        time, kind = _to_seconds(table[time_column])
        is_bad = ~(time.abs() < 2**63)
        reason = f'has no valid {kind} in {time_column!r}'
        rules.append(_Rule(is_bad, time_column, _DATE, reason))

    is_valid = ~_any(rules, table)
    pairs = table.loc[is_valid, [user_column, item_column]]
    is_twin = _is_repeated(pairs, table)
    other = 'an item that this user does not have in a row before'
    reason = 'repeats a user and item'
    shown = (user_column, item_column)
    rules.append(_Rule(is_twin, item_column, other, reason, shown))
    _check(path, table, rules, skip_invalid, header)
    if time_column is not None:  # The earliest stays in place of the first.
        order = time[is_valid].sort_values(kind='stable').index
        is_twin = _is_repeated(pairs.loc[order], table)
    keep = is_valid & ~is_twin
    return Interactions.from_ids(
        table.loc[keep, user_column].tolist(),
        table.loc[keep, item_column].tolist(),
        None if rating_column is None else _to_tensor(rating[keep], 'float32'),
        None if time_column is None else _to_tensor(time[keep], 'int64'),
    )


def read_items(
    path: str | os.PathLike[str],
    item_column: str = 'item',
    columns: Sequence[str] = (),
    skip_invalid: bool = False,
    limits: Limits = Limits(),
) -> pd.DataFrame:
    """Return columns of a table of items, as text, with all of its rows.

    Args:
        path: A table, see :func:`read_table`.
        item_column: The column of items. (default: ``'item'``)
        columns: Further columns. (default: none)
        skip_invalid: Whether to accept several rows of the same item, of which
            the first counts, and rows without an item, with one warning for
            all. (default: ``False``)
        limits: As in :func:`read_table`. (default: ``Limits()``)

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the table is malformed, or lacks a column; or, unless
            ``skip_invalid``, if a row has no item, or that of a row before.
    """
    hint = "name another by 'item_column', 'image_column' or 'template'"
    table = read_table(path, [item_column, *columns], hint, limits)
    check_items(table, path, item_column, skip_invalid)
    return table


def check_items(
    table: pd.DataFrame,
    path: str | os.PathLike[str],
    item_column: str = 'item',
    skip_invalid: bool = False,
    header: bool = True,
) -> None:
    """Refuse a table with several rows of an item, or a row without one.

    Args:
        table: Text, its rows numbered from zero.
        path: Where it comes from, for messages.
        item_column: The column of items. (default: ``'item'``)
        skip_invalid: Whether to warn instead. (default: ``False``)
        header: Whether the file has one line above the rows, for messages.
            (default: ``True``)

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
    _check(path, table, rules, skip_invalid, header)


def warn_of_missing_rows(
    path: str | os.PathLike[str], known: Collection[str], items: Sequence[str]
) -> None:
    """Warn of items that have no row in a table of items.

    Args:
        path: The table, for the message.
        known: The items that have one.
        items: The items of interactions.
    """
    known = set(known)
    missing = [item for item in items if item not in known]
    if missing:
        likely = likely_spelling(missing, known)
        advice = (
            f'{likely}: write ids in the same way in both tables'
            if likely
            else 'they count as having none of what it holds'
        )
        warnings.warn(
            f'{len(missing)} of {len(items)} sold items '
            f'{"has" if len(missing) == 1 else "have"} no row in '
            f"'{os.fspath(path)}', such as {missing[0]!r}; {advice}",
            stacklevel=2,
        )


def new_ids(
    path: str | os.PathLike[str], column: pd.Series[str], known: Collection[str]
) -> list[str]:
    """Return the items of a table of new items, in its order, each once.

    Args:
        path: The table, for messages.
        column: Its column of items.
        known: The items that are not new.

    Raises:
        ValueError: If one is not new, or there are none.
    """
    is_known = column.isin(set(known))
    if is_known.any():
        row = int(is_known.argmax())
        raise ValueError(
            f"'{os.fspath(path)}', row {row + 1} below the header: "
            f'{column.name} is {column[row]!r}, which is in the catalogue '
            f'already, as are {is_known.sum()} of {len(column)} rows; leave '
            f'such rows out'
        )
    ids = [name for name in dict.fromkeys(column) if name.strip()]
    if not ids:
        raise ValueError(f"'{os.fspath(path)}' has no items; add a row for one")
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


def _is_repeated(pairs: pd.DataFrame, table: pd.DataFrame) -> pd.Series[bool]:
    """Return which rows of a table repeat an earlier one of some of them."""
    return pairs.duplicated().reindex(table.index, fill_value=False)


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
    header: bool,
) -> None:
    """Raise an error for the first row that is invalid, or warn of all."""
    unit, below = ('row', 'below the header') if header else ('line', '')
    problems = Problems(path, unit, skip_invalid, below=below)
    # [num_rules, num_rows]
    is_wrong = np.stack([rule.is_wrong.to_numpy(bool) for rule in rules])
    for row in np.flatnonzero(is_wrong.any(axis=0)).tolist():
        rule = rules[int(is_wrong[:, row].argmax())]
        shown = rule.shown or (rule.column,)
        problems.add(
            row + 1,
            rule.reason,
            ' and '.join(repr(table[column].iat[row]) for column in shown),
            f'{rule.column} is {table[rule.column].iat[row]!r}, expected '
            f'{rule.expected}',
        )
    if problems and len(problems) == len(table):
        raise ValueError(f"'{os.fspath(path)}' has no valid {unit}: {problems}")
    problems.warn(stacklevel=5)
