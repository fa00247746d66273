import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_ckd.kernels import Graph, Uniform
from pyg_ckd.testing import fake_graph
from pyg_ckd.transforms import AblateModality, ItemKNN

knn = ItemKNN(k=2)


@pytest.fixture
def data():
    return fake_graph(
        num_users=6,
        num_items=5,
        num_interactions=4,
        num_channels=3,
        pre_transform=knn,
    )


def test_features(data):
    x = data['item'].x_text
    expected = [sum(column) / 5 for column in x.t().tolist()]
    result = AblateModality('text')(data)['item']
    assert result.x_text.shape == x.shape
    for row in result.x_text.tolist():
        assert row == pytest.approx(expected, abs=1e-6)
    assert result.x_image is data['item'].x_image


def test_graphs(data):
    result = AblateModality('text')(data)
    graph = knn.of(result, 'text')
    assert graph == Uniform(5)
    x = torch.randn(5, 2)
    expected = torch.full((5, 5), 1 / 5) @ x
    torch.testing.assert_close(graph.propagate(x), expected)
    assert knn.of(result, 'image') is knn.of(data, 'image')
    assert knn.of(result, 'image').edge_index.size(1) == 10


def test_input_is_untouched(data):
    before = data.clone()
    graphs = dict(data.graphs)
    dense = {name: graph.adj_t.to_dense() for name, graph in graphs.items()}
    AblateModality('image', 'text')(data)
    assert torch.equal(data['item'].x_image, before['item'].x_image)
    assert torch.equal(data['item'].x_text, before['item'].x_text)
    assert len(graphs) == 2
    for name, graph in graphs.items():
        assert data.graphs[name] is graph
        assert isinstance(graph, Graph)
        assert torch.equal(graph.adj_t.to_dense(), dense[name])


def test_several_and_none(data):
    result = AblateModality('text', 'image')(data)['item']
    assert result.x_text.std(dim=0).max() < 1e-6
    assert result.x_image.std(dim=0).max() < 1e-6
    result = AblateModality()(data)
    assert result['item'].x_text is data['item'].x_text
    assert knn.of(result, 'text') is knn.of(data, 'text')


def test_twice_is_once(data):
    once = AblateModality('text')(data)
    twice = AblateModality('text')(once)
    torch.testing.assert_close(twice['item'].x_text, once['item'].x_text)
    assert knn.of(twice, 'text') == Uniform(5)


def test_gradient(data):
    x = data['item'].x_text.requires_grad_()
    weight = torch.randn(5, 3)
    out = AblateModality('text')(data)['item'].x_text
    (grad,) = torch.autograd.grad(out, x, weight)
    torch.testing.assert_close(grad, weight.mean(dim=0).expand(5, 3))


def test_without_graphs():
    data = HeteroData()
    data['item'].x_text = torch.tensor([[1.0], [3.0]])
    result = AblateModality('text')(data)
    assert result['item'].x_text.tolist() == [[2.0], [2.0]]
    assert result.edge_types == []
    assert 'graphs' not in result


@pytest.mark.parametrize('dropped', [['sound'], ['text', 'sound']])
def test_unknown_modality(data, dropped):
    with pytest.raises(ValueError, match=r"'sound'.*\['image', 'text'\]"):
        AblateModality(*dropped)(data)


def test_repr():
    assert repr(AblateModality('a', 'b')) == "AblateModality('a', 'b')"
