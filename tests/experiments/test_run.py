import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_ckd.experiments import METHODS, Method, Run

NUMBERS = st.integers() | st.floats(allow_nan=False)
PLAIN = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
TABLES = st.dictionaries(st.text(max_size=3), PLAIN, max_size=3)


def key_of(**kwargs):
    kwargs = {
        'dataset': 'shop',
        'backbone': 'VBPR',
        'method': Method.student('CKD'),
        'seed': 0,
        'settings': {'model': {'dim': 4}},
        'data': 'd',
        'teachers': ('a', 'b'),
        'version': '1',
        **kwargs,
    }
    return Run(**kwargs).key


def as_floats(value):
    """Write whole numbers as floats, where that is exact."""
    if isinstance(value, dict):
        return {name: as_floats(each) for name, each in value.items()}
    if isinstance(value, list):
        return [as_floats(each) for each in value]
    if type(value) is int and abs(value) < 2**53:
        return float(value)
    return value


def same(one, other):
    """Return whether plain values are equal; true is no number."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            same(one[name], other[name]) for name in one
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    kinds = {bool: 'b', int: 'n', float: 'n'}
    return (
        kinds.get(type(one), type(one)) == kinds.get(type(other), type(other))
        and one == other
    )


@given(TABLES)
@settings(deadline=None)
def test_whole_numbers(table):
    assert key_of(settings=table) == key_of(settings=as_floats(table))


@given(TABLES, TABLES)
@settings(deadline=None)
def test_equal_settings_alone_have_equal_keys(one, other):
    keys = key_of(settings=one), key_of(settings=other)
    assert (keys[0] == keys[1]) is same(one, other)


@given(TABLES, st.text(max_size=4), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_plain_values_and_back(table, name, seed):
    run = Run(name, 'VBPR', METHODS['ckd-gate'], seed, table, 'd', ('a', 'b'))
    again = Run.from_dict(json.loads(json.dumps(run.to_dict())))
    assert again == run
    assert again.key == run.key
    assert hash(again) == hash(run)


@pytest.mark.parametrize(
    'other',
    [
        dict(dataset='other'),
        dict(backbone='LightGCN'),
        dict(method=Method()),
        dict(method=Method('ensemble')),
        dict(method=Method('teacher', modality='text')),
        dict(method=Method.student('CKD', teachers='base')),
        dict(method=Method.student('CKD', teachers='base', taught='full')),
        dict(method=Method.student('CKD', teachers='ensemble')),
        dict(method=Method.student('CKD', teachers='VBPR')),
        dict(seed=1),
        dict(settings={'model': {'dim': 5}}),
        dict(settings={'model': {'dim': True}}),
        dict(settings={'model': {'dim': '4'}}),
        dict(settings={'model': {'dim': [4]}}),
        dict(settings={'train': {'dim': 4}}),
        dict(settings={'model': {'dim': 4.0000001}}),
        dict(data='e'),
        dict(teachers=('a', 'c')),
        dict(teachers=('a',)),
        dict(teachers=()),
        dict(version='2'),
    ],
    ids=str,
)
def test_all_that_counts(other):
    assert key_of(**other) != key_of()


def test_each_variant_differs_from_each_other():
    methods = [
        Method(),
        Method('teacher', modality='text'),
        Method('teacher', modality='image'),
        Method('ensemble'),
        *[
            Method.student('CKD', teachers=who)
            for who in ('own', 'base', 'ensemble', 'VBPR', 'LightGCN')
        ],
        Method.student('CKD', teachers='base', taught='full'),
    ]
    assert len({key_of(method=method) for method in methods}) == len(methods)


@pytest.mark.parametrize(
    'other',
    [
        dict(method=Method.student('CKD', name='ours')),
        # Effective settings hold changes already:
        dict(method=Method.student('CKD', changes={'CKD': {'gate': True}})),
        dict(settings={'model': {'dim': 4.0}}),
        dict(teachers=('b', 'a')),
    ],
    ids=str,
)
def test_what_does_not_count(other):
    assert key_of(**other) == key_of()


def test_key_is_that_of_another_process():
    """It is no hash that Python seeds anew."""
    assert key_of() == '5a66abdf33c4c3a5'


def test_words():
    run = Run('shop', 'VBPR', METHODS['born-again'], 3)
    assert str(run) == 'VBPR born again 3'
    assert len(run.key) == 16
    assert int(run.key, 16) >= 0
    assert replace(run, seed=4).key != run.key


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(dataset=3), "'dataset' needs to be str"),
        (dict(backbone=None), "'backbone' needs to be str"),
        (dict(method='base'), "'method' needs to be"),
        (dict(method={'kind': 'pupil'}), "'kind' needs to be one of"),
        (dict(method={'size': 3}), "no run: .*'size'"),
        (dict(method={'name': 3}), "'name' needs to be str"),
        (dict(seed='a'), "'seed' needs to be int"),
        (dict(seed=1.5), "'seed' needs to be int"),
        (dict(settings=[]), "'settings' needs to be"),
        (dict(data=1), "'data' needs to be str"),
        (dict(teachers='abc'), "'teachers' needs to be"),
        (dict(teachers=[1]), "'teachers' needs to be"),
        (dict(version=1), "'version' needs to be str"),
        (dict(size=1), "no run: .*'size'"),
    ],
    ids=str,
)
def test_values_of_no_run(change, message):
    values = Run('shop', 'VBPR', Method(), 0).to_dict()
    with pytest.raises(ValueError, match=message):
        Run.from_dict({**values, **change})


@pytest.mark.parametrize('missing', ['dataset', 'method', 'seed', 'teachers'])
def test_missing_value(missing):
    values = Run('shop', 'VBPR', Method(), 0).to_dict()
    del values[missing]
    with pytest.raises(ValueError, match=f"no run: .*'{missing}'"):
        Run.from_dict(values)


@pytest.mark.parametrize('values', [[], 'run', 3, None])
def test_no_table(values):
    with pytest.raises(ValueError, match="no run: 'run' needs to be Mapping"):
        Run.from_dict(values)
