import pytest
import torch
import torch.nn.functional as F

from pyg_ckd.graph import RATES, modalities
from pyg_ckd.nn import MMGCN
from pyg_ckd.testing import RecommenderSuite, assert_same_with_gradients
from pyg_ckd.views import full, only, view


class TestMMGCN(RecommenderSuite):
    model = MMGCN


case = TestMMGCN()


def naive(model, data, keep):
    """Recompute the embeddings by the formula, node by node."""
    num_users, num_nodes = model.num_users, model.num_nodes
    neighbors = {node: [node] for node in range(num_nodes)}
    for u, i in data[RATES].edge_index.t().tolist():
        neighbors[u].append(num_users + i)
        neighbors[num_users + i].append(u)

    total = 0
    ids = torch.cat([model.user.weight, model.item.weight])
    for m in model.in_channels:
        p, f = model.preference[m], data['item'][f'x_{m}']
        if m not in keep:
            p, f = (x.mean(dim=0).repeat(len(x), 1) for x in (p, f))
        f = f @ model.projection[m].weight.t() + model.projection[m].bias
        x = torch.cat([p, f])
        x = x / x.norm(dim=1, keepdim=True)
        for conv in model.convs[m]:
            rows = []
            for node in range(num_nodes):
                around = [conv.neighbor(x[j]) for j in neighbors[node]]
                h = F.leaky_relu(sum(around) / len(around))
                x_hat = F.leaky_relu(conv.self_loop(x[node])) + ids[node]
                rows.append(F.leaky_relu(conv.combine(h) + x_hat))
            x = torch.stack(rows)
        total = total + x / len(model.in_channels)
    return total[:num_users], total[num_users:]


@pytest.mark.parametrize('num_modalities', [1, 2, 3])
@pytest.mark.parametrize('num_layers', [1, 3])
def test_formula(num_layers, num_modalities):
    data = case.data(num_modalities)
    model = MMGCN.from_data(data, dim=4, num_layers=num_layers)
    names = modalities(data)
    for keep in (full(names), only(names[-1])):
        result = view(model, data, keep)
        expected = naive(model, data, keep)
        assert_same_with_gradients(result, expected, model, atol=1e-5)


@pytest.mark.parametrize('train_preference', [True, False])
def test_preferences(train_preference):
    """They are saved in either case, as they are not in published code."""
    data = case.data()
    model = MMGCN.from_data(data, dim=4, train_preference=train_preference)
    assert {'preference.image', 'preference.text'} <= set(model.state_dict())
    user, item = model(data)
    (user.sum() + item.sum()).backward()
    for table in model.preference.values():
        assert (table.grad is not None) == train_preference
        assert table.abs().max() > 0
    assert all(
        parameter.grad is not None for parameter in model.convs.parameters()
    )


def test_errors():
    with pytest.raises(ValueError, match=r"'len\(in_channels\)'.*'MMGCN'"):
        MMGCN(3, 4, {})
    with pytest.raises(ValueError, match=r"'num_layers'.*'MMGCN' \(got 0\)"):
        MMGCN(3, 4, {'text': 2}, num_layers=0)
