"""The files of Amazon Reviews 2023."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from torch import Tensor

from pyg_ckd.datasets.formats.amazon_2014 import REMEDY
from pyg_ckd.datasets.formats.amazon_releases import AMAZON_2023
from pyg_ckd.datasets.formats.json_records import (
    MAX_FLOAT,
    MAX_INT,
    get,
    get_id,
    get_rating,
    get_text,
    get_time,
    is_text,
    parse_record,
    shorten,
)
from pyg_ckd.datasets.formats.lines import read_lines
from pyg_ckd.datasets.formats.products import Product, read_products
from pyg_ckd.datasets.formats.reviews import Review, Reviews
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.problems import Problems

#: What a template may name.
FIELDS = (
    *('title', 'subtitle', 'features', 'description', 'store', 'categories'),
    *('main_category', 'details', 'price'),
)
_MILLISECONDS = 1000  # of a second
_HEADER = b'user_id,parent_asin,rating,timestamp'
_ROW = re.compile(r'([^,"]+),([^,"]+),(-?\d+(?:\.\d+)?),(-?\d{1,19})', re.ASCII)


def read_reviews(
    path: str | os.PathLike[str],
    skip_invalid: bool = False,
    limits: Limits = Limits(),
) -> Interactions:
    r"""Return the interactions in a file ``<Category>.jsonl.gz``.

    Each line is a JSON object, whose ``user_id`` is the user, ``parent_asin``
    the item, ``rating`` the rating and ``timestamp`` the time in milliseconds.
    Users review some items several times. Of these reviews the earliest counts,
    at equal times the first, with a warning.

    Args:
        path: The file.
        skip_invalid: Whether to skip malformed lines, with one warning for all.
            (default: ``False``)
        limits: ``line`` is the most bytes of a line.

    Returns:
        The interactions in the order of time, the users and items sorted.
        ``rating`` is ``float32``, ``time`` is ``int64``, in seconds.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, without reviews or of another
            release; or, unless ``skip_invalid``, if a line is malformed.

    Example:
        >>> import gzip, tempfile
        >>> line = (
        ...     '{"user_id": "A1", "parent_asin": "B1", "rating": 4.0, '
        ...     '"timestamp": 1588687728923}'
        ... )
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with gzip.open(f'{root}/All_Beauty.jsonl.gz', 'wt') as file:
        ...         _ = file.write(line)
        ...     reviews = read_reviews(f'{root}/All_Beauty.jsonl.gz')
        >>> reviews.users, reviews.items, reviews.time
        (['A1'], ['B1'], tensor([1588687728]))
    """
    problems = Problems(path, 'line', skip_invalid, REMEDY)
    repeats = Problems(path, 'line', skip=True)
    reviews = Reviews()
    lines = AMAZON_2023.check_lines(path, read_lines(path, limits))
    reviews.read(lines, _parse_review, problems, repeats)
    problems.warn()
    if not len(reviews):
        raise ValueError(
            f"'{path}' has no valid reviews; download it again, or name the "
            f"file '<Category>.jsonl.gz'"
        )
    interactions, _ = reviews.interactions(_MILLISECONDS)
    repeats.warn()
    return interactions


def read_benchmark(
    paths: Sequence[str | os.PathLike[str]],
    skip_invalid: bool = False,
    limits: Limits = Limits(),
) -> tuple[Interactions, Tensor]:
    r"""Return the interactions of a published split, and what each is for.

    The files are ``<Category>.train.csv.gz``, ``.valid.csv.gz`` and
    ``.test.csv.gz``, tables of the columns ``user_id``, ``parent_asin``,
    ``rating`` and ``timestamp`` (in milliseconds), with or without a header.

    Args:
        paths: The files of training, validation and test.
        skip_invalid: Whether to skip malformed rows, and of several rows of the
            same user and item all but the earliest, with one warning a file.
            (default: ``False``)
        limits: ``line`` is the most bytes of a line.

    Returns:
        The interactions in the order of time, as :func:`read_reviews`; and for
        each 0 for training, 1 for validation or 2 for test, ``int64``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file is damaged; or, unless ``skip_invalid``, if a row
            is malformed or a user and an item are paired twice.

    Example:
        >>> import gzip, tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     paths = [f'{root}/{x}.csv.gz' for x in ('train', 'val', 'test')]
        ...     for number, path in enumerate(paths):
        ...         with gzip.open(path, 'wt') as file:
        ...             _ = file.write(f'A1,B{number},5.0,158868772892{number}')
        ...     interactions, label = read_benchmark(paths)
        >>> interactions.items, label
        (['B0', 'B1', 'B2'], tensor([0, 1, 2]))
    """
    reviews = Reviews()
    every = [Problems(path, 'line', skip_invalid, REMEDY) for path in paths]
    for path, problems in zip(paths, every, strict=True):
        reviews.read(_rows(path, limits), _parse_row, problems)
    interactions, label = reviews.interactions(_MILLISECONDS)
    for problems in every:
        problems.warn()
    return interactions, label


def read_metadata(
    path: str | os.PathLike[str],
    items: Collection[str],
    fields: Sequence[str] = FIELDS,
    skip_invalid: bool = False,
    limits: Limits = Limits(),
) -> Iterator[Product]:
    r"""Yield what a file ``meta_<Category>.jsonl.gz`` tells about items.

    Each line is a JSON object, whose ``parent_asin`` is the item. Lists are
    joined by spaces, and so are the names and values of ``details``; HTML
    entities are resolved. The picture is that of ``images`` with the
    ``variant`` ``MAIN``, in its ``hi_res``, or else ``large`` form.

    Args:
        path: The file.
        items: The items to look for.
        fields: The fields to return, of :obj:`FIELDS`. (default: all)
        skip_invalid: Whether to skip malformed lines, and of two lines of the
            same item the later one, with one warning for all.
            (default: ``False``)
        limits: ``line`` is the most bytes of a line.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, empty or of another release; or,
            unless ``skip_invalid``, if a line is malformed or an item has two.

    Example:
        >>> import gzip, tempfile
        >>> line = (
        ...     '{"parent_asin": "B1", "title": "A cup", "features": ["Red"], '
        ...     '"images": [{"large": "https://example.org/1.jpg", '
        ...     '"hi_res": null, "variant": "MAIN"}]}'
        ... )
        >>> with tempfile.TemporaryDirectory() as root:
        ...     path = f'{root}/meta_All_Beauty.jsonl.gz'
        ...     with gzip.open(path, 'wt') as file:
        ...         _ = file.write(line)
        ...     list(read_metadata(path, ['B1', 'B2'], ['title', 'features']))
        [Product(item='B1', texts={'title': 'A cup', 'features': 'Red'},
                 picture='https://example.org/1.jpg')]
    """

    def parse(record: dict[Any, Any]) -> tuple[dict[str, str], str]:
        texts = {key: html.unescape(get_text(record, key)) for key in fields}
        return texts, _picture(record)

    problems = Problems(path, 'line', skip_invalid, REMEDY)
    lines = AMAZON_2023.check_lines(path, read_lines(path, limits))
    key = 'parent_asin'
    yield from read_products(lines, items, key, parse, problems, problems)
    problems.warn()


def _parse_review(text: bytes) -> Review:
    review = parse_record(text)
    return (
        get_id(review, 'user_id'),
        get_id(review, 'parent_asin'),
        get_rating(review, 'rating'),
        get_time(review, 'timestamp'),
    )


def _rows(
    path: str | os.PathLike[str], limits: Limits
) -> Iterator[tuple[int, bytes]]:
    """Yield the rows of a table, without its header."""
    for line, text in read_lines(path, limits):
        if line != 1 or text != _HEADER:
            yield line, text


def _parse_row(text: bytes) -> Review:
    try:
        match = _ROW.fullmatch(text.decode())
    except UnicodeDecodeError:
        match = None
    if match is not None:
        user, item, rating, time = match.groups()
        review = user, item, float(rating), int(time)
        is_printable = user.isprintable() and item.isprintable()
        if is_printable and _fits(review[2], review[3]):
            return review
    raise ValueError(
        f"expected values of '{_HEADER.decode()}', got {shorten(text)}"
    )


def _fits(rating: float, time: int) -> bool:
    return abs(rating) <= MAX_FLOAT and -MAX_INT - 1 <= time <= MAX_INT


def _picture(record: dict[Any, Any]) -> str:
    """Return the URL of the main picture, ``''`` if there is none."""
    if not record.get('images'):
        return ''
    images = get(
        record,
        'images',
        "a list of objects with 'variant', 'large' and 'hi_res'",
        lambda x: isinstance(x, list) and all(map(_is_image, x)),
    )
    for image in images:
        if image.get('variant') == 'MAIN':
            return image.get('hi_res') or image.get('large') or ''
    return ''


def _is_image(value: Any) -> bool:
    return isinstance(value, dict) and all(
        value.get(key) is None or is_text(value[key])
        for key in ('variant', 'large', 'hi_res')
    )
