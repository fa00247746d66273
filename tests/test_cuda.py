"""Everything runs on a GPU as it does without one."""

import copy

import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_ckd import nn
from pyg_ckd.balance import (
    AGM,
    CKD,
    DCD,
    OGMGE,
    RCEKD,
    RRD,
    UMT,
    ModalityDropout,
    SoftCrossEntropy,
)
from pyg_ckd.datasets import FakeMultimodal, audit, statistics
from pyg_ckd.graph import RATES, modalities
from pyg_ckd.inspect import explain
from pyg_ckd.nn.door import matched
from pyg_ckd.objectives import BPR, NLGCL, Softmax
from pyg_ckd.ranking import evaluate, recommend
from pyg_ckd.serving import load
from pyg_ckd.testing import gradients, same_noise
from pyg_ckd.train import Recommendation, TripletLoader, fit
from pyg_ckd.views import distinct_views, full

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='needs a GPU'
)
TRAINED = [
    nn.BM3,
    nn.BPRMF,
    nn.EgoGCN,
    nn.FREEDOM,
    nn.GRCN,
    nn.LATTICE,
    nn.LGMRec,
    nn.LightGCN,
    nn.MGCN,
    nn.MICRO,
    nn.MMGCN,
    nn.SMORE,
    nn.STAIR,
    nn.VBPR,
]
UNTRAINED = [nn.FeatureKNN, nn.GraphFilter, nn.InteractionKNN, nn.Popularity]
BALANCES = [
    None,
    CKD(),
    CKD.published(),
    CKD(gate=True),
    CKD(on_random=SoftCrossEntropy(num_pairs=8, group_size=4)),
    CKD(on_random=RRD()),
    CKD(on_random=RCEKD()),
    CKD(on_random=DCD()),
    UMT(),
    OGMGE(noise=True),
    AGM(),
    ModalityDropout(),
]
ON_GPU = {'accelerator': 'gpu', 'devices': 1, 'progress': False}


@pytest.fixture(scope='module')
def data() -> HeteroData:
    return FakeMultimodal(num_users=80, num_items=40)[0]


def made(backbone, data: HeteroData, **settings):
    """A small model, and the data with the graphs that it needs."""
    transform = backbone.pre_transform
    data = data if transform is None else transform(data.clone())
    return backbone.from_data(data, **settings), data


@pytest.mark.parametrize('backbone', TRAINED)
def test_values_and_gradients_are_those_of_the_cpu(backbone, data):
    model, data = made(backbone, data, dim=8)
    keep = full(modalities(data))
    batch = next(iter(TripletLoader(data, batch_size=32)))
    keeps = distinct_views(modalities(data))
    found = []
    for device in ('cpu', 'cuda'):
        there = copy.deepcopy(model).to(device)
        torch.manual_seed(0)
        graph = matched(data, there)
        if backbone not in (nn.FREEDOM, nn.BM3):  # they draw at random
            there.start_epoch(graph, keep)
        with same_noise():
            views = there.views(graph, keeps)
            margin = torch.stack(
                [
                    views.triples(*(x.to(device) for x in batch)).margin()[:, i]
                    for i in range(len(keeps))
                ]
            )
        grads = gradients(margin.square().sum(), there)
        found.append((margin.cpu(), {n: g.cpu() for n, g in grads.items()}))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('balance', BALANCES, ids=repr)
@pytest.mark.parametrize('backbone', [nn.VBPR, nn.FREEDOM])
def test_every_balance_trains(backbone, balance, data):
    model, data = made(backbone, data, dim=8)
    task = Recommendation(model, data, balance=copy.deepcopy(balance))
    fit(task, max_epochs=2, eval_every=1, **ON_GPU)
    assert 0 < task.history[-1]['val_recall@20'] <= 1
    assert data['item'].x_text.device.type == 'cpu'


@pytest.mark.parametrize('backbone', TRAINED)
def test_every_backbone_trains(backbone, data, tmp_path):
    model, data = made(backbone, data, dim=8)
    balance = None if backbone in (nn.BM3, nn.BPRMF) else CKD()
    task = Recommendation(model, data, balance=balance)
    fit(task, max_epochs=2, eval_every=1, **ON_GPU)
    users = torch.arange(10)
    items, scores = task.recommend(users, k=5)
    task.save(tmp_path / 'model')
    served = load(tmp_path / 'model').recommend(users.tolist(), k=5)
    assert [list(found) for found in served.items] == items.tolist()
    torch.testing.assert_close(
        torch.tensor(served.scores), scores.cpu(), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize('cosine', [False, True])
@pytest.mark.parametrize(
    'objective',
    [BPR(), Softmax(), Softmax(0.5, 'batch'), Softmax(0.5, 16), NLGCL()],
    ids=repr,
)
def test_every_objective_trains(objective, cosine, data):
    model, data = made(nn.LightGCN, data, dim=8)
    task = Recommendation(
        nn.Cosine(model) if cosine else model,
        data,
        copy.deepcopy(objective),
        balance=CKD(),
    )
    fit(task, max_epochs=2, eval_every=1, **ON_GPU)
    assert task.history[-1]['val_recall@20'] > 0


@pytest.mark.parametrize('precision', ['bf16-mixed', '16-mixed'])
@pytest.mark.parametrize('backbone', [nn.VBPR, nn.FREEDOM, nn.MMGCN])
def test_mixed_precision(backbone, precision, data):
    model, data = made(backbone, data, dim=8)
    task = Recommendation(model, data, balance=CKD())
    fit(task, max_epochs=2, eval_every=1, precision=precision, **ON_GPU)
    assert task.history[-1]['val_recall@20'] > 0


@pytest.mark.parametrize('backbone', [*UNTRAINED, nn.VBPR, nn.FREEDOM])
def test_evaluation_is_that_of_the_cpu(backbone, data):
    model, data = made(backbone, data)
    metrics = [
        evaluate(copy.deepcopy(model).to(device), data.clone().to(device))
        for device in ('cpu', 'cuda')
    ]
    for one, other in zip(*(m.values() for m in metrics), strict=True):
        assert one == pytest.approx(other, abs=0.01)


def test_looking_on(data):
    model, data = made(nn.VBPR, data, dim=8)
    there = data.clone().to('cuda')
    model.to('cuda')
    items, _ = recommend(model, there, [3, 1], k=5)
    assert items.is_cuda
    explain(model, there, 3, int(items[0, 0]))
    found, expected = statistics(there), statistics(data)
    for m, known in expected.pop('modalities').items():
        assert found['modalities'][m] == pytest.approx(known)
    assert all(found[name] == expected[name] for name in expected)
    assert audit(there).remark() == audit(data).remark()


@pytest.mark.parametrize('balance', [None, CKD()], ids=repr)
def test_an_interrupted_training_goes_on(balance, data, tmp_path):
    def task() -> Recommendation:
        torch.manual_seed(1)
        model, graph = made(nn.FREEDOM, data, dim=8)
        return Recommendation(model, graph, balance=copy.deepcopy(balance))

    whole, cut, rest = task(), task(), task()
    folder = {'default_root_dir': tmp_path, 'enable_checkpointing': True}
    torch.manual_seed(2)
    fit(whole, max_epochs=4, eval_every=1, **ON_GPU)
    torch.manual_seed(2)
    fit(cut, max_epochs=2, eval_every=1, **folder, **ON_GPU)
    (last,) = tmp_path.rglob('*.ckpt')
    fit(rest, max_epochs=4, eval_every=1, ckpt_path=last, **ON_GPU)
    for entry, expected in zip(
        rest.history[2:], whole.history[2:], strict=True
    ):
        # Triples that were drawn anew would tell by more:
        assert entry['loss'] == pytest.approx(expected['loss'], rel=1e-4)


def test_a_graph_on_the_cpu_is_moved_to_the_model(data):
    model, data = made(nn.VBPR, data, dim=8)
    model.to('cuda')
    items, _ = recommend(model, data, [0], k=5)
    on_cpu, _ = recommend(copy.deepcopy(model).cpu(), data, [0], k=5)
    assert items.tolist() == on_cpu.tolist()
    assert data[RATES].edge_index.device.type == 'cpu'
