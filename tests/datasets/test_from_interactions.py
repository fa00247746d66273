import copy
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import InMemoryDataset

from pyg_ckd.datasets import from_interactions
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.splits import RandomSplit, as_split
from pyg_ckd.graph import RATED_BY, RATES, check, modalities

KEYS = ('edge_index', 'val_edge_label_index', 'test_edge_label_index')
RULES = [
    'random',
    'time',
    'leave_one_out',
    'mmrec',
    'lattice',
    RandomSplit(seed=3),
]
USERS = [index // 6 for index in range(60)]
ITEMS = [(index // 6 + index % 6 * 2) % 12 for index in range(60)]
LABELS = [(0, 0, 0, 0, 1, 2)[index % 6] for index in range(60)]
FORMS = {
    'list': list,
    'tuple': tuple,
    'tensor': torch.tensor,
    'int8': lambda x: torch.tensor(x, dtype=torch.int8),
    'array': np.array,
    'uint16': lambda x: np.array(x, dtype='u2'),
    'series': lambda x: pd.Series(x, index=range(100, 100 + len(x))),
    'nullable': lambda x: pd.Series(x, dtype='Int64'),
    'objects': lambda x: np.array(x, dtype=object),
}


def message(*args, **kwargs) -> str:
    with pytest.raises(ValueError) as info:
        from_interactions(*args, **kwargs)
    return str(info.value)


def pairs(data, key='edge_index') -> list[list[int]]:
    return data[RATES][key].t().tolist()


@pytest.mark.parametrize('form', FORMS)
def test_integers_stay_as_they_are(form):
    make = FORMS[form]
    data = from_interactions(make(USERS), make(ITEMS), split=make(LABELS))
    rows = list(zip(USERS, ITEMS, LABELS, strict=True))
    for value, key in enumerate(KEYS):
        assert pairs(data, key) == [[u, i] for u, i, v in rows if v == value]
    assert (data['user'].num_nodes, data['item'].num_nodes) == (10, 12)
    assert torch.equal(
        data[RATED_BY].edge_index, data[RATES].edge_index.flip([0])
    )
    assert 'name' not in data['user'] and 'name' not in data['item']
    assert check(data, splits=('val', 'test')) is data


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.text('abÄz', min_size=1), st.text('xY é', min_size=1)),
        min_size=1,
        max_size=20,
        unique=True,
    )
)
def test_names_are_numbered_in_sorted_order(rows):
    users, items = map(list, zip(*rows, strict=True))
    features = {'text': {name: [float(len(name))] for name in items}}
    data = from_interactions(users, items, features, ['train'] * len(rows))
    for node, names in (('user', users), ('item', items)):
        assert data[node].name == sorted(set(names))
        assert data[node].num_nodes == len(set(names))
    named = [
        (data['user'].name[u], data['item'].name[i]) for u, i in pairs(data)
    ]
    assert named == rows
    assert data['item'].x_text.tolist() == [
        [len(name)] for name in data['item'].name
    ]


@pytest.mark.parametrize(
    'form',
    [list, np.array, pd.Series, lambda x: pd.Series(x, dtype='category')],
)
def test_names_in_any_form(form):
    data = from_interactions(
        form(['b', 'a', 'b']), form(['y', 'x', 'x']), split=[0, 0, 0]
    )
    assert (data['user'].name, data['item'].name) == (['a', 'b'], ['x', 'y'])
    assert pairs(data) == [[1, 1], [0, 0], [1, 0]]


def test_one_side_may_have_names():
    data = from_interactions([0, 1], ['x', 'y'], split=[0, 0])
    assert 'name' not in data['user']
    assert data['item'].name == ['x', 'y']


@pytest.mark.parametrize('rule', RULES)
def test_rules(rule):
    time = [(7 * index) % 60 for index in range(60)]
    data = from_interactions(USERS, ITEMS, None, rule, time=time)
    interactions = Interactions(
        list('0123456789'),
        [str(i) for i in range(12)],
        torch.tensor(USERS),
        torch.tensor(ITEMS),
        None,
        torch.tensor(time),
    )
    label = as_split(rule)(interactions)
    rows = list(zip(USERS, ITEMS, label.tolist(), strict=True))
    for value, key in enumerate(KEYS):
        assert pairs(data, key) == [[u, i] for u, i, v in rows if v == value]


def test_seed():
    def validation(seed):
        split = RandomSplit(seed=seed)
        return pairs(from_interactions(USERS, ITEMS, split=split), KEYS[1])

    assert validation(1) == validation(1)
    assert validation(1) != validation(2)


@pytest.mark.parametrize('rule', ['time', 'leave_one_out'])
def test_rules_of_time_need_times(rule):
    assert 'time' in message(USERS, ITEMS, split=rule)


def test_table():
    table = pd.DataFrame(
        {
            'reader': USERS,
            'book': ITEMS,
            'set': ['train', 'train', 'train', 'train', 'val', 'test'] * 10,
            'at': pd.date_range('2020-01-01', periods=60),
            'stars': [1, 2, 3, 4, 5] * 12,
        }
    )
    data = from_interactions(
        table, split='set', user='reader', item='book', time='at',
        rating='stars',
    )  # fmt: skip
    expected = from_interactions(USERS, ITEMS, split=LABELS)
    for key in KEYS:
        assert pairs(data, key) == pairs(expected, key)
    assert data[RATES].time[:3].diff().tolist() == [24 * 60 * 60] * 2
    assert data[RATES].rating[:6].tolist() == [1, 2, 3, 4, 2, 3]
    text = message(table, item='book')
    assert "'user'" in text and "'reader'" in text
    renamed = table.rename(columns={'reader': 'user', 'book': 'item'})
    assert pairs(from_interactions(renamed, split='set')) == pairs(data)
    assert "item='...'" in message(renamed, ITEMS)
    renamed['time'] = range(60)  # a rule comes before a column
    assert pairs(from_interactions(renamed, split='time', time='time'))


def test_features_of_integers():
    x = torch.randn(14, 3)
    order = list(range(13, -1, -1))
    frame = pd.DataFrame(x.numpy()[order], index=order)
    features = {
        'a': x,
        'b': x.numpy().astype('f8'),
        'c': x.tolist(),
        'd': frame,
        'e': {i: x[i] for i in order},
        'f': x.bfloat16(),
    }
    data = from_interactions(USERS, ITEMS, features)
    assert data['item'].num_nodes == 14  # two items without interactions
    assert modalities(data) == list('abcdef')
    assert data['item'].x_a is x
    for name in 'abcde':
        torch.testing.assert_close(data['item'][f'x_{name}'], x)
    assert data['item'].x_f.dtype == torch.float


def test_features_of_names():
    items = [f'i{i:02}' for i in ITEMS]
    names = sorted(set(items))
    x = np.random.default_rng(0).random((15, 2))
    index = ['z', *reversed(names), 'a', '']
    features = {
        'text': pd.DataFrame(x, index=index),
        'image': {k: torch.tensor(v) for k, v in zip(index, x, strict=True)},
    }
    data = from_interactions(USERS, items, features)
    expected = torch.tensor(x[1:13][::-1].copy()).float()
    assert data['item'].name == names
    assert torch.equal(data['item'].x_text, expected)
    assert torch.equal(data['item'].x_image, expected)


@pytest.mark.parametrize(
    ('users', 'items', 'kwargs', 'parts'),
    [
        # Counted from 1:
        ([1, 2, 3], [0, 1, 2], {}, ["'users' has no user 0", 'subtract 1']),
        ([0, 1], [1, 2], dict(num_items=2), ['2 in row 1', 'subtract 1']),
        (
            [0, 1],
            [1, 2],
            dict(features={'a': torch.zeros(2, 1)}),
            ["'items' is 2 in row 1", '2 items are 0 to 1', 'subtract 1'],
        ),
        # Gaps:
        ([0, 1, 5], [0, 1, 2], {}, ['no user 2, but the user 5', 'num_users']),
        ([0, 1], [0, 9**9], {}, ['no item 1', 'num_items', 'cast them by str']),
        ([0, 7], [0, 1], dict(num_users=7), ['7 in row 1', '0 to 6']),
        # No ids:
        ([0, -1], [0, 1], {}, ["'users' is -1 in row 1"]),
        ([0, 1.5], [0, 1], {}, ["'users'", 'float64']),
        ([0, None], [0, 1], {}, ["'users' is missing in row 1"]),
        ([0, 1], ['a', None], {}, ["'items' is missing in row 1"]),
        ([0, 1], ['a', 1], {}, ["'items'", 'row 1 is 1', "row 0 is 'a'"]),
        ([0, 1], [True, False], {}, ["'items'", 'bool']),
        ([[0, 1]], [[0, 1]], {}, ["'users'"]),
        (torch.zeros(2, 2), [0, 1], {}, ["'users'", '[2, 2]']),
        ('ab', [0, 1], {}, ["'users'", 'a str']),
        ([], [], {}, ["'users' is empty"]),
        ([0, 1], None, {}, ["'items' is missing"]),
        # Lengths:
        ([0, 1], [0], {}, ["'items' has 1 values, but 'users' has 2"]),
        ([0, 1], [0, 1], dict(split=[0]), ["'split' has 1 values"]),
        ([0, 1], [0, 1], dict(time=[0]), ["'time' has 1 values"]),
        ([0, 1], [0, 1], dict(rating=[0] * 3), ["'rating' has 3 values"]),
        # Splits:
        ([0, 1], [0, 1], dict(split=[0, 3]), ["'split' is 3 in row 1"]),
        ([0, 1], [0, 1], dict(split=['train', 'x']), ["'x' in row 1"]),
        ([0, 1], [0, 1], dict(split=[0.5, 0]), ['0.5 in row 0']),
        ([0, 1], [0, 1], dict(split='fair'), ["'split'", "'fair'"]),
        ([0, 1], [0, 1], dict(split=[1, 2]), ['no training']),
        ([0, 0], [0, 0], dict(split=[0, 2]), ['rows 0 and 1']),
        # Times:
        ([0, 1], [0, 1], dict(time=[0, None]), ["'time'", 'row 1']),
        ([0, 1], [0, 1], dict(time=['a', 'b']), ["'time'", 'row 0']),
        # Names:
        (['a', 'b'], [0, 1], dict(num_users=3), ["'num_users' is 3"]),
    ],
)
def test_errors(users, items, kwargs, parts):
    kwargs = {'split': [0] * 2, **kwargs}
    if len(users) == 3:
        kwargs['split'] = [0] * 3
    text = message(users, items, **kwargs)
    for part in parts:
        assert part in text


@pytest.mark.parametrize(
    ('features', 'parts'),
    [
        (torch.zeros(2, 1), ["features={'text': ...}"]),
        (pd.DataFrame({'a': [1, 2]}), ["features={'text': ...}"]),
        ({'t': torch.zeros(2, 1)}, ["features['t']", 'indexed by name']),
        ({'t': {'x': [1.0]}}, ["features['t']", "no row for the item 'y'"]),
        (
            {'t': pd.DataFrame({'a': [1.0, 2.0]})},
            ["no row for the item 'x'"],
        ),
        (
            {'t': pd.DataFrame({'a': [1, 2, 3]}, index=['x', 'y', 'x'])},
            ["several rows for the item 'x'"],
        ),
        (
            {'t': pd.DataFrame({'a': ['p', 'q']}, index=['x', 'y'])},
            ["column 'a'"],
        ),
        ({'t': {'x': [1.0], 'y': [1.0, 2.0]}}, ['[2]', "'y'", "'x'"]),
        ({'t': {'x': [1.0], 'y': [float('nan')]}}, ['x_t has nan in row 1']),
    ],
)
def test_features_that_do_not_fit(features, parts):
    text = message([0, 1], ['x', 'y'], features, [0, 0])
    for part in parts:
        assert part in text


def test_two_modalities_of_different_items():
    features = {'a': torch.zeros(2, 1), 'b': torch.zeros(3, 1)}
    text = message([0, 1], [0, 1], features, [0, 0])
    assert "data['item'].x_b has the shape [3, 1]" in text


def test_repeated_pairs_count_once():
    with pytest.warns(UserWarning, match='2 of 5 interactions repeat'):
        data = from_interactions(
            [0, 1, 0, 0, 1],
            [1, 0, 1, 0, 0],
            split=[0, 1, 0, 0, 1],
            time=[5, 6, 7, 8, 9],
        )
    assert pairs(data) == [[0, 1], [0, 0]]
    assert pairs(data, KEYS[1]) == [[1, 0]]
    assert data[RATES].time.tolist() == [5, 8]
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        from_interactions(USERS, ITEMS)


@pytest.mark.parametrize('split', [None, 'time'])
def test_the_earliest_of_repeated_pairs_counts(split):
    """Whatever the order of the rows, at equal times the first."""
    times = [5, 3, 4, 3, *range(10, 20)]
    users, items = [0] * 14, [0] * 4 + list(range(1, 11))
    with pytest.warns(UserWarning, match='3 of 14 .* once, the earliest one'):
        data = from_interactions(
            users,
            items,
            split=split or [0] * 14,
            time=times,
            rating=list(range(14)),
        )
    rates = data[RATES]
    assert rates.edge_index[1, 0] == 0
    assert rates.time[0] == 3
    assert rates.rating[0] == 1
    with pytest.warns(UserWarning, match='counts once, the first one'):
        data = from_interactions(users, items, rating=times, split=[0] * 14)
    assert data[RATES].rating[0] == 5


def test_names_follow_the_graph(tmp_path):
    data = from_interactions(['a', 'b'], ['x', 'y'], split=[0, 0])
    path = tmp_path / 'data.pt'
    torch.save(data, path)
    dataset = InMemoryDataset()
    dataset.data, dataset.slices = dataset.collate([data])
    for other in (
        copy.copy(data),
        copy.deepcopy(data),
        data.clone(),
        data.to('cpu'),
        torch.load(path, weights_only=False),
        dataset[0],
    ):
        assert other['user'].name == ['a', 'b']
        assert other['item'].name == ['x', 'y']
        assert other['item'].num_nodes == 2
        check(other)


QUARTERS = pd.Series(
    pd.Timestamp('2025-01-01')
    + pd.to_timedelta([0.75, 0.5, 0.25, 0.0], unit='s')
)


@pytest.mark.parametrize(
    'times',
    [
        QUARTERS,
        QUARTERS.dt.tz_localize('UTC'),
        QUARTERS.dt.tz_localize('UTC').dt.tz_convert('Europe/Berlin'),
        QUARTERS.dt.to_pydatetime(),
        QUARTERS.astype('datetime64[us]').to_numpy(),
        pd.DatetimeIndex(QUARTERS, tz='UTC'),
    ],
)
def test_dates_are_seconds_with_fractions_in_utc(times):
    data = from_interactions(
        [0] * 4, [0, 1, 2, 3], split='leave_one_out', time=times
    )
    rates = data[RATES]
    assert rates.test_edge_label_index[1].tolist() == [0]
    assert rates.val_edge_label_index[1].tolist() == [1]
    assert rates.time.tolist() == [1735689600.25, 1735689600.0]


def test_whole_dates_are_whole_seconds():
    times = pd.Series(
        pd.to_datetime(['2025-01-02', '2025-01-01', '1969-12-31'])
    )
    for form in (times, times.dt.tz_localize('UTC')):
        data = from_interactions([0] * 3, [0, 1, 2], split=[0, 1, 2], time=form)
        assert data[RATES].time.dtype == torch.long
        assert data[RATES].time.tolist() == [1735776000]
        assert data[RATES].test_edge_label_time.tolist() == [-86400]


@pytest.mark.parametrize(
    ('name', 'values'),
    [
        ('time', [1.0, float('inf'), 2.0]),
        ('time', np.array([1, 2**63 + 1, 2], dtype=np.uint64)),
        ('time', pd.Series(pd.period_range('2025', periods=3, freq='D'))),
        ('rating', [1.0, 1e300, 2.0]),
    ],
)
def test_numbers_that_would_be_others(name, values):
    with pytest.raises(
        ValueError, match=f"'{name}' is no finite number in row"
    ):
        from_interactions([0] * 3, [0, 1, 2], split=[0, 1, 2], **{name: values})


@pytest.mark.parametrize(
    ('users', 'message'),
    [
        (['', 'ann', 'ann'], "'users' is missing in row 0"),
        (['ann', 'ann\0', 'ann'], 'has a null character in row 1'),
        ([b'ann'] * 3, r"integers or strings \(row 0 is b'ann'\)"),
    ],
)
def test_ids_that_are_none(users, message):
    with pytest.raises(ValueError, match=message):
        from_interactions(users, [0, 1, 2], split=[0, 1, 2])
