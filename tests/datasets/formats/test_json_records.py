import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_ckd.datasets.formats.json_records import (
    get_id,
    get_rating,
    get_text,
    get_time,
    parse_record,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(), x),
    max_leaves=9,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(), VALUES))
def test_records(record):
    text = json.dumps(record)
    strict = all(word not in text for word in ('NaN', 'Infinity'))
    try:
        assert parse_record(text.encode()) == record
    except ValueError:
        assert not strict or json.loads(text) != record


@settings(max_examples=40, deadline=None)
@given(st.binary())
def test_any_bytes_are_a_record_or_a_value_error(text):
    try:
        assert isinstance(parse_record(text), dict)
    except ValueError as error:
        assert str(error).startswith('expected a JSON object, got b')


@pytest.mark.parametrize(
    'text',
    [
        *(b'[]', b'7', b'"a"', b'null', b'{', b'{"a": 1} {}', b'{"a": NaN}'),
        *(b'{"a": -Infinity}', b"{'a': 1}", b'{"a": "\xff"}', b'{"a":' * 9_999),
    ],
)
def test_records_are_strict(text):
    with pytest.raises(ValueError, match='expected a JSON object, got b'):
        parse_record(text)


@settings(max_examples=40, deadline=None)
@given(VALUES)
def test_any_value_is_checked(value):
    record = {'key': value}
    for check, kind in (
        *((get_id, str), (get_rating, (int, float)), (get_time, int)),
        (get_text, str),
    ):
        try:
            found = check(record, 'key')
        except ValueError as error:
            assert str(error).startswith("'key' is ")
        else:
            assert isinstance(found, kind) and not isinstance(found, bool)


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        (None, ''),
        ('A  cup', 'A  cup'),
        (4.5, '4.5'),
        (True, 'True'),
        (['a', None, 'b', 3], 'a  b 3'),
        ({'Colour': 'red', 'Rank': {'Cups': 7}}, 'Colour red Rank Cups 7'),
        ([], ''),
        ({}, ''),
    ],
)
def test_texts(value, text):
    assert get_text({'key': value}, 'key') == text
    assert get_text({}, 'key') == ''


@pytest.mark.parametrize(
    'value',
    [
        *('\ud800', ['\udfff'], [[[['a']]]]),
        pytest.param(10**5000, id='too long to print'),
    ],
)
def test_what_is_no_text(value):
    with pytest.raises(ValueError, match=r"^'key' is .*, expected text, or a"):
        get_text({'key': value}, 'key')


@pytest.mark.parametrize(
    ('text', 'key'),
    [
        (b'{"asin": "B1", "title": "a", "title": "b"}', "'title'"),
        (b'{"details": {"Colour": 1, "Size": 2, "Colour": 1}}', "'Colour'"),
        (b'{"images": [{}, {"hi_res": null, "hi_res": "x"}]}', "'hi_res'"),
        (b'{"": 1, "": 2}', "''"),
        (rb'{"a": 1, "\u0061": 2}', "'a'"),
    ],
)
def test_keys_that_are_there_twice(text, key):
    with pytest.raises(ValueError, match=f'^the key {key} is there twice$'):
        parse_record(text)
