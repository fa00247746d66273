"""A user's own tables of interactions and items."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pyg_ckd.datasets.interactions import Interactions
from pyg_ckd.datasets.tables import read_table

if TYPE_CHECKING:
    # A column, the rows in which it is wrong, and what was expected there.
    Rule: TypeAlias = tuple[str, pd.Series[bool], str]

_DATE = 'a number, or a date such as 2024-01-31 12:30, as most rows have'


def read_interactions(
    path: str | os.PathLike[str],
    user_column: str = 'user',
    item_column: str = 'item',
    rating_column: str | None = None,
    time_column: str | None = None,
    skip_invalid: bool = False,
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
        skip_invalid: Whether to skip invalid rows, and of two rows of the same
            user and item the later one, with one warning for all.
            (default: ``False``)

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
    table = read_table(path, columns, hint)
    rules: list[Rule] = [
        (column, _is_blank(table[column]), 'an id')
        for column in (user_column, item_column)
    ]
    if rating_column is not None:
        rating = pd.to_numeric(table[rating_column], errors='coerce')
        is_bad = ~(rating.abs() <= np.finfo(np.float32).max)
        rules.append((rating_column, is_bad, 'a finite number'))
    if time_column is not None:
        time = _to_seconds(table[time_column])
        is_bad = ~(time.abs() < 2**63)
        rules.append((time_column, is_bad, _DATE))

    is_valid = ~_any(rules, table)
    pairs = table.loc[is_valid, [user_column, item_column]]
    is_twin = pairs.duplicated().reindex(table.index, fill_value=False)
    other = 'an item that this user does not have in a row before'
    rules.append((item_column, is_twin, other))
    keep = ~_check(path, table, rules, skip_invalid)
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
) -> pd.DataFrame:
    """Return columns of a table of items, as text, with all of its rows.

    Args:
        path: A table, see :func:`read_table`.
        item_column: The column of items. (default: ``'item'``)
        columns: Further columns. (default: none)
        skip_invalid: Whether to accept several rows of the same item, of which
            the first counts, and rows without an item, with one warning for
            all. (default: ``False``)

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the table is malformed, or lacks a column; or, unless
            ``skip_invalid``, if a row has no item, or that of a row before.
    """
    hint = "name another by 'item_column', 'image_column' or 'template'"
    table = read_table(path, [item_column, *columns], hint)
    is_blank = _is_blank(table[item_column])
    is_twin = table[item_column].duplicated() & ~is_blank
    rules: list[Rule] = [
        (item_column, is_blank, 'an id'),
        (item_column, is_twin, 'an item that has no row before'),
    ]
    _check(path, table, rules, skip_invalid)
    return table


def _is_blank(column: pd.Series[str]) -> pd.Series[bool]:
    return column.str.strip() == ''


def _to_seconds(column: pd.Series[str]) -> pd.Series[float]:
    """Return times, with NaN for those that are not written as most are."""
    numbers = pd.to_numeric(column, errors='coerce')
    if numbers.notna().sum() * 2 >= len(column):
        return numbers
    dates = pd.to_datetime(column, errors='coerce', utc=True, format='ISO8601')
    return dates.dt.as_unit('s').astype('int64').where(dates.notna())


def _to_tensor(numbers: pd.Series[float], dtype: str) -> Tensor:
    if dtype == 'int64' and (numbers % 1 != 0).any():
        dtype = 'float64'
    return torch.from_numpy(numbers.to_numpy(dtype, copy=True))


def _any(rules: Sequence[Rule], table: pd.DataFrame) -> pd.Series[bool]:
    """Return in which rows of a table at least one column is wrong."""
    is_bad = pd.Series(False, index=table.index)
    for _, is_wrong, _ in rules:
        is_bad |= is_wrong
    return is_bad


def _check(
    path: str | os.PathLike[str],
    table: pd.DataFrame,
    rules: Sequence[Rule],
    skip_invalid: bool,
) -> pd.Series[bool]:
    """Return which rows are invalid, or raise an error for the first."""
    is_bad = _any(rules, table)
    if not is_bad.any():
        return is_bad
    row = is_bad.idxmax()
    column, _, expected = next(rule for rule in rules if rule[1][row])
    first = (
        f'row {row + 1} below the header: {column} is '
        f'{table[column][row]!r}, expected {expected}'
    )
    if not skip_invalid:
        raise ValueError(
            f"'{os.fspath(path)}', {first}; correct it, or pass "
            f'skip_invalid=True to skip such rows'
        )
    if is_bad.all():
        raise ValueError(
            f"'{os.fspath(path)}' has no valid row, the first: {first}"
        )
    warnings.warn(
        f"'{os.fspath(path)}': {is_bad.sum()} invalid rows skipped, the first "
        f'of them {first}',
        stacklevel=3,
    )
    return is_bad
