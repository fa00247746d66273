import pytest
import torch
import torch_geometric.nn
from torch import nn

from pyg_ckd.graph import RATES, modalities
from pyg_ckd.nn import LightGCN
from pyg_ckd.testing import (
    RecommenderSuite,
    assert_same_with_gradients,
    dense_light_gcn,
)


class TestLightGCN(RecommenderSuite):
    model = LightGCN


case = TestLightGCN()


@pytest.mark.parametrize('num_layers', [1, 2, 3])
def test_equals_pyg(num_layers):
    """Without modalities it is PyG's LightGCN, gradients included."""
    data = case.data()
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


@pytest.mark.parametrize('num_layers', [0, 1, 3])
@pytest.mark.parametrize('num_modalities', [1, 2, 3])
def test_with_modalities(num_modalities, num_layers):
    data = case.data(num_modalities)
    model = LightGCN.from_data(data, dim=4, num_layers=num_layers)
    nn.init.normal_(model.projection['image'].bias)
    user_emb, item_emb = model(data)
    assert user_emb.shape == (12, 4 * (1 + num_modalities))

    parts = [(model.user.weight, model.item.weight)]
    for m in modalities(data):
        linear = model.projection[m]
        projected = data['item'][f'x_{m}'] @ linear.weight.t() + linear.bias
        parts.append((model.preference[m], projected))
    outs = [dense_light_gcn(data, *part, num_layers) for part in parts]
    expected = sum(out[:12] @ out[12:].t() for out in outs)  # scores add up
    assert_same_with_gradients(
        [user_emb @ item_emb.t()], [expected], model, atol=1e-5
    )
