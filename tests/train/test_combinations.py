"""Any objective goes with any balance and any backbone."""

import copy
import itertools

import pytest
import torch

from pyg_ckd import nn
from pyg_ckd.balance import AGM, CKD, OGMGE, UMT, ModalityDropout, Teacher
from pyg_ckd.graph import modalities
from pyg_ckd.objectives import BPR, Softmax
from pyg_ckd.testing import PlainRecommender, fake_graph
from pyg_ckd.train import TripletLoader, compute_losses
from pyg_ckd.transforms import ItemKNN
from pyg_ckd.views import full, only

BACKBONES = [
    nn.VBPR,
    nn.LightGCN,
    nn.FREEDOM,
    nn.MMGCN,
    nn.GRCN,
    nn.EgoGCN,
    nn.MGCN,
    nn.LATTICE,
    nn.MICRO,
    nn.LGMRec,
    nn.SMORE,
]
OBJECTIVES = [None, BPR(), Softmax(), Softmax(0.5, 'batch'), Softmax(0.5, 5)]
BALANCES = [None, CKD, OGMGE, AGM, UMT, ModalityDropout]


def made(backbone, data):
    """A model, and the data with the graphs that it needs."""
    if backbone is PlainRecommender:
        return nn.as_recommender(PlainRecommender(data)), data
    model = backbone.from_data(data, dim=4)
    if model.neighbors is not None:
        model.neighbors = ItemKNN(k=3, weight=model.neighbors.weight)
    for transform in (model.adjacency, model.neighbors):
        data = data if transform is None else transform(data)
    return model, data


def balanced(balance, model, data):
    """A balance that is ready, with teachers that were never trained."""
    if balance is None:
        return None
    teachers = {
        only(m): Teacher.from_embeddings(
            torch.randn(12, 3), torch.randn(9, 3), data
        )
        for m in modalities(data)
    }
    if balance in (CKD, UMT):
        ready = balance(teachers)
    elif isinstance(model, nn.door.Foreign) and balance in (AGM, OGMGE):
        first, last = list(dict(model.module.named_children()))
        ready = balance(parameters={'image': [first], 'text': [last]})
    else:
        ready = balance()
    ready.attach(model, data)
    ready.begin(data)
    return ready


@pytest.mark.parametrize('balance', BALANCES)
@pytest.mark.parametrize('objective', OBJECTIVES, ids=repr)
@pytest.mark.parametrize(
    ('backbone', 'wrap'),
    [
        *((backbone, nn.as_recommender) for backbone in BACKBONES),
        (PlainRecommender, nn.as_recommender),
        (nn.VBPR, nn.Cosine),
        (nn.FREEDOM, nn.Cosine),
    ],
)
def test_trains(backbone, wrap, objective, balance):
    model, data = made(backbone, fake_graph())
    model = wrap(model)
    balance = balanced(balance, model, data)
    keep = full(modalities(data))
    before = copy.deepcopy(model.state_dict())
    parameters = [*model.parameters()]
    parameters += [] if balance is None else balance.parameters()
    optimizer = torch.optim.Adam(parameters, lr=0.01)
    model.start_epoch(data, keep)
    for batch in itertools.islice(TripletLoader(data, batch_size=16), 2):
        losses = compute_losses(model, data, keep, objective, balance, batch)
        optimizer.zero_grad()
        losses.total.backward()
        if balance is not None:
            balance.after_backward()
        optimizer.step()
        assert losses.total.isfinite()
    after = model.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    assert any(not value.equal(before[name]) for name, value in after.items())
