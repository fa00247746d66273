import copy
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.graph import modalities
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.evaluation import evaluate, recommend
from pyg_ckd.nn import FREEDOM, VBPR, LightGCN
from pyg_ckd.train import Recommendation, TripletLoader, fit
from pyg_ckd.transforms import AblateModality
from pyg_ckd.views import default_views, only, view

pytestmark = pytest.mark.filterwarnings(
    'ignore:You are trying to `self.log',  # a step without a trainer
    'ignore:.*LeafSpec',  # Lightning's own
)

Batch = tuple[Tensor, Tensor, Tensor]


class Plain(nn.Module):
    """A recommender that is not ours and knows nothing of views."""

    def __init__(self, data: HeteroData) -> None:
        super().__init__()
        self.names = modalities(data)
        size = sum(data['item'][f'x_{m}'].size(1) for m in self.names)
        self.user = nn.Embedding(data['user'].num_nodes, 4)
        self.item = nn.Sequential(
            nn.Linear(size, 8), nn.Tanh(), nn.Linear(8, 4)
        )

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        x = [data['item'][f'x_{m}'] for m in self.names]
        return self.user.weight, self.item(torch.cat(x, dim=-1))


def plain(data: HeteroData) -> nn.Module:
    return Plain(data)


def vbpr(data: HeteroData) -> nn.Module:
    return VBPR.from_data(data, dim=4)


def light_gcn(data: HeteroData) -> nn.Module:
    return LightGCN.from_data(data, dim=4)


def freedom(data: HeteroData) -> nn.Module:
    return FREEDOM.from_data(data, dim=4, prune=0.5, feature_weight=0.3)


MODELS = [plain, vbpr, light_gcn, freedom]


@pytest.fixture
def data() -> HeteroData:
    data = FakeMultimodal(num_users=30, num_items=20, num_channels=5)[0]
    return FREEDOM.pre_transform(data)


@pytest.fixture
def batch(data: HeteroData) -> Batch:
    return next(iter(TripletLoader(data, batch_size=7)))


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


def gradients(loss: Tensor, model: nn.Module) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    grads = torch.autograd.grad(
        loss, parameters, allow_unused=True, materialize_grads=True
    )
    return dict(zip(names, grads, strict=True))


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
    task = Recommendation(model, data, l2=l2, batch_size=100)
    loss = task.training_step(batch)
    assert loss.dim() == 0

    embedding = model(data)
    expected = naive_loss(embedding, batch, l2)
    if make is freedom:
        expected = expected + model.regularization(
            data, default_views(model, data, [task.keep]), *batch
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
    task = Recommendation(model, data, keep=only(name), l2=0.0)
    loss = task.training_step(batch)

    embedding = view(model, data, only(name))
    expected = naive_loss(embedding, batch, l2=0.0)
    if make is freedom:
        dropped = [m for m in modalities(data) if m != name]
        expected = expected + model.regularization(
            AblateModality(*dropped)(data),
            default_views(model, data, [task.keep]),
            *batch,
        )
    torch.testing.assert_close(loss, expected)
    assert_all_close(
        gradients(loss, model), gradients(expected, model), rtol=1e-4, atol=1e-6
    )


def test_loss_in_double_precision(data, batch):
    data['item'].x_image = data['item'].x_image.double()
    data['item'].x_text = data['item'].x_text.double()
    model = VBPR.from_data(data, dim=4).double()
    loss = Recommendation(model, data, l2=0.5).training_step(batch)
    assert loss.dtype == torch.double
    torch.testing.assert_close(loss, naive_loss(model(data), batch, 0.5))


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

    task = Recommendation(model, data, keep=only('text'), l2=0.5)
    ablated = AblateModality('image')(data)

    def loss_from_outside(batch: Batch) -> Tensor:
        embedding = view(other, data, only('text'))
        loss = naive_loss(embedding, batch, l2=0.5)
        if make is freedom:
            several = default_views(other, data, [only('text')])
            loss = loss + other.regularization(ablated, several, *batch)
        return loss

    for seed in (1, 2):
        for one in (model, other):
            torch.manual_seed(seed)
            if make is freedom:
                one.start_epoch(data)
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
    model = Plain(data)
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
        model = Plain(graph)
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

    def start_epoch(self, data):
        self.calls.append(('start_epoch', data))
        super().start_epoch(data)

    def regularization(self, data, views, user, pos, neg):
        self.calls.append(('regularization', data))
        assert len(user) == len(pos) == len(neg)
        return super().regularization(data, views, user, pos, neg)


def is_ablated(data: HeteroData, name: str) -> bool:
    x = data['item'][f'x_{name}']
    return torch.equal(x, x[:1].expand_as(x))


def test_hooks_are_called(data):
    model = Spy.from_data(data, dim=4)
    task = Recommendation(model, data, batch_size=150)
    fit(task, max_epochs=2, progress=False)
    epoch = ['start_epoch', 'regularization', 'regularization']
    assert [name for name, _ in model.calls] == 2 * epoch
    for _, seen in model.calls:
        assert not is_ablated(seen, 'image')
        assert not is_ablated(seen, 'text')


@pytest.mark.parametrize('hook', ['start_epoch', 'regularization'])
def test_hooks_of_a_teacher_see_ablated_data(hook, data):
    model = Spy.from_data(data, dim=4)
    task = Recommendation(model, data, keep=only('image'))
    fit(task, max_epochs=1, progress=False)
    seen = [data for name, data in model.calls if name == hook]
    assert seen
    for one in seen:
        assert is_ablated(one, 'text')
        assert not is_ablated(one, 'image')
        assert one['item', 'text', 'item'].edge_index.numel() == 0
        assert one['item', 'image', 'item'].edge_index.numel() > 0
    assert not is_ablated(data, 'text')


class OwnLoss(VBPR):
    """Its loss takes the place of all others."""

    def loss(self, data, views, user, pos, neg):
        self.seen = data, views, user, pos, neg
        user_emb, item_emb = views.embedding()
        return (user_emb[user] * item_emb[neg]).sum()

    def regularization(self, *args):
        raise AssertionError('not part of this loss')


@pytest.mark.parametrize('keep', [None, only('image')])
def test_own_loss(keep, data, batch):
    model = OwnLoss.from_data(data, dim=4)
    task = Recommendation(model, data, keep=keep, l2=10.0)
    loss = task.training_step(batch)
    user_emb, item_emb = model.views(data, [task.keep]).embedding()
    expected = (user_emb[batch[0]] * item_emb[batch[2]]).sum()
    torch.testing.assert_close(loss, expected)
    assert_all_close(gradients(loss, model), gradients(expected, model))

    seen, several, *triples = model.seen
    assert is_ablated(seen, 'text') == (keep is not None)
    assert len(several.keep) == 1
    for one, other in zip(triples, batch, strict=True):
        assert one is other


def test_training_uses_the_pruned_graph_and_evaluation_the_whole(data):
    model = freedom(data)
    whole = model.eval()(data)
    model.train().start_epoch(data)
    assert not torch.equal(model(data)[0], whole[0])
    assert torch.equal(model.eval()(data)[0], whole[0])


# With Lightning ##############################################################


def test_third_party_model():
    data = FakeMultimodal(num_users=150, num_items=60)[0]
    model = Plain(data)
    task = Recommendation(model, data, lr=0.02, batch_size=250)
    before = evaluate(model, data)['ndcg@20']
    assert fit(task, max_epochs=15, progress=False) is task
    assert task.model is model
    assert evaluate(model, data)['ndcg@20'] > before + 0.05


@pytest.mark.parametrize('keep', [None, only('image')])
@pytest.mark.parametrize('make', [plain, vbpr])
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


def test_recommend_uses_the_trained_view(data):
    """What the view ignores was never trained, and must not be asked."""
    model = Plain(data)
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
