"""Tables from CSV, TSV and Parquet files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pyg_ckd.datasets.raw.text_form import likely_form

_SEPARATORS = {'.csv': ',', '.tsv': '\t', '.inter': '\t'}


def read_table(
    path: str | os.PathLike[str], columns: Sequence[str], hint: str = ''
) -> pd.DataFrame:
    r"""Return columns of a table as text, with missing values as ``''``.

    Rows are numbered from zero. Fields of text may be in double quotes. Numbers
    and dates in a Parquet file become text as Python writes them, where whole
    numbers stay whole; the entries of lists are joined by spaces.

    Args:
        path: A file that ends in ``.csv``, ``.tsv``, ``.inter`` (separated by
            tabs) or ``.parquet``.
        columns: The columns to read.
        hint: What to do where there is no such column. (default: ``''``)

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If the file is Parquet, and ``pyarrow`` is missing.
        ValueError: If its ending is another one, it is malformed, or a column
            is missing. If it looks separated or encoded in another way, the
            message says so.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with open(f'{root}/a.csv', 'w') as file:
        ...         _ = file.write('user,item,price\n007,x,1\n')
        ...     read_table(f'{root}/a.csv', ['user', 'item']).values.tolist()
        [['007', 'x']]
    """
    path = os.fspath(path)
    ending = os.path.splitext(path)[1].lower()
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no file '{path}'")
    if ending == '.parquet':
        table = _read_parquet(path)
    elif ending in _SEPARATORS:
        table = _read_text(path, _SEPARATORS[ending])
    else:
        raise ValueError(
            f"'{path}' needs to end in {', '.join(_SEPARATORS)} or .parquet"
        )
    for column in columns:
        if column not in table:
            problem = (
                f'has no column {column!r} (it has '
                f'{", ".join(map(repr, table.columns))}){_hint(table, hint)}'
            )
            raise _malformed(path, _SEPARATORS.get(ending), problem)
    table = table[list(dict.fromkeys(columns))]
    return _as_text(table) if ending == '.parquet' else table


def _hint(table: pd.DataFrame, hint: str) -> str:
    if len(table.columns) == 1:
        hint = 'are its fields separated by commas, or by tabs in a .tsv file?'
    return f'; {hint}' if hint else ''


def _malformed(path: str, separator: str | None, problem: str) -> ValueError:
    """Return an error, which names the likely form of a table of text."""
    form = separator and likely_form(path, separator)
    return ValueError(f"'{path}' {form or problem}")


def _read_text(path: str, separator: str) -> pd.DataFrame:
    try:
        table = pd.read_csv(
            path, sep=separator, dtype=str, keep_default_na=False
        )
    except ValueError as error:  # Wrong bytes, a longer line or an open quote.
        problem = (
            f'is not a table ({str(error).strip()}); save it as UTF-8 with as '
            f'many fields in each line as in the first'
        )
        raise _malformed(path, separator, problem) from error
    # If already the second line is longer, pandas takes its first fields for
    # the names of rows.
    if not isinstance(table.index, pd.RangeIndex):
        problem = (
            'has more fields in line 2 than in line 1; name each column in '
            'line 1'
        )
        raise _malformed(path, separator, problem)
    return table


def _read_parquet(path: str) -> pd.DataFrame:
    try:
        # Other types would turn whole numbers beside missing ones into floats.
        table = pd.read_parquet(path, dtype_backend='numpy_nullable')
    except ImportError:
        raise ImportError(
            f"'{path}': Parquet files need 'pyarrow'; `pip install "
            f"'pyg_ckd[parquet]'`"
        ) from None
    except Exception as error:  # pyarrow raises kinds of its own.
        raise ValueError(
            f"'{path}' is not a complete Parquet file ({error}); write it anew"
        ) from error
    # Names of rows that pandas kept in the file are a column like others.
    return table.reset_index(drop=table.index.names == [None])


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype(object).where(table.notna(), '').map(_text)


def _text(value: Any) -> str:
    """Return a value as text, the entries of a list joined by spaces."""
    if isinstance(value, list | tuple | np.ndarray):
        return ' '.join(filter(None, map(_text, value)))
    return '' if pd.isna(value) else str(value)
