import pytest
import torch
import torch_geometric.nn
from torch import nn

from pyg_ckd.data import RATES, modalities
from pyg_ckd.nn import LightGCN


@pytest.mark.parametrize('num_layers', [1, 2, 3])
def test_equals_pyg(num_layers, graph):
    """Without modalities it is PyG's LightGCN, gradients included."""
    data = graph()
    model = LightGCN(12, 9, {}, dim=4, num_layers=num_layers)
    other = torch_geometric.nn.LightGCN(12 + 9, 4, num_layers)
    with torch.no_grad():
        other.embedding.weight.copy_(
            torch.cat([model.user.weight, model.item.weight])
        )
    user, item = data[RATES].edge_index
    edge_index = torch.stack([user, item + 12])
    edge_index = torch.cat([edge_index, edge_index.flip(0)], dim=1)

    user_emb, item_emb = model(data)
    expected = other.get_embedding(edge_index)
    torch.testing.assert_close(torch.cat([user_emb, item_emb]), expected)

    user, item = torch.randint(9, (2, 30))
    score = (user_emb[user] * item_emb[item]).sum(dim=-1)
    expected = other(edge_index, torch.stack([user, item + 12]))
    torch.testing.assert_close(score, expected)

    weight = torch.randn(30)
    (score * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(
        torch.cat([model.user.weight.grad, model.item.weight.grad]),
        other.embedding.weight.grad,
    )


def dense_adjacency(edge_index, num_users, num_items):
    """Symmetric normalisation by the formula, on a dense matrix."""
    a = torch.zeros(num_users + num_items, num_users + num_items)
    for u, i in edge_index.t().tolist():
        a[u, num_users + i] = a[num_users + i, u] = 1
    degree = a.sum(dim=1)
    scale = torch.where(degree > 0, degree, 1).pow(-0.5)
    return scale.diag() @ a @ scale.diag()


@pytest.mark.parametrize('num_layers', [0, 1, 3])
@pytest.mark.parametrize('num_modalities', [1, 2, 3])
def test_with_modalities(num_modalities, num_layers, graph):
    data = graph(num_modalities)
    model = LightGCN.from_data(data, dim=4, num_layers=num_layers)
    nn.init.normal_(model.projection['image'].bias)
    user_emb, item_emb = model(data)

    a = dense_adjacency(data[RATES].edge_index, 12, 9)
    parts = [torch.cat([model.user.weight, model.item.weight])]
    for m in modalities(data):
        linear = model.projection[m]
        projected = data['item'][f'x_{m}'] @ linear.weight.t() + linear.bias
        parts.append(torch.cat([model.preference[m], projected]))
    expected = torch.zeros(12, 9)
    for x in parts:  # scores are added
        total = x
        for _ in range(num_layers):
            x = a @ x
            total = total + x
        out = total / (num_layers + 1)
        expected = expected + out[:12] @ out[12:].t()

    assert user_emb.shape == (12, 4 * (1 + num_modalities))
    torch.testing.assert_close(user_emb @ item_emb.t(), expected)
    weight = torch.randn(12, 9)
    torch.testing.assert_close(
        torch.autograd.grad(
            user_emb @ item_emb.t(), model.parameters(), weight
        ),
        torch.autograd.grad(expected, model.parameters(), weight),
    )


def test_missing_graph(graph):
    data = graph(with_graphs=False)
    model = LightGCN.from_data(data, dim=4)
    with pytest.raises(
        ValueError,
        match=r"'LightGCN' needs data.adj_t.*LightGCN\.pre_transform\(data\)",
    ):
        model(data)
    with pytest.raises(ValueError, match=r'LightGCN\.pre_transform\(data\)'):
        model.views(data, [frozenset(['text'])])
