import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.transforms import AblateModality, ItemKNN

TEXT = ('item', 'text', 'item')
IMAGE = ('item', 'image', 'item')


@pytest.fixture
def data():
    return FakeMultimodal(
        num_users=6, num_items=5, num_channels=3, pre_transform=ItemKNN(k=2)
    )[0]


def test_features(data):
    x = data['item'].x_text
    expected = [sum(column) / 5 for column in x.t().tolist()]
    result = AblateModality('text')(data)['item']
    assert result.x_text.shape == x.shape
    for row in result.x_text.tolist():
        assert row == pytest.approx(expected, abs=1e-6)
    assert result.x_image is data['item'].x_image


def test_relation(data):
    result = AblateModality('text')(data)
    graph = result[TEXT]
    assert graph.edge_index.shape == (2, 0)
    assert graph.edge_index.dtype == torch.long
    assert graph.edge_weight.shape == (0,)
    for adj in (graph.adj_t, graph.adj):
        assert adj.layout == torch.sparse_csr
        assert adj.shape == (5, 5)
        assert adj.values().numel() == 0
        assert torch.equal(adj @ torch.ones(5, 2), torch.zeros(5, 2))
    assert result[IMAGE].adj_t is data[IMAGE].adj_t
    assert result[IMAGE].edge_index.size(1) == 10


def test_input_is_untouched(data):
    before = data.clone()
    AblateModality('image', 'text')(data)
    assert torch.equal(data['item'].x_image, before['item'].x_image)
    assert torch.equal(data['item'].x_text, before['item'].x_text)
    for relation in (IMAGE, TEXT):
        for key in ('edge_index', 'edge_weight'):
            assert torch.equal(data[relation][key], before[relation][key])
        for key in ('adj_t', 'adj'):
            assert torch.equal(
                data[relation][key].to_dense(), before[relation][key].to_dense()
            )


def test_several_and_none(data):
    result = AblateModality('text', 'image')(data)['item']
    assert result.x_text.std(dim=0).max() < 1e-6
    assert result.x_image.std(dim=0).max() < 1e-6
    result = AblateModality()(data)
    assert result['item'].x_text is data['item'].x_text
    assert result[TEXT].adj_t is data[TEXT].adj_t


def test_twice_is_once(data):
    once = AblateModality('text')(data)
    twice = AblateModality('text')(once)
    torch.testing.assert_close(twice['item'].x_text, once['item'].x_text)
    assert twice[TEXT].adj_t.values().numel() == 0


def test_gradient(data):
    x = data['item'].x_text.requires_grad_()
    weight = torch.randn(5, 3)
    out = AblateModality('text')(data)['item'].x_text
    (grad,) = torch.autograd.grad(out, x, weight)
    torch.testing.assert_close(grad, weight.mean(dim=0).expand(5, 3))


def test_without_relation():
    data = HeteroData()
    data['item'].x_text = torch.tensor([[1.0], [3.0]])
    result = AblateModality('text')(data)
    assert result['item'].x_text.tolist() == [[2.0], [2.0]]
    assert result.edge_types == []


def test_relation_of_edges_only():
    # A graph that the user made, not `ItemKNN`:
    data = HeteroData()
    data['item'].x_text = torch.tensor([[1.0], [3.0]])
    data[TEXT].edge_index = torch.tensor([[0, 1], [1, 0]])
    result = AblateModality('text')(data)
    assert result[TEXT].edge_index.shape == (2, 0)
    assert data[TEXT].edge_index.shape == (2, 2)


@pytest.mark.parametrize('dropped', [['sound'], ['text', 'sound']])
def test_unknown_modality(data, dropped):
    with pytest.raises(ValueError, match=r"'sound'.*\['image', 'text'\]"):
        AblateModality(*dropped)(data)


def test_repr():
    assert repr(AblateModality('a', 'b')) == "AblateModality('a', 'b')"
