import torch

from pyg_ckd.nn import BPRMF
from pyg_ckd.testing import RecommenderSuite


class TestBPRMF(RecommenderSuite):
    model = BPRMF
    blind = True


def test_embeddings_are_the_tables():
    data = TestBPRMF().data()
    model = TestBPRMF().make(data)
    user, item = model(data)
    assert user is model.user.weight
    assert item is model.item.weight


def test_needs_no_modalities():
    assert repr(BPRMF(3, 2)) == 'BPRMF(3, 2, {}, dim=64)'


def test_initialization():
    model = BPRMF(500, 300, dim=20)
    for table in (model.user.weight, model.item.weight):
        bound = (6 / sum(table.shape)) ** 0.5
        assert 0.95 * bound < table.abs().max() <= bound
        assert torch.isfinite(table).all()
