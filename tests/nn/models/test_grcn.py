import pytest
import torch
import torch.nn.functional as F

from pyg_ckd.graph import RATES, modalities
from pyg_ckd.nn import GRCN
from pyg_ckd.testing import RecommenderSuite, assert_same_with_gradients
from pyg_ckd.views import distinct_views, view


class TestGRCN(RecommenderSuite):
    model = GRCN


case = TestGRCN()


def attention(target, sources):
    return torch.stack([target @ source for source in sources]).softmax(dim=0)


def naive(model, data, keep):
    """Recompute the parts of the embeddings by the formula, node by node."""
    num_users, num_nodes = model.num_users, model.num_nodes
    neighbors = {node: [] for node in range(num_nodes)}
    for u, i in data[RATES].edge_index.t().tolist():
        neighbors[u].append(num_users + i)
        neighbors[num_users + i].append(u)

    parts = []
    alphas = []
    for m in model.in_channels:
        p, f = model.preference[m], data['item'][f'x_{m}']
        if m not in keep:
            p, f = (x.mean(dim=0).repeat(len(x), 1) for x in (p, f))
        f = F.normalize(F.leaky_relu(model.projection[m](f)))
        p = list(F.normalize(p))
        if model.routing == 'paper':
            for _ in range(model.num_routings):
                for u in range(num_users):
                    mine = [f[j - num_users] for j in neighbors[u]]
                    total = p[u]
                    if mine:
                        for a, row in zip(
                            attention(p[u], mine), mine, strict=True
                        ):
                            total = total + a * row
                    p[u] = F.normalize(total, dim=0)
        x = torch.cat([torch.stack(p), f])
        rows, alpha = [], {}
        for i in range(num_nodes):
            total = x[i]
            if neighbors[i]:
                weights = attention(x[i], [x[j] for j in neighbors[i]])
                for a, j in zip(weights, neighbors[i], strict=True):
                    total = total + a * x[j]
                    alpha[i, j] = a
            rows.append(total)
        parts.append(torch.stack(rows))
        alphas.append(alpha)

    x = F.normalize(torch.cat([model.user.weight, model.item.weight]))
    a = torch.zeros(num_nodes, num_nodes)
    for i, around in neighbors.items():
        for j in around:
            votes = [
                alpha[i, j] * model.confidence[j, k]
                for k, alpha in enumerate(alphas)
            ]
            a[i, j] = torch.stack(votes).max().relu()
    return [x + a @ x + a @ a @ x, *parts]


@pytest.mark.parametrize('routing', ['paper', 'published'])
@pytest.mark.parametrize('num_modalities', [1, 2, 3])
def test_formula(num_modalities, routing):
    data = case.data(num_modalities)
    model = GRCN.from_data(data, dim=4, num_routings=2, routing=routing)
    torch.nn.init.normal_(model.confidence)
    for keep in distinct_views(modalities(data)):
        result = torch.cat(view(model, data, keep))
        expected = torch.cat(naive(model, data, keep), dim=-1)
        assert_same_with_gradients([result], [expected], model, atol=1e-5)


def test_routing():
    """Users learn from their items, unless published code is followed."""
    data = case.data()
    user_emb = {}
    for routing in ('paper', 'published'):
        torch.manual_seed(0)
        model = GRCN.from_data(data, dim=4, routing=routing)
        user_emb[routing] = model(data)[0]
    assert not torch.allclose(user_emb['paper'], user_emb['published'])


def test_views_of_nodes_without_interactions():
    """What is left of an ablated modality differs for such nodes."""
    data = case.data()
    model = case.make(data)
    keeps = distinct_views(modalities(data))
    several = model.views(data, keeps)
    for v, keep in enumerate(keeps):
        user, item = several.embedding(v)
        expected_user, expected_item = view(model, data, keep)
        torch.testing.assert_close(
            user @ item.t(), expected_user @ expected_item.t()
        )


def test_errors():
    with pytest.raises(ValueError, match=r"'len\(in_channels\)'.*'GRCN'"):
        GRCN(3, 4, {})
    with pytest.raises(ValueError, match=r"'num_routings'.*\(got 0\)"):
        GRCN(3, 4, {'text': 2}, num_routings=0)
    with pytest.raises(ValueError, match=r"'routing'.*'GRCN' \(got 'fast'\)"):
        GRCN(3, 4, {'text': 2}, routing='fast')
