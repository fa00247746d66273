"""Tables from Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import IO, Any

import pandas as pd

from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.regular_file import open_regular

_CELL = 64  # Bytes that a value takes as text, at least.


def read_parquet(
    path: str, columns: Sequence[str], limits: Limits = Limits()
) -> pd.DataFrame:
    """Return columns of a Parquet file, or no rows if it lacks one of them.

    How many values it has, and how long their texts are, is compared with its
    size before they are read. A text that it holds once for many rows is in
    memory once as well.

    Args:
        path: The file.
        columns: The columns to read.
        limits: The most columns, and bytes unpacked. (default: ``Limits()``)

    Returns:
        The columns; if one is missing, all that there are, without rows.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If ``pyarrow`` is missing.
        ValueError: If it is damaged, or larger than the limits.
    """
    try:
        parquet = import_module('pyarrow.parquet')
    except ImportError:
        raise ImportError(
            f"'{path}': Parquet files need 'pyarrow'; `pip install "
            f"'pyg_ckd[parquet]'`"
        ) from None
    with open_regular(path) as file:
        try:
            metadata = parquet.read_metadata(file)
            names = _names(metadata.schema.to_arrow_schema())
            numbers = _bytes_of_values(file, metadata, columns)
        except Exception as error:  # pyarrow raises kinds of its own.
            raise _damaged(path, error) from error
        _check_names(path, names, columns, limits)
        if not set(columns) <= set(names):
            return pd.DataFrame(columns=names)
        packed = file.seek(0, 2)
        limits.check_unpacked(path, packed, numbers)
        try:
            texts = _bytes_of_lists(file, metadata, columns)
        except Exception as error:
            raise _damaged(path, error) from error
        limits.check_unpacked(path, packed, numbers + texts)
        try:
            return _read(file, metadata, columns)
        except Exception as error:
            raise _damaged(path, error) from error


def _damaged(path: str, error: Exception) -> ValueError:
    return ValueError(
        f"'{path}' is not a complete Parquet file ({error}); write it anew"
    )


def _names(schema: Any) -> list[str]:
    """Return the columns, and the names of rows that are mere numbers."""
    known = (schema.pandas_metadata or {}).get('index_columns', [])
    ranges = [index['name'] for index in known if isinstance(index, dict)]
    return [*schema.names, *(name for name in ranges if name is not None)]


def _check_names(
    path: str, names: Sequence[str], columns: Sequence[str], limits: Limits
) -> None:
    if len(names) > limits.columns:
        raise ValueError(
            f"'{path}' has {len(names):,} columns, more than "
            f'{limits.columns:,}; {limits.remedy("columns")}'
        )
    for column in columns:
        if names.count(column) > 1:
            raise ValueError(
                f"'{path}' has the column {column!r} twice; rename one"
            )


def _leaves(metadata: Any, columns: Sequence[str]) -> Iterator[tuple[int, Any]]:
    """Yield the position and the schema of each part of some columns."""
    for position in range(metadata.num_columns):
        leaf = metadata.schema.column(position)
        if any(f'{leaf.path}.'.startswith(f'{name}.') for name in columns):
            yield position, leaf


def _texts(metadata: Any, columns: Sequence[str]) -> list[str]:
    """Return the paths of texts in some columns."""
    return [
        leaf.path
        for _, leaf in _leaves(metadata, columns)
        if leaf.logical_type.type == 'STRING'
    ]


def _bytes_of_values(
    file: IO[bytes], metadata: Any, columns: Sequence[str]
) -> int:
    """Return what a file says it unpacks to, texts that repeat counted once."""
    leaves = list(_leaves(metadata, columns))
    groups = [metadata.row_group(k) for k in range(metadata.num_row_groups)]
    total = sum(
        max(group.total_byte_size, 0)
        + _CELL * len(leaves) * max(group.num_rows, 0)
        for group in groups
    )
    names = metadata.schema.to_arrow_schema().names
    nested = [position for position, leaf in leaves if leaf.path not in names]
    if nested:
        # Where what it says of a column is damaged, asking for it would end the
        # process; reading is an error.
        parquet = import_module('pyarrow.parquet')
        parquet.ParquetFile(file).scan_contents(
            [metadata.schema.column(position).path for position in nested]
        )
    return total + sum(
        _CELL * max(group.column(position).num_values, 0)
        for group in groups
        for position in nested
    )


def _bytes_of_lists(
    file: IO[bytes], metadata: Any, columns: Sequence[str]
) -> int:
    """Return the bytes of texts in lists, which become one text a list."""
    parquet = import_module('pyarrow.parquet')
    texts = _texts(metadata, columns)
    names = metadata.schema.to_arrow_schema().names
    nested = [
        name
        for name in dict.fromkeys(columns)
        if any(path.startswith(f'{name}.') for path in texts) and name in names
    ]
    if not nested:
        return 0
    table = parquet.read_table(file, columns=nested, read_dictionary=texts)
    return sum(
        _bytes_of(chunk) for column in table.columns for chunk in column.chunks
    )


def _bytes_of(array: Any) -> int:
    """Return the bytes of the texts in an array, however deep they are."""
    compute = import_module('pyarrow.compute')
    if hasattr(array, 'dictionary'):
        sizes = compute.binary_length(array.dictionary)
        return compute.sum(sizes.take(array.indices)).as_py() or 0
    if hasattr(array, 'flatten'):
        parts = array.flatten()
        parts = parts if isinstance(parts, list) else [parts]
        return sum(_bytes_of(part) for part in parts if part is not array)
    return 0


def _read(
    file: IO[bytes], metadata: Any, columns: Sequence[str]
) -> pd.DataFrame:
    names = metadata.schema.to_arrow_schema().names
    table = pd.read_parquet(
        file,
        columns=[name for name in dict.fromkeys(columns) if name in names],
        # Other types would turn whole numbers beside missing ones into floats.
        dtype_backend='numpy_nullable',
        read_dictionary=_texts(metadata, columns),
    )
    # Names of rows that pandas kept in the file are a column like others.
    return table.reset_index(drop=table.index.names == [None])
