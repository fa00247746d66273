import gzip
import json
import random
import tempfile
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_ckd.datasets.formats.amazon_2014 import (
    read_image_features,
    read_metadata,
    read_reviews,
)
from pyg_ckd.datasets.raw.limits import Limits

# In the formats of the original files, to the byte:
REVIEWS = [
    line.encode()
    for line in (
        r'{"reviewerID": "A3ZZ0000000QB2", "asin": "B00000000Y", '
        r'"reviewerName": "Ann \"AB\"", "helpful": [0, 2], "reviewText": '
        r'"Soft.\nMy son'
        "'"
        r's \u2764", "overall": 5.0, "summary": "Soft", '
        r'"unixReviewTime": 1373932800, "reviewTime": "07 16, 2013"}',
        r'{"reviewerID": "A1ZZ0000000AAA", "asin": "B00000000Y", "helpful": '
        r'[1, 1], "reviewText": "", "overall": 1.0, "summary": "", '
        r'"unixReviewTime": 1379116800, "reviewTime": "09 14, 2013"}',
        r'{"reviewerID": "A3ZZ0000000QB2", "asin": "097290000X", '
        r'"reviewerName": "Ann", "helpful": [0, 0], "reviewText": "Broke", '
        r'"overall": 2.0, "summary": "No", "unixReviewTime": 1354752000, '
        r'"reviewTime": "12 6, 2012"}',
    )
]
METADATA = [
    line.encode()
    for line in (
        r"{'asin': '097290000X', 'related': {'also_bought': ['B00000000Y', "
        r"'B1'], 'buy_after_viewing': ['B2']}, 'title': 'Bottle – \'pink\'', "
        r"'price': 10.95, 'salesRank': {'Baby': 21}, 'imUrl': "
        r"'http://example.com/41.jpg', 'brand': 'A & B', 'categories': "
        r"[['Baby', 'Feeding'], ['Gifts']], 'description': "
        r'"It'
        "'"
        r's \xe9 soft\nand \\ \u2122"}',
        r"{'categories': [['Baby']], 'asin': 'B00000000Y', 'brand': ''}",
        r"{'asin': 'B00000000Z', 'title': u'\u2122', 'description': None}",
    )
]


def write(root: object, name: str, *lines: bytes, end: bytes = b'\n') -> Path:
    """Write lines, compressed, and return the path of the file."""
    path = Path(str(root), name)
    path.write_bytes(gzip.compress(b''.join(line + end for line in lines)))
    return path


def review(**fields: object) -> bytes:
    """Return a line with fields replaced, or left out if they are `None`."""
    known = {
        'reviewerID': 'A1',
        'asin': 'B1',
        'overall': 4.0,
        'unixReviewTime': 100,
    }
    values = {**known, **fields}
    kept = {key: value for key, value in values.items() if value is not None}
    return json.dumps(kept).encode()


def write_images(
    root: object, records: list[tuple[bytes, object]], dtype: str = '<f4'
) -> Path:
    path = Path(str(root), 'image_features_Baby.b')
    path.write_bytes(
        b''.join(asin + np.array(x, dtype).tobytes() for asin, x in records)
    )
    return path


# Reviews #####################################################################


def test_read_reviews(tmp_path):
    path = write(tmp_path, 'reviews_Baby_5.json.gz', *REVIEWS)
    reviews = read_reviews(path)
    assert reviews.users == ['A1ZZ0000000AAA', 'A3ZZ0000000QB2']
    assert reviews.items == ['097290000X', 'B00000000Y']
    assert reviews.user.tolist() == [1, 0, 1]
    assert reviews.item.tolist() == [1, 1, 0]
    assert reviews.rating.tolist() == [5.0, 1.0, 2.0]
    assert reviews.time.tolist() == [1373932800, 1379116800, 1354752000]
    assert reviews.user.dtype == reviews.item.dtype == torch.long
    assert reviews.rating.dtype == torch.float32
    assert reviews.time.dtype == torch.long


@pytest.mark.parametrize('end', [b'\r\n', b'\n\n', b' \n\t\n'])
def test_read_reviews_skips_blank_lines(tmp_path, end):
    path = write(tmp_path, 'a.gz', *REVIEWS, end=end)
    assert read_reviews(path).rating.tolist() == [5.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ('line', 'expected'),
    [
        (b'{"reviewerID": "A1", ', 'expected a JSON object, got b'),
        (b'[]', r"expected a JSON object, got b'\[\]'"),
        (b'\xff\xfe', 'expected a JSON object'),
        (b'[' * 100_000, 'expected a JSON object'),
        (review(overall=10**400), "'overall' is 1000.*0000, expected a finite"),
        (b'{"overall": ' + b'9' * 5_000 + b'}', 'expected a JSON object'),
        (review(reviewerID=None), "'reviewerID' is missing"),
        (review(asin=None), "'asin' is missing"),
        (review(overall=None), "'overall' is missing"),
        (review(unixReviewTime=None), "'unixReviewTime' is missing"),
        (review(reviewerID=7), "'reviewerID' is 7, expected a string"),
        (review(reviewerID=''), "'reviewerID' is '', expected a string"),
        (review(asin='B\n1'), r"'asin' is 'B\\n1', expected a string"),
        (review(asin='B\ud800'), r"'asin' is 'B\\ud800', expected a string"),
        (review(asin=['B1']), r"'asin' is \['B1'\], expected a string"),
        (review(overall='5'), "'overall' is '5', expected a finite number"),
        (review(overall=True), "'overall' is True, expected a finite number"),
        (review(overall=1e39), r"'overall' is 1e\+39, expected a finite"),
        (review(overall=float('nan')), 'expected a JSON object'),
        (review(overall=float('-inf')), 'expected a JSON object'),
        (review(unixReviewTime=1.5), "'unixReviewTime' is 1.5, expected a 64"),
        (review(unixReviewTime='1'), "'unixReviewTime' is '1', expected a 64"),
        (
            review(unixReviewTime=2**63),
            f"'unixReviewTime' is {2**63}, expected a 64-bit integer",
        ),
    ],
)
def test_read_reviews_refuses_invalid_lines(tmp_path, line, expected):
    path = write(tmp_path, 'a.gz', REVIEWS[0], b'', line)
    message = f"^'{path}', line 3: {expected}.*; download .* skip_invalid=True"
    with pytest.raises(ValueError, match=message):
        read_reviews(path)


def test_read_reviews_of_extreme_numbers(tmp_path):
    most = float(np.finfo(np.float32).max)
    path = write(
        tmp_path,
        'a.gz',
        review(overall=most, unixReviewTime=2**63 - 1),
        review(asin='B2', overall=-most, unixReviewTime=-(2**63)),
        review(asin='B3', overall=3, unixReviewTime=0),
    )
    reviews = read_reviews(path)
    assert reviews.rating.tolist() == [most, -most, 3]
    assert reviews.time.tolist() == [2**63 - 1, -(2**63), 0]


def test_read_reviews_refuses_repeated_pairs(tmp_path):
    lines = [REVIEWS[0], REVIEWS[1], REVIEWS[2], b'', REVIEWS[0]]
    path = write(tmp_path, 'a.gz', *lines)
    with pytest.raises(ValueError) as info:
        read_reviews(path)
    assert str(info.value).startswith(
        f"'{path}', line 5: user 'A3ZZ0000000QB2' and item 'B00000000Y' are "
        f'paired twice, first in line 1;'
    )


def test_read_reviews_skips_invalid_lines(tmp_path):
    lines = [
        review(),
        review(overall=2.0),  # Repeats the first pair ...
        b'no JSON',
        review(reviewerID='A0', overall='bad'),  # A user without valid lines.
        review(asin='B0', overall=3.0),
        review(overall=1.0),  # ... and so does this.
    ]
    path = write(tmp_path, 'a.gz', *lines)
    with pytest.warns(UserWarning) as caught:
        reviews = read_reviews(path, skip_invalid=True)
    assert [str(warning.message) for warning in caught] == [
        f"'{path}': 4 invalid lines skipped: 2 repeat a user and item (the "
        f"first in line 2: user 'A1' and item 'B1' are paired twice, first in "
        f'line 1), 2 are malformed (the first in line 3: expected a JSON '
        f"object, got b'no JSON')"
    ]
    assert caught[0].filename == __file__
    assert reviews.users == ['A1']
    assert reviews.items == ['B0', 'B1']
    assert reviews.item.tolist() == [1, 0]
    assert reviews.rating.tolist() == [4.0, 3.0]


@pytest.mark.parametrize(
    ('times', 'expected'),
    [
        ([3, 2, 1], 3),  # The earliest, wherever it is.
        ([2, 1, 3], 2),
        ([1, 2, 3], 1),
        ([2, 1, 1], 2),  # Of equals the first.
        ([1, 1, 1], 1),
    ],
)
def test_read_reviews_keeps_the_earliest(tmp_path, times, expected):
    lines = [
        review(overall=row, unixReviewTime=time)
        for row, time in enumerate(times, start=1)
    ]
    path = write(tmp_path, 'a.gz', review(asin='B2', overall=9), *lines)
    with pytest.warns(UserWarning, match='2 repeat a user and item'):
        reviews = read_reviews(path, skip_invalid=True)
    assert reviews.rating.tolist() == [9, expected]
    assert reviews.time.tolist() == [100, min(times)]


def test_read_reviews_does_not_warn_of_valid_lines(tmp_path):
    path = write(tmp_path, 'a.gz', *REVIEWS)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        read_reviews(path, skip_invalid=True)


def test_read_reviews_refuses_files_without_reviews(tmp_path):
    for lines in [[b''], [b'{}', b'no JSON']]:
        path = write(tmp_path, 'a.gz', *lines)
        with (
            warnings.catch_warnings(),
            pytest.raises(ValueError, match=f"^'{path}' has no valid reviews"),
        ):
            warnings.simplefilter('ignore')
            read_reviews(path, skip_invalid=True)


# Damaged files ###############################################################


def read_with_metadata(path: Path) -> object:
    return read_metadata(path, ['B1'], skip_invalid=True)


def read_with_reviews(path: Path) -> object:
    return read_reviews(path, skip_invalid=True)


@pytest.mark.filterwarnings('ignore:.*invalid lines skipped')
@pytest.mark.parametrize('read', [read_with_reviews, read_with_metadata])
@pytest.mark.parametrize(
    ('damage', 'expected'),
    [
        (lambda raw: b'', 'is empty; download it again'),
        (lambda raw: gzip.compress(b''), 'is empty; download it again'),
        (lambda raw: raw[:-1], r'is damaged after line \d+ \(.*end-of-stream'),
        (lambda raw: raw[: len(raw) // 2], r'is damaged after line \d+ \('),
        (lambda raw: raw[:5], r'is damaged after line 0 \('),
        (lambda raw: raw + b'{}', r'is damaged after line 1000 \(Not a gzipp'),
        (
            lambda raw: raw[:999] + bytes(64) + raw[1063:],
            r'is damaged after line \d+ \(',
        ),
        (
            lambda raw: raw[:-8] + bytes([raw[-8] ^ 1]) + raw[-7:],
            r'is damaged after line 1000 \(CRC check failed',
        ),
        (lambda raw: b'{}\n', r'is damaged after line 0 \(Not a gzipped'),
        (
            lambda raw: gzip.decompress(raw),
            r'is damaged after line 0 \(Not a gzipped file .*; download it aga',
        ),
    ],
)
def test_readers_refuse_damaged_files(tmp_path, read, damage, expected):
    rng = random.Random(0)
    lines = [review(asin=f'{rng.random()}') for _ in range(1_000)]
    path = write(tmp_path, 'a.gz', *lines)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=f"^'{path}' {expected}"):
        read(path)


def test_readers_refuse_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'reviews\.gz'):
        read_reviews(tmp_path / 'reviews.gz')
    with pytest.raises(FileNotFoundError, match=r'meta\.gz'):
        read_metadata(tmp_path / 'meta.gz', [])
    with pytest.raises(FileNotFoundError, match=r'image\.b'):
        read_image_features(tmp_path / 'image.b', [])


# Metadata ####################################################################


def test_read_metadata(tmp_path):
    path = write(tmp_path, 'meta_Baby.json.gz', *METADATA)
    items = ['B00000000Z', '097290000X', 'B00000000Y', 'B000000000']
    metadata = read_metadata(path, items)
    assert metadata == {
        '097290000X': {
            'title': "Bottle – 'pink'",
            'brand': 'A & B',
            'categories': [['Baby', 'Feeding'], ['Gifts']],
            'description': "It's é soft\nand \\ ™",
        },
        'B00000000Y': {'brand': '', 'categories': [['Baby']]},
        'B00000000Z': {'title': '™'},
    }
    assert read_metadata(path, {'B00000000Y'}) == {
        'B00000000Y': metadata['B00000000Y']
    }
    assert read_metadata(path, []) == {}


HOSTILE = [
    b'__import__("os").mkdir("TRACE")',
    b"{'asin': __import__('os').mkdir('TRACE')}",
    b"{'asin': 'B1', 'title': open('TRACE', 'w')}",
    b"{'asin': 'B1', 'title': f'{open(\"TRACE\", \"w\")}'}",
    b"{'asin': 'B1', **{'title': 'A'}}",
    b'[' * 100_000,
    b"{'asin': " * 100_000,
    b'(' * 50_000 + b')' * 50_000,
    b'-' * 100_000 + b'1',
    b'1+' * 20_000 + b'1',
    b'a' + b'.a' * 20_000,
    b"{'asin': 'B1', 'price': " + b'9' * 10_000 + b'}',
    b"{'asin': 'B1', 'price': 0x" + b'f' * 2_000 + b' + 1j}',
    b"{'asin': 'B\0'}",
    b"{'asin': 'B1'}\r{'asin': 'B2'}",
    b"{'asin': 'B1', 'title': '\xff'}",
    b"{'asin': 'B1', {}: 1}",
    b"{'asin': 'B1'",
    b"{'asin': 'B1'};",
    b"('asin', 'B1')",
    b'{"asin": "B1", "price": NaN}',
    b'\xff',
]


@pytest.mark.parametrize('line', HOSTILE)
def test_read_metadata_executes_nothing(tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, 'meta.gz', METADATA[0], line)
    message = (
        f"^'{path}', line 2: expected a Python dictionary or a JSON object, "
        f'got b.{{,40}};'
    )
    with pytest.raises(ValueError, match=message):
        read_metadata(path, ['B1'])
    assert [entry.name for entry in tmp_path.iterdir()] == ['meta.gz']


@pytest.mark.parametrize(
    ('line', 'expected'),
    [
        (b'{}', "'asin' is missing"),
        (b"{'asin': 1}", "'asin' is 1, expected a string of printable"),
        (b"{'asin': b'B1'}", "'asin' is b'B1', expected a string"),
        (b"{'asin': 'B\\x00'}", r"'asin' is 'B\\x00', expected a string"),
        (b"{'asin': '\\udc80'}", r"'asin' is '\\udc80', expected a string"),
        (b"{'asin': [0x" + b'f' * 9_999 + b']}', "'asin' is too long to print"),
        (
            b"{'asin': " + b'[' * 90 + b']' * 90 + b'}',
            r"'asin' is \[.{,40}\], expected a string of printable characters",
        ),
        (
            b"{'asin': 'B1', 'title': 3.5}",
            "'title' is 3.5, expected a string of valid characters",
        ),
        (
            b"{'asin': 'B1', 'title': 'A \\ud800 B'}",
            r"'title' is 'A \\ud800 B', expected a string of valid characters",
        ),
        (b"{'asin': 'B1', 'brand': ['A']}", r"'brand' is \['A'\], expected"),
        (b"{'asin': 'B1', 'description': 0}", "'description' is 0, expected"),
        (
            b"{'asin': 'B1', 'categories': ['A']}",
            r"'categories' is \['A'\], expected a list of lists of strings",
        ),
        (b"{'asin': 'B1', 'categories': 'A'}", "'categories' is 'A', expected"),
        (
            b"{'asin': 'B1', 'categories': [['A', 1]]}",
            r"'categories' is \[\['A', 1\]\], expected",
        ),
        (
            b"{'asin': 'B1', 'categories': [['\\ud800']]}",
            r"'categories' is \[\['\\ud800'\]\], expected",
        ),
    ],
)
def test_read_metadata_refuses_invalid_lines(tmp_path, line, expected):
    path = write(tmp_path, 'meta.gz', METADATA[0], b'', line)
    message = f"^'{path}', line 3: {expected}.*; download .* skip_invalid=True"
    with pytest.raises(ValueError, match=message):
        read_metadata(path, ['B1'])


@pytest.mark.parametrize(
    'line',
    [
        b"{'asin': 'B1', 'title': 'a', 'title': 'b'}",
        b"{'asin': 'B1', 'related': {'title': [], 'title': ['B2']}}",
        b"{'asin': 'B1', 'x': [(1, {'title': 1, 'title': 1})]}",
        b'{"asin": "B1", "title": "a", "title": "b"}',
    ],
)
def test_read_metadata_refuses_keys_that_are_there_twice(tmp_path, line):
    path = write(tmp_path, 'a.gz', METADATA[0], line)
    message = f"^'{path}', line 2: the key 'title' is there twice; download"
    with pytest.raises(ValueError, match=message):
        read_metadata(path, ['B1'])
    with pytest.warns(
        UserWarning, match=r'1 is malformed \(in line 2: the key'
    ):
        assert read_metadata(path, ['B1'], skip_invalid=True) == {}


def test_read_reviews_refuses_keys_that_are_there_twice(tmp_path):
    line = review().replace(b'{', b'{"overall": 1.0, ')
    path = write(tmp_path, 'a.gz', *REVIEWS, line)
    message = f"^'{path}', line 4: the key 'overall' is there twice"
    with pytest.raises(ValueError, match=message):
        read_reviews(path)


def test_read_metadata_passes_over_other_items(tmp_path):
    broken = b"{'asin': 'B1', 'title': "
    path = write(tmp_path, 'meta.gz', METADATA[1], METADATA[0], broken)
    assert len(read_metadata(path, ['B00000000Y'])) == 1
    with pytest.raises(ValueError, match='line 3: expected a Python'):
        read_metadata(path, ['B1'])


def test_read_metadata_refuses_repeated_items(tmp_path):
    path = write(tmp_path, 'meta.gz', *METADATA, METADATA[1])
    with pytest.raises(ValueError) as info:
        read_metadata(path, ['B00000000Y'])
    assert str(info.value).startswith(
        f"'{path}', line 4: item 'B00000000Y' has two, the first is line 2;"
    )
    assert len(read_metadata(path, ['B00000000Z'])) == 1


def test_read_metadata_skips_invalid_lines(tmp_path):
    lines = [
        b"{'asin': 'B1', 'title': 'first'}",
        b"{'asin': 'B2', 'title': 2}",
        b"{'asin': 'B1', 'title': 'second'}",
        b'no dictionary',
        b"{'asin': 'B2', 'title': 'third'}",
    ]
    path = write(tmp_path, 'meta.gz', *lines)
    with pytest.warns(UserWarning) as caught:
        metadata = read_metadata(path, ['B1', 'B2'], skip_invalid=True)
    assert [str(warning.message) for warning in caught] == [
        f"'{path}': 3 invalid lines skipped: 2 are malformed (the first in "
        f"line 2: 'title' is 2, expected a string of valid characters), 1 "
        f"repeats an item (in line 3: item 'B1' has two, the first is line 1)"
    ]
    assert metadata == {'B1': {'title': 'first'}, 'B2': {'title': 'third'}}


# Image features ##############################################################


def test_read_image_features(tmp_path):
    x = np.random.rand(3, 4096).astype(np.float32)
    asins = [b'B00000000Y', b'097290000X', b'B00000000Z']
    path = write_images(tmp_path, list(zip(asins, x, strict=True)))
    assert path.stat().st_size == 3 * (10 + 4 * 4096)

    items = ['097290000X', 'B000000000', 'B00000000Y']
    features, has = read_image_features(path, items)
    assert features.dtype == torch.float32
    assert features.is_contiguous()
    assert features.numpy().tolist() == [
        x[1].tolist(),
        [0.0] * 4096,
        x[0].tolist(),
    ]
    assert has.tolist() == [True, False, True]


@pytest.mark.parametrize('num_records', [1, 256, 257, 600])
def test_read_image_features_in_chunks(tmp_path, num_records):
    records = [(f'{i:010d}'.encode(), [i]) for i in range(num_records)]
    path = write_images(tmp_path, records)
    items = [f'{i:010d}' for i in reversed(range(num_records))]
    x, has = read_image_features(path, items, num_features=1)
    assert x.view(-1).tolist() == [*reversed(range(num_records))]
    assert has.all()


@pytest.mark.parametrize(
    ('asin', 'x', 'expected'),
    [
        (b'\xe9000000001', [0, 0], "the ASIN 'é000000001' is not printable"),
        (b'\x00000000000', [0, 0], r"the ASIN '\\x00000000000' is not print"),
        (b'B000000000', [0, np.nan], "the features of 'B000000000' are not f"),
        (b'B000000000', [np.inf, 0], "the features of 'B000000000' are not f"),
        (b'0000000001', [0, 0], "item '0000000001' has two, the first is rec"),
    ],
)
def test_read_image_features_refuses_invalid_records(
    tmp_path, asin, x, expected
):
    records = [(f'{i:010d}'.encode(), [1.0, 2.0]) for i in range(298)]
    path = write_images(tmp_path, [*records, (asin, x), *records[2:]])
    message = f"^'{path}', record 299: {expected}.*; download .* skip_invalid="
    with pytest.raises(ValueError, match=message):
        read_image_features(path, ['0000000001', 'B000000000'], num_features=2)


def test_read_image_features_skips_invalid_records(tmp_path):
    records = [
        (b'0000000001', [1, 1]),
        (b'0000000002', [np.nan, 2]),
        (b'000000\xff003', [3, 3]),
        (b'0000000001', [4, 4]),
        (b'0000000002', [5, 5]),
        (b'0000000006', [np.nan, 6]),  # Nobody asks for it.
    ]
    path = write_images(tmp_path, records)
    items = ['0000000001', '0000000002']
    with pytest.warns(UserWarning) as caught:
        x, has = read_image_features(path, items, True, num_features=2)
    assert [str(warning.message) for warning in caught] == [
        f"'{path}': 3 invalid records skipped: 1 has features that are not "
        f"finite (in record 2: the features of '0000000002' are not finite), 1 "
        f'has an ASIN that is not printable ASCII (in record 3: the ASIN '
        f"'000000ÿ003' is not printable ASCII), 1 repeats an item (in record "
        f"4: item '0000000001' has two, the first is record 1)"
    ]
    assert x.tolist() == [[1, 1], [5, 5]]
    assert has.all()


@pytest.mark.parametrize('size', [0, 1, 10, 16_393, 16_395, 2 * 16_394 - 4])
def test_read_image_features_refuses_broken_records(tmp_path, size):
    path = tmp_path / 'image.b'
    path.write_bytes(b'0' * size)
    message = f"^'{path}' has {size:,} bytes, expected .* 16,394 bytes each; do"
    with pytest.raises(ValueError, match=message):
        read_image_features(path, [], skip_invalid=True)


# Memory ######################################################################


def peak_of(function: object, *args: object) -> int:
    """Return the bytes that a call had allocated at most."""
    tracemalloc.start()
    try:
        function(*args)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_read_image_features_keeps_only_a_chunk(tmp_path):
    records = [(f'{i:010d}'.encode(), np.ones(4096)) for i in range(2_000)]
    path = write_images(tmp_path, records)
    assert path.stat().st_size > 32_000_000
    assert peak_of(read_image_features, path, ['0000000009']) < 16_000_000


def test_readers_keep_only_a_line(tmp_path):
    text = 'word ' * 2_000
    lines = [review(asin=f'{i}', reviewText=text) for i in range(1_000)]
    path = write(tmp_path, 'reviews.gz', *lines)
    assert len(gzip.decompress(path.read_bytes())) > 10_000_000
    assert peak_of(read_reviews, path) < 1_000_000

    lines = [
        repr({'description': text, 'asin': f'{i}'}).encode()
        for i in range(1_000)
    ]
    path = write(tmp_path, 'meta.gz', *lines)
    assert peak_of(read_metadata, path, ['9']) < 1_000_000


# Any content #################################################################

TEXTS = st.text(max_size=12)
IDS = st.text(
    st.characters(categories=['L', 'N', 'P', 'S']), min_size=1, max_size=12
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
    ),
    max_leaves=5,
)
NUMBERS = st.integers(-100, 100) | st.floats(
    width=32, allow_nan=False, allow_infinity=False
)


@st.composite
def review_records(draw):
    """Draw reviews of different pairs, their fields in any order."""
    pairs = draw(st.lists(st.tuples(IDS, IDS), min_size=1, unique=True))
    records = []
    for user, item in pairs:
        record = {
            **draw(st.dictionaries(TEXTS, JSON, max_size=3)),
            'reviewerID': user,
            'asin': item,
            'overall': draw(NUMBERS),
            'unixReviewTime': draw(st.integers(-(2**63), 2**63 - 1)),
        }
        order = draw(st.permutations([*record]))
        records.append({key: record[key] for key in order})
    return records


@settings(max_examples=40, deadline=None)
@given(review_records(), st.booleans())
def test_read_reviews_round_trip(records, ensure_ascii):
    lines = [
        json.dumps(record, ensure_ascii=ensure_ascii).encode()
        for record in records
    ]
    with tempfile.TemporaryDirectory() as root:
        reviews = read_reviews(write(root, 'a.gz', *lines))
    assert reviews.users == sorted({r['reviewerID'] for r in records})
    assert reviews.items == sorted({r['asin'] for r in records})
    rows = zip(
        [reviews.users[i] for i in reviews.user],
        [reviews.items[i] for i in reviews.item],
        reviews.rating.tolist(),
        reviews.time.tolist(),
        strict=True,
    )
    keys = ('reviewerID', 'asin', 'overall', 'unixReviewTime')
    assert [*rows] == [tuple(r[key] for key in keys) for r in records]


@st.composite
def products(draw):
    """Draw metadata in the schema of the original, fields in any order."""
    optional = {
        'title': TEXTS,
        'brand': TEXTS,
        'description': TEXTS,
        'categories': st.lists(st.lists(TEXTS, max_size=3), max_size=3),
        'price': st.floats(allow_nan=False, allow_infinity=False),
        'imUrl': TEXTS,
        'related': st.dictionaries(TEXTS, st.lists(TEXTS, max_size=3)),
        'salesRank': st.dictionaries(TEXTS, st.integers(0), max_size=1),
    }
    keys = draw(st.permutations(['asin', *optional]))
    keys = keys[draw(st.integers(0, len(keys) - 1)) :]
    values = {key: draw(optional[key]) for key in keys if key != 'asin'}
    asin = draw(st.from_regex('[0-9A-Z]{10}', fullmatch=True) | IDS)
    first = draw(st.booleans())
    return {'asin': asin, **values} if first else {**values, 'asin': asin}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(products(), min_size=1, unique_by=lambda record: record['asin']),
    st.data(),
)
def test_read_metadata_round_trip(records, data):
    keys = ('title', 'brand', 'description', 'categories')
    everything = {
        record['asin']: {key: record[key] for key in keys if key in record}
        for record in records
    }
    items = data.draw(st.sets(st.sampled_from([*everything, 'unknown'])))
    lines = [repr(record).encode() for record in records]
    with tempfile.TemporaryDirectory() as root:
        metadata = read_metadata(write(root, 'a.gz', *lines), items)
    assert metadata == {
        item: values for item, values in everything.items() if item in items
    }


@st.composite
def damaged_lines(draw):
    """Draw random bytes, or a valid line with some of its bytes replaced."""
    line = draw(st.sampled_from([*REVIEWS, *METADATA, b'']))
    start, end = sorted(draw(st.integers(0, len(line))) for _ in range(2))
    return line[:start] + draw(st.binary(max_size=20)) + line[end:]


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
@pytest.mark.filterwarnings('ignore::SyntaxWarning')
@settings(max_examples=100, deadline=None)
@given(st.lists(damaged_lines(), min_size=1, max_size=3))
def test_readers_raise_nothing_but_value_errors(lines):
    items = ['097290000X', 'B00000000Y', 'B00000000Z']
    with tempfile.TemporaryDirectory() as root:
        path = write(root, 'a.gz', *lines)
        for read in (read_reviews, lambda path: read_metadata(path, items)):
            try:
                read(path)
            except ValueError as error:
                assert f"'{path}'" in str(error)


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.from_regex('[ -~]{10}', fullmatch=True),
        st.lists(
            st.floats(width=32, allow_nan=False, allow_infinity=False),
            min_size=3,
            max_size=3,
        ),
        min_size=1,
    ),
    st.data(),
)
def test_read_image_features_round_trip(records, data):
    order = data.draw(st.permutations([*records]))
    items = data.draw(st.permutations([*records, 'unknown']))
    items = items[: data.draw(st.integers(0, len(items)))]
    with tempfile.TemporaryDirectory() as root:
        path = write_images(
            root, [(asin.encode(), records[asin]) for asin in order]
        )
        x, has = read_image_features(path, items, num_features=3)
    assert x.tolist() == [records.get(item, [0.0] * 3) for item in items]
    assert has.tolist() == [item in records for item in items]


@pytest.mark.parametrize(
    'line',
    [
        r'{"asin": "B1", "title": "24\/7 toy \ud83d\ude00", "price": null}',
        r'{ "title": "24\/7 toy \ud83d\ude00", "asin": "B1", "ok": true}',
        '{"asin": "B1", "title": "24/7 toy \U0001f600", \'price\': None}',
    ],
)
def test_metadata_in_json(tmp_path, line):
    path = tmp_path / 'meta_Baby.json.gz'
    with gzip.open(path, 'wt', encoding='utf-8') as file:
        file.write('{"asin": "B2", "title": null}\n' + line)
    found = read_metadata(path, ['B1', 'B2'])
    assert found == {'B2': {}, 'B1': {'title': '24/7 toy \U0001f600'}}


def test_a_line_that_fills_the_memory(tmp_path):
    """A gigabyte of zeros is a megabyte of a gzip file."""
    path = tmp_path / 'meta_Baby.json.gz'
    with gzip.open(path, 'wb', compresslevel=1) as file:
        file.write(b"{'asin': 'B1'}\n")
        for _ in range(64):
            file.write(b' ' * 2**20)
    message = 'line 2: it is longer than 16,777,216 bytes'
    with pytest.raises(ValueError, match=message):
        read_reviews(path, skip_invalid=True)
    with pytest.raises(ValueError, match=message):
        read_metadata(path, ['B1'])
    assert read_metadata(path, ['B1'], limits=Limits(line=2**26)) == {'B1': {}}
