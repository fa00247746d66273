"""The files of the Amazon product data of 2014."""

from __future__ import annotations

import ast
import os
import os.path as osp
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from pyg_ckd.datasets.formats.amazon_releases import AMAZON_2014
from pyg_ckd.datasets.formats.json_records import (
    RepeatedKeyError,
    get,
    get_id,
    get_rating,
    get_time,
    is_text,
    parse_json,
    parse_record,
    refuse_twins,
)
from pyg_ckd.datasets.formats.lines import read_lines
from pyg_ckd.datasets.formats.reviews import Review, Reviews
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.problems import Problems
from pyg_ckd.datasets.raw.regular_file import open_regular

_NUM_FEATURES = 4096
_CHUNK = 256  # Records of images that are read at once.

_TEXTS = ('title', 'brand', 'description')
_START = re.compile(rb"""\{(['"])asin\1: \1(\w+)\1[,}]""")
#: What to do about a malformed line.
REMEDY = 'download the file again'


def read_reviews(
    path: str | os.PathLike[str],
    skip_invalid: bool = False,
    limits: Limits = Limits(),
) -> Interactions:
    r"""Return the interactions in a file ``reviews_<Category>_5.json.gz``.

    Each line is a JSON object. Its ``reviewerID`` is the user, its ``asin`` the
    item, its ``overall`` the rating and its ``unixReviewTime`` the time in
    seconds. All else is ignored, as are blank lines. No more than one line is
    kept in memory.

    Args:
        path: The file.
        skip_invalid: Whether to skip invalid lines, and of several lines of
            the same user and item all but the earliest (at equal times the
            first), with one warning for all. (default: ``False``)
        limits: ``line`` is the most bytes of a line.

    Returns:
        The interactions in the order of the file, the users and items sorted.
        ``rating`` is ``float32``, ``time`` is ``int64``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged or without interactions; or, unless
            ``skip_invalid``, if a line is invalid or a user and an item are
            paired twice.

    Example:
        >>> import gzip, tempfile
        >>> line = (
        ...     '{"reviewerID": "A1", "asin": "B1", "overall": 4.0, '
        ...     '"unixReviewTime": 1382659200}'
        ... )
        >>> with tempfile.TemporaryDirectory() as root:
        ...     path = f'{root}/reviews_Baby_5.json.gz'
        ...     with gzip.open(path, 'wt') as file:
        ...         _ = file.write(line)
        ...     reviews = read_reviews(path)
        >>> reviews.users, reviews.items, reviews.rating
        (['A1'], ['B1'], tensor([4.]))
    """
    problems = Problems(path, 'line', skip_invalid, REMEDY)
    reviews = Reviews()
    lines = AMAZON_2014.check_lines(path, read_lines(path, limits))
    reviews.read(lines, parse_review, problems)
    interactions, _ = reviews.interactions()
    problems.warn()
    if not len(reviews):
        raise ValueError(
            f"'{path}' has no valid reviews; download it again, or name the "
            f"file 'reviews_<Category>_5.json.gz'"
        )
    return interactions


def read_metadata(
    path: str | os.PathLike[str],
    items: Collection[str],
    skip_invalid: bool = False,
    limits: Limits = Limits(),
) -> dict[str, dict[str, Any]]:
    r"""Return what a file ``meta_<Category>.json.gz`` tells about items.

    Each line is a Python literal, as in the original files, or a JSON object, a
    dictionary whose ``asin`` is the item. It is parsed, never executed. Lines
    of other items may be passed over unread.

    Args:
        path: The file.
        items: The items to look for.
        skip_invalid: Whether to skip invalid lines, and of two lines of the
            same item the later one, with one warning for all.
            (default: ``False``)
        limits: ``line`` is the most bytes of a line.

    Returns:
        For each item that was found, those of ``title``, ``brand`` and
        ``description`` (strings) and ``categories`` (lists of strings) that
        are known.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged or empty; or, unless
            ``skip_invalid``, if a line is invalid or an item has two.

    Example:
        >>> import gzip, tempfile
        >>> line = "{'asin': 'B1', 'title': 'A cup', 'price': 4.99}"
        >>> with tempfile.TemporaryDirectory() as root:
        ...     path = f'{root}/meta_Baby.json.gz'
        ...     with gzip.open(path, 'wt') as file:
        ...         _ = file.write(line)
        ...     read_metadata(path, ['B1', 'B2'])
        {'B1': {'title': 'A cup'}}
    """
    problems = Problems(path, 'line', skip_invalid, REMEDY)
    wanted = set(items)
    line_of: dict[str, int] = {}
    metadata: dict[str, dict[str, Any]] = {}
    lines = AMAZON_2014.check_lines(path, read_lines(path, limits))
    for line, text in lines:
        start = _START.match(text)
        if start and start[2].decode() not in wanted:
            continue
        try:
            item, values = _parse_metadata(text)
        except ValueError as error:
            problems.add(line, 'is malformed', str(error))
            continue
        if item in line_of:
            problems.add(
                line,
                'repeats an item',
                f"item '{item}' has two, the first is line {line_of[item]}",
            )
        elif item in wanted:
            line_of[item] = line
            metadata[item] = values
    problems.warn()
    return metadata


def read_image_features(
    path: str | os.PathLike[str],
    items: Sequence[str],
    skip_invalid: bool = False,
    num_features: int = _NUM_FEATURES,
) -> tuple[Tensor, Tensor]:
    r"""Return the features of items in a file ``image_features_<Category>.b``.

    Each record is an item, ten characters of ASCII, and its features, numbers
    of 32 bits. Of the records of other items, only the item is checked. The
    file is read in chunks, so its length costs no memory.

    Args:
        path: The file.
        items: The items to look for, each one once.
        skip_invalid: Whether to skip invalid records, and of two records of the
            same item the later one, with one warning for all.
            (default: ``False``)
        num_features: The number of features in a record. (default: ``4096``)

    Returns:
        The features, ``float32`` of shape ``[len(items), num_features]``, with
        zeros for items that were not found; and which items were found,
        Booleans of shape ``[len(items)]``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file does not consist of whole records; or, unless
            ``skip_invalid``, if an item is not printable ASCII, has features
            that are not finite, or has two records.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     path = f'{root}/image_features_Baby.b'
        ...     with open(path, 'wb') as file:
        ...         _ = file.write(b'B000000001' + np.float32([1, 2]).tobytes())
        ...     read_image_features(
        ...         path, ['B000000000', 'B000000001'], num_features=2
        ...     )
        (tensor([[0., 0.], [1., 2.]]), tensor([False,  True]))
    """
    problems = Problems(path, 'record', skip_invalid, REMEDY)
    row_of = {item: row for row, item in enumerate(items)}
    x = np.zeros((len(items), num_features), np.float32)
    record_of = np.zeros(len(items), np.int64)  # 0 if there is none.
    for record, item, features in _read_records(path, num_features):
        row = row_of.get(item)
        if not (item.isascii() and item.isprintable()):
            problems.add(
                record,
                'has an ASIN that is not printable ASCII',
                f'the ASIN {item!r} is not printable ASCII',
            )
        elif row is None:
            continue
        elif record_of[row]:
            problems.add(
                record,
                'repeats an item',
                f"item '{item}' has two, the first is record {record_of[row]}",
            )
        elif not np.isfinite(features).all():
            problems.add(
                record,
                'has features that are not finite',
                f"the features of '{item}' are not finite",
            )
        else:
            x[row] = features
            record_of[row] = record
    problems.warn()
    return torch.from_numpy(x), torch.from_numpy(record_of > 0)


def _read_records(
    path: str | os.PathLike[str], num_features: int
) -> Iterator[tuple[int, str, NDArray[np.float32]]]:
    """Yield the number, counted from 1, the item and the features of each."""
    dtype = np.dtype([('asin', 'V10'), ('x', '<f4', (num_features,))])
    size = osp.getsize(path)
    if size == 0 or size % dtype.itemsize:
        raise ValueError(
            f"'{path}' has {size:,} bytes, expected one or more records of "
            f'{dtype.itemsize:,} bytes each; download it again'
        )
    with open_regular(path) as file:
        for start in tqdm(
            range(1, size // dtype.itemsize + 1, _CHUNK),
            desc=f'Reading {osp.basename(path)}',
            leave=False,
            disable=None,
        ):
            chunk = np.fromfile(file, dtype, _CHUNK)
            for record, (asin, x) in enumerate(chunk, start=start):
                yield record, asin.tobytes().decode('latin-1'), x


def parse_review(text: bytes) -> Review:
    """Return the review of a line, which is written alike in 2014 and 2018."""
    review = parse_record(text)
    rating = get_rating(review, 'overall')
    time = get_time(review, 'unixReviewTime')
    return get_id(review, 'reviewerID'), get_id(review, 'asin'), rating, time


def _parse_metadata(text: bytes) -> tuple[str, dict[str, Any]]:
    # Only JSON has double quotes first, which a literal may have as well:
    is_json = text[1:].lstrip().startswith(b'"')
    record = parse_record(
        text,
        _json_or_literal if is_json else _literal,
        'a Python dictionary or a JSON object',
    )
    values = {
        key: get(record, key, 'a string of valid characters', is_text)
        for key in _TEXTS
        if record.get(key) is not None
    }
    if record.get('categories') is not None:
        values['categories'] = get(
            record, 'categories', 'a list of lists of strings', _is_categories
        )
    return get_id(record, 'asin'), values


def _json_or_literal(text: str) -> Any:
    try:
        return parse_json(text)
    except RepeatedKeyError:
        raise
    except ValueError:
        return _literal(text)


def _literal(text: str) -> Any:
    tree = ast.parse(text.lstrip(' \t'), mode='eval')
    _refuse_twins(tree.body)
    return ast.literal_eval(tree)


def _refuse_twins(node: ast.expr) -> None:
    """Refuse a literal in which a dictionary names a key twice."""
    parts: list[ast.expr] = []
    if isinstance(node, ast.Dict):
        keys = [key for key in node.keys if isinstance(key, ast.Constant)]
        refuse_twins([key.value for key in keys])
        parts = node.values
    elif isinstance(node, ast.List | ast.Tuple):
        parts = node.elts
    for part in parts:
        _refuse_twins(part)


def _is_categories(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(path, list) and all(map(is_text, path)) for path in value
    )
