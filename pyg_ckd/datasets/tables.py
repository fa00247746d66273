"""Tables from CSV, TSV and Parquet files."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pandas as pd

_SEPARATORS = {'.csv': ',', '.tsv': '\t', '.inter': '\t'}


def read_table(
    path: str | os.PathLike[str], columns: Sequence[str]
) -> pd.DataFrame:
    r"""Return columns of a table as text, with missing values as ``''``.

    Numbers in a Parquet file become text as Python writes them.

    Args:
        path: A file that ends in ``.csv``, ``.tsv``, ``.inter`` (separated by
            tabs) or ``.parquet``.
        columns: The columns to read.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If its ending is another one, it is malformed, or a column
            is missing.

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
            raise ValueError(
                f"'{path}' has no column '{column}' (it has "
                f'{", ".join(map(str, table.columns))}); name another'
            )
    return table[list(dict.fromkeys(columns))]


def _read_text(path: str, separator: str) -> pd.DataFrame:
    try:
        return pd.read_csv(
            path,
            sep=separator,
            dtype=str,
            keep_default_na=False,
            encoding='utf-8-sig',
        )
    except (ValueError, pd.errors.ParserError) as error:
        raise ValueError(
            f"'{path}' is not a table of UTF-8 text ({str(error).strip()}); "
            f'give each line as many fields as the header has'
        ) from error


def _read_parquet(path: str) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except ImportError:
        raise ImportError(
            f"'{path}': Parquet files need 'pyarrow'; `pip install pyarrow`"
        ) from None
    except Exception as error:  # pyarrow raises kinds of its own.
        raise ValueError(
            f"'{path}' is not a complete Parquet file ({error}); write it anew"
        ) from error
    return table.astype(object).where(table.notna(), '').map(str)
