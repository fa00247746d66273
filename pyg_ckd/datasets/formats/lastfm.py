"""The files of Last.fm-2K, of HetRec 2011."""

from __future__ import annotations

import os
import os.path as osp

import pandas as pd

from pyg_ckd.datasets.formats.field_lines import field_lines
from pyg_ckd.datasets.formats.shop_tables import check_items, interactions_of
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.zip_member import read_member

_TAGGED = 'user_taggedartists-timestamps.dat'


def read_listens(
    archive: str | os.PathLike[str],
    skip_invalid: bool = False,
    limits: Limits = Limits(),
) -> Interactions:
    r"""Return who listened to which artist, and how often as ``rating``.

    Args:
        archive: A zip archive with ``user_artists.dat``, whose columns
            ``userID``, ``artistID`` and ``weight`` are separated by tabs.
        skip_invalid: Whether to skip lines that are malformed or repeat a user
            and artist, and warn how many there were. (default: ``False``)
        limits: How large the file may be. (default: ``Limits()``)

    Raises:
        FileNotFoundError: If there is no archive, or no such file in it.
        ValueError: If it is malformed.

    Example:
        >>> import tempfile, zipfile
        >>> text = 'userID\tartistID\tweight\n2\t51\t13883\n'
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with zipfile.ZipFile(f'{root}/a.zip', 'w') as file:
        ...         file.writestr('user_artists.dat', text)
        ...     read_listens(f'{root}/a.zip').items
        ['51']
    """
    columns = ('userID', 'artistID', 'weight')
    table = _read(archive, 'user_artists.dat', columns, skip_invalid, limits)
    path = osp.join(archive, 'user_artists.dat')
    return interactions_of(table, path, *columns, skip_invalid=skip_invalid)


def read_artists(
    archive: str | os.PathLike[str],
    skip_invalid: bool = False,
    limits: Limits = Limits(),
) -> pd.DataFrame:
    """Return the columns ``name`` and ``tags`` of each artist, by its id.

    Args:
        archive: A zip archive with ``artists.dat`` (``id``, ``name``),
            ``tags.dat`` (``tagID``, ``tagValue``) and
            ``user_taggedartists-timestamps.dat`` (``artistID``, ``tagID``),
            all separated by tabs, with further columns.
        skip_invalid: As in :func:`read_listens`. (default: ``False``)
        limits: As in :func:`read_listens`. (default: ``Limits()``)

    Returns:
        A table of text. Tags are separated by commas, those that most users
        gave first, at equal numbers in the order of the alphabet.

    Raises:
        FileNotFoundError: If there is no archive, or one of the files is not in
            it.
        ValueError: If one is malformed.
    """
    columns = ('id', 'name')
    artists = _read(archive, 'artists.dat', columns, skip_invalid, limits)
    path = osp.join(archive, 'artists.dat')
    check_items(artists, path, 'id', skip_invalid)
    artists = artists.drop_duplicates('id').set_index('id')

    columns = ('tagID', 'tagValue')
    names = _read(archive, 'tags.dat', columns, skip_invalid, limits)
    columns = ('artistID', 'tagID')
    given = _read(archive, _TAGGED, columns, skip_invalid, limits)
    given = given.merge(names.drop_duplicates('tagID'), on='tagID')
    counts = given.groupby(['artistID', 'tagValue']).size()
    order = (
        counts.rename('count')
        .reset_index()
        .sort_values(
            ['artistID', 'count', 'tagValue'], ascending=[True, False, True]
        )
    )
    tags = order.groupby('artistID')['tagValue'].agg(', '.join)
    artists['tags'] = tags.reindex(artists.index, fill_value='')
    return artists


def _read(
    archive: str | os.PathLike[str],
    name: str,
    columns: tuple[str, ...],
    skip_invalid: bool,
    limits: Limits,
) -> pd.DataFrame:
    content, path = read_member(archive, name, limits), osp.join(archive, name)
    return field_lines(content, path, '\t', columns, skip_invalid, header=True)
