"""What becomes of graphs that are kept on ``data``."""

import copy
import io
import pickle

import pytest
import torch
from torch_geometric.transforms import Compose

from pyg_ckd.kernels import Graph, Uniform
from pyg_ckd.testing import fake_graph
from pyg_ckd.transforms import AblateModality, ItemKNN, NormalizedAdjacency

TRANSFORMS = [
    NormalizedAdjacency(),
    NormalizedAdjacency('row', add_self_loops=True),
    ItemKNN(k=2),
    ItemKNN(k=3, weight='cosine'),
]
NAMES = [
    ("NormalizedAdjacency('symmetric', add_self_loops=False)", None),
    ("NormalizedAdjacency('row', add_self_loops=True)", None),
    ("ItemKNN(k=2, weight='binary')", 'image'),
    ("ItemKNN(k=2, weight='binary')", 'text'),
    ("ItemKNN(k=3, weight='cosine')", 'image'),
    ("ItemKNN(k=3, weight='cosine')", 'text'),
]


@pytest.fixture
def data():
    return fake_graph(pre_transform=Compose(TRANSFORMS))


def assert_same_graphs(result, data):
    assert list(result.graphs) == list(data.graphs) == NAMES
    for name, graph in data.graphs.items():
        other = result.graphs[name]
        assert isinstance(other, Graph)
        assert torch.equal(other.adj_t.to_dense(), graph.adj_t.to_dense())
        assert torch.equal(other.adj.to_dense(), graph.adj.to_dense())
        assert other.adj_t.layout == other.adj.layout == torch.sparse_csr
        assert (other.adj is other.adj_t) == (graph.adj is graph.adj_t)


def test_several_live_on_one_data(data):
    """Each equals the one that its transform makes alone."""
    assert list(data.graphs) == NAMES
    for transform in TRANSFORMS:
        alone = transform(fake_graph())
        for name, graph in alone.graphs.items():
            assert torch.equal(
                data.graphs[name].adj_t.to_dense(), graph.adj_t.to_dense()
            )
    assert TRANSFORMS[0].of(data) is data.graphs[NAMES[0]]
    assert TRANSFORMS[1].of(data) is data.graphs[NAMES[1]]
    assert TRANSFORMS[3].of(data, 'text') is data.graphs[NAMES[5]]
    # Found by an equal one, too, whatever does not matter to the result:
    assert ItemKNN(k=2, block_size=7).of(data, 'text') is data.graphs[NAMES[3]]
    symmetric, row = (transform.of(data).adj_t for transform in TRANSFORMS[:2])
    assert not torch.equal(symmetric.to_dense(), row.to_dense())


def test_input_is_untouched():
    data = fake_graph()
    first = TRANSFORMS[0](data)
    second = TRANSFORMS[1](first)
    assert 'graphs' not in data
    assert list(first.graphs) == NAMES[:1]
    assert list(second.graphs) == NAMES[:2]
    assert second.graphs[NAMES[0]] is first.graphs[NAMES[0]]


@pytest.mark.parametrize(
    ('transform', 'modality', 'have'),
    [
        (NormalizedAdjacency('row'), None, 'symmetric.*row.*True'),
        (ItemKNN(k=4), 'text', "k=2, weight='binary'.* of 'text'"),
        (ItemKNN(k=3), 'image', "k=3, weight='cosine'.* of 'image'"),
        (ItemKNN(k=2), 'audio', "of 'image', .* of 'text'"),
    ],
)
def test_missing(data, transform, modality, have):
    name = repr(transform).replace('(', r'\(').replace(')', r'\)')
    of = () if modality is None else (modality,)
    with pytest.raises(ValueError, match=rf'{name}.* is not on .*has .*{have}'):
        transform.of(data, *of)
    with pytest.raises(ValueError, match=r'is not on this data, .* no graphs'):
        transform.of(fake_graph(), *of)


@pytest.mark.parametrize(
    'copied',
    [
        copy.copy,
        copy.deepcopy,
        lambda data: data.clone(),
        lambda data: pickle.loads(pickle.dumps(data)),
        lambda data: data.to('cpu'),
        lambda data: copy.copy(data).contiguous(),
    ],
    ids=['copy', 'deepcopy', 'clone', 'pickle', 'to', 'contiguous'],
)
def test_copies(data, copied):
    assert_same_graphs(copied(data), data)


def test_deepcopy_is_apart(data):
    """The graphs are shared, which never change; the collection is not."""
    other = copy.deepcopy(data)
    assert other.graphs[NAMES[0]] is data.graphs[NAMES[0]]
    del other.graphs[NAMES[0]]
    assert list(data.graphs) == NAMES
    assert other['item'].x_text is not data['item'].x_text


def test_saved_without_code(data):
    """A file of graphs needs no arbitrary code to be read."""
    file = io.BytesIO()
    torch.save(data.graphs, file)
    file.seek(0)
    with pytest.raises(pickle.UnpicklingError, match='Graph'):
        torch.load(file, weights_only=True)
    file.seek(0)
    with torch.serialization.safe_globals([Graph, Uniform]):
        graphs = torch.load(file, weights_only=True)
    other = fake_graph()
    other.graphs = graphs
    assert_same_graphs(other, data)


def test_saved_data(data):
    file = io.BytesIO()
    torch.save(data, file)
    file.seek(0)
    assert_same_graphs(torch.load(file, weights_only=False), data)


def test_other_dtype(data):
    """As tensors of the data are cast, so are graphs."""
    result = copy.copy(data).apply(lambda x: x.to(torch.double))
    for name, graph in data.graphs.items():
        other = result.graphs[name]
        assert other.adj_t.dtype == other.adj.dtype == torch.double
        torch.testing.assert_close(
            other.adj_t.to_dense(), graph.adj_t.to_dense().double()
        )
        assert graph.adj_t.dtype == torch.float  # the input is untouched


def test_other_device(data):
    result = copy.copy(data).to('meta')
    for name, graph in result.graphs.items():
        assert graph.adj_t.device.type == graph.adj.device.type == 'meta'
        one = data.graphs[name].adj is data.graphs[name].adj_t
        assert (graph.adj is graph.adj_t) == one
    assert data.graphs[NAMES[0]].adj_t.device.type == 'cpu'


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_gpu(data):
    result = copy.copy(data).to('cuda')
    assert TRANSFORMS[0].of(result).adj_t.is_cuda
    assert_same_graphs(result.cpu(), data)


def test_ablation_is_by_modality(data):
    """Ablated ones are uniform, under all names; others stay."""
    result = AblateModality('text')(data)
    assert list(result.graphs) == NAMES
    for name, graph in result.graphs.items():
        if name[1] == 'text':
            assert graph == Uniform(9)
        else:
            assert graph is data.graphs[name]
    copied = pickle.loads(pickle.dumps(copy.deepcopy(result)))
    assert copied.graphs[NAMES[3]] == Uniform(9)
