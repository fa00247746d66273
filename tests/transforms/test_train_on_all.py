import pytest
import torch

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.graph import RATED_BY, RATES
from pyg_ckd.transforms import CoOccurrence, ItemKNN, TrainOnAll


@pytest.fixture
def data():
    return FakeMultimodal(num_users=30, num_items=20)[0]


def pairs_of(data, *names):
    return {(u, i) for n in names for u, i in data[RATES][n].t().tolist()}


def test_nothing_is_lost(data):
    every = pairs_of(
        data, 'edge_index', 'val_edge_label_index', 'test_edge_label_index'
    )
    held_out = data[RATES].test_edge_label_index.clone()
    data.split = 'random, seed 0'
    data[RATES].rating = torch.ones(data[RATES].edge_index.size(1))
    after = TrainOnAll()(data)
    assert pairs_of(after, 'edge_index') == every
    assert after[RATES].edge_index.size(1) == len(every)
    assert set(after[RATES].keys()) == {'edge_index'}
    assert torch.equal(
        after[RATED_BY].edge_index, after[RATES].edge_index.flip(0)
    )
    assert torch.equal(data[RATES].test_edge_label_index, held_out)
    assert 'rating' in data[RATES]
    assert (after.split, data.split) == ('all for training', 'random, seed 0')


def test_graphs_of_features_stay(data):
    before = ItemKNN(k=3)(data)
    assert TrainOnAll()(before).graphs.keys() == before.graphs.keys()


def test_graphs_of_interactions_are_refused(data):
    with pytest.raises(ValueError, match='Put it before that transform'):
        TrainOnAll()(CoOccurrence()(data))
    CoOccurrence()(TrainOnAll()(data))
