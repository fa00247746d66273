"""Tables from CSV, TSV and Parquet files."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import partial
from io import BufferedReader, TextIOWrapper
from typing import Any

import numpy as np
import pandas as pd

from pyg_ckd.datasets.formats.parquet import read_parquet
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.regular_file import open_regular
from pyg_ckd.datasets.raw.text_form import likely_form

_MORE_FIELDS = (
    'has more fields in line 2 than in line 1; name each column in line 1'
)
_SEPARATORS = {'.csv': ',', '.tsv': '\t', '.inter': '\t', '.item': '\t'}


def read_table(
    path: str | os.PathLike[str],
    columns: Sequence[str],
    hint: str = '',
    limits: Limits = Limits(),
) -> pd.DataFrame:
    r"""Return columns of a table as text, with missing values as ``''``.

    Rows are numbered from zero. Fields of text may be in double quotes. Numbers
    and dates in a Parquet file become text as Python writes them, where whole
    numbers stay whole; the entries of lists are joined by spaces.

    Args:
        path: A file that ends in ``.csv``, ``.tsv``, ``.inter`` or ``.item``
            (separated by tabs) or ``.parquet``.
        columns: The columns to read.
        hint: What to do where there is no such column. (default: ``''``)
        limits: The most bytes of a line, columns, and bytes that a Parquet file
            unpacks to. (default: ``Limits()``)

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If the file is Parquet, and ``pyarrow`` is missing.
        ValueError: If its ending is another one, it is malformed or larger than
            the limits, or a column is missing or there twice. If it looks
            separated or encoded in another way, the message says so.

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
    if not os.path.exists(path) or os.path.isdir(path):
        raise FileNotFoundError(f"There is no file '{path}'")
    if ending == '.parquet':
        table = read_parquet(path, columns, limits)
    elif ending in _SEPARATORS:
        table = _read_text(path, _SEPARATORS[ending], columns, limits)
    else:
        raise ValueError(
            f"'{path}' needs to end in {', '.join(_SEPARATORS)} or .parquet"
        )
    for column in columns:
        if column not in table:
            problem = (
                f'has no column {column!r} (it has '
                f'{_some(table.columns)}){_hint(table, hint)}'
            )
            raise _malformed(path, _SEPARATORS.get(ending), problem)
    table = table[list(dict.fromkeys(columns))]
    return _as_text(path, table) if ending == '.parquet' else table


def _hint(table: pd.DataFrame, hint: str) -> str:
    if len(table.columns) == 1:
        hint = 'are its fields separated by commas, or by tabs in a .tsv file?'
    return f'; {hint}' if hint else ''


def _malformed(path: str, separator: str | None, problem: str) -> ValueError:
    """Return an error, which names the likely form of a table of text."""
    form = separator and likely_form(path, separator)
    return ValueError(f"'{path}' {form or problem}")


def _some(names: Sequence[str], most: int = 50) -> str:
    """Return names for a message, not all of very many."""
    shown = [repr(str(name)[:most]) for name in names[:most]]
    return ', '.join([*shown, '...'] if len(names) > most else shown)


def _read_text(
    path: str, separator: str, columns: Sequence[str], limits: Limits
) -> pd.DataFrame:
    with open_regular(path) as file:
        text = TextIOWrapper(file, 'latin-1')  # Of which any bytes are some.
        problem = _problem_with_lines(text, separator, limits)
        text.detach()
        if problem:
            raise _malformed(path, separator, problem)
        file.seek(0)
        try:
            table = pd.read_csv(
                file, sep=separator, dtype=str, keep_default_na=False
            )
        except ValueError as error:  # Wrong bytes, a longer line or open quote.
            problem = (
                f'is not a table ({str(error).strip()}); save it as UTF-8 with '
                f'as many fields in each line as in the first'
            )
            raise _malformed(path, separator, problem) from error
        if any(f'{column}.1' in table for column in columns):
            _refuse_twins(path, file, separator, columns)
    if not isinstance(table.index, pd.RangeIndex):
        raise _malformed(path, separator, _MORE_FIELDS)
    return table


def _refuse_twins(
    path: str, file: BufferedReader, separator: str, columns: Sequence[str]
) -> None:
    """Refuse two columns of one name, which pandas would rename."""
    file.seek(0)
    names = pd.read_csv(file, sep=separator, header=None, dtype=str, nrows=1)
    header = names.iloc[0].tolist()
    for column in columns:
        if header.count(column) > 1:
            raise ValueError(
                f"'{path}' has the column {column!r} twice; rename one"
            )


def _problem_with_lines(
    file: TextIOWrapper, separator: str, limits: Limits
) -> str:
    """Return what is wrong with a line, ``''`` if nothing is.

    Args:
        file: The table, a character a byte.
        separator: What is between fields.
        limits: The most bytes of a line, and columns of the header.
    """
    # The fields of the header, and of the first row below it:
    num_fields, is_open = [1], False
    lines = iter(partial(file.readline, limits.line + 1), '')
    for number, line in enumerate(lines, start=1):
        if len(line) > limits.line:
            return (
                f'has more than {limits.line:,} bytes in line {number}; '
                f'{limits.remedy("line")}'
            )
        if '\0' in line:
            return f'has a null byte in line {number}; remove it'
        if len(num_fields) > 2 or not (is_open or line.strip()):
            continue
        found, is_open = _count(line, separator, is_open)
        num_fields[-1] += found
        if num_fields[-1] > limits.columns:
            return (
                f'has more than {limits.columns:,} columns in line {number}; '
                f'{limits.remedy("columns")}'
            )
        if not is_open:
            num_fields.append(1)
    # Pandas would take the first fields for the names of rows:
    if len(num_fields) > 2 and num_fields[1] > num_fields[0]:
        return _MORE_FIELDS
    return ''


def _count(line: str, separator: str, is_open: bool) -> tuple[int, bool]:
    """Return the separators in a line, and whether quotes are open at its end.

    Args:
        line: The line.
        separator: What is between fields.
        is_open: Whether quotes are open where it begins.
    """
    quoted = re.compile(f'(^|{separator})"(?:[^"]|"")*("(?!")|\\Z)')
    text = f'"{line}' if is_open else line
    ends = [match[2] for match in quoted.finditer(text)]
    num = quoted.sub(r'\1', text).count(separator)
    return num, bool(ends) and not ends[-1]


def _as_text(path: str, table: pd.DataFrame) -> pd.DataFrame:
    try:
        return table.astype(object).where(table.notna(), '').map(_text)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"'{path}' holds bytes that are no text in UTF-8 ({error}); write "
            f'its columns as strings'
        ) from error


def _text(value: Any) -> str:
    """Return a value as text, the entries of a list joined by spaces."""
    if isinstance(value, list | tuple | np.ndarray):
        return ' '.join(filter(None, map(_text, value)))
    if isinstance(value, bytes):
        return value.decode()
    return '' if pd.isna(value) else str(value)
