import datetime as dt

import numpy as np
import pandas as pd
import pytest
import torch

from pyg_ckd.datasets._from_interactions import from_interactions
from pyg_ckd.datasets.raw.frames import frame_of, indexed
from pyg_ckd.graph import RATES

ROWS = {
    'user': ['ann', 'ann', 'ann', 'bob', 'bob'],
    'item': ['mug', 'hat', 'pen', 'hat', 'pen'],
    'stars': [1.0, 2.0, 3.0, 4.0, 5.0],
    'day': [dt.datetime(2025, 3, day) for day in (1, 2, 3, 4, 5)],
    'part': ['train', 'val', 'test', 'train', 'train'],
}


@pytest.fixture
def pl():
    return pytest.importorskip('polars')


def same(one, other):
    assert one[RATES].to_dict().keys() == other[RATES].to_dict().keys()
    for key, value in one[RATES].to_dict().items():
        assert value.equal(other[RATES][key])
    assert one['user'].name == other['user'].name
    assert one['item'].name == other['item'].name


def test_from_interactions_takes_polars(pl):
    options = {'rating': 'stars', 'time': 'day', 'split': 'part'}
    same(
        from_interactions(pl.DataFrame(ROWS), **options),
        from_interactions(pd.DataFrame(ROWS), **options),
    )


def test_from_interactions_takes_columns_of_polars(pl):
    table = pl.DataFrame(ROWS)
    table = table.with_columns(pl.col('user').cast(pl.Categorical))
    same(
        from_interactions(
            table['user'],
            table['item'],
            time=table['day'],
            split=table['part'],
        ),
        from_interactions(
            ROWS['user'],
            ROWS['item'],
            time=pd.Series(ROWS['day']),
            split=ROWS['part'],
        ),
    )


@pytest.mark.parametrize('form', ['columns', 'lists', 'arrays'])
def test_from_interactions_takes_features_of_polars(pl, form):
    table = pl.DataFrame(
        {
            'item': ['pen', 'mug', 'hat', 'other'],
            'a': [1.0, 2.0, 3.0, 9.0],
            'b': [4, 5, 6, 9],
        }
    )
    if form != 'columns':
        table = table.select('item', emb=pl.concat_list('a', 'b'))
    if form == 'arrays':
        table = table.with_columns(pl.col('emb').cast(pl.Array(pl.Float32, 2)))
    data = from_interactions(
        pl.DataFrame(ROWS), features={'text': table}, split='part'
    )
    assert data['item'].name == ['hat', 'mug', 'pen']
    assert data['item'].x_text.tolist() == [[3, 6], [2, 5], [1, 4]]


@pytest.mark.parametrize('form', ['columns', 'lists'])
def test_from_interactions_takes_rows_of_polars(pl, form):
    table = pl.DataFrame({'a': [1.0, 2.0, 3.0], 'b': [4.0, 5.0, 6.0]})
    if form == 'lists':
        table = table.select(emb=pl.concat_list('a', 'b'))
    rows = pl.DataFrame({'user': [0, 0, 0], 'item': [2, 1, 0]})
    data = from_interactions(
        rows, features={'text': table}, split=pl.Series([0, 1, 2])
    )
    assert data['item'].x_text.tolist() == [[1, 4], [2, 5], [3, 6]]
    assert data[RATES].edge_index.tolist() == [[0], [2]]


def test_from_interactions_takes_other_names_of_columns(pl):
    table = pl.DataFrame(ROWS).rename({'user': 'who', 'item': 'what'})
    features = pl.DataFrame({'what': ['hat', 'mug', 'pen'], 'a': [1, 2, 3]})
    data = from_interactions(
        table,
        features={'text': features},
        split='part',
        user='who',
        item='what',
    )
    assert data['item'].x_text.flatten().tolist() == [1, 2, 3]


def test_from_interactions_refuses_polars(pl):
    table = pl.DataFrame(ROWS)
    with pytest.raises(ValueError, match="names the column 'who', but there a"):
        from_interactions(table, user='who')
    with pytest.raises(ValueError, match=r'pass table\.collect'):
        from_interactions(table.lazy())
    null = table.with_columns(
        user=pl.when(pl.col('stars') > 4).then(None).otherwise('user')
    )
    with pytest.raises(ValueError, match="'users' is missing in row 4"):
        from_interactions(null)
    twice = pl.DataFrame({'item': ['hat', 'hat'], 'a': [1.0, 2.0]})
    with pytest.raises(ValueError, match=r'has no row for the item .mug'):
        from_interactions(table, features={'text': twice}, split='part')
    full = pl.DataFrame(
        {'item': ['hat', 'mug', 'pen', 'hat'], 'a': [[1.0], [2.0], [3.0], [4]]}
    )
    with pytest.raises(ValueError, match=r'several rows for the item .hat'):
        from_interactions(table, features={'text': full}, split='part')
    rows = pl.DataFrame({'a': [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match='does not say which row belongs to'):
        from_interactions(table, features={'text': rows}, split='part')


def test_from_interactions_takes_arrow():
    pa = pytest.importorskip('pyarrow')
    same(
        from_interactions(pa.table(ROWS), split='part'),
        from_interactions(pd.DataFrame(ROWS), split='part'),
    )


def test_other_values_are_no_tables():
    for value in ([1], np.ones((2, 2)), torch.ones(2, 2), {'a': 1}, 'a', None):
        assert frame_of(value) is None
        assert indexed(value, 'item') is value
    table = pd.DataFrame({'item': [1]}, index=['tea'])
    assert frame_of(table) is table
    assert indexed(table, 'item') is table


def test_items_in_a_column_of_pandas():
    """Where rows have no index of their own, it says which item each is."""
    table = pd.DataFrame({'item': [2, 0, 1], 'a': [20.0, 0.0, 10.0]})
    data = from_interactions([0, 0], [0, 2], {'text': table}, split=[0, 0])
    assert data['item'].x_text.tolist() == [[0], [10], [20]]
    by_index = {'text': table.set_index('item')}
    same_ = from_interactions([0, 0], [0, 2], by_index, split=[0, 0])
    assert torch.equal(same_['item'].x_text, data['item'].x_text)
    rows = table[['a']]  # a row for each item, in order
    data = from_interactions([0, 0], [0, 2], {'text': rows}, split=[0, 0])
    assert data['item'].x_text.tolist() == [[20], [0], [10]]


def test_a_column_of_items_with_another_name(pl):
    rows = pl.DataFrame({'user': [0, 0], 'sku': [0, 1]})
    features = pl.DataFrame({'item': [1, 0], 'a': [1.0, 2.0]})
    with pytest.raises(ValueError, match=r"column 'item', but .* in 'sku'"):
        from_interactions(rows, item='sku', features={'text': features})
