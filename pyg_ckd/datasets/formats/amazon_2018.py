"""The files of Amazon's review data of 2018."""

from __future__ import annotations

import html
import os
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from pyg_ckd.datasets.formats.amazon_2014 import REMEDY, parse_review
from pyg_ckd.datasets.formats.amazon_releases import AMAZON_2018
from pyg_ckd.datasets.formats.json_records import get, get_text, is_text
from pyg_ckd.datasets.formats.lines import read_lines
from pyg_ckd.datasets.formats.products import Product, read_products
from pyg_ckd.datasets.formats.reviews import Reviews
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.problems import Problems

#: What a template may name.
FIELDS = (
    *('title', 'brand', 'category', 'feature', 'description'),
    *('main_cat', 'price', 'rank'),
)


def read_reviews(
    path: str | os.PathLike[str],
    skip_invalid: bool = False,
    limits: Limits = Limits(),
) -> Interactions:
    r"""Return the interactions in a file ``<Category>_5.json.gz``.

    Each line is a JSON object, whose ``reviewerID`` is the user, ``asin`` the
    item, ``overall`` the rating and ``unixReviewTime`` the time in seconds. The
    published files repeat some pairs of user and item. Of these the earliest
    review counts, at equal times the first, with a warning.

    Args:
        path: The file.
        skip_invalid: Whether to skip malformed lines, with one warning for all.
            (default: ``False``)
        limits: ``line`` is the most bytes of a line.

    Returns:
        The interactions in the order of the file, the users and items sorted.
        ``rating`` is ``float32``, ``time`` is ``int64``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, without reviews or of another
            release; or, unless ``skip_invalid``, if a line is malformed.

    Example:
        >>> import gzip, tempfile
        >>> line = (
        ...     '{"reviewerID": "A1", "asin": "B1", "overall": 4.0, '
        ...     '"unixReviewTime": 1382659200, "verified": true}'
        ... )
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with gzip.open(f'{root}/All_Beauty_5.json.gz', 'wt') as file:
        ...         _ = file.write(line)
        ...     reviews = read_reviews(f'{root}/All_Beauty_5.json.gz')
        >>> reviews.users, reviews.items, reviews.rating
        (['A1'], ['B1'], tensor([4.]))
    """
    problems = Problems(path, 'line', skip_invalid, REMEDY)
    repeats = Problems(path, 'line', skip=True)
    reviews = Reviews()
    lines = AMAZON_2018.check_lines(path, read_lines(path, limits))
    reviews.read(lines, parse_review, problems, repeats)
    problems.warn()
    if not len(reviews):
        raise ValueError(
            f"'{path}' has no valid reviews; download it again, or name the "
            f"file '<Category>_5.json.gz'"
        )
    interactions, _ = reviews.interactions()
    repeats.warn()
    return interactions


def read_metadata(
    path: str | os.PathLike[str],
    items: Collection[str],
    fields: Sequence[str] = FIELDS,
    skip_invalid: bool = False,
    limits: Limits = Limits(),
) -> Iterator[Product]:
    r"""Yield what a file ``meta_<Category>.json.gz`` tells about items.

    Each line is a JSON object, whose ``asin`` is the item. Lists are joined by
    spaces and HTML entities resolved. The picture is the first of
    ``imageURLHighRes``. The published files repeat some items. Of these the
    first line counts, with a warning.

    Args:
        path: The file.
        items: The items to look for.
        fields: The fields to return, of :obj:`FIELDS`. (default: all)
        skip_invalid: Whether to skip malformed lines, with one warning for all.
            (default: ``False``)
        limits: ``line`` is the most bytes of a line.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, empty or of another release; or,
            unless ``skip_invalid``, if a line is malformed.

    Example:
        >>> import gzip, tempfile
        >>> line = (
        ...     '{"asin": "B1", "title": "A cup", "feature": ["Red", "Big"], '
        ...     '"imageURLHighRes": ["https://example.org/1.jpg"]}'
        ... )
        >>> with tempfile.TemporaryDirectory() as root:
        ...     path = f'{root}/meta_All_Beauty.json.gz'
        ...     with gzip.open(path, 'wt') as file:
        ...         _ = file.write(line)
        ...     list(read_metadata(path, ['B1', 'B2'], ['title', 'feature']))
        [Product(item='B1', texts={'title': 'A cup', 'feature': 'Red Big'},
                 picture='https://example.org/1.jpg')]
    """

    def parse(record: dict[Any, Any]) -> tuple[dict[str, str], str]:
        texts = {key: html.unescape(get_text(record, key)) for key in fields}
        return texts, _picture(record)

    problems = Problems(path, 'line', skip_invalid, REMEDY)
    repeats = Problems(path, 'line', skip=True)
    lines = AMAZON_2018.check_lines(path, read_lines(path, limits))
    yield from read_products(lines, items, 'asin', parse, problems, repeats)
    problems.warn()
    repeats.warn()


def _picture(record: dict[Any, Any]) -> str:
    """Return the URL of the first picture, ``''`` if there is none."""
    if not record.get('imageURLHighRes'):
        return ''
    urls = get(
        record,
        'imageURLHighRes',
        'a list of URLs',
        lambda x: isinstance(x, list) and all(map(is_text, x)),
    )
    return urls[0]
