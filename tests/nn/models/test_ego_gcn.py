import pytest
import torch
import torch.nn.functional as F

from pyg_ckd.graph import RATES, modalities
from pyg_ckd.nn import EgoGCN
from pyg_ckd.testing import (
    RecommenderSuite,
    assert_same_with_gradients,
    dense_adjacency,
    symmetric,
)
from pyg_ckd.views import full, only, view


class TestEgoGCN(RecommenderSuite):
    model = EgoGCN


case = TestEgoGCN()


def naive(model, data, keep):
    """Recompute the embeddings by the formula, on dense matrices."""
    a = dense_adjacency(data[RATES].edge_index, 12, 9)

    def softmax(score):
        """Over neighbours, a row of zeros where there are none."""
        return score.masked_fill(a == 0, -torch.inf).softmax(1).nan_to_num()

    inputs = {}
    for m in model.in_channels:
        p, f = model.preference[m], data['item'][f'x_{m}']
        if m not in keep:
            p, f = (x.mean(dim=0).repeat(len(x), 1) for x in (p, f))
        f = F.leaky_relu(model.projection[m](f))
        inputs[m] = torch.cat([F.normalize(p), F.normalize(f)])

    a_hat = symmetric(a)
    ids = torch.cat([model.user.weight, model.item.weight])
    parts = [ids + a_hat @ (ids + a_hat @ (ids + a_hat @ ids))]
    for m, x in inputs.items():
        others = [y for n, y in inputs.items() if n != m]
        if model.threshold is None:
            fused = x
            for gate, y in zip(model.fusion[m].gates, others, strict=True):
                fused = fused + torch.sigmoid(gate(y)) * y
            joins = torch.ones_like(a)
            fused = fused / len(inputs)
        else:
            fused = (x + sum(others)) / len(inputs)
            joins = (softmax(x @ x.t()) > model.threshold).float()
        score = joins * (x @ fused.t()) + (1 - joins) * (x @ x.t())
        alpha = softmax(score)
        h = F.normalize((alpha * joins) @ fused + (alpha * (1 - joins)) @ x)
        for _ in range(model.num_routings):
            h = F.normalize(h + softmax(h @ h.t()) @ h)
        parts.append(h)
    out = torch.cat(parts, dim=-1)
    return out.split([12, 9])


@pytest.mark.parametrize('threshold', [0.2, None])
@pytest.mark.parametrize('num_modalities', [1, 2, 3])
def test_formula(num_modalities, threshold):
    data = case.data(num_modalities)
    model = EgoGCN.from_data(data, dim=4, num_routings=2, threshold=threshold)
    names = modalities(data)
    for keep in (full(names), only(names[-1])):
        result = view(model, data, keep)
        expected = naive(model, data, keep)
        assert_same_with_gradients(result, expected, model, atol=1e-5)


def test_errors():
    with pytest.raises(ValueError, match=r"'len\(in_channels\)'.*'EgoGCN'"):
        EgoGCN(3, 4, {})
    with pytest.raises(ValueError, match=r"'num_routings'.*\(got 0\)"):
        EgoGCN(3, 4, {'text': 2}, num_routings=0)
