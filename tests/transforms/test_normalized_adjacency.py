import pytest
import torch
from torch_geometric.data import HeteroData
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.graph import RATES
from pyg_ckd.transforms import NormalizedAdjacency, normalized

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
    transform = NormalizedAdjacency(normalization, add_self_loops)
    result = transform.of(transform(data))
    expected = naive(data[RATES].edge_index, normalization, add_self_loops)
    assert result.adj_t.layout == result.adj.layout == torch.sparse_csr
    assert result.num_nodes == SIZE
    assert result.adj_t.values().numel() == 14 + SIZE * add_self_loops
    torch.testing.assert_close(result.adj_t.to_dense(), expected)
    torch.testing.assert_close(result.adj.to_dense(), expected.t())
    assert 'graphs' not in data  # the input is untouched
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
    transform = NormalizedAdjacency(add_self_loops=add_self_loops)
    result = transform.of(transform(data))
    torch.testing.assert_close(result.adj_t.to_dense(), expected)


def test_graph_of_a_part(data):
    edge_index = data[RATES].edge_index[:, [0, 2, 5]]
    result = normalized(edge_index, NUM_USERS, NUM_ITEMS)
    expected = naive(edge_index, 'symmetric', False)
    torch.testing.assert_close(result.adj_t.to_dense(), expected)
    torch.testing.assert_close(result.adj.to_dense(), expected)


@pytest.mark.parametrize('normalization', ['symmetric', 'row'])
def test_no_interactions(normalization):
    empty = torch.empty(2, 0, dtype=torch.long)
    result = normalized(empty, 3, 2, normalization)
    assert torch.equal(result.adj_t.to_dense(), torch.zeros(5, 5))
    assert torch.equal(result.adj.to_dense(), torch.zeros(5, 5))


@pytest.mark.parametrize('name', ['transform', 'pre_transform'])
def test_in_data_set(name):
    transform = NormalizedAdjacency('row', add_self_loops=True)
    data = FakeMultimodal(num_users=6, num_items=5, **{name: transform})[0]
    expected = transform(FakeMultimodal(num_users=6, num_items=5)[0])
    for result in (data, data.clone().to('cpu')):
        for key in ('adj_t', 'adj'):
            assert torch.equal(
                getattr(transform.of(result), key).to_dense(),
                getattr(transform.of(expected), key).to_dense(),
            )


def test_double_precision(data):
    """Values are of the default type, exact to its precision."""
    torch.set_default_dtype(torch.double)
    try:
        result = normalized(data[RATES].edge_index, NUM_USERS, NUM_ITEMS)
        expected = naive(data[RATES].edge_index, 'symmetric', False)
    finally:
        torch.set_default_dtype(torch.float)
    assert result.adj_t.dtype == torch.double
    torch.testing.assert_close(result.adj_t.to_dense(), expected)


def test_error():
    with pytest.raises(
        ValueError, match=r"'normalization'.*'NormalizedAdjacency' \(got 'col'"
    ):
        NormalizedAdjacency('col')


def test_repr():
    assert repr(NormalizedAdjacency('row')) == (
        "NormalizedAdjacency('row', add_self_loops=False)"
    )
