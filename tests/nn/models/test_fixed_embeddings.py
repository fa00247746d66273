import torch

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.nn import VBPR, FixedEmbeddings
from pyg_ckd.ranking import evaluate, recommend


def test_fixed_embeddings():
    data = FakeMultimodal(num_users=30, num_items=20)[0]
    model = VBPR.from_data(data, dim=4)
    with torch.no_grad():
        user, item = model(data)
    fixed = FixedEmbeddings(user, item)
    assert evaluate(fixed, data) == evaluate(model, data)
    assert not list(fixed.parameters())
    assert set(fixed.state_dict()) == {'user', 'item'}
    assert str(fixed) == 'FixedEmbeddings(30, 20, dim=12)'


def test_ensemble_adds_scores():
    data = FakeMultimodal(num_users=30, num_items=20)[0]
    pairs = [(torch.randn(30, dim), torch.randn(20, dim)) for dim in (3, 5)]
    ensemble = FixedEmbeddings.ensemble(pairs)
    user, item = ensemble(data)
    expected = sum(u @ i.t() for u, i in pairs)
    torch.testing.assert_close(user @ item.t(), expected)
    # Two of a kind rank as one:
    twice = FixedEmbeddings.ensemble([pairs[0], pairs[0]])
    one = recommend(FixedEmbeddings(*pairs[0]), data, torch.arange(30), k=5)
    assert torch.equal(recommend(twice, data, torch.arange(30), k=5)[0], one[0])
