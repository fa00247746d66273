import math

import pytest
import torch

from pyg_ckd.nn import FREEDOM, VBPR
from pyg_ckd.objectives import BPR
from pyg_ckd.testing import ObjectiveSuite, batch_of, fake_graph, step_of
from pyg_ckd.views import Views, full, only

NAMES = ['image', 'text']


class TestBPR(ObjectiveSuite):
    objective = BPR()


class TestWithoutL2(ObjectiveSuite):
    objective = BPR(l2=0)


def naive(user_emb, item_emb, batch, l2):
    """The formula in the docstring, one triple at a time."""
    total = 0.0
    for u, i, j in zip(*(x.tolist() for x in batch), strict=True):
        rows = user_emb[u].tolist(), item_emb[i].tolist(), item_emb[j].tolist()
        margin = sum(a * (b - c) for a, b, c in zip(*rows, strict=True))
        total += math.log1p(math.exp(-margin))
        total += l2 / 2 * sum(x**2 for row in rows for x in row)
    return total / len(batch[0])


@pytest.mark.parametrize('l2', [0.0, 0.01, 2.0])
def test_formula(l2):
    data = fake_graph()
    user, item = torch.randn(12, 4), torch.randn(9, 4)
    batch = batch_of(data)
    step = step_of(Views([user], [item], torch.ones(1, 1)), data, batch)
    assert BPR(l2).loss(step).item() == pytest.approx(
        naive(user, item, batch, l2), rel=1e-5
    )


@pytest.mark.parametrize('keep', [full(NAMES), only('text')])
@pytest.mark.parametrize('backbone', [VBPR, FREEDOM])
def test_formula_on_shared_blocks(backbone, keep):
    data = fake_graph(pre_transform=backbone.pre_transform)
    views = backbone.from_data(data, dim=4).views(data, [keep, only('image')])
    batch = batch_of(data)
    step = step_of(views, data, batch, [keep, only('image')])
    assert BPR(0.5).loss(step).item() == pytest.approx(
        naive(*views.embedding(0), batch, 0.5), rel=1e-5
    )


def test_large_margins():
    data = fake_graph()
    batch = torch.tensor([[0, 1], [2, 3], [4, 5]]).unbind()
    item = torch.zeros(9, 12)
    item[2, 0], item[3, 1] = 1e4, -1e4  # scores of the preferred items
    views = Views([torch.eye(12)], [item], torch.ones(1, 1))
    loss = BPR(l2=0).loss(step_of(views, data, batch))
    assert loss.item() == pytest.approx(1e4 / 2)


def test_default():
    assert BPR() == BPR(l2=0.01)
    assert BPR() != BPR(l2=0.02)


@pytest.mark.parametrize('l2', [-0.1, float('nan')])
def test_l2_error(l2):
    with pytest.raises(ValueError, match=rf"'l2'.*'BPR' \(got {l2}\)"):
        BPR(l2=l2)
