"""Where the files of a data set come from."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from reprlib import repr as shorten
from typing import Any, NamedTuple, NoReturn

from pyg_ckd.datasets.raw.regular_file import open_regular

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FILES = ('reviews', 'metadata', 'image')
_STATISTICS = ('users', 'items', 'interactions')
_LARGEST = 2**20  # Bytes of a recipe.
_FOLDER = resources.files('pyg_ckd.datasets.raw') / 'recipes'


class RawFile(NamedTuple):
    """A file to download.

    Example:
        >>> RawFile('meta.json.gz', ('https://example.org/meta.json.gz',))
        RawFile(name='meta.json.gz',
                urls=('https://example.org/meta.json.gz',), sha256=None)
    """

    #: The name to keep it under, without a folder.
    name: str
    #: Its mirrors, in the order in which they are tried.
    urls: tuple[str, ...]
    #: Its SHA-256 in 64 lower-case hexadecimal digits, where known.
    sha256: str | None = None


class Recipe(NamedTuple):
    """What to download for a data set.

    Recipes for all categories of the Amazon product data of 2014 come with the
    package. Another one, such as one with the mirrors of a company, is a file::

        [statistics]  # Optional, to compare the outcome with.
        users = 19_445
        items = 7_050
        interactions = 160_792

        [files.reviews]
        name = "reviews_Baby_5.json.gz"
        urls = ["https://example.org/reviews_Baby_5.json.gz"]
        sha256 = "..."  # Optional for files '.gz' and '.b'.

        [files.metadata]  # As above.

        [files.image]  # As above.

    Example:
        >>> recipe = Recipe.load('Baby')
        >>> recipe.files['reviews'].name
        'reviews_Baby_5.json.gz'
        >>> recipe.statistics
        {'users': 19445, 'items': 7050, 'interactions': 160792}
    """

    #: The category, or the name of the file without ``.toml``.
    name: str
    #: The files, by their keys ``'reviews'``, ``'metadata'`` and ``'image'``.
    files: dict[str, RawFile]
    #: The published numbers of ``'users'``, ``'items'`` and
    #: ``'interactions'``, where known.
    statistics: dict[str, int] | None = None

    @classmethod
    def load(cls, name_or_path: str | os.PathLike[str]) -> Recipe:
        """Read a recipe.

        Args:
            name_or_path: One of :meth:`categories`, or the path of a file that
                ends in ``.toml``.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If there is no such category, or the file is malformed
                or larger than a megabyte.
        """
        text = os.fspath(name_or_path)
        if text.endswith('.toml'):
            content = _read_own(Path(text).expanduser())
        elif text in cls.categories():
            content = (_FOLDER / f'{text}.toml').read_bytes()
        else:
            raise ValueError(_unknown(text, cls.categories()))
        try:
            document = tomllib.loads(content.decode())
            files, statistics = _read(document)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"'{text}': {error}") from error
        return cls(Path(text).stem, files, statistics)

    @staticmethod
    def categories() -> list[str]:
        """Return the categories that come with the package, sorted.

        Example:
            >>> Recipe.categories()[:3]
            ['Amazon_Instant_Video', 'Apps_for_Android', 'Automotive']
        """
        names = [path.name for path in _FOLDER.iterdir()]
        return sorted(
            name.removesuffix('.toml')
            for name in names
            if name.endswith('.toml')
        )


def _read_own(path: Path) -> bytes:
    with open_regular(path) as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError(
            f"'{path}' has more than {_LARGEST:,} bytes, which no recipe has; "
            f'pass a recipe'
        )
    return content


def _unknown(name: str, categories: list[str]) -> str:
    part = name.lower()
    closest = [
        category for category in categories if part in category.lower()
    ] or get_close_matches(name, categories, n=1)
    hint = f" (did you mean '{closest[0]}'?)" if closest else ''
    return (
        f"'{name}' is not a category{hint}; choose from "
        f'{", ".join(categories)}, or pass the path of a file that ends in '
        f"'.toml'"
    )


def _read(
    document: dict[str, Any],
) -> tuple[dict[str, RawFile], dict[str, int] | None]:
    _check_keys('', document, ['files'], ['statistics'])
    tables = _table('files', document['files'], _FILES)
    files = {key: _read_file(f'files.{key}', tables[key]) for key in _FILES}
    names = [file.name for file in files.values()]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"'{name}' names two files; rename one")
    if 'statistics' not in document:
        return files, None
    return files, _read_statistics(document['statistics'])


def _read_statistics(value: object) -> dict[str, int]:
    table = _table('statistics', value, _STATISTICS)
    for key, number in table.items():
        if type(number) is not int or number < 1:
            _refuse(f'statistics.{key}', number, 'a positive integer')
    return table


def _read_file(key: str, value: object) -> RawFile:
    table = _table(key, value, ['name', 'urls'], ['sha256'])
    name, urls, sha256 = table['name'], table['urls'], table.get('sha256')
    if not _is_text(name, r'[\w+-]+(\.[\w+-]+)+'):
        _refuse(f'{key}.name', name, "a plain file name, such as 'a.json.gz'")
    if not isinstance(urls, list) or not urls:
        _refuse(f'{key}.urls', urls, 'a list of at least one URL')
    for url in urls:
        if not _is_text(url, r'https?://\S+'):
            _refuse(f'{key}.urls', url, "a URL 'http://...' or 'https://...'")
    if sha256 is None:
        if not name.endswith(('.gz', '.b')):
            raise ValueError(
                f"'{key}.sha256' is missing; add it, as only '.gz' and '.b' "
                f'files can be checked without'
            )
        return RawFile(name, tuple(urls))
    if not _is_text(sha256, '[0-9a-fA-F]{64}'):
        _refuse(f'{key}.sha256', sha256, '64 hexadecimal digits')
    return RawFile(name, tuple(urls), sha256.lower())


def _table(
    key: str,
    value: object,
    required: Sequence[str],
    optional: Sequence[str] = (),
) -> dict[str, Any]:
    if not isinstance(value, dict):
        _refuse(key, value, f'a table [{key}]')
    _check_keys(f'{key}.', value, required, optional)
    return value


def _check_keys(
    prefix: str,
    table: dict[str, Any],
    required: Sequence[str],
    optional: Sequence[str],
) -> None:
    for key in required:
        if key not in table:
            raise ValueError(f"'{prefix}{key}' is missing; add it")
    for key in table:
        if key not in (*required, *optional):
            raise ValueError(f"'{prefix}{key}' is unknown; remove it")


def _is_text(value: object, pattern: str) -> bool:
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _refuse(key: str, value: object, expected: str) -> NoReturn:
    raise ValueError(f"'{key}' is {_shown(value)}, expected {expected}")


def _shown(value: object) -> str:
    try:
        return shorten(value)
    except ValueError:  # Python prints no integers of thousands of digits.
        return 'too long to print'
