import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from pyg_ckd.datasets._description.degrees import Degrees, shares
from pyg_ckd.datasets._description.item_names import ItemNames, short
from pyg_ckd.datasets._description.missing import overlaps
from pyg_ckd.datasets._description.months import months_of, times_of
from pyg_ckd.graph import RATES

DAY = 86_400


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=40))
def test_degrees_are_those_of_numpy(values):
    found = Degrees.of(torch.tensor(values))
    array = np.array(values)
    assert found.mean == pytest.approx(np.mean(array))
    assert found.median == np.median(array)
    assert (found.most, found.none) == (max(values), values.count(0))
    # Half the mean difference of two, by the mean:
    differences = np.abs(array[:, None] - array).mean()
    gini = differences / (2 * array.mean()) if array.any() else 0
    assert found.gini == pytest.approx(gini, abs=1e-12)
    value, share = shares(torch.tensor(values))
    assert value.tolist() == sorted(set(values) - {0})
    expected = [(array >= v).mean() for v in value.tolist()]
    assert share.tolist() == pytest.approx(expected)


def test_degrees_of_nobody():
    assert Degrees.of(torch.tensor([], dtype=torch.long)) == (0, 0, 0, 0, 0)


def test_overlaps():
    has = {
        'text': torch.tensor([True, False, False, True, False]),
        'image': torch.tensor([True, False, True, True, False]),
    }
    assert overlaps(has) == [
        ((), 2),
        (('text', 'image'), 2),
        (('text',), 1),
    ]


def test_months():
    dates = np.array(
        ['1999-12-31T23:59:59', '2000-01-01', '2000-02-29', '2000-05-05'],
        dtype='datetime64[s]',
    )
    time = torch.from_numpy(dates.astype(np.int64))
    months = months_of({'training': time[:3], 'test': time[3:]})
    assert months.unit == 'month'
    assert months.start.astype(str).tolist() == [
        *('1999-12-01', '2000-01-01', '2000-02-01'),
        *('2000-03-01', '2000-04-01', '2000-05-01'),
    ]
    assert months.counts['training'].tolist() == [1, 1, 1, 0, 0, 0]
    assert months.counts['test'].tolist() == [0, 0, 0, 0, 0, 1]


def test_few_months_are_shown_by_days():
    start = 1_000_000_000 // DAY * DAY
    time = torch.tensor([start, start + DAY - 1, start + 2 * DAY]).double()
    months = months_of({'training': time})
    assert months.unit == 'day'
    assert months.counts['training'].tolist() == [2, 0, 1]


@pytest.mark.parametrize('other', [0.0, 978_300_760_000.0, 5e9, torch.nan])
def test_times_that_are_no_seconds(other):
    assert months_of({'training': torch.tensor([978_300_760, other])}) is None
    assert months_of({}) is None


def test_times_of_a_graph():
    data = HeteroData()
    assert times_of(data) == {}
    data[RATES].edge_index = torch.zeros(2, 3, dtype=torch.long)
    assert times_of(data) == {}
    data[RATES].time = torch.arange(2)  # not one for each
    assert times_of(data) == {}
    data[RATES].time = np.arange(3)
    assert times_of(data)['training'].tolist() == [0, 1, 2]


def test_names():
    data = HeteroData()
    data['item'].num_nodes = 2
    assert ItemNames(data).ids == ['0', '1']
    data['item'].original_id = torch.tensor([7, 3])
    names = ItemNames(data)
    assert (names.ids, names.are_numbers) == (['7', '3'], True)
    data['item'].name = np.array(['a', 'b'])
    names = ItemNames(data)
    assert (names.ids, names.are_numbers) == (['a', 'b'], False)
    data['item'].title = ['Cup', '  ']
    names = ItemNames(data)
    assert [names.title(0), names.title(1)] == ['Cup', 'b']
    data['item'].title = ['not one for each']
    assert ItemNames(data).title(0) == 'a'


def test_long_texts_are_cut():
    assert short('a\n\tb') == 'a b'
    assert len(short('a' * 10**6)) == 91
