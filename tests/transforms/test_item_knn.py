import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch_geometric.data import HeteroData

from pyg_ckd.transforms import ItemKNN, nearest_neighbors


def exact_features(num_items=30, num_channels=8):
    """Features whose cosines are multiples of 1/4: many are exactly equal."""
    x = torch.zeros(num_items, num_channels)
    for row in x:
        place = torch.randperm(num_channels)[:4]
        row[place] = torch.randint(2, (4,)) * 2.0 - 1
    # Lengths do not matter; powers of two keep the arithmetic exact:
    return x * 2.0 ** torch.randint(-3, 4, (num_items, 1))


def naive_neighbors(x, k):
    """Neighbours by sorting all items by cosine, then by id."""
    x = x.double()
    neighbors, cosines = [], []
    for i in range(len(x)):
        others = []
        for j in range(len(x)):
            if j != i and x[i].any() and x[j].any():
                cosine = float(x[i] @ x[j] / x[i].norm() / x[j].norm())
                others.append((-cosine, j))
        others = sorted(others)[: k - 1]
        neighbors.append([i] + [j for _, j in others])
        cosines.append([float(x[i].any())] + [-c for c, _ in others])
    return neighbors, cosines


def by_item(edge_index, value, num_items):
    """Cut what `nearest_neighbors` returns into lists, one an item."""
    neighbors = [[] for _ in range(num_items)]
    cosines = [[] for _ in range(num_items)]
    for j, i, c in zip(*edge_index.tolist(), value.tolist(), strict=True):
        neighbors[i].append(j)
        cosines[i].append(c)
    return neighbors, cosines


def graph(**features):
    data = HeteroData()
    for modality, x in features.items():
        data['item'][f'x_{modality}'] = x
    return data


@pytest.mark.parametrize('block_size', [1, 7, 30, 512])
@pytest.mark.parametrize('k', [1, 2, 5, 30, 100])
def test_neighbors_with_ties(k, block_size):
    x = exact_features()
    x[11] = x[23] = x[4]  # copies
    x[29] = 4 * x[4]
    x[9] = x[17] = 0  # nothing known
    edge_index, cosine = nearest_neighbors(x, k, block_size)
    neighbors, cosines = by_item(edge_index, cosine, 30)
    expected = naive_neighbors(x, k)
    assert neighbors == expected[0]
    assert cosines == expected[1]
    # Sorted by item:
    assert edge_index[1].tolist() == sorted(edge_index[1].tolist())
    assert neighbors[9] == [9]
    assert cosines[9] == [0]


@pytest.mark.parametrize('block_size', [1, 10, 64])
def test_neighbors_without_ties(block_size):
    x = torch.randn(50, 13)
    edge_index, cosine = nearest_neighbors(x, 6, block_size)
    neighbors, cosines = by_item(edge_index, cosine, 50)
    expected = naive_neighbors(x, 6)
    assert neighbors == expected[0]
    torch.testing.assert_close(
        torch.tensor(cosines), torch.tensor(expected[1]), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize('num_items', [23, 40, 101, 257])
@pytest.mark.parametrize('num_channels', [3, 19, 128])
def test_neighbors_of_copies(num_items, num_channels):
    """Copies are ties, so that the lowest ids are the nearest."""
    kinds = torch.randn(5, num_channels)
    kind = torch.randint(5, (num_items,))
    edge_index, cosine = nearest_neighbors(kinds[kind], 4, 16)
    neighbors, _ = by_item(edge_index, cosine, num_items)
    for i, found in enumerate(neighbors):
        copies = (kind == kind[i]).nonzero().flatten().tolist()
        copies.remove(i)
        expected = [i, *copies][:4]
        assert found[: len(expected)] == expected


def test_neighbors_of_tiny_and_long_features():
    x = torch.tensor([[1.0, 0.1], [1.0, 0.2], [0.0, 1.0]])
    expected = naive_neighbors(x, 2)[0]
    for scale in (1e-15, 1e15):
        edge_index, cosine = nearest_neighbors(scale * x, 2)
        assert by_item(edge_index, cosine, 3)[0] == expected
        assert torch.isfinite(cosine).all()


def naive_matrix(x, k, weight):
    neighbors, cosines = naive_neighbors(x, k)
    w = torch.zeros(len(x), len(x), dtype=torch.double)
    for i, row in enumerate(neighbors):
        for j, cosine in zip(row, cosines[i], strict=True):
            w[i, j] = 1.0 if weight == 'binary' else max(cosine, 0.0)
    degree = w.sum(dim=1)
    for i in range(len(x)):
        for j in range(len(x)):
            if w[i, j] > 0:
                w[i, j] /= (degree[i] * degree[j]).sqrt()
    return w.float()


@pytest.mark.parametrize('weight', ['binary', 'cosine'])
@pytest.mark.parametrize('k', [1, 4, 12, 50])
def test_matrix(weight, k):
    x = torch.randn(20, 3)  # few channels: some neighbours are opposites
    x[5] = x[6] = 0
    x[7] = x[8]
    transform = ItemKNN(k, weight)
    result = transform.of(transform(graph(text=x)), 'text')
    expected = naive_matrix(x, k, weight)
    assert k < 12 or min(map(min, naive_neighbors(x, k)[1])) < 0
    assert result.adj_t.layout == result.adj.layout == torch.sparse_csr
    assert result.num_nodes == 20
    torch.testing.assert_close(result.adj_t.to_dense(), expected)
    torch.testing.assert_close(result.adj.to_dense(), expected.t())
    # From neighbours to items, sorted by item, then by neighbour:
    neighbors, weights = by_item(result.edge_index, result.edge_weight, 20)
    assert neighbors == [sorted(row) for row in naive_neighbors(x, k)[0]]
    for i, row in enumerate(neighbors):
        torch.testing.assert_close(torch.tensor(weights[i]), expected[i, row])


def test_binary_weights_are_a_mean():
    transform = ItemKNN(4)
    data = transform(graph(text=torch.randn(20, 5)))
    adj_t = transform.of(data, 'text').adj_t.to_dense()
    torch.testing.assert_close(adj_t.sum(dim=1), torch.ones(20))
    torch.testing.assert_close(adj_t[adj_t > 0], torch.full((80,), 0.25))


def test_one_graph_for_each_modality():
    before = graph(a=torch.randn(9, 4), b=torch.randn(9, 2))
    transform = ItemKNN(k=3)
    data = transform(before)
    assert list(data.graphs) == [(repr(transform), m) for m in 'ab']
    assert data.edge_types == []
    assert 'graphs' not in before
    for m in 'ab':
        alone = transform(graph(**{m: data['item'][f'x_{m}']}))
        assert torch.equal(
            transform.of(data, m).adj_t.to_dense(),
            transform.of(alone, m).adj_t.to_dense(),
        )
    assert 'graphs' not in transform(graph())


class LargestTensor(TorchDispatchMode):
    """Remember the largest dense tensor that any operation returned."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if (
                isinstance(tensor, torch.Tensor)
                and tensor.layout == torch.strided
            ):
                self.numel = max(self.numel, tensor.numel())
        return out


def test_memory():
    # Ties everywhere, so that each row is sorted whole:
    data = graph(text=torch.ones(400, 2))
    largest = {}
    for block_size in (10, 40, 400):
        with LargestTensor() as seen:
            ItemKNN(k=3, block_size=block_size)(data)
        largest[block_size] = seen.numel
    assert largest == {10: 10 * 400, 40: 40 * 400, 400: 400 * 400}


@pytest.mark.parametrize(
    ('modality', 'recovered'), [('image', 0.983), ('text', 0.999)]
)
def test_baby(shared, modality, recovered):
    """The true neighbours of real items are found from their features."""
    folder = shared / 'data' / 'baby'
    x = torch.from_numpy(np.load(folder / f'{modality}_feat.npy'))
    with np.load(folder / f'{modality}_knn10_cosine.npz') as truth:
        true_neighbor = torch.from_numpy(truth['neighbours']).long()
        true_cosine = torch.from_numpy(truth['cosine'])
    edge_index, cosine = nearest_neighbors(x, k=10)
    neighbor, cosine = edge_index[0].view(-1, 10), cosine.view(-1, 10)
    assert neighbor.shape == true_neighbor.shape

    found = (true_neighbor.unsqueeze(2) == neighbor.unsqueeze(1)).any(dim=2)
    assert found.float().mean() > 0.95
    # Many are equally near, and the features are not exact; a true neighbour
    # that is no farther than the last one of ours is no mistake:
    x = x / x.norm(dim=1, keepdim=True)
    reached = (x.unsqueeze(1) * x[true_neighbor]).sum(dim=-1)
    found = reached >= cosine[:, -1:] - 1e-4
    assert found.float().mean().item() == pytest.approx(recovered, abs=1e-3)
    assert (cosine - true_cosine).abs().mean() < 1e-3


@pytest.mark.parametrize('k', [0, -1])
def test_k_error(k):
    with pytest.raises(ValueError, match=rf"'k'.*'ItemKNN' \(got {k}\)"):
        ItemKNN(k)


def test_block_size_error():
    with pytest.raises(ValueError, match=r"'block_size'.*\(got 0\)"):
        ItemKNN(block_size=0)


def test_weight_error():
    with pytest.raises(ValueError, match=r"'weight'.*'ItemKNN' \(got 'ones'\)"):
        ItemKNN(weight='ones')


def test_repr():
    assert repr(ItemKNN(3, 'cosine')) == "ItemKNN(k=3, weight='cosine')"
