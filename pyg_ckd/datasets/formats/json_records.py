"""Records of JSON, and what is expected of their values."""

from __future__ import annotations

import json
import re
import reprlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

MAX_INT = 2**63 - 1
MAX_FLOAT = float(np.finfo(np.float32).max)
_SURROGATE = re.compile('[\ud800-\udfff]')
_DEEPEST = 3  # Objects and lists within each other that make a text.


class RepeatedKeyError(ValueError):
    """An object names a key twice, of which Python would keep the last."""


def parse_record(
    text: bytes,
    parse: Callable[[str], Any] | None = None,
    expected: str = 'a JSON object',
) -> dict[Any, Any]:
    """Return the record that a line holds.

    Args:
        text: The line.
        parse: How to parse it. (default: as strict JSON)
        expected: What it should be, for messages.

    Raises:
        ValueError: If it is something else.
        RepeatedKeyError: If an object in it names a key twice.

    Example:
        >>> parse_record(b'{"asin": "B1"}')
        {'asin': 'B1'}
        >>> parse_record(b'{"overall": NaN}')
        Traceback (most recent call last):
            ...
        ValueError: expected a JSON object, got b'{"overall": NaN}'
    """
    try:
        record = (parse or parse_json)(text.decode())
    except RepeatedKeyError:
        raise
    except Exception:  # Parsers raise many kinds on damaged lines.
        record = None
    if not isinstance(record, dict):
        raise ValueError(f'expected {expected}, got {shorten(text)}')
    return record


def parse_json(text: str) -> Any:
    """Return the value of strict JSON, which has no ``NaN`` or infinity.

    Raises:
        ValueError: If it is none.
        RepeatedKeyError: If an object in it names a key twice.
    """
    return _DECODER.decode(text)


def unique(pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
    """Return the object of pairs of key and value, for ``object_pairs_hook``.

    Raises:
        RepeatedKeyError: If there is a key twice.

    Example:
        >>> json.loads('{"0": [1], "0": [2]}', object_pairs_hook=unique)
        Traceback (most recent call last):
            ...
        pyg_ckd.datasets.formats.json_records.RepeatedKeyError: the key '0' is
        there twice
    """
    out = dict(pairs)
    if len(out) < len(pairs):
        refuse_twins([key for key, _ in pairs])
    return out


def refuse_twins(keys: Sequence[Any]) -> None:
    """Refuse the keys of an object of which two are equal.

    Raises:
        RepeatedKeyError: If two are.
    """
    if len(set(keys)) < len(keys):
        [(twin, _)] = Counter(keys).most_common(1)
        raise RepeatedKeyError(f'the key {shorten(twin)} is there twice')


def get(
    record: dict[Any, Any],
    key: str,
    expected: str,
    is_valid: Callable[[Any], bool],
) -> Any:
    """Return a value that needs to be there.

    Raises:
        ValueError: If it is missing or not valid.

    Example:
        >>> get({'n': 'x'}, 'n', 'an integer', lambda n: isinstance(n, int))
        Traceback (most recent call last):
            ...
        ValueError: 'n' is 'x', expected an integer
    """
    if key not in record:
        raise ValueError(f"'{key}' is missing")
    if not is_valid(record[key]):
        raise ValueError(
            f"'{key}' is {shorten(record[key])}, expected {expected}"
        )
    return record[key]


def get_id(record: dict[Any, Any], key: str) -> str:
    """Return an id, a string of printable characters."""
    return get(
        record,
        key,
        'a string of printable characters',
        lambda x: isinstance(x, str) and x != '' and x.isprintable(),
    )


def get_rating(record: dict[Any, Any], key: str) -> float:
    """Return a rating, a finite number."""
    return get(
        record,
        key,
        'a finite number',
        lambda x: type(x) in (int, float) and abs(x) <= MAX_FLOAT,
    )


def get_time(record: dict[Any, Any], key: str) -> int:
    """Return a time, a 64-bit integer."""
    return get(
        record,
        key,
        'a 64-bit integer',
        lambda x: type(x) is int and -MAX_INT - 1 <= x <= MAX_INT,
    )


def get_text(record: dict[Any, Any], key: str) -> str:
    """Return a value as text, ``''`` if there is none.

    Lists are joined by spaces, and so are the names and values of an object.

    Raises:
        ValueError: If it holds characters that are none, or lists and objects
            that lie too deep in each other.

    Example:
        >>> get_text({'details': {'Colour': 'red', 'Sizes': [1, 2]}}, 'details')
        'Colour red Sizes 1 2'
    """
    text = _joined(record.get(key))
    if text is None or not is_text(text):
        raise ValueError(
            f"'{key}' is {shorten(record[key])}, expected text, or a list or "
            f'object of texts'
        )
    return text


def is_text(value: Any) -> bool:
    """Return whether a value is a string of characters that exist."""
    return isinstance(value, str) and not _SURROGATE.search(value)


def shorten(value: Any) -> str:
    """Return a value as it is shown in messages."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python prints no integers of thousands of digits.
        return 'too long to print'


def _joined(value: Any, depth: int = 0) -> str | None:
    """Return a value as text, ``None`` if it lies too deep."""
    if value is None:
        return ''
    if isinstance(value, dict):
        value = [part for pair in value.items() for part in pair]
    if isinstance(value, list):
        if depth == _DEEPEST:
            return None
        parts = [_joined(part, depth + 1) for part in value]
        known = [part for part in parts if part is not None]
        return ' '.join(known) if len(known) == len(parts) else None
    if isinstance(value, int) and abs(value) > MAX_INT:
        return None  # Python prints none of thousands of digits.
    return str(value)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f'{constant} is no number of JSON')


_DECODER = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=unique)
