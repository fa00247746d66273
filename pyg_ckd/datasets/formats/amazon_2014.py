"""The files of the Amazon product data of 2014."""

from __future__ import annotations

import ast
import gzip
import json
import os
import os.path as osp
import re
import reprlib
import zlib
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.raw.problems import Problems

_MAX_FLOAT = float(np.finfo(np.float32).max)
_MAX_INT = 2**63 - 1
#: The most bytes of a line, unpacked.
LONGEST_LINE = 2**24
_NUM_FEATURES = 4096
_CHUNK = 256  # Records of images that are read at once.

_TEXTS = ('title', 'brand', 'description')
_START = re.compile(rb"""\{(['"])asin\1: \1(\w+)\1[,}]""")
_SURROGATE = re.compile('[\ud800-\udfff]')
_REMEDY = 'download the file again'


def read_reviews(
    path: str | os.PathLike[str],
    skip_invalid: bool = False,
    longest_line: int = LONGEST_LINE,
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
        longest_line: The most bytes of a line. (default: 16 MiB)

    Returns:
        The interactions in the order of the file, the users and items sorted.
        ``rating`` is ``float32``, ``time`` is ``int64``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged or without interactions; or, unless
            ``skip_invalid``, if a line is invalid or a user and an item are
            paired twice.

    Example:
        >>> import tempfile
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
    problems = Problems(path, 'line', skip_invalid, _REMEDY)
    user_numbers: dict[str, int] = {}
    item_numbers: dict[str, int] = {}
    lines, user, item, time = (array('q') for _ in range(4))
    rating = array('f')
    for line, text in _read_lines(path, longest_line):
        try:
            user_id, item_id, overall, seconds = _parse_review(text)
        except ValueError as error:
            problems.add(line, 'is malformed', str(error))
            continue
        lines.append(line)
        user.append(user_numbers.setdefault(user_id, len(user_numbers)))
        item.append(item_numbers.setdefault(item_id, len(item_numbers)))
        rating.append(overall)
        time.append(seconds)

    user_ids, item_ids = list(user_numbers), list(item_numbers)
    pairs = np.array(user), np.array(item)
    for row, twin in _find_twins(*pairs):
        problems.add(
            lines[twin],
            'repeats a user and item',
            f"user '{user_ids[user[row]]}' and item '{item_ids[item[row]]}' "
            f'are paired twice, first in line {lines[row]}',
        )
    keep = _are_earliest(*pairs, np.array(time))
    problems.warn()
    if not lines:
        raise ValueError(
            f"'{path}' has no valid reviews; download it again, or name the "
            f"file 'reviews_<Category>_5.json.gz'"
        )
    users, user_index = _sort_ids(user_numbers, user)
    items, item_index = _sort_ids(item_numbers, item)
    return Interactions(
        users,
        items,
        *(
            torch.from_numpy(values[keep])
            for values in (
                user_index,
                item_index,
                np.array(rating),
                np.array(time),
            )
        ),
    )


def read_metadata(
    path: str | os.PathLike[str],
    items: Collection[str],
    skip_invalid: bool = False,
    longest_line: int = LONGEST_LINE,
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
        longest_line: The most bytes of a line. (default: 16 MiB)

    Returns:
        For each item that was found, those of ``title``, ``brand`` and
        ``description`` (strings) and ``categories`` (lists of strings) that
        are known.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged or empty; or, unless
            ``skip_invalid``, if a line is invalid or an item has two.

    Example:
        >>> import tempfile
        >>> line = "{'asin': 'B1', 'title': 'A cup', 'price': 4.99}"
        >>> with tempfile.TemporaryDirectory() as root:
        ...     path = f'{root}/meta_Baby.json.gz'
        ...     with gzip.open(path, 'wt') as file:
        ...         _ = file.write(line)
        ...     read_metadata(path, ['B1', 'B2'])
        {'B1': {'title': 'A cup'}}
    """
    problems = Problems(path, 'line', skip_invalid, _REMEDY)
    wanted = set(items)
    line_of: dict[str, int] = {}
    metadata: dict[str, dict[str, Any]] = {}
    for line, text in _read_lines(path, longest_line):
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
    problems = Problems(path, 'record', skip_invalid, _REMEDY)
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


def _read_lines(
    path: str | os.PathLike[str], longest: int
) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the content of each line that is not blank."""
    line = 0
    with (
        open(path, 'rb') as raw,
        tqdm.wrapattr(
            raw,
            'read',
            total=osp.getsize(path),
            desc=f'Reading {osp.basename(path)}',
            leave=False,
            disable=None,
        ) as compressed,
    ):
        try:
            with gzip.open(compressed) as file:
                # A few bytes may unpack to a line that fills the memory:
                lines = iter(partial(file.readline, longest + 1), b'')
                for line, text in enumerate(lines, start=1):
                    if len(text) > longest:
                        raise ValueError(
                            f"'{path}', line {line}: it is longer than "
                            f"{longest:,} bytes; raise 'longest_line' if it "
                            f'has to be'
                        )
                    if text := text.strip():
                        yield line, text
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"'{path}' is damaged after line {line} ({error}); download it "
                f'again'
            ) from error
    if line == 0:
        raise ValueError(f"'{path}' is empty; download it again")


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
    with open(path, 'rb') as file:
        for start in tqdm(
            range(1, size // dtype.itemsize + 1, _CHUNK),
            desc=f'Reading {osp.basename(path)}',
            leave=False,
            disable=None,
        ):
            chunk = np.fromfile(file, dtype, _CHUNK)
            for record, (asin, x) in enumerate(chunk, start=start):
                yield record, asin.tobytes().decode('latin-1'), x


def _parse_review(text: bytes) -> tuple[str, str, float, int]:
    review = _parse(text, json.loads, 'a JSON object')
    rating = _get(
        review,
        'overall',
        'a finite number',
        lambda x: type(x) in (int, float) and abs(x) <= _MAX_FLOAT,
    )
    time = _get(
        review,
        'unixReviewTime',
        'a 64-bit integer',
        lambda x: type(x) is int and -_MAX_INT - 1 <= x <= _MAX_INT,
    )
    return _get_id(review, 'reviewerID'), _get_id(review, 'asin'), rating, time


def _parse_metadata(text: bytes) -> tuple[str, dict[str, Any]]:
    # Only JSON has double quotes first, which a literal may have as well:
    is_json = text[1:].lstrip().startswith(b'"')
    record = _parse(
        text,
        _json_or_literal if is_json else ast.literal_eval,
        'a Python dictionary or a JSON object',
    )
    values = {
        key: _get(record, key, 'a string of valid characters', _is_text)
        for key in _TEXTS
        if record.get(key) is not None
    }
    if record.get('categories') is not None:
        values['categories'] = _get(
            record, 'categories', 'a list of lists of strings', _is_categories
        )
    return _get_id(record, 'asin'), values


def _json_or_literal(text: str) -> Any:
    def refuse(constant: str) -> Any:
        raise ValueError(f'{constant} is no number of JSON')

    try:
        return json.loads(text, parse_constant=refuse)
    except ValueError:
        return ast.literal_eval(text)


def _parse(
    text: bytes, parse: Callable[[str], Any], expected: str
) -> dict[Any, Any]:
    try:
        record = parse(text.decode())
    except Exception:  # `literal_eval` raises many kinds on damaged lines.
        record = None
    if not isinstance(record, dict):
        raise ValueError(f'expected {expected}, got {_shorten(text)}')
    return record


def _get(
    record: dict[Any, Any],
    key: str,
    expected: str,
    is_valid: Callable[[Any], bool],
) -> Any:
    if key not in record:
        raise ValueError(f"'{key}' is missing")
    if not is_valid(record[key]):
        raise ValueError(
            f"'{key}' is {_shorten(record[key])}, expected {expected}"
        )
    return record[key]


def _get_id(record: dict[Any, Any], key: str) -> str:
    return _get(
        record,
        key,
        'a string of printable characters',
        lambda x: isinstance(x, str) and x != '' and x.isprintable(),
    )


def _shorten(value: Any) -> str:
    try:
        return reprlib.repr(value)
    except ValueError:  # Python prints no integers of thousands of digits.
        return 'too long to print'


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not _SURROGATE.search(value)


def _is_categories(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(path, list) and all(map(_is_text, path)) for path in value
    )


def _find_twins(
    user: NDArray[np.int64], item: NDArray[np.int64]
) -> Iterator[tuple[int, int]]:
    """Yield a row and a later one of the same pair, sorted by the later."""
    order = np.lexsort((item, user))  # Stable: equal pairs stay in file order.
    same = (np.diff(user[order]) == 0) & (np.diff(item[order]) == 0)
    later, earlier = order[1:][same], order[:-1][same]
    for twin, row in sorted(zip(later.tolist(), earlier.tolist(), strict=True)):
        yield row, twin


def _are_earliest(
    user: NDArray[np.int64], item: NDArray[np.int64], time: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which rows are the earliest of their pair, of equals the first."""
    order = np.lexsort((time, item, user))
    same = (np.diff(user[order]) == 0) & (np.diff(item[order]) == 0)
    is_earliest = np.ones(len(order), dtype=bool)
    is_earliest[order[1:][same]] = False
    return is_earliest


def _sort_ids(
    numbers: dict[str, int], index: array[int]
) -> tuple[list[str], NDArray[np.int64]]:
    """Return the sorted ids, and the index of each of the numbers in them."""
    ids = sorted(numbers)
    position = np.empty(len(ids), np.int64)
    position[[numbers[name] for name in ids]] = np.arange(len(ids))
    return ids, position[index]
