import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_ckd.datasets.formats.field_lines import field_lines


def test_field_lines_knows_no_quotes():
    table = field_lines(b'1\t"a\n2\tb" c\n', 'a.dat', '\t', ['id', 'name'])
    assert table['name'].tolist() == ['"a', 'b" c']


def test_field_lines_reads_named_columns():
    content = 'id\tname\turl\r\n1\té\tx\r\n2\tb\t\r\n'.encode()
    table = field_lines(content, 'a', '\t', ['name', 'id'], header=True)
    assert table.to_numpy().tolist() == [['é', '1'], ['b', '2']]


def test_field_lines_reads_latin_1_where_it_is():
    table = field_lines('é\n'.encode() + b'\xe9\n', 'a', '\t', ['x'])
    assert table['x'].tolist() == ['é', 'é']


@pytest.mark.parametrize(
    ('content', 'header', 'expected'),
    [
        (b'', False, "'a.dat' has no lines"),
        (b'x\ty\n', True, "'a.dat' has no lines"),
        (b'x\tz\n1\t2\n', True, "line 1: there is no column 'y'"),
        (b'1\t2\n1\t2\t3\n', False, 'line 2: has 3 fields, expected 2'),
        (b'x\ty\n1\t2\n\n1\t2\n', True, 'line 3: has 1 fields, expected 2'),
    ],
)
def test_field_lines_refuses(content, header, expected):
    with pytest.raises(ValueError) as info:
        field_lines(content, 'a.dat', '\t', ['x', 'y'], header=header)
    assert expected in str(info.value)


def test_field_lines_skips_and_counts():
    with pytest.warns(UserWarning, match='2 have not 2 fields .the first in l'):
        table = field_lines(
            b'1::2\n3\n4::5\n6::7::8\n', 'a', '::', ['x', 'y'], True
        )
    assert table['x'].tolist() == ['1', '', '4', '']


FIELD = st.text(st.characters(exclude_characters='\n\r:', codec='utf-8'))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(FIELD, FIELD, FIELD), min_size=1))
def test_field_lines_reads_what_is_written(rows):
    content = ''.join('::'.join(row) + '\n' for row in rows).encode()
    table = field_lines(content, 'a', '::', ['x', 'y', 'z'])
    assert list(table.itertuples(index=False, name=None)) == rows


@settings(max_examples=80, deadline=None)
@given(st.binary(), st.booleans())
def test_field_lines_refuses_anything_else(content, skip):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            table = field_lines(content, 'a.dat', '\t', ['x', 'y'], skip)
    except ValueError as error:
        assert 'a.dat' in str(error)
    else:
        assert table.shape == (content.rstrip(b'\n').count(b'\n') + 1, 2) or (
            content.endswith(b'\n\n')
        )
