"""Tables from CSV, TSV and Parquet files, and from data frames."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Sequence
from functools import partial
from io import TextIOWrapper
from typing import IO, Any, Protocol, TypeAlias

import numpy as np
import pandas as pd

from pyg_ckd.datasets.formats.frame_tables import read_frame
from pyg_ckd.datasets.formats.parquet import read_parquet
from pyg_ckd.datasets.raw.frames import frame_of
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.packed import is_packed, open_unpacked
from pyg_ckd.datasets.raw.text_form import likely_form

_MORE_FIELDS = (
    'has more fields in line 2 than in line 1; name each column in line 1'
)
_SEPARATORS = {'.csv': ',', '.tsv': '\t', '.inter': '\t', '.item': '\t'}


class Frame(Protocol):
    """A data frame of another library than pandas, such as polars."""

    @property
    def columns(self) -> Any:
        """The names of the columns."""

    def to_pandas(self, *args: Any, **kwargs: Any) -> Any:
        """Return the same for pandas."""


#: Where a table comes from: a path, or a data frame.
Source: TypeAlias = str | os.PathLike[str] | pd.DataFrame | Frame


def path_of(source: Source) -> str | None:
    """Return the path of a table, ``None`` for a data frame.

    Raises:
        ValueError: If it is neither, or a lazy frame.

    Example:
        >>> path_of('sales.csv'), path_of(pd.DataFrame({'user': []}))
        ('sales.csv', None)
    """
    if isinstance(source, str | os.PathLike):
        return os.path.expanduser(os.fspath(source))
    if frame_of(source) is None:
        raise ValueError(
            f'A table needs to be a path or a DataFrame (got a '
            f'{type(source).__name__})'
        )
    return None


def digest_of(table: pd.DataFrame) -> str:
    """Return what tells the texts of a table from others, and their order.

    Args:
        table: Text, as :func:`read_table` returns it.

    Example:
        >>> digest_of(pd.DataFrame({'user': ['ann']}))[:8]
        '167e2a0e'
    """
    digest = hashlib.sha256()
    for name in table.columns:
        content = json.dumps([name, table[name].tolist()])
        digest.update(content.encode())
    return digest.hexdigest()[:32]


def read_table(
    source: Source,
    columns: Sequence[str],
    hint: str = '',
    limits: Limits = Limits(),
    names: Sequence[str] | None = None,
) -> pd.DataFrame:
    r"""Return columns of a table as text, with missing values as ``''``.

    Rows are numbered from zero. Fields of text may be in double quotes. Numbers
    and dates in a Parquet file or data frame become text as Python writes them,
    where whole numbers stay whole; the entries of lists are joined by spaces.

    Args:
        source: A file that ends in ``.csv``, ``.tsv``, ``.inter`` or ``.item``
            (separated by tabs), each of which may be packed (``.csv.gz``), or
            in ``.parquet``; or a data frame of pandas or polars.
        columns: The columns to read.
        hint: What to do where there is no such column. (default: ``''``)
        limits: The most bytes of a line, columns, and bytes that a Parquet or
            packed file unpacks to. (default: ``Limits()``)
        names: The columns of a file of text without a header.
            (default: ``None``)

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
    path = path_of(source)
    if path is None:
        name, separator = 'DataFrame', None
        table = _read_frame(source, columns, names)
    else:
        name, separator = path, _separator(path, names)
        if separator is None:
            table = read_parquet(path, columns, limits)
        else:
            table = _read_text(path, separator, columns, limits, names)
    for column in columns:
        if column not in table:
            problem = (
                f'has no column {column!r} (it has '
                f'{_some(table.columns)}){_hint(table, separator, hint)}'
            )
            raise _malformed(name, separator, problem)
    table = table[list(dict.fromkeys(columns))]
    return _as_text(name, table) if separator is None else table


def _separator(path: str, names: Sequence[str] | None) -> str | None:
    """Return what is between the fields of a file, ``None`` for Parquet."""
    if not os.path.exists(path) or os.path.isdir(path):
        raise FileNotFoundError(f"There is no file '{path}'")
    plain = path[: -len('.gz')] if is_packed(path) else path
    ending = os.path.splitext(plain)[1].lower()
    if ending in _SEPARATORS:
        return _SEPARATORS[ending]
    if ending != '.parquet' or is_packed(path):
        raise ValueError(
            f"'{path}' needs to end in {', '.join(_SEPARATORS)}, one of these "
            f'with .gz, or .parquet'
        )
    if names is not None:
        raise ValueError(
            f"'{path}' names its columns itself; leave out 'names' (got "
            f'{list(names)})'
        )
    return None


def _read_frame(
    source: Any, columns: Sequence[str], names: Sequence[str] | None
) -> pd.DataFrame:
    if names is not None:
        raise ValueError(
            f"A DataFrame names its columns itself; leave out 'names' (got "
            f'{list(names)})'
        )
    frame = frame_of(source)
    assert frame is not None
    return read_frame(frame, list(columns))


def _hint(table: pd.DataFrame, separator: str | None, hint: str) -> str:
    if separator is not None and len(table.columns) == 1:
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
    path: str,
    separator: str,
    columns: Sequence[str],
    limits: Limits,
    names: Sequence[str] | None = None,
) -> pd.DataFrame:
    most = math.inf
    if is_packed(path):
        most = limits.unpacked * os.path.getsize(path) + limits.file
    with open_unpacked(path) as file:
        text = TextIOWrapper(file, 'latin-1')  # Of which any bytes are some.
        problem = _problem_with_lines(text, separator, limits, most, names)
        text.detach()
        if problem:
            raise _malformed(path, separator, problem)
        file.seek(0)
        try:
            table = pd.read_csv(
                file,
                sep=separator,
                dtype=str,
                keep_default_na=False,
                header='infer' if names is None else None,
                names=None if names is None else list(names),
            )
        except ValueError as error:  # Wrong bytes, a longer line or open quote.
            problem = (
                f'is not a table ({str(error).strip()}); save it as UTF-8 with '
                f'as many fields in each line as in the first'
            )
            raise _malformed(path, separator, problem) from error
        if names is None and any(f'{column}.1' in table for column in columns):
            _refuse_twins(path, file, separator, columns)
    if not isinstance(table.index, pd.RangeIndex):
        raise _malformed(path, separator, _MORE_FIELDS)
    if names is not None:
        first = table.iloc[0]
        fields = {field.strip().casefold() for field in first}
        if (
            fields >= {column.casefold() for column in columns}
            or (first == first.index).any()
        ):
            raise ValueError(
                f"'{path}' has a header in line 1, {first.tolist()}; leave out "
                f"'names' (got {list(names)})"
            )
    return table


def _refuse_twins(
    path: str, file: IO[bytes], separator: str, columns: Sequence[str]
) -> None:
    """Refuse two columns of one name, which pandas would rename."""
    file.seek(0)
    names = pd.read_csv(
        file,
        sep=separator,
        header=None,
        dtype=str,
        nrows=1,
    )
    header = names.iloc[0].tolist()
    for column in columns:
        if header.count(column) > 1:
            raise ValueError(
                f"'{path}' has the column {column!r} twice; rename one"
            )


def _problem_with_lines(
    file: TextIOWrapper,
    separator: str,
    limits: Limits,
    most: float,
    names: Sequence[str] | None,
) -> str:
    """Return what is wrong with a line, ``''`` if nothing is.

    Args:
        file: The table, a character a byte.
        separator: What is between fields.
        limits: The most bytes of a line, and columns of the header.
        most: The most bytes in all.
        names: The names of the columns, if there is no header.
    """
    # The fields of the header, and of the first row below it:
    num_fields, is_open, size = [1], False, 0
    lines = iter(partial(file.readline, limits.line + 1), '')
    for number, line in enumerate(lines, start=1):
        size += len(line)
        if size > most:
            return (
                f'unpacks to more than {most:,} bytes; '
                f'{limits.remedy("unpacked")}'
            )
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
    if names is not None:
        return _problem_with_names(names, num_fields, bool(size))
    if len(num_fields) > 2 and num_fields[1] > num_fields[0]:
        return _MORE_FIELDS
    return ''


def _problem_with_names(
    names: Sequence[str], num_fields: Sequence[int], has_rows: bool
) -> str:
    """Return how names differ from the fields of the first row, or nothing."""
    if not has_rows:
        return 'is empty'
    if num_fields[0] != len(names):
        return (
            f'has {num_fields[0]} fields in its first row, but {len(names)} '
            f"'names' (got {list(names)}); name each column"
        )
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
