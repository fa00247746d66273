"""The formats of 2018 and 2023."""

import gzip
import html
import json
import tracemalloc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_ckd.datasets.formats import amazon_2018, amazon_2023
from pyg_ckd.datasets.formats.amazon_2023 import read_benchmark
from pyg_ckd.datasets.raw.limits import Limits

NAMES = st.text('AB1', min_size=1, max_size=2)
TEXTS = st.text(st.characters(exclude_categories=['Cs']), max_size=5)
VALUES = st.none() | TEXTS | st.lists(TEXTS, max_size=2)
HEADER = 'user_id,parent_asin,rating,timestamp'


def write(path, *lines):
    with gzip.open(path, 'wt', encoding='utf-8') as file:
        file.write(''.join(f'{line}\n' for line in lines))
    return path


def write_records(path, records):
    return write(path, *map(json.dumps, records))


def review(year, user='A1', item='B1', rating=5.0, time=1_000_000):
    if year == 2018:
        keys = 'reviewerID', 'asin', 'overall', 'unixReviewTime'
        return dict(zip(keys, (user, item, rating, time), strict=True))
    keys = 'user_id', 'parent_asin', 'rating', 'timestamp'
    return dict(zip(keys, (user, item, rating, time * 1000), strict=True))


FORMATS = {2018: amazon_2018, 2023: amazon_2023}
ID = {2018: 'asin', 2023: 'parent_asin'}
years = pytest.mark.parametrize('year', FORMATS)


@years
def test_reviews(tmp_path, year):
    path = write_records(
        tmp_path / 'a.gz',
        [
            review(year, 'A2', 'B1', 4.0, 30),
            review(year, 'A1', 'B2', 5.0, 20),
            review(year, 'A1', 'B1', 1.0, -10),
        ],
    )
    found = FORMATS[year].read_reviews(path)
    assert (found.users, found.items) == (['A1', 'A2'], ['B1', 'B2'])
    order = [0, 1, 2] if year == 2018 else [2, 1, 0]  # by time
    assert found.user.tolist() == [[1, 0, 0][i] for i in order]
    assert found.item.tolist() == [[0, 1, 0][i] for i in order]
    assert found.rating.tolist() == [[4.0, 5.0, 1.0][i] for i in order]
    assert found.time.tolist() == [[30, 20, -10][i] for i in order]


@years
def test_reviews_that_are_repeated(tmp_path, year):
    times = [30, 20, 20, 40]
    records = [
        review(year, rating=float(i), time=time) for i, time in enumerate(times)
    ]
    path = write_records(tmp_path / 'a.gz', [*records, review(year, 'A2')])
    message = (
        f"'{path}': 3 invalid lines skipped: 3 repeat a user and item \\(the "
        f"first in line 2: user 'A1' and item 'B1' are paired twice, first in "
    )
    with pytest.warns(UserWarning, match=message):
        found = FORMATS[year].read_reviews(path)
    assert found.rating.tolist() == [1.0, 5.0]


def test_reviews_of_the_same_second_are_in_their_order(tmp_path):
    times = 1_588_687_728_923, 1_588_687_728_001, 1_588_687_728_500
    records = [
        {**review(2023, item=f'B{i}'), 'timestamp': time}
        for i, time in enumerate(times)
    ]
    found = amazon_2023.read_reviews(write_records(tmp_path / 'a.gz', records))
    assert found.item.tolist() == [1, 2, 0]
    assert found.time.tolist() == [1_588_687_728] * 3


@years
@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        ({'user': 7}, 'is 7, expected a string of printable characters'),
        ({'user': ''}, "is '', expected a string"),
        ({'item': 'B\n'}, r"is 'B\\n', expected a string"),
        ({'item': None}, 'is None, expected a string'),
        ({'rating': '5'}, "is '5', expected a finite number"),
        ({'rating': True}, 'is True, expected a finite number'),
        ({'rating': float('nan')}, 'expected a JSON object'),
        ({'time': 2**63}, 'expected a 64-bit integer'),
        ({'time': 1.5}, 'expected a 64-bit integer'),
    ],
)
def test_reviews_that_are_malformed(tmp_path, year, change, expected):
    lines = [review(year), review(year, **{'user': 'A2', **change})]
    path = write_records(tmp_path / 'a.gz', [lines[0], {}, lines[1]][::2])
    reader = FORMATS[year].read_reviews
    message = f"^'{path}', line 2: .*{expected}.*; download the file again, or "
    with pytest.raises(ValueError, match=message):
        reader(path)
    with pytest.warns(UserWarning, match='1 is malformed .in line 2: '):
        assert reader(path, skip_invalid=True).users == ['A1']


@years
def test_files_without_reviews(tmp_path, year):
    path = write(tmp_path / 'a.gz', '[]')
    reader = FORMATS[year].read_reviews
    with (
        pytest.warns(UserWarning, match='1 is malformed'),
        pytest.raises(ValueError, match=r"has no valid reviews; .*'<Category>"),
    ):
        reader(path, skip_invalid=True)
    with pytest.raises(ValueError, match=r'longer than 1 bytes.*line'):
        reader(path, limits=Limits(line=1))


def test_products_of_2018(tmp_path):
    record = {
        'asin': 'B1',
        'title': 'Cup &amp; saucer',
        'brand': None,
        'category': ['Home', 'Cups'],
        'feature': ['Red', 'Big&quot;'],
        'description': 'A cup',
        'rank': ['>#9 in Home', '>#1 in Cups'],
        'imageURLHighRes': ['https://a/1.jpg', 'https://a/2.jpg'],
    }
    path = write_records(tmp_path / 'a.gz', [record, {'asin': 'B2', 'rank': 7}])
    fields = 'title', 'brand', 'category', 'feature', 'description', 'rank'
    (found,) = amazon_2018.read_metadata(path, ['B1'], fields)
    assert found.texts == {
        'title': 'Cup & saucer',
        'brand': '',
        'category': 'Home Cups',
        'feature': 'Red Big"',
        'description': 'A cup',
        'rank': '>#9 in Home >#1 in Cups',
    }
    assert found.picture == 'https://a/1.jpg'
    both = list(amazon_2018.read_metadata(path, ['B2', 'B1'], ['title']))
    assert [product.item for product in both] == ['B1', 'B2']
    assert both[1][1:] == ({'title': ''}, '')


def test_products_of_2018_that_are_repeated(tmp_path):
    records = [{'asin': 'B1', 'title': f'{i}'} for i in range(3)]
    path = write_records(tmp_path / 'a.gz', records)
    with pytest.warns(
        UserWarning, match='2 repeat an item .the first in line 2'
    ):
        (found,) = amazon_2018.read_metadata(path, ['B1'], ['title'])
    assert found.texts == {'title': '0'}


def test_products_of_2023(tmp_path):
    record = {
        'parent_asin': 'B1',
        'title': 'Cup &amp; saucer',
        'features': ['Red', 'Big'],
        'description': [],
        'store': None,
        'categories': ['Home', 'Cups'],
        'details': {'Colour': 'Red', 'Rank': {'Home': 9}, 'Sizes': ['S', 'M']},
        'price': 4.99,
        'images': [
            {'thumb': 't', 'large': 'https://a/l1', 'hi_res': 'https://a/h1',
             'variant': 'PT01'},
            {'thumb': 't', 'large': 'https://a/l0', 'hi_res': 'https://a/h0',
             'variant': 'MAIN'},
        ],
        'videos': [{'title': 'x', 'url': 'https://a/v', 'user_id': ''}],
    }  # fmt: skip
    path = write_records(tmp_path / 'a.gz', [record])
    (found,) = amazon_2023.read_metadata(path, ['B1'])
    assert found.texts == {
        'title': 'Cup & saucer',
        'subtitle': '',
        'features': 'Red Big',
        'description': '',
        'store': '',
        'categories': 'Home Cups',
        'main_category': '',
        'details': 'Colour Red Rank Home 9 Sizes S M',
        'price': '4.99',
    }
    assert found.picture == 'https://a/h0'


@pytest.mark.parametrize(
    ('images', 'picture'),
    [
        (None, ''),
        ([], ''),
        ([{'variant': 'MAIN', 'large': 'l', 'hi_res': None}], 'l'),
        ([{'variant': 'MAIN', 'large': 'l'}], 'l'),
        ([{'variant': 'MAIN', 'large': None, 'hi_res': None}], ''),
        ([{'variant': 'PT01', 'large': 'l', 'hi_res': 'h'}], ''),
        ([{'large': 'l'}], ''),
    ],
)
def test_main_pictures(tmp_path, images, picture):
    record = {'parent_asin': 'B1', 'images': images}
    path = write_records(tmp_path / 'a.gz', [record])
    (found,) = amazon_2023.read_metadata(path, ['B1'], [])
    assert found == ('B1', {}, picture)


@pytest.mark.parametrize(
    ('year', 'change', 'expected'),
    [
        (
            2018,
            {'imageURLHighRes': 'a'},
            "'imageURLHighRes' is 'a', expected a",
        ),
        (
            2018,
            {'imageURLHighRes': [7]},
            r"'imageURLHighRes' is \[7\], expected",
        ),
        (2018, {'title': [[[['a']]]]}, "'title' is .*, expected text, or a"),
        (2023, {'images': {'large': []}}, "'images' is .*, expected a list of"),
        (2023, {'images': [7]}, r"'images' is \[7\], expected a list of obj"),
        (
            2023,
            {'images': [{'large': 7}]},
            "'images' is .*, expected a list of",
        ),
        (2023, {'title': '\ud800'}, "'title' is '.*', expected text"),
        (2023, {'parent_asin': ['B1']}, "'parent_asin' is .*, expected a str"),
    ],
)
def test_products_that_are_malformed(tmp_path, year, change, expected):
    records = [{ID[year]: 'B2'}, {ID[year]: 'B1', **change}]
    path = write_records(tmp_path / 'a.gz', records)
    read = FORMATS[year].read_metadata
    with pytest.raises(ValueError, match=f"^'{path}', line 2: {expected}"):
        list(read(path, ['B1', 'B2'], ['title']))
    with pytest.warns(UserWarning, match='1 is malformed'):
        found = list(read(path, ['B1', 'B2'], ['title'], skip_invalid=True))
    assert [product.item for product in found] == ['B2']


def test_products_of_2023_that_are_repeated(tmp_path):
    records = [{'parent_asin': 'B1'}, {'parent_asin': 'B1'}]
    path = write_records(tmp_path / 'a.gz', records)
    with pytest.raises(ValueError, match=r'line 2: .*first is line 1'):
        list(amazon_2023.read_metadata(path, ['B1']))
    assert not list(amazon_2023.read_metadata(path, ['B2']))


def test_a_published_split(tmp_path):
    paths = [
        write(tmp_path / 'a', HEADER, 'A1,B1,5.0,3000', 'A2,B1,3,1000'),
        write(tmp_path / 'b', 'A1,B2,1.0,5999'),
        write(tmp_path / 'c', HEADER, 'A2,B3,4.5,2000'),
    ]
    found, label = read_benchmark(paths)
    assert (found.users, found.items) == (['A1', 'A2'], ['B1', 'B2', 'B3'])
    assert found.user.tolist() == [1, 1, 0, 0]
    assert found.item.tolist() == [0, 2, 0, 1]
    assert found.rating.tolist() == [3.0, 4.5, 5.0, 1.0]
    assert found.time.tolist() == [1, 2, 3, 5]
    assert label.tolist() == [0, 2, 0, 1]
    assert label.dtype == torch.int64


def test_a_published_split_that_leaks(tmp_path):
    """A pair of training is in the test as well."""
    paths = [
        write(tmp_path / 'a', HEADER, 'A1,B1,5.0,3000'),
        write(tmp_path / 'b', HEADER, 'A1,B2,5.0,3000'),
        write(tmp_path / 'c', HEADER, 'A1,B1,5.0,2000'),
    ]
    message = f"'{paths[2]}', line 2: .* twice, first in line 2 of '{paths[0]}'"
    with pytest.raises(ValueError, match=message):
        read_benchmark(paths)
    with pytest.warns(UserWarning, match='1 repeats a user and item'):
        found, label = read_benchmark(paths, skip_invalid=True)
    assert (found.item.tolist(), label.tolist()) == ([0, 1], [2, 1])


@pytest.mark.parametrize(
    'row',
    [
        *('A1,B1,5.0', 'A1,B1,5.0,1,B2', ',B1,5.0,1', 'A1,B1,nan,1'),
        *('A1,B1,inf,1', 'A1,B1,1e9,1', 'A1,B1,1_0,1', 'A1,B1,5.0,1.5'),
        *('A1,B1,5.0,٣', '"A1",B1,5.0,1', 'A1,B\u20281,5.0,1'),
        *(f'A1,B1,5.0,{2**63}', f'A1,B1,{"9" * 50},1', HEADER),
        *('user_id,parent_asin,rating,timestamp,history', 'A1\tB1\t5.0\t1'),
    ],
)
def test_rows_that_are_malformed(tmp_path, row):
    paths = [
        write(tmp_path / 'a', HEADER, 'A1,B1,5.0,3000'),
        write(tmp_path / 'b', HEADER, 'A1,B2,5.0,3000', row),
        write(tmp_path / 'c', HEADER, 'A1,B3,5.0,2000'),
    ]
    message = f"'{paths[1]}', line 3: expected values of '{HEADER}', got b"
    with pytest.raises(ValueError, match=message):
        read_benchmark(paths)
    with pytest.warns(UserWarning, match='1 is malformed'):
        assert len(read_benchmark(paths, skip_invalid=True)[1]) == 3


ROWS = st.lists(
    st.tuples(
        *(NAMES, NAMES, st.floats(-1e9, 1e9, width=32), st.integers(0, 10**12))
    ),
    max_size=6,
    unique_by=lambda row: row[:2],
)


@settings(max_examples=40, deadline=None)
@given(ROWS, st.sampled_from([2018, 2023]))
def test_reviews_round_trip(tmp_path_factory, rows, year):
    records = [review(year, *row) for row in rows]
    path = tmp_path_factory.mktemp('a') / 'a.gz'
    if not rows:
        write(path, '')
        with pytest.raises(ValueError, match='has no valid reviews'):
            FORMATS[year].read_reviews(path)
        return
    found = FORMATS[year].read_reviews(write_records(path, records))
    triples = zip(
        [found.users[i] for i in found.user],
        [found.items[i] for i in found.item],
        found.rating.tolist(),
        found.time.tolist(),
        strict=True,
    )
    if year == 2023:
        rows = sorted(rows, key=lambda row: row[3])
    assert list(triples) == rows


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from([2018, 2023]))
def test_products_round_trip(tmp_path_factory, data, year):
    reader = FORMATS[year]
    records = data.draw(
        st.lists(
            st.fixed_dictionaries(
                {ID[year]: NAMES},
                optional={field: VALUES for field in reader.FIELDS},
            ),
            unique_by=lambda record: record[ID[year]],
            min_size=1,
        )
    )
    path = tmp_path_factory.mktemp('a') / 'a.gz'
    write_records(path, records)
    items = data.draw(st.lists(NAMES))
    found = list(reader.read_metadata(path, items))
    assert found == [
        (
            record[ID[year]],
            {key: joined(record.get(key)) for key in reader.FIELDS},
            '',
        )
        for record in records
        if record[ID[year]] in items
    ]


def joined(value):
    text = ' '.join(value) if isinstance(value, list) else value or ''
    return html.unescape(text)


@pytest.mark.filterwarnings('ignore:.*invalid line:UserWarning')
@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.binary(max_size=20)
        | st.sampled_from(
            [
                *(
                    b'{"user_id": "A", "parent_asin": "B", "rating": 1,',
                    b'NaN}',
                ),
                *(b'{"asin": "B"}', b'{"parent_asin": "B"}', b'A,B,1.0,7'),
                json.dumps(review(2018)).encode(),
                json.dumps(review(2023)).encode(),
            ]
        )
    ),
    st.booleans(),
)
def test_readers_raise_nothing_but_value_errors(
    tmp_path_factory, lines, skip_invalid
):
    path = tmp_path_factory.mktemp('a') / 'a.gz'
    path.write_bytes(gzip.compress(b'\n'.join(lines), 1))
    for read in (
        *(amazon_2018.read_reviews, amazon_2023.read_reviews),
        lambda path, skip: read_benchmark([path], skip),
        lambda path, skip: list(
            amazon_2018.read_metadata(path, ['B'], skip_invalid=skip)
        ),
        lambda path, skip: list(
            amazon_2023.read_metadata(path, ['B'], skip_invalid=skip)
        ),
    ):
        try:
            read(path, skip_invalid)
        except ValueError as error:
            assert f"'{path}'" in str(error)


@years
def test_readers_keep_only_a_line(tmp_path, year):
    """Long texts of reviews and of other items do not stay in memory."""
    text = 'x' * 100_000
    path = tmp_path / 'a.gz'
    with gzip.open(path, 'wt', compresslevel=1) as file:
        for i in range(100):
            record = {**review(year, f'A{i}', f'B{i}'), 'text': text}
            file.write(json.dumps({**record, 'title': text}) + '\n')
    reader = FORMATS[year]
    for read in (
        reader.read_reviews,
        lambda path: [len(p.texts) for p in reader.read_metadata(path, ['B7'])],
    ):
        tracemalloc.start()
        read(path)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000  # of 20 MB
        tracemalloc.stop()


@years
def test_keys_that_are_there_twice(tmp_path, year):
    key = ID[year]
    lines = [
        json.dumps({key: 'B1', 'title': 'A cup'}),
        f'{{"{key}": "B2", "title": "A pot", "title": "A pan"}}',
    ]
    path = write(tmp_path / 'meta.gz', *lines)
    read = FORMATS[year].read_metadata
    message = f"^'{path}', line 2: the key 'title' is there twice; download"
    with pytest.raises(ValueError, match=message):
        list(read(path, ['B1', 'B2'], ['title']))
    message = '1 is malformed .in line 2: the key .title. is there twice.'
    with pytest.warns(UserWarning, match=message):
        found = list(read(path, ['B1', 'B2'], ['title'], skip_invalid=True))
    assert [product.item for product in found] == ['B1']

    text = json.dumps(review(year, 'A2'))
    twice = text.replace('{', '{"extra": 1, "extra": 2, ')
    path = write(tmp_path / 'a.gz', text, twice)
    message = f"^'{path}', line 2: the key 'extra' is there twice"
    with pytest.raises(ValueError, match=message):
        FORMATS[year].read_reviews(path)
