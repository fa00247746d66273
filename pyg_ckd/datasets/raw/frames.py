"""Tables of other libraries than pandas."""

from __future__ import annotations

from typing import Any

import pandas as pd


def frame_of(table: Any) -> pd.DataFrame | None:
    """Return a table as one of pandas, ``None`` if it is no table.

    That of polars is one, and any that has ``columns`` and ``to_pandas``.

    Args:
        table: The table, or anything else.

    Raises:
        ValueError: If it is a lazy one.

    Example:
        >>> frame_of(pd.DataFrame({'user': [0, 1]})).shape
        (2, 1)
        >>> frame_of([0, 1]) is None
        True
    """
    if isinstance(table, pd.DataFrame):
        return table
    if hasattr(table, 'collect_schema') and not hasattr(table, 'to_pandas'):
        raise ValueError(
            f'A {type(table).__name__} has not been computed; pass '
            f'table.collect()'
        )
    if not (hasattr(table, 'columns') and hasattr(table, 'to_pandas')):
        return None
    names = list(table.columns)
    if not all(isinstance(name, str) for name in names):
        return table.to_pandas()
    # Which needs no pyarrow, as `to_pandas` of polars does:
    columns = {name: table[name].to_numpy() for name in names}
    return pd.DataFrame(
        {name: list(x) if x.ndim > 1 else x for name, x in columns.items()}
    )


def indexed(table: Any, column: str) -> Any:
    """Return features in a table without an index, by the items in a column.

    A table of polars has no index, and one of pandas none but the numbers of
    its rows if nobody gave it one. Other values stay as they are.

    Args:
        table: A table that holds a column of items, and numbers in the others,
            or one other column of lists.
        column: The name of the column of items. Without it, rows are in the
            order of the items.

    Returns:
        A table of pandas indexed by item, a mapping from items to vectors, or
        an array.
    """
    frame = frame_of(table)
    if frame is None:
        return table
    named = column in frame
    if isinstance(table, pd.DataFrame) and (
        not named or not isinstance(table.index, pd.RangeIndex)
    ):
        return table
    if not named and 'item' in frame:
        raise ValueError(
            f"Features have a column 'item', but items are in {column!r}: call "
            f'both the same'
        )
    if named:
        frame = frame.set_index(column)
    vectors = frame.shape[1] == 1 and frame.dtypes.iloc[0].kind == 'O'
    if not vectors:
        return frame if named else frame.to_numpy()
    if not named:
        return frame.iloc[:, 0].tolist()
    if frame.index.has_duplicates:
        return frame  # Which is refused by its index.
    return dict(zip(frame.index, frame.iloc[:, 0], strict=True))
