"""The files of MicroLens."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator

import pandas as pd

from pyg_ckd.datasets.formats.row_numbers import HEADER, PLAIN
from pyg_ckd.datasets.formats.shop_tables import check_items

_NUMBER = re.compile('[0-9]{1,18}')  # Which fits 64 bits.


def read_titles(
    path: str | os.PathLike[str], skip_invalid: bool = False
) -> pd.DataFrame:
    r"""Return the title of each video, by its number, ascending.

    Args:
        path: A CSV file of the columns ``item`` and ``title``, with or without
            a header: that of MicroLens-100k has none. A comma in a title may
            be without quotes, as there are two columns only.
        skip_invalid: Whether to skip lines whose video is no number or has a
            line before, and warn how many there were. (default: ``False``)

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no text in UTF-8 or has no titles; or, unless
            ``skip_invalid``, if a line is malformed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with open(f'{root}/a.csv', 'w') as file:
        ...         _ = file.write('10,A cat, twice\n9,"A dog, once"\n')
        ...     read_titles(f'{root}/a.csv')['title'].to_dict()
        {'9': 'A dog, once', '10': 'A cat, twice'}
    """
    path = os.fspath(path)
    try:
        with open(path, encoding='utf-8-sig', newline='') as file:
            rows = list(_rows(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"'{path}' is not a table of titles in UTF-8 ({error}); get it anew"
        ) from error
    header = bool(rows) and not _NUMBER.fullmatch(rows[0][0])
    table = pd.DataFrame(rows[header:], columns=['item', 'title'], dtype=str)
    if table.empty:
        raise ValueError(f"'{path}' has no titles; get it anew")
    is_number = table['item'].str.fullmatch(_NUMBER.pattern)
    table['item'] = table['item'].where(is_number, '')
    check_items(table, path, 'item', skip_invalid, HEADER if header else PLAIN)
    table = table[table['item'] != ''].drop_duplicates('item')
    order = table['item'].map(int).sort_values(kind='stable').index
    return table.loc[order].set_index('item')


def _rows(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    for row in csv.reader(lines):
        if row:
            yield row[0].strip(), ','.join(row[1:])
