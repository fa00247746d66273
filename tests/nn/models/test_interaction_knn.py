import numpy as np
import pytest
import torch

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.graph import RATED_BY, RATES, modalities
from pyg_ckd.nn import InteractionKNN
from pyg_ckd.testing import fake_graph
from pyg_ckd.views import default_views, distinct_views


def naive_scores(data, k, shrinkage):
    """Compare sets of users, item by item, and go through what users know."""
    num_users, num_items = data['user'].num_nodes, data['item'].num_nodes
    users = [set() for _ in range(num_items)]
    items = [set() for _ in range(num_users)]
    for u, i in data[RATES].edge_index.t().tolist():
        users[i].add(u)
        items[u].add(i)

    def similarity(i, j):
        both = np.float32(len(users[i] & users[j]))
        norms = np.sqrt(np.float32(len(users[i]) * len(users[j])))
        return both / (norms + np.float32(shrinkage)) if both else both

    score = torch.zeros(num_users, num_items)
    for i in range(num_items):
        others = {j: similarity(i, j) for j in range(num_items) if j != i}
        # Equal ones by lower id:
        nearest = sorted(others, key=others.__getitem__, reverse=True)[:k]
        for u in range(num_users):
            score[u, i] = float(
                sum(others[j] for j in nearest if j in items[u])
            )
    return score


def scores(model, data):
    user_emb, item_emb = model(data)
    return user_emb.to_dense() @ item_emb.to_dense().t()


@pytest.mark.parametrize('shrinkage', [0.0, 3.5])
@pytest.mark.parametrize('k', [1, 3, 8, 9, 100])
def test_scores(k, shrinkage):
    data = fake_graph()
    model = InteractionKNN.from_data(data, k=k, shrinkage=shrinkage)
    expected = naive_scores(data, k, shrinkage)
    torch.testing.assert_close(scores(model, data), expected)


@pytest.mark.parametrize('num_items', [256, 257, 300])
def test_several_blocks_of_items(num_items):
    data = FakeMultimodal(num_users=80, num_items=num_items)[0]
    model = InteractionKNN.from_data(data, k=7, shrinkage=1.0)
    expected = naive_scores(data, 7, 1.0)
    torch.testing.assert_close(scores(model, data), expected)


def test_embeddings_are_sparse():
    data = fake_graph()
    model = InteractionKNN.from_data(data, k=2)
    for emb, size in zip(model(data), (12, 9), strict=True):
        assert emb.is_sparse
        assert emb.shape == (size, 9)
    user_emb, item_emb = (emb.coalesce() for emb in model(data))
    assert user_emb.values().tolist() == [1.0] * 48
    assert torch.equal(
        user_emb.indices().unique(dim=1),
        data[RATES].edge_index.unique(dim=1),
    )
    per_item = torch.bincount(item_emb.indices()[0], minlength=9)
    assert per_item.max() == 2
    assert not (item_emb.indices()[0] == item_emb.indices()[1]).any()


def test_repeated_interactions_count_once():
    data = fake_graph()
    model = InteractionKNN.from_data(data, k=3)
    expected = scores(model, data)
    edge_index = data[RATES].edge_index
    data[RATES].edge_index = torch.cat([edge_index, edge_index[:, :9]], dim=1)
    assert torch.equal(scores(model, data), expected)


def test_items_and_users_without_interactions():
    data = fake_graph()
    user, item = data[RATES].edge_index
    data[RATES].edge_index = data[RATES].edge_index[:, (user > 0) & (item > 0)]
    data[RATED_BY].edge_index = data[RATES].edge_index.flip(0)
    data.graphs = {}
    model = InteractionKNN.from_data(data, k=5)
    result = scores(model, data)
    torch.testing.assert_close(result, naive_scores(data, 5, 0.0))
    assert result[0].eq(0).all()
    assert result[:, 0].eq(0).all()


def test_views_are_all_the_same():
    data = fake_graph(3)
    model = InteractionKNN.from_data(data, k=3)
    expected = scores(model, data)
    keeps = distinct_views(modalities(data))
    for several in (
        model.views(data, keeps),
        default_views(model, data, keeps),
    ):
        for place in range(len(keeps)):
            user_emb, item_emb = several.embedding(place)
            result = user_emb.to_dense() @ item_emb.to_dense().t()
            assert torch.equal(result, expected)


def test_from_data_and_repr():
    model = InteractionKNN.from_data(fake_graph(1), shrinkage=2.0)
    assert (
        repr(model)
        == "InteractionKNN(12, 9, {'image': 5}, k=100, shrinkage=2.0)"
    )
    assert repr(eval(repr(model))) == repr(model)
    assert list(model.parameters()) == list(model.buffers()) == []


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(k=0), r"'k' needs .* at least 1, in 'InteractionKNN' \(got 0\)"),
        (dict(shrinkage=-1), r"'shrinkage'.*'InteractionKNN' \(got -1\)"),
    ],
)
def test_argument_errors(kwargs, message):
    with pytest.raises(ValueError, match=message):
        InteractionKNN(3, 2, **kwargs)
