"""Every backbone trains in every precision, with and without distillation."""

import copy

import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_ckd import nn
from pyg_ckd.balance import CKD, Teacher
from pyg_ckd.ranking import evaluate
from pyg_ckd.testing import PlainRecommender, fake_graph
from pyg_ckd.train import Recommendation, fit
from pyg_ckd.transforms import ItemKNN
from pyg_ckd.views import only

pytestmark = pytest.mark.filterwarnings('ignore:Epoch', 'ignore:.*LeafSpec')

MODELS = [
    nn.BM3,
    nn.BPRMF,
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
    nn.EgoGCN,
]
WITHOUT_FEATURES = (nn.BM3, nn.BPRMF, nn.LightGCN)
FEW = ItemKNN(k=3)


def task_of(model: type[nn.Recommender], distilled: bool) -> Recommendation:
    data = fake_graph()
    net = model.from_data(data, dim=4)
    if model.adjacency is not None:
        data = model.adjacency(data)
    if model.neighbors is not None:
        net.neighbors = ItemKNN(k=3, weight=model.neighbors.weight)
        data = net.neighbors(data)
    return Recommendation(net, data, balance=ckd(data) if distilled else None)


def ckd(data: HeteroData) -> CKD:
    teachers = {
        only(m): Teacher.from_embeddings(
            torch.randn(12, 4), torch.randn(9, 4), data
        )
        for m in ('image', 'text')
    }
    return CKD(teachers, gate=True)


def assert_trains(task: Recommendation, **kwargs: object) -> None:
    before = {k: v.clone() for k, v in task.named_parameters()}
    fit(task, max_epochs=1, progress=False, **kwargs)
    assert task.history[0]['loss'] > 0
    after = dict(task.named_parameters())
    assert any(not torch.equal(after[k], v) for k, v in before.items())
    for name, parameter in after.items():
        assert parameter.isfinite().all()
        assert parameter.dtype == before[name].dtype
    evaluate(task.model, task.data)
    task.recommend(7, k=3)
    if task.balance is not None:
        for teacher in task.balance.teachers.values():
            assert teacher.user.dtype == torch.float


@pytest.mark.parametrize('precision', ['bf16-mixed', '32-true', '64-true'])
@pytest.mark.parametrize('distilled', [False, True])
@pytest.mark.parametrize('model', MODELS)
def test_precision(model, distilled, precision):
    if distilled and model in WITHOUT_FEATURES:
        pytest.skip('has nothing to distil')
    task = task_of(model, distilled)
    assert_trains(task, precision=precision, accelerator='cpu')


@pytest.mark.parametrize('precision', ['bf16-mixed', '64-true'])
@pytest.mark.parametrize('kind', ['foreign', 'cosine'])
def test_wrapped_models(kind, precision):
    data = fake_graph()
    model = PlainRecommender(data)
    if kind == 'cosine':
        model = nn.Cosine(model)
    task = Recommendation(model, data, balance=ckd(data))
    assert_trains(task, precision=precision, accelerator='cpu')


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('precision', ['16-mixed', 'bf16-mixed', '64-true'])
@pytest.mark.parametrize('distilled', [False, True])
@pytest.mark.parametrize('model', MODELS)
def test_precision_on_a_gpu(model, distilled, precision):
    if distilled and model in WITHOUT_FEATURES:
        pytest.skip('has nothing to distil')
    task = task_of(model, distilled)
    assert_trains(
        task, precision=precision, accelerator='gpu', gradient_clip_val=1.0
    )
    assert task.data['item'].x_text.device.type == 'cpu'


@pytest.mark.parametrize('precision', ['bf16-mixed', '32-true', '64-true'])
def test_clipping(precision):
    """Gradients of length 1e-12 leave Adam's steps a trace of what they are."""
    task = task_of(nn.VBPR, False)
    before = copy.deepcopy(task.model.state_dict())
    fit(
        task,
        max_epochs=1,
        progress=False,
        precision=precision,
        accelerator='cpu',
        gradient_clip_val=1e-12,
    )
    for name, parameter in task.model.state_dict().items():
        assert (parameter - before[name]).abs().max() < 1e-6


def test_64_bits_are_more_precise():
    """Its losses are those of a model in double precision."""
    losses = []
    for precision in ('32-true', '64-true'):
        torch.manual_seed(0)
        task = task_of(nn.VBPR, False)
        fit(
            task,
            max_epochs=1,
            progress=False,
            precision=precision,
            accelerator='cpu',
        )
        losses.append(task.history[0]['loss'])
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
