import math
import warnings
from datetime import datetime, timedelta, timezone

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_ckd.datasets.formats.shop_tables import (
    compare_ids,
    read_interactions,
    read_items,
)
from pyg_ckd.datasets.interaction_table import InteractionTable
from pyg_ckd.datasets.item_table import ItemTable

SALES = 'who\twhat\tstars\twhen'


def write(root, *rows: str, header: str = SALES, name: str = 'sales.tsv'):
    path = root / name
    path.write_text('\n'.join([header, *rows, '']), encoding='utf-8')
    return path


COLUMNS = {'user': 'who', 'item': 'what', 'rating': 'stars', 'time': 'when'}


def read(path, skip_invalid=False, **kwargs):
    table = InteractionTable(path, **{**COLUMNS, **kwargs})
    return read_interactions([table], skip_invalid)


def pairs(interactions):
    """Return the interactions as pairs of ids."""
    return [
        (interactions.users[user], interactions.items[item])
        for user, item in zip(
            interactions.user.tolist(), interactions.item.tolist(), strict=True
        )
    ]


def test_read_interactions(tmp_path):
    path = write(
        tmp_path, 'bob\t07\t5\t20', 'ann\t7\t0.5\t10', 'bob\t7\t-1e2\t-30'
    )
    interactions = read(path)

    assert interactions.users == ['ann', 'bob']
    assert interactions.items == ['07', '7']
    assert pairs(interactions) == [('bob', '07'), ('ann', '7'), ('bob', '7')]
    assert interactions.rating.dtype == torch.float32
    assert interactions.rating.tolist() == [5, 0.5, -100]
    assert interactions.time.dtype == torch.int64
    assert interactions.time.tolist() == [20, 10, -30]

    without = read(path, rating=None, time=None)
    assert pairs(without) == pairs(interactions)
    assert without.rating is None
    assert without.time is None


def test_read_interactions_reads_parquet(tmp_path):
    pytest.importorskip('pyarrow', reason='Parquet files need pyarrow')
    path = tmp_path / 'sales.parquet'
    pd.DataFrame(
        {
            'user': [9, 10],
            'item': ['x', 'x'],
            'stars': [4.5, 3.0],
            'when': [pd.Timestamp(60, unit='s'), pd.Timestamp(0)],
        }
    ).to_parquet(path)

    interactions = read(path, user='user', item='item')
    assert pairs(interactions) == [('9', 'x'), ('10', 'x')]
    assert interactions.users == ['10', '9']
    assert interactions.rating.tolist() == [4.5, 3]
    assert interactions.time.tolist() == [60, 0]


@pytest.mark.parametrize(
    ('times', 'expected'),
    [
        (['1970-01-01', '1970-01-02'], [0, 86400]),
        (['1970-01-01T01:00:00+01:00', '1970-01-01T00:00:00Z'], [0, 0]),
        (['1970-01-01 00:01', '1970-01-02'], [60, 86400]),
        (['1600000000000000001', '2'], [1600000000000000001, 2]),
        (['3.0', '1e3'], [3, 1000]),
    ],
)
def test_read_interactions_reads_times(tmp_path, times, expected):
    path = write(tmp_path, *(f'ann\t{i}\t1\t{t}' for i, t in enumerate(times)))
    time = read(path).time
    assert time.dtype == torch.int64
    assert time.tolist() == expected


def test_a_bad_row_costs_no_digit_of_times(tmp_path):
    """Beside a missing number, whole ones would be floats."""
    times = [17 * 10**17 + 1, 17 * 10**17 + 3, 17 * 10**17 + 2]
    rows = [f'ann\t{i}\t1\t{t}' for i, t in enumerate(times)]
    path = write(tmp_path, *rows, 'ann\tz\t1\tnever')
    with pytest.warns(UserWarning, match='1 invalid row skipped'):
        found = read(path, skip_invalid=True).time
    assert found.tolist() == times


def test_read_interactions_keeps_fractions_of_times(tmp_path):
    path = write(tmp_path, 'ann\tx\t1\t0.75', 'ann\ty\t1\t0.25')
    time = read(path).time
    assert time.dtype == torch.float64
    assert time.tolist() == [0.75, 0.25]


# Pandas 2 counts nanoseconds, which end in the year 2262:
FIRST, LAST = -(10**10), 10**11
if pd.__version__ < '3':
    FIRST, LAST = -(9 * 10**9), 9 * 10**9
START = datetime(1970, 1, 1, tzinfo=timezone.utc)


@settings(deadline=None, max_examples=30)
@given(
    seconds=st.lists(st.integers(FIRST, LAST), min_size=1),
    form=st.sampled_from(['number', 'iso', 'space']),
)
def test_read_interactions_round_trip_of_times(tmp_path_factory, seconds, form):
    dates = [START + timedelta(seconds=value) for value in seconds]
    texts = {
        'number': map(str, seconds),
        'iso': (date.isoformat() for date in dates),
        'space': (date.isoformat(sep=' ')[:-6] for date in dates),
    }[form]
    rows = [f'ann\t{i}\t1\t{text}' for i, text in enumerate(texts)]
    path = write(tmp_path_factory.mktemp('times'), *rows)
    assert read(path).time.tolist() == seconds


GOOD = ('ann\tx\t1\t5', 'bob\tx\t2\t6', 'bob\ty\t3\t7')


@pytest.mark.parametrize(
    ('row', 'expected'),
    [
        ('\tz\t1\t8', "who is '', expected an id"),
        (' \tz\t1\t8', "who is ' ', expected an id"),
        ('eve\t\t1\t8', "what is '', expected an id"),
        ('ann\tx\t1\t8', "what is 'x', expected an item that this user does n"),
        ('eve\tz\t\t8', "stars is '', expected a finite number"),
        ('eve\tz\tfour\t8', "stars is 'four', expected a finite number"),
        ('eve\tz\tnan\t8', "stars is 'nan', expected a finite number"),
        ('eve\tz\tinf\t8', "stars is 'inf', expected a finite number"),
        ('eve\tz\t1e39\t8', "stars is '1e39', expected a finite number"),
        ('eve\tz\t1\t', "when is '', expected a number, or a date"),
        ('eve\tz\t1\tnow', "when is 'now', expected a number, or a date"),
        ('eve\tz\t1\t-inf', "when is '-inf', expected a number, or a date"),
        ('eve\tz\t1\t1e19', "when is '1e19', expected a number, or a date"),
        ('eve\tz\t1\t2024-01-31', "when is '2024-01-31', expected a number, "),
    ],
)
@pytest.mark.parametrize('place', [0, 1, 3])
def test_read_interactions_refuses_rows(tmp_path, row, expected, place):
    rows = [*GOOD[:place], row, *GOOD[place:]]
    if row.startswith('ann\tx'):  # Of two, the later one is wrong.
        place = max(place, 1)
    path = write(tmp_path, *rows)
    where = f"sales.tsv', row {place + 1} below the header: {expected}"
    with pytest.raises(ValueError, match=where):
        read(path)

    with pytest.warns(UserWarning, match=r"sales.tsv': 1 invalid row skipped"):
        interactions = read(path, skip_invalid=True)
    assert pairs(interactions) == [('ann', 'x'), ('bob', 'x'), ('bob', 'y')]
    assert interactions.time[1:].tolist() == [6, 7]
    assert interactions.time.dtype == torch.int64


@pytest.mark.parametrize('bad', ['', '31.01.2024', '5', '2024-13-01'])
@pytest.mark.parametrize('place', [0, 2])
def test_read_interactions_refuses_other_dates(tmp_path, bad, place):
    times = ['2024-01-31', '2024-01-31 12:30']
    times.insert(place, bad)
    path = write(tmp_path, *(f'ann\t{i}\t1\t{t}' for i, t in enumerate(times)))
    with pytest.raises(ValueError, match=f"row {place + 1} .* when is '{bad}'"):
        read(path)


def test_read_interactions_counts_skipped_rows(tmp_path):
    # The first row is invalid, so that the second repeats no valid one.
    path = write(
        tmp_path,
        *('ann\tx\tbad\t1', 'ann\tx\t5\t2', 'ann\tx\t4\t3', '\tx\t1\t1'),
    )
    with pytest.warns(UserWarning) as caught:
        interactions = read(path, skip_invalid=True)
    assert [str(warning.message) for warning in caught] == [
        f"'{path}': 3 invalid rows skipped: 1 has no finite number in 'stars' "
        f"(in row 1: 'bad'), 1 repeats a user and item (in row 3: 'ann' and "
        f"'x'), 1 has no id in 'who' (in row 4: ''); row 1 is the one below "
        f'the header'
    ]
    assert caught[0].filename == __file__
    assert interactions.rating.tolist() == [5]
    assert interactions.time.tolist() == [2]


def test_read_interactions_counts_reasons(tmp_path):
    """A few bad dates do not hide behind many repeats."""
    repeats = ['ann\tx\t1\t2025-01-02'] * 167
    path = write(
        tmp_path,
        *('ann\tx\t1\t2025-01-01', 'bob\ty\t1\t06.01.2025', *repeats),
        *('bob\ty\t1\t', '\ty\t1\t2025-01-01', 'bob\ty\t1\t2025-01-01'),
    )
    with pytest.warns(UserWarning) as caught:
        interactions = read(path, skip_invalid=True)
    assert [str(warning.message) for warning in caught] == [
        f"'{path}': 170 invalid rows skipped: 167 repeat a user and item (the "
        f"first in row 3: 'ann' and 'x'), 2 have no valid date in 'when' (the "
        f"first in row 2: '06.01.2025'), 1 has no id in 'who' (in row 171: "
        f"''); row 1 is the one below the header"
    ]
    assert pairs(interactions) == [('ann', 'x'), ('bob', 'y')]


def test_read_interactions_says_how_no_row_is_valid(tmp_path):
    path = write(
        tmp_path, 'ann\tx\t1\t', 'ann\ty\t1\tnow', '\ty\t1\t2025-01-01'
    )
    with pytest.raises(ValueError) as info:
        read(path, skip_invalid=True, rating='when')
    assert str(info.value) == (
        f"'{path}' has no valid row: 2 have no finite number in 'when' (the "
        f"first in row 1: ''), 1 has no id in 'who' (in row 3: '')"
    )


@settings(deadline=None, max_examples=50)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(['ann', 'bob', '']),
            st.sampled_from('xy'),
            st.sampled_from(['3', '1', '2', 'bad']),
        ),
        min_size=1,
    ),
    dates=st.booleans(),
)
def test_read_interactions_keeps_the_earliest(tmp_path_factory, rows, dates):
    """Compare to a plain loop: at equal times the first row stays."""
    kept = {}
    for number, (user, item, when) in enumerate(rows):
        if user and when != 'bad':
            pair = (user, item)
            if pair not in kept or int(when) < kept[pair][0]:
                kept[pair] = (int(when), number)
    if 2 * sum(when != 'bad' for *_, when in rows) < len(rows) or not kept:
        return
    lines = [
        f'{user}\t{item}\t{number}\t'
        + (f'1970-01-0{when}' if dates and when != 'bad' else when)
        for number, (user, item, when) in enumerate(rows)
    ]
    path = write(tmp_path_factory.mktemp('rows'), *lines)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        interactions = read(path, skip_invalid=True)
    stay = sorted(kept.items(), key=lambda entry: entry[1][1])
    assert pairs(interactions) == [pair for pair, _ in stay]
    assert interactions.rating.tolist() == [number for _, (_, number) in stay]
    day = 86400 if dates else 1
    start = 1 if dates else 0
    assert interactions.time.tolist() == [
        (when - start) * day for _, (when, _) in stay
    ]


def test_read_interactions_without_times_keeps_the_first(tmp_path):
    path = write(tmp_path, 'ann\tx\t2\t9', 'ann\tx\t1\t1')
    with pytest.warns(UserWarning, match='1 repeats a user and item'):
        interactions = read(path, skip_invalid=True, time=None)
    assert interactions.rating.tolist() == [2]


def test_read_interactions_without_rows(tmp_path):
    interactions = read(write(tmp_path))
    assert interactions.users == interactions.items == []
    assert len(interactions.time) == len(interactions.rating) == 0


@pytest.mark.parametrize('column', ['user', 'item', 'rating', 'time'])
def test_read_interactions_names_missing_columns(tmp_path, column):
    path = write(tmp_path, *GOOD)
    expected = "has no column 'other' .it has 'who', 'what', 'stars', 'when'"
    with pytest.raises(ValueError, match=expected):
        read(path, **{column: 'other'})


ID = st.sampled_from(['', 'a', 'b', '1', '01'])


@settings(deadline=None, max_examples=50)
@given(
    rows=st.lists(
        st.tuples(ID, ID, st.sampled_from(['1', '2.5', 'x', '', 'nan', '-inf']))
    )
)
def test_read_interactions_naive(tmp_path_factory, rows):
    """Compare to a plain loop over the rows."""
    kept, first_bad = {}, None
    for number, (user, item, stars) in enumerate(rows, start=1):
        try:
            rating = float(stars)
        except ValueError:
            rating = math.nan
        bad = not (user and item and math.isfinite(rating))
        if bad or (user, item) in kept:
            first_bad = first_bad or number
        else:
            kept[user, item] = rating

    lines = ['\t'.join(row) for row in rows]
    path = write(
        tmp_path_factory.mktemp('rows'), *lines, header='who\twhat\tstars'
    )
    if first_bad:
        with pytest.raises(ValueError, match=f'row {first_bad} below'):
            read(path, time=None)
    if first_bad and not kept:
        with pytest.raises(ValueError, match='has no valid row: '):
            read(path, time=None, skip_invalid=True)
        return
    with warnings.catch_warnings():
        warnings.simplefilter('ignore' if first_bad else 'error')
        interactions = read(path, time=None, skip_invalid=True)
    assert pairs(interactions) == list(kept)
    assert interactions.rating.tolist() == list(kept.values())
    assert interactions.users == sorted({user for user, _ in kept})
    assert interactions.items == sorted({item for _, item in kept})


ITEMS = 'what\ttitle\tprice'


def test_read_items(tmp_path):
    path = write(tmp_path, '07\tA cup\t1', '7\t\t2', header=ITEMS)
    table = read_items(ItemTable(path, 'what', title='title'))
    assert table.to_dict('list') == {
        'what': ['07', '7'],
        'title': ['A cup', ''],
    }


def test_read_items_refuses_repeated_items(tmp_path):
    path = write(tmp_path, 'x\ta\t', 'y\tb\t', 'x\tc\t', header=ITEMS)
    expected = (
        "sales.tsv', row 3 below the header: what is 'x', expected an item "
        'that has no row before'
    )
    with pytest.raises(ValueError, match=expected):
        read_items(ItemTable(path, 'what'))
    with pytest.warns(UserWarning, match="1 repeats an item .in row 3: 'x'."):
        table = read_items(ItemTable(path, 'what'), skip_invalid=True)
    # Matrices of features need all rows:
    assert table['what'].tolist() == ['x', 'y', 'x']


def test_read_items_refuses_rows_without_an_item(tmp_path):
    path = write(tmp_path, 'x\ta\t', '\tb\t', '\tc\t', header=ITEMS)
    with pytest.raises(
        ValueError, match=r"row 2 .*: what is '', expected an id"
    ):
        read_items(ItemTable(path, 'what'))
    with pytest.warns(UserWarning, match='2 invalid rows skipped'):
        read_items(ItemTable(path, 'what'), skip_invalid=True)


def test_read_items_names_missing_columns(tmp_path):
    path = write(tmp_path, header=ITEMS)
    with pytest.raises(
        ValueError, match=r"no column 'item' .it has 'what', 't"
    ):
        read_items(ItemTable(path))
    with pytest.raises(ValueError, match="no column 'brand'"):
        read_items(ItemTable(path, 'what', text='{brand}'))


@pytest.mark.parametrize(
    ('items', 'expected'),
    [
        (
            ['SKU-1', 'SKU-2', 'y'],
            "2 of 3 sold items have no row in 'items.csv', such as 'SKU-1' and "
            "'SKU-2', and 2 of its 3 items are none of these, such as 'sku-1' "
            "and 'sku-2'; 2 of them would be found in another letter case, "
            "such as 'sku-1': write ids in the same way in both tables",
        ),
        (
            ['sku-1', 'sku-2', 'y', 'x'],
            "1 of 4 sold items has no row in 'items.csv', such as 'x'; they "
            'count as having none of what it holds',
        ),
    ],
)
def test_compare_ids(items, expected):
    with pytest.warns(UserWarning) as caught:
        compare_ids('items.csv', ['sku-1', 'sku-2', 'y'], items)
    assert [str(warning.message) for warning in caught] == [expected]


@pytest.mark.parametrize(
    ('items', 'hint'),
    [
        (['SKU-1', 'z'], 'another letter case'),
        ([' sku-1', 'z'], 'other blanks around'),
        (['07', 'z'], 'other leading zeros'),
        (['q', 'z'], 'name the columns of the same ids'),
    ],
)
def test_compare_ids_refuses_if_none_is_known(items, hint):
    with pytest.raises(ValueError, match=f'2 of 2 sold items have no.*{hint}'):
        compare_ids('items.csv', ['sku-1', '7'], items)


def test_compare_ids_passes_over_blank_ones():
    with pytest.warns(UserWarning, match="1 of 2 sold items has .*'y'; they"):
        compare_ids('items.csv', ['x', '', ' '], ['x', 'y'])


def test_compare_ids_that_are_all_known():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        compare_ids('items.csv', ['x', 'y'], ['y'])


# Several types ###############################################################

WEIGHTS = {'view': 0.2, 'cart': 1.0, 'buy': 2.0}


def log(root, *rows: str, **kwargs) -> InteractionTable:
    path = write(root, *rows, header='user\titem\tevent\tday')
    return InteractionTable(
        path, time='day', type='event', weights=WEIGHTS, **kwargs
    )


def weights(interactions):
    return dict(
        zip(pairs(interactions), interactions.weight.tolist(), strict=True)
    )


def test_a_pair_has_the_largest_weight_of_its_rows(tmp_path):
    table = log(
        tmp_path,
        'ann\tcup\tview\t1',
        'ann\tcup\tbuy\t9',
        'ann\tcup\tbuy\t7',
        'ann\tcup\tcart\t2',
        'bob\tcup\tview\t4',
        'bob\tcup\tview\t3',
        'bob\tpot\tcart\t5',
    )
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # A log repeats what happened again.
        found = read_interactions([table])
    assert weights(found) == {
        ('ann', 'cup'): 1.0,
        ('bob', 'cup'): pytest.approx(0.1),
        ('bob', 'pot'): 0.5,
    }
    # When it was bought first, and viewed first:
    assert found.time.tolist() == [7, 3, 5]
    assert found.weight.dtype == torch.float32


def test_types_without_weight_are_named(tmp_path):
    rows = ['ann\tcup\tbuy\t1', 'ann\tpot\twish\t1', 'bob\tcup\tdrop\t2']
    table = log(tmp_path, *rows, 'bob\tpot\twish\t2')
    with pytest.raises(ValueError) as info:
        read_interactions([table])
    assert (
        "sales.tsv', row 2 below the header: event is 'wish', expected a type "
        "that has a weight: 'view', 'cart', 'buy'; all types without one are "
        "'wish' (2), 'drop' (1)" in str(info.value)
    )
    expected = "3 have a type without weight in 'event' .the first in row 2"
    with pytest.warns(UserWarning, match=expected):
        found = read_interactions([table], skip_invalid=True)
    assert pairs(found) == [('ann', 'cup')]
    assert found.weight is None  # All that is left is alike.


def test_tables_of_types(tmp_path):
    views = write(
        tmp_path,
        'ann\tcup',
        'ann\tpot',
        header='user\titem',
        name='views.tsv',
    )
    sales = write(tmp_path, 'ann\tcup', 'bob\tjar', header='who\titem')
    tables = [
        InteractionTable(views, weight=0.5),
        InteractionTable(sales, user='who', weight=2),
    ]
    expected = {
        ('ann', 'cup'): 1.0,
        ('ann', 'pot'): 0.25,
        ('bob', 'jar'): 1.0,
    }
    assert weights(read_interactions(tables)) == expected
    assert weights(read_interactions(tables[::-1])) == expected
    write(tmp_path, 'a\tb', 'a\tb', header='user\titem', name='views.tsv')
    with pytest.raises(ValueError, match=r"views.tsv', row 2 .*a row before"):
        read_interactions(tables)


def test_tables_of_types_have_the_same_columns(tmp_path):
    rows = ('ann\tcup\t5\t3', 'bob\tcup\t5\t4')
    one = InteractionTable(write(tmp_path, *rows), **COLUMNS)
    other = InteractionTable(one.source, user='who', item='what')
    with pytest.raises(ValueError, match=r"has no 'rating', but .* does; name"):
        read_interactions([one, other])
    days = write(tmp_path, 'ann\tcup\t5\t2025-01-01', name='days.tsv')
    with pytest.raises(ValueError, match=r"sales.tsv' has a number for each.*"):
        read_interactions([one, InteractionTable(days, **COLUMNS)])


def test_weights_far_apart_are_refused(tmp_path):
    path = write(tmp_path, 'ann\tcup\ta', header='user\titem\tkind')
    table = InteractionTable(path, type='kind', weights={'a': 1e-50, 'b': 1})
    with pytest.raises(ValueError, match='nothing beside the largest'):
        read_interactions([table])


EVENT = st.tuples(
    st.sampled_from('ab'),
    st.sampled_from('xy'),
    st.sampled_from([*WEIGHTS, 'wish']),
    st.integers(0, 3),
)


@settings(deadline=None, max_examples=40)
@given(events=st.lists(EVENT, min_size=1, max_size=8))
def test_a_log_naive(tmp_path_factory, events):
    root = tmp_path_factory.mktemp('log')
    table = log(root, *('\t'.join(map(str, event)) for event in events))
    valid = [event for event in events if event[2] in WEIGHTS]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        if not valid:
            with pytest.raises(ValueError, match='no valid row'):
                read_interactions([table], skip_invalid=True)
            return
        found = read_interactions([table], skip_invalid=True)
    best = {}
    for user, item, kind, day in valid:
        weight, time = best.get((user, item), (0, 0))
        if WEIGHTS[kind] > weight or (WEIGHTS[kind] == weight and day < time):
            best[user, item] = WEIGHTS[kind], day
    weight = [1.0] * len(best) if found.weight is None else found.weight
    got = zip(pairs(found), weight, found.time.tolist(), strict=True)
    assert {pair: (float(w), t) for pair, w, t in got} == {
        pair: (pytest.approx(w / 2), t) for pair, (w, t) in best.items()
    }


# Other sources ###############################################################


def test_rows_of_frames_are_counted_as_iloc_does():
    frame = pd.DataFrame({'user': ['a', ''], 'item': ['x', 'y']})
    table = InteractionTable(frame)
    with pytest.raises(ValueError, match="'DataFrame', row 1: user is ''"):
        read_interactions([table])


def test_lines_without_header_are_counted_from_one(tmp_path):
    path = write(tmp_path, '\ty', header='a\tx')
    table = InteractionTable(path, names=['user', 'item'])
    with pytest.raises(ValueError, match=r"sales.tsv', line 2: user is ''"):
        read_interactions([table])


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({'source': ['a']}, 'needs to be a path or a DataFrame .got a list'),
        ({'type': 'event'}, 'pass both or neither'),
        ({'weights': {'a': 1}}, 'pass both or neither'),
        ({'type': 't', 'weights': {}}, 'needs at least one type'),
        ({'type': 't', 'weights': {'a': 0}}, 'positive finite number .got 0'),
        ({'weight': math.nan}, 'positive finite number .got nan'),
        ({'weight': -1}, 'positive finite number .got -1'),
        (
            {'type': 't', 'weights': {'a': 1}, 'weight': 2},
            "'weight' is that of a table without 'weights'",
        ),
        ({'names': ['user', 'sku']}, "has no 'item' .got .'user', 'sku'"),
        ({'names': ['user', 'item', 'item']}, 'no list of those'),
        ({'names': 'user item'}, 'no list of those'),
    ],
)
def test_interaction_tables_refuse(options, expected):
    with pytest.raises(ValueError, match=expected):
        InteractionTable(**{'source': 'sales.csv', **options})


def test_item_tables_refuse():
    with pytest.raises(ValueError, match="has no 'title'"):
        ItemTable('a.csv', text='{title}', names=['item'])
    with pytest.raises(ValueError, match='needs fields in braces'):
        ItemTable('a.csv', text='title')


@pytest.mark.parametrize('zone', ['', 'Z', '+02:00'])
def test_dates_within_a_second_keep_their_order(tmp_path, zone):
    days = [f'2025-01-01 00:00:00.{part}{zone}' for part in (75, 5, 25)]
    later = f'2025-01-01 00:00:01{zone}'
    rows = [f'a\tx{i}\t1\t{day}' for i, day in enumerate([*days, later])]
    time = read(write(tmp_path, *rows)).time
    assert time.dtype == torch.double
    assert (time - time.min()).tolist() == [0.5, 0.25, 0.0, 0.75]
    # Of a repeated pair, the earliest counts:
    rows = [f'a\tx\t{i}\t{day}' for i, day in enumerate(days)]
    with pytest.warns(UserWarning, match='2 repeat a user and item'):
        found = read(write(tmp_path, *rows), skip_invalid=True)
    assert found.rating.tolist() == [2.0]


def test_dates_before_1970_with_fractions(tmp_path):
    path = write(tmp_path, 'a\tx\t1\t1969-12-31 23:59:58.5')
    assert read(path).time.tolist() == [-1.5]
