import copy
from collections.abc import Callable, Sequence

import pytest
import torch
from pytorch_lightning import Trainer
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.balance import AGM, CKD, OGMGE
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.graph import modalities
from pyg_ckd.nn import FREEDOM, VBPR, LightGCN, as_recommender
from pyg_ckd.objectives import BPR
from pyg_ckd.ranking import evaluate, recommend
from pyg_ckd.testing import PlainRecommender, gradients
from pyg_ckd.train import Recommendation, TripletLoader, fit
from pyg_ckd.transforms import AblateModality
from pyg_ckd.views import default_views, only
from pyg_ckd.views import view as view_of

pytestmark = pytest.mark.filterwarnings('ignore:.*LeafSpec')

Batch = tuple[Tensor, Tensor, Tensor]


def vbpr(data: HeteroData) -> nn.Module:
    return VBPR.from_data(data, dim=4)


def light_gcn(data: HeteroData) -> nn.Module:
    return LightGCN.from_data(data, dim=4)


def freedom(data: HeteroData) -> nn.Module:
    return FREEDOM.from_data(data, dim=4, prune=0.5, feature_weight=0.3)


MODELS = [PlainRecommender, vbpr, light_gcn, freedom]


@pytest.fixture
def data() -> HeteroData:
    data = FakeMultimodal(num_users=30, num_items=20, num_channels=5)[0]
    return FREEDOM.pre_transform(data)


@pytest.fixture
def batch(data: HeteroData) -> Batch:
    return next(iter(TripletLoader(data, batch_size=7)))


def view(
    model: nn.Module, data: HeteroData, keep: frozenset[str]
) -> tuple[Tensor, Tensor]:
    return view_of(as_recommender(model), data, keep)


def naive_loss(
    embedding: tuple[Tensor, Tensor], batch: Batch, l2: float
) -> Tensor:
    """Return BPR and the squares of embeddings, one triple at a time."""
    user_emb, item_emb = embedding
    total, squares = 0.0, 0.0
    for u, i, j in zip(*batch, strict=True):
        margin = user_emb[u] @ item_emb[i] - user_emb[u] @ item_emb[j]
        total = total - torch.log(1 / (1 + torch.exp(-margin)))
        for row in (user_emb[u], item_emb[i], item_emb[j]):
            squares = squares + (row**2).sum()
    return total / len(batch[0]) + l2 / 2 * squares / len(batch[0])


def assert_all_close(
    one: dict[str, Tensor], other: dict[str, Tensor], **kwargs: float
) -> None:
    assert list(one) == list(other)
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], **kwargs)


# Loss ########################################################################


@pytest.mark.parametrize('l2', [0.0, 0.5])
@pytest.mark.parametrize('make', MODELS)
def test_loss(make, l2, data, batch):
    model = make(data)
    task = Recommendation(model, data, BPR(l2), batch_size=100)
    loss = task.training_step(batch)
    assert loss.dim() == 0

    embedding = model(data)
    expected = naive_loss(embedding, batch, l2)
    if make is freedom:
        several = default_views(model, data, [task.keep])
        expected = expected + model.regularization(
            data, task.keep, several, *batch
        )
    torch.testing.assert_close(loss, expected)
    assert_all_close(
        gradients(loss, model), gradients(expected, model), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize('name', ['image', 'text'])
@pytest.mark.parametrize('make', MODELS)
def test_loss_of_a_view(make, name, data, batch):
    """Without L2, where our models may leave constants out."""
    model = make(data)
    task = Recommendation(model, data, BPR(0.0), keep=only(name))
    loss = task.training_step(batch)

    embedding = view(model, data, only(name))
    expected = naive_loss(embedding, batch, l2=0.0)
    if make is freedom:
        several = default_views(model, data, [task.keep])
        expected = expected + model.regularization(
            data, task.keep, several, *batch
        )
    torch.testing.assert_close(loss, expected)
    assert_all_close(
        gradients(loss, model), gradients(expected, model), rtol=1e-4, atol=1e-6
    )


def test_loss_in_double_precision(data, batch):
    torch.set_default_dtype(torch.double)
    try:
        model = VBPR.from_data(data, dim=4)
        task = Recommendation(model, data, BPR(0.5))
        loss = task.training_step(batch)
        expected = naive_loss(model(task.data), batch, 0.5)
    finally:
        torch.set_default_dtype(torch.float)
    assert loss.dtype == torch.double
    torch.testing.assert_close(loss, expected)


# Uni-modal training ##########################################################


def train(
    model: nn.Module,
    loss_of: Callable[[Batch], Tensor],
    batches: Sequence[Batch],
) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for batch in batches:
        optimizer.zero_grad()
        loss_of(batch).backward()
        optimizer.step()


@pytest.mark.parametrize('make', MODELS)
def test_view_trains_as_ablation_from_outside(make, data):
    """By a loop that only knows `view`, that is: mean features, mean tables."""
    batches = list(TripletLoader(data, batch_size=100))
    model = make(data)
    other = copy.deepcopy(model)

    task = Recommendation(model, data, BPR(0.5), keep=only('text'))

    def loss_from_outside(batch: Batch) -> Tensor:
        embedding = view(other, data, only('text'))
        loss = naive_loss(embedding, batch, l2=0.5)
        if make is freedom:
            several = default_views(other, data, [only('text')])
            loss = loss + other.regularization(
                data, only('text'), several, *batch
            )
        return loss

    for seed in (1, 2):
        for one in (model, other):
            torch.manual_seed(seed)
            if make is freedom:
                one.start_epoch(data, only('text'))
        train(model, task.training_step, batches)
        train(other, loss_from_outside, batches)

    triples = next(iter(TripletLoader(data, batch_size=100)))
    margins = []
    for one in (model.eval(), other.eval()):
        user_emb, item_emb = view(one, data, only('text'))
        difference = item_emb[triples[1]] - item_emb[triples[2]]
        margins.append((user_emb[triples[0]] * difference).sum(dim=-1))
    torch.testing.assert_close(*margins, rtol=1e-3, atol=1e-5)


def test_view_trains_as_ablated_data(data):
    """A model without tables of users for each modality."""
    model = PlainRecommender(data)
    other = copy.deepcopy(model)
    for one, graph, keep in (
        (model, data, only('text')),
        (other, AblateModality('image')(data), None),
    ):
        torch.manual_seed(3)
        fit(
            Recommendation(one, graph, keep=keep, batch_size=50),
            max_epochs=2,
            eval_every=1,
            progress=False,
        )
    assert_all_close(model.state_dict(), other.state_dict(), rtol=0, atol=0)


def test_view_ignores_the_other_modality(data):
    """Changing the other modality changes nothing that the view learns."""
    results = []
    for scale in (1.0, 3.0):
        graph = copy.copy(data)
        x = data['item'].x_image
        graph['item'].x_image = x.mean(0) + scale * (x - x.mean(0))
        torch.manual_seed(3)
        model = PlainRecommender(graph)
        task = Recommendation(model, graph, keep=only('text'), batch_size=50)
        fit(task, max_epochs=1, progress=False)
        results.append(view(model, graph, only('text')))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


# Hooks #######################################################################


class Spy(FREEDOM):
    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.calls = []

    def start_epoch(self, data, keep):
        self.calls.append(('start_epoch', data, keep))
        super().start_epoch(data, keep)

    def regularization(self, data, keep, views, user, pos, neg):
        self.calls.append(('regularization', data, keep))
        assert len(user) == len(pos) == len(neg)
        return super().regularization(data, keep, views, user, pos, neg)


@pytest.mark.parametrize('keep', [None, only('image')])
def test_hooks_are_called(keep, data):
    """With the complete graph, and the view that is trained."""
    model = Spy.from_data(data, dim=4)
    task = Recommendation(model, data, keep=keep, batch_size=150)
    fit(task, max_epochs=2, progress=False)
    epoch = ['start_epoch', 'regularization', 'regularization']
    assert [name for name, _, _ in model.calls] == 2 * epoch
    for _, seen, view in model.calls:
        assert seen is task.data
        assert view == task.keep


class OwnLoss(VBPR):
    """Its loss takes the place of all others."""

    def loss(self, data, keep, views, user, pos, neg):
        self.seen = data, keep, views, user, pos, neg
        user_emb, item_emb = views.embedding()
        return (user_emb[user] * item_emb[neg]).sum()

    def regularization(self, *args):
        raise AssertionError('not part of this loss')


@pytest.mark.parametrize('keep', [None, only('image')])
def test_own_loss(keep, data, batch):
    model = OwnLoss.from_data(data, dim=4)
    task = Recommendation(model, data, keep=keep)
    loss = task.training_step(batch)
    user_emb, item_emb = model.views(data, [task.keep]).embedding()
    expected = (user_emb[batch[0]] * item_emb[batch[2]]).sum()
    torch.testing.assert_close(loss, expected)
    assert_all_close(gradients(loss, model), gradients(expected, model))

    seen, view, several, *triples = model.seen
    assert seen is data
    assert view == task.keep
    assert len(several.keep) == 1
    for one, other in zip(triples, batch, strict=True):
        assert one is other


def test_training_uses_the_pruned_graph_and_evaluation_the_whole(data):
    model = freedom(data)
    whole = model.eval()(data)
    model.train().start_epoch(data, frozenset(modalities(data)))
    assert not torch.equal(model(data)[0], whole[0])
    assert torch.equal(model.eval()(data)[0], whole[0])


# With Lightning ##############################################################


def test_third_party_model():
    data = FakeMultimodal(num_users=150, num_items=60)[0]
    model = PlainRecommender(data)
    task = Recommendation(model, data, lr=0.02, batch_size=250)
    before = evaluate(model, data)['ndcg@20']
    assert fit(task, max_epochs=15, progress=False) is task
    assert task.model is model
    assert evaluate(model, data)['ndcg@20'] > before + 0.05


@pytest.mark.parametrize('balance', [AGM, OGMGE])
def test_a_balance_changes_gradients_once_an_optimizer_step(balance, data):
    class Count(balance):
        calls = 0

        def after_backward(self):
            super().after_backward()
            Count.calls += 1

    task = Recommendation(vbpr(data), data, balance=Count(), batch_size=60)
    assert len(task.train_dataloader()) == 5
    fit(
        task,
        max_epochs=2,
        progress=False,
        accumulate_grad_batches=2,
    )
    assert Count.calls == 2 * 3


@pytest.mark.parametrize('keep', [None, only('image')])
@pytest.mark.parametrize('make', [PlainRecommender, vbpr])
def test_validation_is_of_the_trained_view(make, keep, data):
    model = make(data)
    task = Recommendation(model, data, keep=keep)
    fit(task, max_epochs=1, progress=False)
    expected = evaluate(
        model, data, 'val', ks=(20,), metrics=('recall', 'ndcg'), view=keep
    )
    (entry,) = task.history
    for name, value in expected.items():
        assert entry[f'val_{name}'] == pytest.approx(value, abs=1e-6)


def test_validation_with_a_trainer_alone(data):
    task = Recommendation(vbpr(data), data)
    trainer = Trainer(
        logger=False, enable_progress_bar=False, enable_model_summary=False
    )
    (logged,) = trainer.validate(task, verbose=False)
    expected = evaluate(task.model, data, 'val', (20,))['recall@20']
    assert logged['val_recall@20'] == pytest.approx(expected)
    assert task.history == []


def test_loader_and_optimizer(data):
    model = vbpr(data)
    task = Recommendation(model, data, lr=0.25, batch_size=13, sampling='user')
    loader = task.train_dataloader()
    assert isinstance(loader, TripletLoader)
    assert (loader.batch_size, loader.sampling) == (13, 'user')
    optimizer = task.configure_optimizers()
    assert type(optimizer) is torch.optim.Adam
    (group,) = optimizer.param_groups
    assert group['lr'] == 0.25
    assert group['weight_decay'] == 0
    assert {id(p) for p in group['params']} == {
        id(p) for p in model.parameters()
    }


def test_recommend(data):
    task = Recommendation(vbpr(data), data)
    user = torch.tensor([4, 2])
    for one, other in zip(
        task.recommend(user, k=3),
        recommend(task.model, data, user, k=3),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_recommend_another_view(data):
    task = Recommendation(PlainRecommender(data), data)
    item, _ = task.recommend(7, k=5, view=only('text'))
    expected, _ = recommend(task.model, data, 7, k=5, view=only('text'))
    assert torch.equal(item, expected)
    assert not torch.equal(item, task.recommend(7, k=5)[0])


def test_recommend_uses_the_trained_view(data):
    """What the view ignores was never trained, and must not be asked."""
    model = PlainRecommender(data)
    task = Recommendation(model, data, keep=only('text'))
    user = torch.arange(data['user'].num_nodes)
    item, _ = task.recommend(user, k=5)
    ablated = AblateModality('image')(data)
    assert torch.equal(item, recommend(model, ablated, user, k=5)[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_a_trained_task_can_be_used_on_a_gpu(data):
    task = Recommendation(vbpr(data), data)
    fit(task, max_epochs=1, progress=False, accelerator='gpu', devices=1)
    task.recommend(torch.tensor([0]))
    evaluate(task.model, task.data)
    assert data['item'].x_text.device.type == 'cpu'
    evaluate(task.model.cpu(), data)


# Arguments ###################################################################


@pytest.mark.parametrize('lr', [0.0, -1.0, float('nan'), float('inf')])
def test_learning_rate(lr, data):
    with pytest.raises(ValueError, match=f"'lr' needs .*got {lr}"):
        Recommendation(vbpr(data), data, lr=lr)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(objective=CKD()), r'got CKD\): write balance=CKD\('),
        (dict(balance=BPR()), r'got BPR\): write objective=BPR\('),
        (dict(objective=BPR), r'the class BPR\): write objective=BPR\('),
        (dict(objective=CKD), r'the class CKD\): write balance=CKD\('),
        (dict(objective='bpr'), r"'objective' .*Objective.*\(got 'bpr'\)$"),
        (dict(balance='ckd'), r"'balance' .*Balance.*\(got 'ckd'\)$"),
    ],
    ids=str,
)
def test_parts_of_other_types(kwargs, message, data):
    with pytest.raises(TypeError, match=message):
        Recommendation(vbpr(data), data, **kwargs)


def test_balance_needs_the_full_view(data):
    with pytest.raises(ValueError, match=r"'keep' .*got \['text'\]"):
        Recommendation(vbpr(data), data, balance=CKD(), keep=only('text'))


def test_what_a_model_returns_is_checked(data):
    class One(PlainRecommender):
        def forward(self, data):
            return super().forward(data)[0]

    with pytest.raises(ValueError, match="'One' needs to return"):
        Recommendation(One(data), data)


class SparseRecommender(PlainRecommender):
    def __init__(self, data: HeteroData) -> None:
        super().__init__(data)
        self.user = nn.Embedding(data['user'].num_nodes, 4, sparse=True)

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        _, item = super().forward(data)
        return self.user(torch.arange(data['user'].num_nodes)), item


def test_sparse_gradients_are_refused(data):
    task = Recommendation(SparseRecommender(data), data)
    with pytest.raises(ValueError, match=r"'user.weight' .*sparse=False"):
        fit(task, max_epochs=1, progress=False)


def test_strategy_is_refused(data):
    """Also in a trainer of one's own, before a module is set up."""
    settings = {'strategy': 'ddp_spawn', 'devices': 2, 'logger': False}
    task = Recommendation(vbpr(data), data)
    task.trainer = Trainer(accelerator='cpu', **settings)
    with pytest.raises(ValueError, match='cannot spawn'):
        task.setup('fit')
