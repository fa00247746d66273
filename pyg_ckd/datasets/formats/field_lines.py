"""Lines of fields, as the files ``.dat`` of GroupLens have them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pyg_ckd.datasets.raw.problems import Problems


def field_lines(
    content: bytes,
    path: str,
    separator: str,
    columns: Sequence[str],
    skip_invalid: bool = False,
    header: bool = False,
    encoding: str = 'utf-8',
) -> pd.DataFrame:
    r"""Return the fields of each line, as text.

    There are no quotes: a quotation mark is one like any other character.

    Args:
        content: The lines. One that is not in ``encoding`` is read as Latin-1,
            which the tags of Last.fm are partly in.
        path: Where they come from, for messages.
        separator: What is between two fields.
        columns: The names of the columns. With a ``header``, these of its
            columns are returned.
        skip_invalid: Whether a line with fewer or more fields is empty instead
            of an error, with one warning for all. (default: ``False``)
        header: Whether the first line names the columns. (default: ``False``)
        encoding: The encoding. (default: ``'utf-8'``)

    Returns:
        A table with a row for each line below the header.

    Raises:
        ValueError: If there are no lines, one has fewer or more fields, unless
            ``skip_invalid``, or the header lacks a column.

    Example:
        >>> lines = b'1::Toy Story (1995)\n2::Jumanji (1995)\n'
        >>> field_lines(lines, 'movies.dat', '::', ['id', 'title'])
          id             title
        0  1  Toy Story (1995)
        1  2    Jumanji (1995)
    """
    lines = [_text(line, encoding) for line in content.split(b'\n')]
    if not lines[-1]:
        lines.pop()
    names = list(columns)
    if header:
        names = (
            lines[0].removeprefix('\ufeff').split(separator) if lines else []
        )
        lines = lines[1:]
        for column in columns:
            if column not in names:
                raise ValueError(
                    f"'{path}', line 1: there is no column {column!r}, but "
                    f'{names}; is it the file of that name as published?'
                )
    if not lines:
        raise ValueError(f"'{path}' has no lines; get it anew")
    rows = [line.split(separator) for line in lines]
    problems = Problems(path, 'line', skip_invalid)
    for number, row in enumerate(rows, start=1 + header):
        if len(row) != len(names):
            problems.add(
                number,
                f'has not {len(names)} fields',
                f'{len(row)}',
                f'has {len(row)} fields, expected {len(names)}, separated by '
                f'{separator!r}',
            )
            row[:] = [''] * len(names)
    problems.warn(stacklevel=4)
    table = pd.DataFrame(rows, columns=names, dtype=str)
    return table[list(columns)]


def _text(line: bytes, encoding: str) -> str:
    line = line.removesuffix(b'\r')
    try:
        return line.decode(encoding)
    except UnicodeDecodeError:
        return line.decode('latin-1')
