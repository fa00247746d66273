import copy

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from pyg_ckd.datasets import FakeMultimodal, from_interactions
from pyg_ckd.datasets.raw.renumbered import renumbered, restored
from pyg_ckd.graph import RATED_BY, RATES
from pyg_ckd.transforms import ItemKNN

KEYS = ('edge_index', 'val_edge_label_index', 'test_edge_label_index')

#: What torch 2 draws, here and elsewhere; nobody may get other numbers.
USERS = [4, 1, 7, 5, 3, 9, 0, 8, 6, 2]
ITEMS = [3, 9, 4, 2, 7, 8, 6, 0, 5, 1]
LARGE = [6044, 23117, 9729, 26406, 14191, 22624]


def shop(num_users: int, num_items: int) -> HeteroData:
    """A graph in which everything tells which user or item it is of."""
    data = HeteroData()
    data['user'].num_nodes, data['item'].num_nodes = num_users, num_items
    data['user'].name = [f'u{row}' for row in range(num_users)]
    data['item'].title = [f'i{row}' for row in range(num_items)]
    data['user'].age = np.arange(num_users)
    data['item'].x_text = torch.arange(2.0 * num_items).view(-1, 2)
    data['item'].has_text = torch.arange(num_items) % 2 == 0
    data['item'].price = tuple(range(num_items))
    data['item'].currency = 'EUR'
    user = torch.arange(num_users).repeat_interleave(3)
    item = (user + torch.arange(3).repeat(num_users)) % num_items
    data[RATES].edge_index = torch.stack([user[::3], item[::3]])
    data[RATES].rating = torch.arange(num_users).float()
    data[RATES].val_edge_label_index = torch.stack([user[1::3], item[1::3]])
    data[RATES].test_edge_label_index = torch.stack([user[2::3], item[2::3]])
    data[RATED_BY].edge_index = data[RATES].edge_index.flip(0)
    data['user', 'knows', 'user'].edge_index = torch.stack([user, user.flip(0)])
    data.split = 'by hand'
    return data


def same(one: HeteroData, other: HeteroData) -> bool:
    """Return whether two graphs hold the same, with the same names."""
    ours, theirs = one.to_dict(), other.to_dict()
    if ours.keys() != theirs.keys():
        return False
    for key, values in ours.items():
        if values.keys() != theirs[key].keys():
            return False
        for name, value in values.items():
            if not np.array_equal(value, theirs[key][name]):
                return False
    return True


def test_numbers_are_the_same_everywhere():
    other = renumbered(shop(10, 10))
    assert other['user'].original_id.tolist() == USERS
    assert other['item'].original_id.tolist() == ITEMS
    large = renumbered(shop(30_000, 10))
    assert large['user'].original_id[:6].tolist() == LARGE
    assert other['user'].original_id.dtype == torch.int64


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 20), st.integers(3, 20), st.integers(0, 9))
def test_everything_goes_with_its_node(num_users, num_items, seed):
    data = shop(num_users, num_items)
    before = copy.deepcopy(data)
    other = renumbered(data, seed)
    assert same(data, before)
    user, item = other['user'].original_id, other['item'].original_id
    assert other['user'].name == [f'u{row}' for row in user.tolist()]
    assert other['item'].title == [f'i{row}' for row in item.tolist()]
    assert other['user'].age.tolist() == user.tolist()
    assert other['item'].price == tuple(item.tolist())
    assert other['item'].currency == 'EUR'
    assert other.split == 'by hand'
    assert other['item'].x_text.equal(data['item'].x_text[item])
    assert other['item'].has_text.equal(data['item'].has_text[item])
    for key in KEYS:  # edges stay in their order, with what they carry
        pairs = other[RATES][key]
        assert torch.stack([user[pairs[0]], item[pairs[1]]]).equal(
            data[RATES][key]
        )
    assert other[RATES].rating.equal(data[RATES].rating)
    knows = other['user', 'knows', 'user'].edge_index
    assert user[knows].equal(data['user', 'knows', 'user'].edge_index)
    assert same(restored(other), data)


def test_seeds_differ():
    data = shop(50, 50)
    one, other = renumbered(data), renumbered(data, seed=1)
    for node in ('user', 'item'):
        assert not one[node].original_id.equal(other[node].original_id)
    assert same(one, renumbered(data))


def test_twice_keeps_the_first_numbers():
    data = shop(9, 8)
    other = renumbered(renumbered(data), seed=3)
    assert not other['user'].original_id.equal(
        renumbered(data)['user'].original_id
    )
    assert same(restored(other), data)


def test_global_state_stays():
    before = torch.get_rng_state()
    renumbered(shop(9, 8))
    assert torch.get_rng_state().equal(before)


def test_graphs_come_after():
    data = ItemKNN(k=2)(FakeMultimodal(num_users=20, num_items=10)[0])
    with pytest.raises(ValueError, match=r'those of ItemKNN.*renumber it'):
        renumbered(data)
    data = ItemKNN(k=2)(renumbered(FakeMultimodal(20, 10)[0]))
    assert 'graphs' not in restored(data)
    assert 'graphs' in data


def test_without_numbers_of_before():
    data = shop(5, 5)
    assert restored(data) is data


def test_items_that_were_left_out():
    data = renumbered(shop(5, 5))
    data['item'].original_id = data['item'].original_id + 1
    with pytest.raises(ValueError, match='is not each number from 0 to 4'):
        restored(data)


def test_sparse_tensors_and_tables_follow():
    data = from_interactions([0, 0, 1], [0, 1, 2], split=[0, 1, 2])
    data['item'].sparse = torch.tensor([[1.0], [0.0], [3.0]]).to_sparse()
    data['item'].series = pd.Series([1, 2, 3])
    data['item'].table = pd.DataFrame({'price': [1, 2, 3]})
    other = renumbered(data)
    rows = other['item'].original_id
    dense = other['item'].sparse.to_dense().flatten().tolist()
    assert dense == [[1.0, 0.0, 3.0][row] for row in rows]
    assert other['item'].series.tolist() == (rows + 1).tolist()
    assert other['item'].table['price'].tolist() == (rows + 1).tolist()


@pytest.mark.parametrize('ids', [[1, 0], torch.tensor([0]), 'ab'])
def test_original_numbers_of_a_wrong_kind(ids):
    data = from_interactions([0, 0, 1], [0, 1, 2], split=[0, 1, 2])
    data['user'].original_id = ids
    with pytest.raises(ValueError, match=r'a number for each of 2 users'):
        restored(data)
