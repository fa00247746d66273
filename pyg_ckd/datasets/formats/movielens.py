"""The files of MovieLens-1M."""

from __future__ import annotations

import os
import os.path as osp

import pandas as pd

from pyg_ckd.datasets.formats.field_lines import field_lines
from pyg_ckd.datasets.formats.row_numbers import PLAIN
from pyg_ckd.datasets.formats.shop_tables import check_items, interactions_of
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.zip_member import read_member


def read_ratings(
    archive: str | os.PathLike[str],
    skip_invalid: bool = False,
    limits: Limits = Limits(),
) -> Interactions:
    """Return the ratings of MovieLens-1M.

    Args:
        archive: A zip archive with ``ratings.dat``, whose lines are the user,
            the film, the stars and the seconds since 1970, separated by
            ``::``.
        skip_invalid: Whether to skip lines that are malformed or repeat a user
            and film, and warn how many there were. (default: ``False``)
        limits: How large the file may be. (default: ``Limits()``)

    Raises:
        FileNotFoundError: If there is no archive, or no such file in it.
        ValueError: If it is malformed.

    Example:
        >>> import tempfile, zipfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with zipfile.ZipFile(f'{root}/a.zip', 'w') as file:
        ...         file.writestr('ml-1m/ratings.dat', '1::1193::5::978300760')
        ...     read_ratings(f'{root}/a.zip').rating
        tensor([5.])
    """
    path = osp.join(archive, 'ratings.dat')
    columns = ('user', 'film', 'stars', 'time')
    content = read_member(archive, 'ratings.dat', limits)
    table = field_lines(content, path, '::', columns, skip_invalid)
    return interactions_of(table, path, *columns, skip_invalid, PLAIN)


def read_films(
    archive: str | os.PathLike[str],
    skip_invalid: bool = False,
    limits: Limits = Limits(),
) -> pd.DataFrame:
    """Return the columns ``title`` and ``genres`` of each film, by its id.

    Args:
        archive: A zip archive with ``movies.dat``, in Latin-1, whose lines are
            the film, its title with the year and its genres, separated by
            ``::``, and genres by ``|``.
        skip_invalid: As in :func:`read_ratings`. (default: ``False``)
        limits: As in :func:`read_ratings`. (default: ``Limits()``)

    Raises:
        FileNotFoundError: If there is no archive, or no such file in it.
        ValueError: If it is malformed.
    """
    path = osp.join(archive, 'movies.dat')
    columns = ('film', 'title', 'genres')
    content = read_member(archive, 'movies.dat', limits)
    table = field_lines(
        content, path, '::', columns, skip_invalid, encoding='latin-1'
    )
    check_items(table, path, 'film', skip_invalid, PLAIN)
    table['genres'] = table['genres'].str.replace('|', ', ', regex=False)
    return table.drop_duplicates('film').set_index('film')
