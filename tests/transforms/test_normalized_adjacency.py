import pytest
import torch
from torch_geometric.data import HeteroData
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from pyg_ckd.graph import RATES
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.transforms import NormalizedAdjacency

NUM_USERS, NUM_ITEMS = 5, 4
SIZE = NUM_USERS + NUM_ITEMS


@pytest.fixture
def data():
    data = HeteroData()
    data['user'].num_nodes = NUM_USERS
    data['item'].num_nodes = NUM_ITEMS
    # User 3 and item 2 are alone:
    data[RATES].edge_index = torch.tensor(
        [[4, 0, 0, 1, 2, 0, 4], [1, 3, 0, 0, 0, 1, 0]]
    )
    return data


def naive(edge_index, normalization, add_self_loops):
    a = torch.zeros(SIZE, SIZE)
    for u, i in edge_index.t().tolist():
        a[u, NUM_USERS + i] = a[NUM_USERS + i, u] = 1
    if add_self_loops:
        a += torch.eye(SIZE)
    degree = a.sum(dim=1).tolist()
    for r in range(SIZE):
        for c in range(SIZE):
            if a[r, c] > 0:
                a[r, c] /= (
                    degree[r]
                    if normalization == 'row'
                    else (degree[r] * degree[c]) ** 0.5
                )
    return a


@pytest.mark.parametrize('add_self_loops', [False, True])
@pytest.mark.parametrize('normalization', ['symmetric', 'row'])
def test_formula(data, normalization, add_self_loops):
    result = NormalizedAdjacency(normalization, add_self_loops)(data)
    expected = naive(data[RATES].edge_index, normalization, add_self_loops)
    assert result.adj_t.layout == result.adj.layout == torch.sparse_csr
    assert result.adj_t.shape == (SIZE, SIZE)
    assert result.adj_t.values().numel() == 14 + SIZE * add_self_loops
    torch.testing.assert_close(result.adj_t.to_dense(), expected)
    torch.testing.assert_close(result.adj.to_dense(), expected.t())
    assert 'adj_t' not in data  # the input is untouched
    if normalization == 'symmetric':  # one matrix, kept once
        assert result.adj is result.adj_t
    else:
        alone = [3, NUM_USERS + 2]
        total = torch.ones(SIZE)
        total[alone] = float(add_self_loops)
        torch.testing.assert_close(expected.sum(dim=1), total)


@pytest.mark.parametrize('add_self_loops', [False, True])
def test_gcn_norm(data, add_self_loops):
    user, item = data[RATES].edge_index
    edge_index = torch.stack([user, item + NUM_USERS])
    edge_index = torch.cat([edge_index, edge_index.flip(0)], dim=1)
    (row, col), weight = gcn_norm(
        edge_index, num_nodes=SIZE, add_self_loops=add_self_loops
    )
    expected = torch.zeros(SIZE, SIZE)
    expected[col, row] = weight
    result = NormalizedAdjacency(add_self_loops=add_self_loops)(data)
    torch.testing.assert_close(result.adj_t.to_dense(), expected)


def test_matrix_of_a_part(data):
    edge_index = data[RATES].edge_index[:, [0, 2, 5]]
    adj_t, adj = NormalizedAdjacency().matrix(edge_index, NUM_USERS, NUM_ITEMS)
    expected = naive(edge_index, 'symmetric', False)
    torch.testing.assert_close(adj_t.to_dense(), expected)
    torch.testing.assert_close(adj.to_dense(), expected)


@pytest.mark.parametrize('normalization', ['symmetric', 'row'])
def test_no_interactions(normalization):
    empty = torch.empty(2, 0, dtype=torch.long)
    adj_t, adj = NormalizedAdjacency(normalization).matrix(empty, 3, 2)
    assert torch.equal(adj_t.to_dense(), torch.zeros(5, 5))
    assert torch.equal(adj.to_dense(), torch.zeros(5, 5))


@pytest.mark.parametrize('name', ['transform', 'pre_transform'])
def test_in_data_set(name):
    transform = NormalizedAdjacency('row', add_self_loops=True)
    data = FakeMultimodal(num_users=6, num_items=5, **{name: transform})[0]
    expected = transform(FakeMultimodal(num_users=6, num_items=5)[0])
    assert torch.equal(data.adj_t.to_dense(), expected.adj_t.to_dense())
    assert torch.equal(data.adj.to_dense(), expected.adj.to_dense())


def test_follows_the_graph(data):
    data = NormalizedAdjacency('row')(data).clone().to('cpu')
    assert data.adj_t.layout == torch.sparse_csr
    torch.testing.assert_close(
        data.adj_t.to_dense(), naive(data[RATES].edge_index, 'row', False)
    )


def test_error():
    with pytest.raises(
        ValueError, match=r"'normalization'.*'NormalizedAdjacency' \(got 'col'"
    ):
        NormalizedAdjacency('col')


def test_repr():
    assert repr(NormalizedAdjacency('row')) == (
        "NormalizedAdjacency('row', add_self_loops=False)"
    )
