import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torch_geometric.data import HeteroData

from pyg_ckd import evaluate, from_interactions
from pyg_ckd.datasets import FakeMultimodal, MMRecFolder, describe, to_mmrec
from pyg_ckd.datasets import _audit as module
from pyg_ckd.datasets._audit import audit
from pyg_ckd.datasets._leaks import (
    rank_correlation,
    recall_of_neighbors,
    share_in_order,
    smallest_and_mean,
)
from pyg_ckd.datasets.raw.graph_of_splits import graph_of_splits
from pyg_ckd.datasets.raw.renumbered import renumbered, restored
from pyg_ckd.graph import RATED_BY, RATES

SPLITS = ('edge_index', 'val_edge_label_index', 'test_edge_label_index')


class Neighbours(torch.nn.Module):
    """Recommends what users with neighbouring numbers have in training."""

    def forward(self, data):
        size = data['user'].num_nodes, data['item'].num_nodes
        user_emb = torch.zeros(size)
        for step in (-5, -4, -3, -2, -1, 1, 2, 3, 4, 5):
            for user, item in data[RATES].edge_index.t().tolist():
                user_emb[(user + step) % size[0], item] += 1
        return user_emb, torch.eye(size[1])


def shop(num_users: int = 300, num_items: int = 150) -> HeteroData:
    """All is chance, so that there is nothing to learn."""
    rng = np.random.default_rng(0)
    items = [rng.choice(num_items, 6, replace=False) for _ in range(num_users)]
    return from_interactions(
        np.arange(num_users).repeat(6),
        np.concatenate(items),
        split='mmrec',
        num_items=num_items,
    )


def first_seen(data: HeteroData, splits: tuple[str, ...]) -> HeteroData:
    """Number users by first appearance in a table that is ordered by item."""
    user, item = torch.cat([data[RATES][name] for name in splits], dim=1)
    first = torch.full((data['user'].num_nodes,), data['item'].num_nodes)
    first.scatter_reduce_(0, user, item, 'amin')
    number = first.argsort(stable=True).argsort()
    other = copy.copy(data)
    for name in SPLITS:
        user, item = data[RATES][name]
        other[RATES][name] = torch.stack([number[user], item])
    other[RATED_BY].edge_index = other[RATES].edge_index.flip(0)
    return other


# Measures ####################################################################


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 9)), max_size=30))
def test_rank_correlation(rows):
    one, other = torch.tensor(rows, dtype=torch.long).view(-1, 2).t()
    found = rank_correlation(one, other)
    if len(one.unique()) < 2 or len(other.unique()) < 2:
        assert found is None
        return
    expected = spearmanr(one.numpy(), other.numpy()).statistic
    assert found == pytest.approx(expected, abs=1e-9)


def test_smallest_and_mean():
    pairs = torch.tensor([[2, 0, 2, 2], [5, 1, 3, 4]])
    user, smallest, mean = smallest_and_mean(pairs, 4)
    assert user.tolist() == [0, 2]
    assert (smallest.tolist(), mean.tolist()) == ([1, 3], [1.0, 4.0])


def test_share_in_order():
    assert share_in_order(torch.tensor([1, 1, 0, 5, 4])) == 0.5
    assert share_in_order(torch.tensor([7])) is None


@pytest.mark.parametrize('splits', [SPLITS, SPLITS[:1]])
def test_recall_of_neighbors(splits):
    """It is what the recommender reaches, unless lists are too short."""
    data = first_seen(shop(), splits)
    expected = evaluate(Neighbours(), data, ks=(20,), metrics=['recall'])
    rates = data[RATES]
    train, test = rates.edge_index, rates.test_edge_label_index
    found = recall_of_neighbors(train, test, test[0].unique(), (300, 150))
    assert found.found == pytest.approx(expected['recall@20'], abs=1e-6)


def test_recall_of_some_users():
    data = shop()
    train, test = data[RATES].edge_index, data[RATES].test_edge_label_index
    users = test[0].unique()
    parts = [
        recall_of_neighbors(train, test, some, (300, 150))
        for some in users.split(len(users) // 3)
    ]
    whole = recall_of_neighbors(train, test, users, (300, 150))
    sizes = [len(some) for some in users.split(len(users) // 3)]
    for place in (0, 1):
        mean = np.average([part[place] for part in parts], weights=sizes)
        assert whole[place] == pytest.approx(mean)


# Numbers #####################################################################


def test_numbers_of_before_the_split():
    found = audit(first_seen(shop(), SPLITS))
    assert found['smallest_all'] > 0.99 > found['smallest_training']
    assert found['in_order_all'] == 1 > found['in_order_training']
    assert found['neighbors'] > 1.5 * found['neighbors_at_random']
    assert [leak.split(' (')[0] for leak in found.leaks] == [
        'numbers of users give the test set away',
        'users were numbered by their smallest item before the split, so that '
        'their order gives the test set away: data = renumbered(data)',
    ]
    assert found.remark().text.startswith('Numbers of users give the test set')
    assert found.remark().text.endswith('; see audit(data)')


def test_numbers_of_training_are_harmless():
    found = audit(first_seen(shop(), SPLITS[:1]))
    assert found['smallest_training'] > 0.99 > found['smallest_all']
    assert (found.leaks, found.remark()) == ([], None)


@pytest.mark.parametrize('seed', range(5))
def test_renumbered_data_is_fine(seed):
    found = audit(renumbered(first_seen(shop(), SPLITS), seed))
    assert found.leaks == []
    for name in ('smallest_all', 'mean_all', 'smallest_training'):
        assert abs(found[name]) < 0.2
    assert found['neighbors'] < 2 * found['neighbors_at_random'] + 0.03


def test_original_numbers():
    leaky = first_seen(shop(), SPLITS)
    expected = audit(leaky)
    assert audit(renumbered(leaky), original=True) == expected
    # The control must not bring back what the loader has mixed:
    found = audit(renumbered(leaky))
    assert found['neighbors_at_random'] < expected['neighbors'] / 1.5
    with pytest.raises(ValueError, match="has no 'original_id'"):
        audit(leaky, original=True)


@pytest.mark.parametrize('size', [1, 2, 5, 20, 60])
@pytest.mark.parametrize('seed', range(3))
def test_small_data_raises_no_alarm(size, seed):
    data = FakeMultimodal(size, 12, num_interactions=5, seed=seed)[0]
    assert audit(data).leaks == []


def test_numbers_of_items():
    data = FakeMultimodal(num_users=500, num_items=100)[0]
    assert abs(audit(data)['popularity']) < 0.3
    count = data[RATES].test_edge_label_index[1].bincount(minlength=100)
    number = count.argsort(descending=True, stable=True).argsort()
    for name in SPLITS:
        user, item = data[RATES][name]
        data[RATES][name] = torch.stack([user, number[item]])
    data[RATED_BY].edge_index = data[RATES].edge_index.flip(0)
    found = audit(data)
    assert found['popularity'] < -0.9
    assert 'Numbers of items tell what is popular' in str(found)


# Splits ######################################################################


def by_hand() -> HeteroData:
    data = HeteroData()
    data['user'].num_nodes, data['item'].num_nodes = 4, 6
    data[RATES].edge_index = torch.tensor([[0, 0, 1, 1], [0, 1, 0, 2]])
    data[RATES].val_edge_label_index = torch.tensor([[0, 2], [2, 0]])
    data[RATES].test_edge_label_index = torch.tensor([[0, 1, 2], [3, 4, 1]])
    data[RATED_BY].edge_index = data[RATES].edge_index.flip(0)
    return data


def test_counts():
    found = audit(by_hand())
    wanted = {
        'users': 4,
        'items': 6,
        'training': 4,
        'test_users': 3,
        'sampled_users': 3,
        'in_two_splits': 0,
        'reversed_only': 0,
        'users_without_training': 2,
        'cold_test_items': 2,
        'test_users_without_validation': 1,
        'later_than_own_test': None,
        'later_than_first_test': None,
        'twins': {},
    }
    assert {name: found[name] for name in wanted} == wanted
    assert found.leaks == []


def test_interactions_in_two_splits():
    data = by_hand()
    data[RATES].val_edge_label_index = torch.tensor([[0, 0], [0, 3]])
    found = audit(data)
    assert found['in_two_splits'] == 2
    assert found.leaks == ['2 interactions are in two splits: leave them out']
    # A pair that training has twice is in one split:
    data = by_hand()
    twice = data[RATES].edge_index.repeat(1, 2)
    data[RATES].edge_index, data[RATED_BY].edge_index = twice, twice.flip(0)
    assert audit(data).leaks == []


def test_reversed_edges_of_what_is_held_out():
    data = by_hand()
    held_out = data[RATES].test_edge_label_index[:, :1].flip(0)
    edges = [data[RATED_BY].edge_index, held_out]
    data[RATED_BY].edge_index = torch.cat(edges, dim=1)
    found = audit(data)
    assert found['reversed_only'] == 1
    assert 'reverse those of training alone' in found.leaks[0]
    del data[RATED_BY]
    assert audit(data)['reversed_only'] == 0


def test_times():
    user, item = torch.tensor([[0, 0, 0, 1, 1, 2], [0, 1, 2, 0, 1, 2]])
    data = graph_of_splits(
        user,
        item,
        torch.tensor([0, 0, 2, 0, 2, 0]),
        num_users=3,
        num_items=3,
        features={},
        time=torch.tensor([10, 30, 20, 20, 50, 40]),
    )
    found = audit(data)
    assert found['later_than_own_test'] == 1  # 30 after 20
    assert found['later_than_first_test'] == 2  # 30 and 40 after 20
    assert '2 (50.0% of training)' in str(found)
    assert audit(renumbered(data))['later_than_own_test'] == 1
    data[RATES].test_edge_label_index = data[RATES].test_edge_label_index[:, :1]
    assert audit(data)['later_than_own_test'] is None


@pytest.mark.parametrize('split', ['time', 'random'])
def test_times_of_splits(split):
    rng = np.random.default_rng(0)
    pairs = np.unique(rng.integers(0, 20, (200, 2)), axis=0)
    data = from_interactions(
        pairs[:, 0], pairs[:, 1], split=split, time=rng.random(len(pairs))
    )
    found = audit(data)
    for name in ('later_than_own_test', 'later_than_first_test'):
        assert (found[name] > 0) == (split == 'random')


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_twins(dtype):
    data = by_hand()
    x = torch.arange(12.0).view(6, 2).to(dtype)
    x[3] = x[0]  # cold and trained
    x[4] = x[3]  # cold
    x[5] = x[0]  # in no split
    data['item'].x_text = x
    data['item'].x_image = torch.rand(6, 3)
    assert audit(data)['twins'] == {'text': 2, 'image': 0}
    data['item'].has_text = torch.tensor([True, True, True, False, True, True])
    assert audit(data)['twins'] == {'text': 1, 'image': 0}
    assert 'may be that item' in str(audit(data))


# As a whole ##################################################################


def test_it_is_deterministic_and_leaves_the_graph(monkeypatch):
    data = FakeMultimodal(num_users=200)[0]
    before = str(data), torch.get_rng_state()
    monkeypatch.setattr(module, 'MOST', 50)
    found = audit(data)
    assert (str(data), torch.get_rng_state().tolist()) == (
        before[0],
        before[1].tolist(),
    )
    assert found == audit(data)
    assert (found['sampled_users'], found['test_users']) == (50, 200)
    assert 'looked at for 50 of 200 users' in str(found)
    assert json.loads(json.dumps(found)) == found


def test_without_splits():
    data = by_hand()
    for name in SPLITS[1:]:
        del data[RATES][name]
    found = audit(data)
    assert found['neighbors'] is found['popularity'] is None
    assert found.leaks == []
    assert 'reversed edges' in str(found)


def test_numpy_arrays_and_graphs():
    data = by_hand()
    expected = audit(data)
    for name in SPLITS:
        data[RATES][name] = data[RATES][name].numpy().astype(np.int32)
    assert audit(data) == expected


@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        ('edge_index', torch.empty(2, 0).long(), 'no training interactions'),
        ('edge_index', torch.tensor([0, 1]), 'of shape'),
        ('test_edge_label_index', torch.tensor([[0], [6]]), 'ids from 6 to 6'),
        ('test_edge_label_index', torch.tensor([[-1], [0]]), 'from -1 to -1'),
    ],
)
def test_errors(name, value, message):
    data = by_hand()
    data[RATES][name] = value
    with pytest.raises(ValueError, match=message):
        audit(data)


def test_describe(tmp_path, capsys):
    leaky = first_seen(shop(), SPLITS)
    describe(leaky)
    *_, last = capsys.readouterr().out.splitlines()
    assert last == audit(leaky).remark().text
    assert 'give the test set away (Recall@20 of .' in last
    to_mmrec(leaky, tmp_path / 'shop')
    data = MMRecFolder(tmp_path, 'shop')[0]
    describe(data)
    assert 'audit' not in capsys.readouterr().out
    assert audit(data, original=True) == audit(leaky)


def test_notebooks():
    html = audit(first_seen(shop(), SPLITS))._repr_html_()
    assert '<table' in html
    assert 'pyg-ckd-warning' in html


def test_amazon_baby(tmp_path: Path, shared: Path):
    root = shared / 'data'
    if not (root / 'baby').is_dir():
        pytest.skip("needs the folder 'baby' in 'shared/data'")
    data = MMRecFolder(root, 'baby', processed_root=tmp_path)[0]
    found = audit(data)
    assert found.leaks == []
    assert found['neighbors'] < 0.02
    found = audit(data, original=True)
    assert found['neighbors'] == pytest.approx(0.158, abs=5e-4)
    assert found['neighbors_at_random'] < 0.02
    assert found['smallest_all'] == pytest.approx(1, abs=5e-5)
    assert found['in_order_all'] == 1
    assert len(found.leaks) == 2
    assert restored(data)['item'].x_text.size() == (7_050, 128)


def test_what_is_no_graph():
    with pytest.raises(ValueError, match=r'takes a user-item graph.*NoneType'):
        audit(None)
    data = HeteroData()
    data[RATES].edge_index = torch.tensor([[0], [0]])
    with pytest.raises(
        ValueError, match=r"data\['user'\].num_nodes is missing"
    ):
        audit(data)


def test_twins_with_integers_for_booleans():
    data = from_interactions(
        [0, 0, 0],
        [0, 1, 2],
        {'text': torch.ones(3, 2)},
        split=['train', 'val', 'test'],
    )
    for has, expected in (([1, 1, 1], 1), ([0, 1, 1], 0), ([1, 1, 0], 0)):
        data['item'].has_text = torch.tensor(has)
        assert audit(data)['twins'] == {'text': expected}
