import copy

import numpy as np
import pytest
import scipy.sparse
import torch
from torch_geometric.data import HeteroData

from pyg_ckd.datasets import FakeMultimodal, open_dataset
from pyg_ckd.graph import RATED_BY, RATES, check, modalities
from pyg_ckd.kernels import Graph
from pyg_ckd.testing import fake_graph
from pyg_ckd.transforms import (
    AblateModality,
    CoOccurrence,
    ItemKNN,
    NormalizedAdjacency,
)


def naive(data, k, min_count):
    """Compare sets of users, and link what either item chooses."""
    num_items = data['item'].num_nodes
    users = [set() for _ in range(num_items)]
    for u, i in data[RATES].edge_index.t().tolist():
        users[i].add(u)
    w = torch.zeros(num_items, num_items)
    for i in range(num_items):
        counts = [
            (-len(users[i] & users[j]), j) for j in range(num_items) if j != i
        ]
        for count, j in sorted(counts)[:k]:
            if -count >= min_count:
                w[i, j] = w[j, i] = 1
    degree = w.sum(dim=1).tolist()
    for i in range(num_items):
        for j in range(num_items):
            if w[i, j] > 0:
                w[i, j] /= (degree[i] * degree[j]) ** 0.5
    return w


def matrix(data, *args):
    transform = CoOccurrence(*args)
    return transform.of(transform(data)).adj_t.to_dense()


@pytest.mark.parametrize('min_count', [1, 2, 3, 20])
@pytest.mark.parametrize('k', [1, 2, 5, 8, 9, 100])
def test_formula(k, min_count):
    data = fake_graph(lonely=True)
    expected = naive(data, k, min_count)
    torch.testing.assert_close(matrix(data, k, min_count), expected)
    assert (expected > 0).any() == (min_count < 20)


@pytest.mark.parametrize('num_items', [256, 257, 300])
def test_several_blocks_of_items(num_items):
    data = FakeMultimodal(num_users=150, num_items=num_items)[0]
    expected = naive(data, 3, 2)
    assert (expected > 0).sum(dim=1).max() > 3  # chosen by others
    torch.testing.assert_close(matrix(data, 3, 2), expected)


def test_symmetric_and_kept_once():
    data = fake_graph()
    graph = CoOccurrence().of(CoOccurrence()(data))
    assert isinstance(graph, Graph)
    assert graph.adj is graph.adj_t
    assert graph.adj_t.layout == torch.sparse_csr
    assert graph.num_nodes == 9
    dense = graph.adj_t.to_dense()
    torch.testing.assert_close(dense, dense.t())
    assert dense.diagonal().eq(0).all()


def test_repeated_interactions_count_once():
    data = HeteroData()
    data['user'].num_nodes, data['item'].num_nodes = 2, 3
    pairs = torch.tensor([[0, 0, 0, 0, 1, 1], [0, 1, 0, 1, 1, 2]])
    data[RATES].edge_index = pairs
    assert matrix(data).eq(0).all()
    assert matrix(data, 10, 1).count_nonzero() == 4


def test_held_out_interactions_never_enter():
    data = fake_graph()
    expected = matrix(data, 3, 1)
    other = copy.copy(data)
    for name in ('val_edge_label_index', 'test_edge_label_index'):
        del other[RATES][name]
    assert torch.equal(matrix(other, 3, 1), expected)
    other[RATES].edge_index = torch.cat(
        [data[RATES].edge_index, data[RATES].test_edge_label_index], dim=1
    )
    del other[RATED_BY]
    assert not torch.equal(matrix(other, 3, 1), expected)


def test_graph_of_held_out_interactions():
    """One that was made before they were taken is refused, and mended."""
    data = HeteroData()
    data['user'].num_nodes, data['item'].num_nodes = 3, 4
    data[RATES].edge_index = torch.tensor(
        [[0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 2, 3]]
    )
    transform = CoOccurrence(min_count=1)
    data = transform(data)
    assert check(data) is data
    data[RATES].edge_index = data[RATES].edge_index[:, :-1]
    with pytest.raises(ValueError, match=r'CoOccurrence.*other interactions'):
        check(data)
    mended = transform(data)
    assert check(mended) is mended
    assert transform.of(mended).adj_t.to_dense().count_nonzero() == 2


def test_beside_other_graphs():
    before = fake_graph()
    transforms = [NormalizedAdjacency(), ItemKNN(k=3), CoOccurrence()]
    data = before
    for transform in transforms:
        data = transform(data)
    assert 'graphs' not in before
    assert check(data) is data
    name = ('CoOccurrence(k=10, min_count=2)', None)
    assert name in data.graphs
    # No modality takes it along:
    ablated = AblateModality(*modalities(data))(data)
    assert ablated.graphs[name] is data.graphs[name]
    moved = data.clone().to('cpu')
    torch.testing.assert_close(
        CoOccurrence().of(moved).adj_t.to_dense(), matrix(before)
    )


def test_missing_graph_error():
    with pytest.raises(ValueError, match=r'CoOccurrence\(k=10.*Add it once'):
        CoOccurrence().of(fake_graph())


@pytest.mark.parametrize('name', ['k', 'min_count'])
def test_argument_error(name):
    with pytest.raises(
        ValueError, match=rf"'{name}'.* at least 1, in 'CoOccurrence' \(got 0\)"
    ):
        CoOccurrence(**{name: 0})


def test_baby(shared, tmp_path):
    """Real items are linked to those they choose, or that choose them."""
    data = open_dataset(shared / 'data', 'baby', processed_root=tmp_path)[0]
    user, item = data[RATES].edge_index.numpy()
    ones = np.ones(len(user))
    r = scipy.sparse.csr_matrix((ones, (user, item)))
    count = (r.T @ r).toarray()
    np.fill_diagonal(count, 0)

    def chosen(i):
        order = np.lexsort((np.arange(len(count)), -count[i]))[:10]
        return {j for j in order.tolist() if count[i, j] >= 2}

    linked = matrix(data) > 0
    assert 40_000 < linked.sum() < 50_000
    for i in range(0, 7050, 150):
        neighbors = set(linked[i].nonzero().flatten().tolist())
        assert chosen(i) <= neighbors
        assert all(i in chosen(j) for j in neighbors - chosen(i))
