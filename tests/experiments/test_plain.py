from collections.abc import Mapping, Sequence
from typing import Any, Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyg_ckd.experiments.plain import check_kinds, fits, kinds_of


@pytest.mark.parametrize(
    ('value', 'kind', 'expected'),
    [
        (1, int, True),
        (1.0, int, False),
        (True, int, False),
        (1, float, True),
        (True, float, False),
        ('1', float, False),
        (0, bool, False),
        (None, str, False),
        (None, type(None), True),
        (None, int | None, True),
        (None, Optional[int], True),  # noqa: UP045
        ('a', int | None, False),
        ('a', Literal['a', 'b'], True),
        ('c', Literal['a', 'b'], False),
        (True, Literal[1, 2], False),
        (7, Literal['all'] | int, True),
        ({'a': 1}, dict[str, float], True),
        ({'a': 'b'}, dict[str, float], False),
        ({1: 1.0}, Mapping[str, float], False),
        ([], dict[str, float], False),
        ({}, dict[str, dict[str, float]], True),
        ({'full': 3}, dict[str, dict[str, float]], False),
        ({'a': {'b': 1}}, dict, True),
        ([1, 2], list[int], True),
        ([1, 'a'], list[int], False),
        ((1, 2), tuple[int, ...], True),
        ([1], tuple[str, ...], False),
        ('abc', Sequence[str], False),
        ([[1]], list[Any], True),
        ('whatever', Any, True),
        ({}, pytest.Item, True),
    ],
)
def test_fits(value, kind, expected):
    assert fits(value, kind) is expected


@given(st.dictionaries(st.text(), st.lists(st.integers() | st.booleans())))
def test_lists_in_tables(value):
    whole = all(type(x) is int for each in value.values() for x in each)
    assert fits(value, dict[str, list[int]]) is whole


def test_check_kinds_names_the_first():
    kinds = {'a': int, 'b': dict[str, float]}
    check_kinds({'a': 1, 'b': {}, 'c': object()}, kinds, 'here')
    for values, message in (
        ({'a': 'x' * 99}, r"here: 'a' needs to be int \(got 'x+\.\.\.x+'\)"),
        ({'b': 3}, r"here: 'b' needs to be dict\[str, float\] \(got 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            check_kinds(values, kinds, 'here')


def test_kinds_of_what_is_not_known():
    class Own:
        def __init__(self, data, dim: 'int' = 3, other: 'Missing' = 4):  # noqa: F821
            pass

    assert kinds_of(Own) == {}
    assert kinds_of(3) == {}

    def make(data, dim: int = 3):
        pass

    assert kinds_of(make) == {'dim': int}
