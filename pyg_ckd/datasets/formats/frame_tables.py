"""Tables from data frames."""

from __future__ import annotations

import pandas as pd

#: Of whole numbers that are told apart, by the bytes of a float.
_BITS = {2: 11, 4: 24, 8: 53}


def read_frame(
    frame: pd.DataFrame, columns: list[str], name: str = 'DataFrame'
) -> pd.DataFrame:
    """Return columns of a data frame, or no rows if it lacks one of them.

    A named index is a column like others. Whole numbers that are floats, as
    pandas has them beside missing ones, become whole again.

    Args:
        frame: The table.
        columns: The columns.
        name: What it is called in messages. (default: ``'DataFrame'``)

    Returns:
        The columns, their rows numbered from zero; if one is missing, all that
        there are, without rows.

    Raises:
        ValueError: If a column is there twice, or numbers are too large for
            floats.

    Example:
        >>> frame = pd.DataFrame({'item': [7.0, None]})
        >>> read_frame(frame, ['item'])['item'].tolist()
        [7, <NA>]
    """
    if set(frame.index.names) & set(columns) - set(frame.columns):
        frame = frame.reset_index()
    known = frame.columns.tolist()
    for column in columns:
        if known.count(column) > 1:
            raise ValueError(
                f"'{name}' has the column {column!r} twice; rename one"
            )
    if not set(columns) <= set(known):
        return pd.DataFrame(columns=[str(column) for column in known])
    wanted = list(dict.fromkeys(columns))
    return pd.DataFrame(
        {column: _whole(frame[column], name) for column in wanted}
    ).reset_index(drop=True)


def _whole(column: pd.Series, name: str) -> pd.Series:  # type: ignore[type-arg]
    """Return a column with floats as integers if all of them are whole."""
    if getattr(column.dtype, 'kind', '') != 'f':
        return column
    known = column.dropna().astype('float64')
    if known.empty or not (known % 1 == 0).all():
        return column
    bits = _BITS[column.dtype.itemsize]
    if (known.abs() > 2**bits).any():
        raise ValueError(
            f"'{name}' has whole numbers above 2**{bits} as floats in "
            f'{column.name!r}, whose last digits are lost; read that column as '
            f'text or as integers, such as by dtype=str'
        )
    return column.astype('float64').astype('Int64')
