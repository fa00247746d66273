import base64
import csv
import gzip
import os
import zlib
from datetime import date, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_ckd.datasets.formats.tables import digest_of, read_table
from pyg_ckd.datasets.raw.limits import Limits


def write(root, content, name='a.csv'):
    path = root / name
    if isinstance(content, str):
        content = content.encode()
    path.write_bytes(content)
    return path


def values(path, *columns):
    return read_table(path, columns).to_numpy().tolist()


@pytest.mark.parametrize(
    ('name', 'separator'),
    [('a.csv', ','), ('a.CSV', ','), ('a.tsv', '\t'), ('a.inter', '\t')],
)
def test_read_table(tmp_path, name, separator):
    lines = ['user,item,price', '007,x,1', 'ann,NA,', '1.0, y ,null']
    text = '\n'.join(lines).replace(',', separator)
    table = read_table(write(tmp_path, text, name), ['item', 'user'])

    assert list(table) == ['item', 'user']
    assert table.index.tolist() == [0, 1, 2]
    assert table.to_numpy().tolist() == [
        ['x', '007'],
        ['NA', 'ann'],
        [' y ', '1.0'],
    ]


@pytest.mark.parametrize(
    'content',
    [
        b'\xef\xbb\xbfuser,item\nann,x\n',  # Excel's mark of UTF-8
        b'\xef\xbb\xbf"user","item"\nann,x\n',
        b'user,item\r\nann,x\r\n',
        b'user,item\rann,x\r',
        b'user,item\n\nann,x\n\n',
        b'user,item\n"ann","x"',
    ],
)
def test_read_table_reads_what_programs_write(tmp_path, content):
    path = write(tmp_path, content)
    assert values(path, 'user', 'item') == [['ann', 'x']]


def test_read_table_fills_missing_fields(tmp_path):
    path = write(tmp_path, 'user,item\nann\nbob,\n')
    assert values(path, 'user', 'item') == [['ann', ''], ['bob', '']]


def test_read_table_keeps_numbers_as_they_are_written(tmp_path):
    path = write(tmp_path, 'user,item\n007,1.50\n8,1e3\n')
    assert values(path, 'user', 'item') == [['007', '1.50'], ['8', '1e3']]


def test_read_table_without_rows(tmp_path):
    path = write(tmp_path, 'user,item\n')
    assert values(path, 'item') == []


def test_read_table_reads_a_column_once(tmp_path):
    path = write(tmp_path, 'user,item\nann,x\n')
    assert values(path, 'item', 'item') == [['x']]


TEXT = st.text(st.sampled_from('a"\n\r\t,; \ufeff')) | st.text(
    st.characters(codec='utf-8', exclude_characters='\0')
)


@settings(deadline=None, max_examples=50)
@given(rows=st.lists(st.tuples(TEXT, TEXT), min_size=1), tabs=st.booleans())
def test_read_table_round_trip(tmp_path_factory, rows, tabs):
    path = tmp_path_factory.mktemp('a') / ('a.tsv' if tabs else 'a.csv')
    with open(path, 'w', encoding='utf-8', newline='') as file:
        writer = csv.writer(
            file, delimiter='\t' if tabs else ',', quoting=csv.QUOTE_ALL
        )
        writer.writerow(['user', 'item'])
        writer.writerows(rows)

    assert values(path, 'user', 'item') == [list(row) for row in rows]


@pytest.mark.parametrize(
    ('content', 'expected'),
    [
        (b'', "a.csv' is not a table"),
        (b'user,item\nann,\xff\n', "a.csv' is not a table.*utf-8"),
        ('user,item\nann,x\n'.encode('utf-16'), "a.csv' looks .* UTF-16: save"),
        ('user,item\nann,Grün\n'.encode('cp1252'), 'looks .* Windows-1252 .*8'),
        (b'user,item\nann,x\nann,y,z\n', "a.csv' is not a table.*line 3"),
        (b'user,item\nann,"x\n', "a.csv' is not a table.*EOF inside string"),
        (b'user,item\nann,x,y\n', "a.csv' has more fields in line 2"),
        (b'user,item\nann,x,\n', "a.csv' has more fields in line 2"),
        (b'user,item\nann,x\0y\n', "a.csv' has a null byte in line 2; remove"),
        (b'user,item,item\nann,x,y\n', "a.csv' has the column 'item' twice"),
        (b'user,thing\nann,x\n', "a.csv' has no column 'item' .*'user', 'thi"),
        (b'user, item\nann,x\n', "no column 'item' .it has 'user', ' item'"),
        (
            b'user item\nann x\n',
            "no column 'user' .it has 'user item'.*, or by",
        ),
        (
            b'user\titem\nann\tx\n',
            "a.csv' looks separated by tabs: save it with",
        ),
        (
            b'user;item\nann;x\n',
            "a.csv' looks separated by ';': save it with c",
        ),
        # Commas of decimals, in some lines or in all:
        (b'user;item\nann;2\nbob;1,5\n', "a.csv' looks separated by ';': save"),
        (b'user;item\nann;1,5\nbob;2,5\n', "a.csv' looks separated by ';': s"),
    ],
)
def test_read_table_refuses_malformed_files(tmp_path, content, expected):
    path = write(tmp_path, content)
    with pytest.raises(ValueError, match=expected):
        read_table(path, ['user', 'item'])


def test_read_table_refuses_other_paths(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file '.*b.csv'"):
        read_table(tmp_path / 'b.csv', ['user'])
    with pytest.raises(FileNotFoundError, match='no file'):
        read_table(tmp_path, ['user'])
    path = write(tmp_path, 'user\nann\n', 'a.xlsx')
    with pytest.raises(ValueError, match=r'a.xlsx.*\.csv, \.tsv.*\.parquet'):
        read_table(path, ['user'])


def test_read_table_reads_parquet(tmp_path):
    pyarrow = pytest.importorskip('pyarrow', reason='Parquet needs pyarrow')
    parquet = pytest.importorskip('pyarrow.parquet')
    columns = {
        'user': ['007', None, 'ann'],
        'item': [7, None, 2**60 + 1],
        'rating': [4.0, 0.5, None],
        'time': [datetime(2024, 1, 31, 12, 30), None, datetime(1970, 1, 1)],
        'day': [date(2024, 1, 31), None, date(1970, 1, 1)],
    }
    expected = [
        ['007', '7', '4.0', '2024-01-31 12:30:00', '2024-01-31'],
        ['', '', '0.5', '', ''],
        ['ann', str(2**60 + 1), '', '1970-01-01 00:00:00', '1970-01-01'],
    ]
    path = tmp_path / 'a.parquet'
    parquet.write_table(pyarrow.table(columns), path)
    assert values(path, *columns) == expected
    columns['item'] = pd.array(columns['item'], dtype='Int64')
    pd.DataFrame(columns).to_parquet(path)
    assert values(path, *columns) == expected
    with pytest.raises(ValueError, match=r"a.parquet' has no column 'price'"):
        read_table(path, ['price'])


def test_read_table_reads_names_of_rows_in_parquet(tmp_path):
    pytest.importorskip('pyarrow', reason='Parquet needs pyarrow')
    path = tmp_path / 'a.parquet'
    table = pd.DataFrame({'user': ['bob', 'ann', 'eve'], 'item': [1, 2, 3]})

    table.set_index('item').to_parquet(path)
    assert values(path, 'user', 'item')[2] == ['eve', '3']

    table[1:].to_parquet(path)
    assert read_table(path, ['user']).index.tolist() == [0, 1]


def test_read_table_refuses_damaged_parquet(tmp_path):
    pytest.importorskip('pyarrow', reason='Parquet needs pyarrow')
    path = tmp_path / 'a.parquet'
    pd.DataFrame({'user': ['ann'] * 100}).to_parquet(path)
    os.truncate(path, path.stat().st_size - 10)
    with pytest.raises(ValueError, match=r"a.parquet' is not a complete"):
        read_table(path, ['user'])


def test_read_table_says_that_parquet_needs_pyarrow(tmp_path):
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        path = write(tmp_path, b'PAR1', 'a.parquet')
        with pytest.raises(ImportError, match=r"a.parquet.*'pyarrow'"):
            read_table(path, ['user'])
    else:
        pytest.skip('pyarrow is installed')


def test_lists_in_parquet(tmp_path):
    """As Amazon's data of 2023 has the sentences of a description."""
    table = pd.DataFrame(
        {
            'item': ['a', 'b', 'c', 'd'],
            'features': [['soft toy', 'blue'], [], None, ['one', None, '']],
            'paths': [[['Baby', 'Toys'], ['New']], [[]], [], None],
            'sizes': [[1.5, None], [2.0], [], None],
        }
    )
    table.to_parquet(tmp_path / 'items.parquet')
    assert values(tmp_path / 'items.parquet', 'features', 'paths', 'sizes') == [
        ['soft toy blue', 'Baby Toys New', '1.5'],
        ['', '', '2.0'],
        ['', '', ''],
        ['one', '', ''],
    ]


@pytest.mark.parametrize(
    ('content', 'expected'),
    [
        (b'user,item\nann,' + b'x' * 100, r'more than 100 bytes in line 2; .*'),
        (b'"us\ner",' + b'a,' * 20, r'more than 20 columns in line 2; .*'),
        (
            b'user\n"ann\nlee"' + b',' * 20,
            r'more than 20 columns in line 3; .*',
        ),
        (b'user\n5" ann' + b',' * 20, r'more than 20 columns in line 2; .*'),
        (b'\n\n' + b',' * 20 + b'\n', r'more than 20 columns in line 3; .*'),
    ],
)
def test_limits_of_a_text(tmp_path, content, expected):
    path = write(tmp_path, content)
    limits = Limits(line=100, columns=20)
    with pytest.raises(ValueError, match=f'a.csv.*{expected}limits=Limits'):
        read_table(path, ['user'], limits=limits)
    path = write(tmp_path, b'user,item\nann,' + b'x' * 100)
    assert values(path, 'user') == [['ann']]


@pytest.mark.parametrize(
    ('row', 'item'),
    [
        ('ann,"{}"', '{}'),
        ('ann,"a ""{}"" b"', 'a "{}" b'),
        ('ann,"a\n{}\n"', 'a\n{}\n'),
        ('ann,5" {}', None),
    ],
)
def test_commas_in_text_are_no_columns(tmp_path, row, item):
    commas = ',' * 30
    path = write(tmp_path, f'user,item\n{row.format(commas)}\nbob,"x,\n,y"\n')
    if item is None:
        with pytest.raises(ValueError, match='more than 20 columns in line 2'):
            read_table(path, ['user'], limits=Limits(columns=20))
        return
    table = read_table(path, ['item'], limits=Limits(columns=20))
    assert table['item'].tolist() == [item.format(commas), 'x,\n,y']


def test_the_first_row_is_no_reason_to_wait(tmp_path):
    path = write(tmp_path, b'user,item\nann' + b',' * 1_000_000 + b'\nbob,x\n')
    with pytest.raises(ValueError, match='more than 10,000 columns in line 2'):
        read_table(path, ['user'])
    path = write(tmp_path, b'user,item\nann' + b',' * 9_000 + b'\nbob,x\n')
    with pytest.raises(ValueError, match='more fields in line 2'):
        read_table(path, ['user'])


def test_a_field_of_any_length(tmp_path):
    """The limit is that of a line, not of a field as in the module csv."""
    text = 'x' * 1_000_000
    path = write(tmp_path, f'user,item\nann,"{text}"\n')
    assert values(path, 'item') == [[text]]


def test_limits_of_parquet(tmp_path):
    pyarrow = pytest.importorskip('pyarrow', reason='Parquet needs pyarrow')
    parquet = pytest.importorskip('pyarrow.parquet')

    def write_parquet(**columns):
        path = tmp_path / 'a.parquet'
        parquet.write_table(pyarrow.table(columns), path, store_schema=False)
        return path

    # Many values in a few bytes:
    path = write_parquet(user=pyarrow.nulls(5_000_000, pyarrow.int8()))
    assert path.stat().st_size < 50_000
    with pytest.raises(ValueError, match=r'a.parquet.* unpacks to .*unpacked='):
        read_table(path, ['user'])

    # A text that is there once, for many rows or many entries:
    index = pyarrow.array([0] * 300, pyarrow.int32())
    texts = pyarrow.DictionaryArray.from_arrays(index, ['x' * 100_000])
    path = write_parquet(user=texts)
    assert read_table(path, ['user']).iat[299, 0] == 'x' * 100_000
    path = write_parquet(user=pyarrow.ListArray.from_arrays([0, 300], texts))
    with pytest.raises(ValueError, match=r'unpacks to 30,1.*unpacked='):
        read_table(path, ['user'], limits=Limits(file=2**20))
    assert len(read_table(path, ['user']).iat[0, 0]) == 30_000_299

    columns = {f'c{i}': pyarrow.array([1]) for i in range(20)}
    path = write_parquet(**columns)
    assert values(path, 'c7') == [['1']]
    with pytest.raises(ValueError, match=r'20 columns, more than 10; .*column'):
        read_table(path, ['c7'], limits=Limits(columns=10))


def test_texts_in_parquet_that_do_not_say_so(tmp_path):
    pyarrow = pytest.importorskip('pyarrow', reason='Parquet needs pyarrow')
    parquet = pytest.importorskip('pyarrow.parquet')
    path = tmp_path / 'a.parquet'
    parquet.write_table(pyarrow.table({'user': ['Jörg'.encode(), None]}), path)
    assert values(path, 'user') == [['Jörg'], ['']]
    parquet.write_table(pyarrow.table({'user': [b'\xff']}), path)
    with pytest.raises(ValueError, match=r"a.parquet' holds bytes that are no"):
        read_table(path, ['user'])


def test_two_columns_of_one_name_in_parquet(tmp_path):
    pyarrow = pytest.importorskip('pyarrow', reason='Parquet needs pyarrow')
    parquet = pytest.importorskip('pyarrow.parquet')
    path = tmp_path / 'a.parquet'
    table = pyarrow.table([[1], [2], [3]], names=['user', 'item', 'item'])
    parquet.write_table(table, path)
    assert values(path, 'user') == [['1']]
    with pytest.raises(ValueError, match=r"a.parquet' has .*'item' twice"):
        read_table(path, ['item'])


@pytest.mark.parametrize('name', ['a.csv', 'a.parquet'])
def test_a_pipe_is_no_table(tmp_path, name):
    if name.endswith('t'):
        pytest.importorskip('pyarrow', reason='Parquet needs pyarrow')
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match=f"{name}' is no regular file"):
        read_table(tmp_path / name, ['user'])


def test_lines_of_an_old_mac(tmp_path):
    path = write(tmp_path, 'user,item\r' + 'ann,x\r' * 20_000)
    assert len(read_table(path, ['user'], limits=Limits(line=20))) == 20_000
    path = write(tmp_path, 'user,item\rann,x,y\r')
    with pytest.raises(ValueError, match='more fields in line 2'):
        read_table(path, ['user'])


def test_parquet_that_would_end_the_process(tmp_path):
    """As Arrow 26 does, where what a file says of a column is damaged."""
    pytest.importorskip('pyarrow', reason='Parquet needs pyarrow')
    content = (
        'c-l=*u?~Vj4DFrdbYO8Pxl3*!BoGEQV#GMGxHvHwXBHrrXab6W`geYtm1yGdUYoqv_'
        'VutkMhNJkH$zU1K%qAfvO=<AIt2heVBirWF3?hG3{rIE$<#S=SaZp!qDT|cV@q1qx$'
        '8+l+vjp@DpQ+F??b9dcDT|?2cXebz5uml`C$LqkQ`3tWWgl)i=i|{16rBTe855NzsbnT'
        'gNc(t=r(zKyPJMqHqAV5+w0SPn6^7#FYaoySS})^KlfjR1O5C4(J3f%'
    )
    content = zlib.decompress(base64.b85decode(content))
    path = write(tmp_path, content, 'a.parquet')
    with pytest.raises(ValueError, match=r"a.parquet' is not a complete Parqu"):
        read_table(path, ['a'])


# Packed, without header, frames ##############################################


@pytest.mark.parametrize(('name', 'separator'), [('csv', ','), ('tsv', '\t')])
def test_read_table_unpacks(tmp_path, name, separator):
    path = tmp_path / f'a.{name}.GZ'
    text = f'user{separator}item\nä{separator}"x\n1"\n'
    path.write_bytes(gzip.compress(text.encode()))
    table = read_table(path, ['item', 'user'])
    assert table.to_numpy().tolist() == [['x\n1', 'ä']]


@pytest.mark.parametrize('cut', [1, 8, 20, 40])
def test_read_table_refuses_cut_archives(tmp_path, cut):
    path = tmp_path / 'a.csv.gz'
    content = gzip.compress(b'user,item\n' + b'ann,cup\n' * 999)
    path.write_bytes(content[:-cut])
    with pytest.raises(ValueError, match=r"a.csv.gz' is a damaged or cut gzip"):
        read_table(path, ['user'])


def test_read_table_refuses_changed_and_other_archives(tmp_path):
    path = tmp_path / 'a.csv.gz'
    content = gzip.compress(b'user,item\n' + b'ann,cup\n' * 999)
    path.write_bytes(content[:-8] + b'12345678')
    with pytest.raises(ValueError, match='damaged or cut gzip file'):
        read_table(path, ['user'])
    path.write_bytes(b'user,item\nann,cup\n')
    with pytest.raises(ValueError, match='damaged or cut gzip file'):
        read_table(path, ['user'])
    path.rename(tmp_path / 'a.parquet.gz')
    with pytest.raises(ValueError, match=r'one of these with .gz, or .parquet'):
        read_table(tmp_path / 'a.parquet.gz', ['user'])


def test_read_table_refuses_bombs(tmp_path):
    """Kilobytes that unpack to megabytes."""
    path = tmp_path / 'a.csv.gz'
    with gzip.open(path, 'wb') as file:
        file.write(b'user,item\n')
        for _ in range(6):
            file.write(b'ann,cup\n' * 2**16)
    limits = Limits(file=2**20)
    with pytest.raises(ValueError, match=r'unpacks to more than .*Limits\(unp'):
        read_table(path, ['user'], limits=limits)
    limits = Limits(file=2**20, unpacked=10_000)
    assert len(read_table(path, ['user'], limits=limits)) == 6 * 2**16


def test_read_table_says_how_an_archive_looks(tmp_path):
    path = tmp_path / 'a.csv.gz'
    path.write_bytes(gzip.compress(b'user;item\nann;cup\n'))
    with pytest.raises(ValueError, match="looks separated by ';': save it"):
        read_table(path, ['user'])
    path.write_bytes(gzip.compress('user,item\nmüde,x\n'.encode('cp1252')))
    with pytest.raises(ValueError, match='looks written in Windows-1252'):
        read_table(path, ['user'])


NAMES = ['user', 'item']


def test_read_table_without_header(tmp_path):
    path = write(tmp_path, '\ufeff007,x\n\nb,"y,z"\nc\n')
    table = read_table(path, ['item', 'user'], names=NAMES)
    expected = [['x', '007'], ['y,z', 'b'], ['', 'c']]
    assert table.to_numpy().tolist() == expected


@pytest.mark.parametrize(
    ('content', 'expected'),
    [
        ('a,b,c\n', "has 3 fields in its first row, but 2 'names'"),
        ('a\nb\n', "has 1 fields in its first row, but 2 'names'"),
        ('a,b\nc,d,e\n', 'is not a table .*Expected 2 fields in line 2'),
        ('user,item\na,b\n', 'has a header in line 1'),
        ('customer,item\na,b\n', 'has a header in line 1'),
        ('item,user\na,b\n', 'has a header in line 1'),
        ('Item, User\na,b\n', 'has a header in line 1'),
        ('', 'is empty'),
    ],
)
def test_read_table_refuses_other_names(tmp_path, content, expected):
    path = write(tmp_path, content)
    with pytest.raises(ValueError, match=expected):
        read_table(path, ['user'], names=NAMES)


@pytest.mark.parametrize(
    'dtype', ['float16', 'float32', 'float64', 'Float32', 'double[pyarrow]']
)
def test_whole_numbers_of_any_float(dtype):
    largest = {'float16': 2**11, 'float32': 2**24, 'Float32': 2**24}
    fine = pd.DataFrame({'user': pd.Series([7, 12], dtype=dtype)})
    assert values(fine, 'user') == [['7'], ['12']]
    lost = 4 * largest.get(dtype, 2**53)
    frame = pd.DataFrame({'user': pd.Series([float(lost)], dtype=dtype)})
    with pytest.raises(ValueError, match='whose last digits are lost'):
        read_table(frame, ['user'])
    shares = pd.DataFrame({'user': pd.Series([0.5, 2.0], dtype=dtype)})
    assert values(shares, 'user') == [['0.5'], ['2.0']]


def test_read_table_reads_frames():
    frame = pd.DataFrame(
        {
            'user': pd.Categorical(['b', 'a', None]),
            'price': [1.5, np.nan, 2.0],
            'tags': [['x', 'y'], [], None],
            'day': pd.to_datetime(
                ['2025-01-01 00:00', None, '2025-01-02 12:30']
            ),
        },
        index=pd.Index([7, 8, 9], name='item'),
    )
    before = frame.copy()
    table = read_table(frame, ['item', 'user', 'price', 'tags', 'day'])
    assert table.to_numpy().tolist() == [
        ['7', 'b', '1.5', 'x y', '2025-01-01 00:00:00'],
        ['8', 'a', '', '', ''],
        ['9', '', '2.0', '', '2025-01-02 12:30:00'],
    ]
    assert table.index.tolist() == [0, 1, 2]
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize('library', ['pandas', 'polars'])
def test_read_table_keeps_whole_numbers_of_frames_whole(library):
    frames = pytest.importorskip(library)
    frame = frames.DataFrame({'user': [7, None, 2**53], 'item': ['a', 'b', '']})
    table = read_table(frame, ['user', 'item'])
    assert table['user'].tolist() == ['7', '', str(2**53)]
    frame = frames.DataFrame({'user': [7, None, 2**53 + 2]})
    with pytest.raises(ValueError, match=r"above 2\*\*53 as floats in 'user'"):
        read_table(frame, ['user'])
    frame = frames.DataFrame({'user': [2**53 + 1, 7]})
    assert read_table(frame, ['user'])['user'].tolist() == [str(2**53 + 1), '7']


def test_read_table_refuses_frames():
    pl = pytest.importorskip('polars')
    frame = pd.DataFrame([[1, 2]], columns=['user', 'user'])
    with pytest.raises(ValueError, match="has the column 'user' twice"):
        read_table(frame, ['user'])
    with pytest.raises(ValueError, match=r"no column 'item' .it has 'user'.$"):
        read_table(pl.DataFrame({'user': [1]}), ['item'])
    with pytest.raises(ValueError, match='has not been computed'):
        read_table(pl.LazyFrame({'user': [1]}), ['user'])
    with pytest.raises(ValueError, match='needs to be a path or a DataFrame'):
        read_table([1, 2], ['user'])
    with pytest.raises(ValueError, match="leave out 'names'"):
        read_table(frame, ['user'], names=['user'])


@given(
    one=st.lists(st.lists(st.text(), min_size=2, max_size=2)),
    other=st.lists(st.lists(st.text(), min_size=2, max_size=2)),
)
def test_digest_of_a_table(one, other):
    """It is that of what is in each place, wherever one text ends."""
    first, second = (
        digest_of(pd.DataFrame(rows, columns=NAMES, dtype=object))
        for rows in (one, other)
    )
    assert (first == second) == (one == other)


def test_digest_tells_where_a_text_ends():
    digests = {
        digest_of(pd.DataFrame(rows, columns=NAMES))
        for rows in ([['a', 'bc']], [['ab', 'c']], [['a', 'b'], ['c', '']])
    }
    assert len(digests) == 3
