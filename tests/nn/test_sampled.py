import copy
import gc
import weakref

import numpy as np
import pytest
import torch
import torch_geometric.typing
from torch_geometric.transforms import Compose

from pyg_ckd.balance import CKD, RRD, UMT, ModalityDropout, Teacher
from pyg_ckd.datasets.fake_multimodal import FakeMultimodal
from pyg_ckd.graph import RATES, modalities
from pyg_ckd.nn import (
    FREEDOM,
    LATTICE,
    MMGCN,
    VBPR,
    Cosine,
    ItemBias,
    LightGCN,
    Sampled,
)
from pyg_ckd.nn.neighborhoods import Neighborhoods
from pyg_ckd.objectives import BPR, NLGCL, Softmax
from pyg_ckd.ranking import evaluate
from pyg_ckd.serving import load
from pyg_ckd.testing import PlainRecommender, assert_same_with_gradients
from pyg_ckd.train import Recommendation, SaveLast, fit
from pyg_ckd.transforms import NormalizedAdjacency
from pyg_ckd.views import distinct_views, only

HAS_SAMPLER = (
    torch_geometric.typing.WITH_PYG_LIB
    or torch_geometric.typing.WITH_TORCH_SPARSE
)
pytestmark = pytest.mark.filterwarnings(
    "ignore:Using 'NeighborSampler' without:UserWarning"
)
needs_sampler = pytest.mark.skipif(
    not HAS_SAMPLER, reason='needs pyg-lib or torch-sparse'
)
MODELS = {
    'LightGCN': (LightGCN, {}),
    'IDs': (LightGCN, {'use': []}),
    'MMGCN': (MMGCN, {}),
    'FREEDOM': (FREEDOM, {'prune': 0.0, 'co_occurrence': 0.2}),
    'pruned': (FREEDOM, {'prune': 0.5}),
    'offsets': (FREEDOM, {'train_features': True}),
}


@pytest.fixture(scope='module')
def data():
    shop = FakeMultimodal(
        num_users=70, num_items=50, num_channels=6, activity=0.7
    )[0]
    return Compose([FREEDOM.pre_transform, MMGCN.pre_transform])(shop)


def teachers_of(data):
    sizes = data['user'].num_nodes, data['item'].num_nodes
    return {
        only(m): Teacher.from_embeddings(
            *(torch.randn(size, 6) for size in sizes), data
        )
        for m in modalities(data)
    }


def loss_and_gradients(model, data, objective, balance):
    """Return those of a step of 16 triples, always the same."""
    torch.manual_seed(0)
    task = Recommendation(model, data, objective, balance, batch_size=16)
    if task.balance is not None:
        task.balance.begin(data)
    task.train()
    torch.manual_seed(1)
    model.start_epoch(data, task.keep)
    torch.manual_seed(2)
    batch = next(iter(task.train_dataloader()))
    task.zero_grad()
    total = task.losses(batch).total
    total.backward()
    inner = model
    while not isinstance(inner, VBPR | LightGCN | FREEDOM | MMGCN):
        inner = inner.recommender
    gradients = {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in inner.named_parameters()
    }
    return {'loss': total.detach(), **gradients}


def assert_same_step(
    data, model, objective=None, balance=None, wrap=lambda m: m
):
    whole = loss_and_gradients(wrap(model), data, objective, balance)
    sampled = wrap(Sampled(model, [-1] * model.num_hops))
    found = loss_and_gradients(sampled, data, objective, balance)
    assert whole['loss'] != 0
    for name, value in whole.items():
        torch.testing.assert_close(
            found[name],
            value,
            rtol=1e-4,
            atol=1e-6,
            msg=f'{name} differs',
        )


@needs_sampler
@pytest.mark.parametrize('name', MODELS)
@pytest.mark.parametrize('with_ckd', [False, True])
def test_all_neighbors_are_the_whole_graph(data, name, with_ckd):
    cls, arguments = MODELS[name]
    if with_ckd and name == 'IDs':
        pytest.skip('it has no modality to distil')
    balance = None
    if with_ckd:
        balance = CKD(teachers_of(data), strength=1.0)
    model = cls.from_data(data, dim=4, **arguments)
    assert_same_step(data, model, balance=balance)


@needs_sampler
@pytest.mark.parametrize(
    'objective', [Softmax(negatives='batch'), Softmax(negatives=9)]
)
def test_objectives(data, objective):
    model = LightGCN.from_data(data, dim=4)
    assert_same_step(data, model, objective, CKD(teachers_of(data)))


@needs_sampler
@pytest.mark.parametrize('balance', [UMT, ModalityDropout])
def test_balances(data, balance):
    part = balance(teachers_of(data)) if balance is UMT else balance(0.5)
    assert_same_step(data, LightGCN.from_data(data, dim=4), balance=part)


@needs_sampler
@pytest.mark.parametrize('wrap', [Cosine, ItemBias])
@pytest.mark.parametrize('cls', [LightGCN, FREEDOM])
def test_wrappers_around_it(data, wrap, cls):
    model = cls.from_data(data, dim=4)
    balance = CKD(teachers_of(data), strength=1.0)
    assert_same_step(data, model, BPR(l2=0.0), balance, wrap)


@needs_sampler
def test_three_modalities():
    names = ['a', 'b', 'c']
    shop = FakeMultimodal(
        num_users=40,
        num_items=30,
        taste=dict.fromkeys(names, 1.0),
        noise=dict.fromkeys(names, 0.1),
    )[0]
    shop = LightGCN.pre_transform(shop)
    balance = CKD(teachers_of(shop), strength=1.0)
    assert_same_step(shop, LightGCN.from_data(shop, dim=4), balance=balance)


@needs_sampler
@pytest.mark.parametrize('cls', [LightGCN, MMGCN, FREEDOM])
def test_ablation_by_means_over_all(data, cls):
    """The neighbourhood is a part of the graph, and means are those of all."""
    settings = {'train_features': True} if cls is FREEDOM else {}
    model = cls.from_data(data, dim=4, num_layers=1, **settings)
    sampled, keeps = Sampled(model, [-1]), distinct_views(modalities(data))
    triple = torch.tensor([[0, 1], [2, 3], [4, 5]])
    views = sampled.views(data, keeps)
    found = views.triples(*triple).margin()
    near = views.parts.at(triple[0], triple[1:].flatten()).near
    assert len(near.user) < 60
    expected = model.views(data, keeps).triples(*triple).margin()
    assert_same_with_gradients([found], [expected], model, atol=1e-6)


@needs_sampler
@pytest.mark.parametrize('row_normalised', [False, True])
def test_sums_over_neighbors_are_right_on_average(data, row_normalised):
    if row_normalised:
        adjacency = NormalizedAdjacency('row', add_self_loops=True)
    else:
        adjacency = NormalizedAdjacency()
    graph = adjacency.of(data)
    user, item = torch.arange(70), torch.arange(50)
    x = torch.randn(120, 2)
    sums = []
    for _ in range(150):
        # Made anew each time, as in each epoch: torch-sparse is not uniform.
        sampled = Neighborhoods(data, ('', None), graph, [3])
        near = sampled.around(user, item)
        nodes = torch.cat([near.user, 70 + near.item])
        own = near.graphs['', None]
        links = own.adj_t.crow_indices().diff()
        assert links.max() == (4 if row_normalised else 3)
        sums.append(torch.empty_like(x))
        sums[-1][nodes] = own.propagate(x[nodes])
    found = torch.stack(sums)
    error = found.mean(dim=0) - graph.propagate(x)
    standard = found.std(dim=0) / len(sums) ** 0.5
    z = (error / standard)[standard > 1e-6]  # some have three neighbours
    assert len(z) > 150
    assert z.square().mean().item() == pytest.approx(1, abs=0.35)
    assert z.abs().max() < 5


@needs_sampler
def test_reach(data):
    graph = NormalizedAdjacency().of(data)
    near = Neighborhoods(data, ('', None), graph, [2, 1]).around(
        torch.tensor([7, 3]), torch.tensor([], dtype=torch.long)
    )
    assert len(near.item) <= 4 + 10 * 2 * 4  # hops, and similar items
    assert set(near.user.tolist()) >= {3, 7}
    assert len(near.user) <= 2 + 4
    assert near.users(torch.tensor([7, 3, 7])).unique().numel() == 2
    assert near.covers(torch.tensor([3]), torch.tensor([], dtype=torch.long))
    assert not near.covers(torch.tensor([3]), near.item[:1])


@needs_sampler
def test_only_training_is_sampled(data):
    model = LightGCN.from_data(data, dim=4)
    sampled = Sampled(model, [1, 1])
    for one, other in zip(sampled(data), model(data), strict=True):
        assert torch.equal(one, other)
    assert evaluate(sampled, data) == evaluate(model, data)
    keeps = distinct_views(modalities(data))
    triple = torch.tensor([[0, 1], [2, 3], [4, 5]])
    in_training = sampled.views(data, keeps).triples(*triple).margin()
    whole = sampled.eval().views(data, keeps).triples(*triple).margin()
    assert in_training.shape == whole.shape
    assert not torch.allclose(in_training, whole)


@needs_sampler
def test_steps_are_forgotten(data):
    """No circle of references keeps the tensors of a step."""
    sampled = Sampled(LightGCN.from_data(data, dim=4), [2, 2])
    views = sampled.views(data, [only('text')])
    triple = torch.tensor([[0], [2], [4]])
    views.triples(*triple)
    part = weakref.ref(views.parts.at(*triple[:2]))
    gc.disable()
    try:
        del views
        assert part() is None
    finally:
        gc.enable()


@needs_sampler
def test_sizes_come_back(data):
    model = LightGCN.from_data(data, dim=4)
    one = torch.tensor([[0], [0], [1]])
    narrow = copy.copy(data)
    narrow['item'].x_text = data['item'].x_text[:, :1]
    with pytest.raises(RuntimeError, match='shapes'):
        Sampled(model, [1, 1]).views(narrow, [only('text')]).triples(*one)
    Sampled(model, [1, 1]).views(data, [only('text')]).triples(*one)
    assert (model.num_users, model.num_items) == (70, 50)
    assert model(data)[0].shape == (70, 12)


@needs_sampler
@pytest.mark.parametrize(
    ('triple', 'message'),
    [
        ([70, 0, 1], "'user' needs to be from 0 to 69 .got 70 to 70."),
        ([0, 50, 1], "'item' needs to be from 0 to 49 .got 1 to 50."),
        ([0, -1, 1], "'item' needs to be from 0 to 49 .got -1 to 1."),
    ],
)
def test_nobody_beyond_the_graph(data, triple, message):
    model = Sampled(LightGCN.from_data(data, dim=4), [1, 1])
    views = model.views(data, [only('text')])
    with pytest.raises(IndexError, match=message):
        views.triples(*torch.tensor(triple).unsqueeze(1))


@needs_sampler
@pytest.mark.parametrize('name', ['LightGCN', 'pruned'])
def test_trains_teachers_and_student(data, name, tmp_path):
    cls, arguments = MODELS[name]
    model = Sampled(cls.from_data(data, dim=4, **arguments), [3, 2])
    task = Recommendation(model, data, balance=CKD(), lr=0.02, batch_size=64)
    before = evaluate(model, data, ks=(10,))['recall@10']
    task = fit(task, max_epochs=4, eval_every=2, progress=False)
    assert set(task.balance.teachers) == {only('image'), only('text')}
    assert evaluate(model, data, ks=(10,))['recall@10'] > before
    task.save(tmp_path / 'model')
    assert load(tmp_path / 'model').recommend([3], k=5) is not None


@needs_sampler
@pytest.mark.filterwarnings('ignore:.*LeafSpec', 'ignore:Epoch')
def test_resume(data, tmp_path):
    def task():
        torch.manual_seed(0)
        model = Sampled(
            FREEDOM.from_data(data, dim=4, prune=0.5), num_neighbors=[3, 2]
        )
        balance = CKD(teachers_of(data))
        return Recommendation(model, data, None, balance, batch_size=64)

    limits = {'eval_every': 1, 'progress': False}
    path = tmp_path / 'last.ckpt'
    whole = fit(task(), max_epochs=4, **limits)
    fit(task(), max_epochs=2, callbacks=[SaveLast(path)], **limits)
    resumed = task()
    torch.manual_seed(99)  # of no influence
    fit(resumed, max_epochs=4, ckpt_path=path, **limits)
    assert resumed.history == whole.history
    for one, other in zip(
        resumed.parameters(), whole.parameters(), strict=True
    ):
        assert torch.equal(one, other)


@needs_sampler
@pytest.mark.parametrize('objective', [Softmax(negatives='all'), NLGCL()])
def test_all_items_are_refused(data, objective):
    model = Sampled(LightGCN.from_data(data, dim=4), [2, 2])
    with pytest.raises(ValueError, match=r"'Sampled' cannot compute all.*BPR"):
        loss_and_gradients(model, data, objective, None)


def test_losses_on_lists_are_refused(data):
    """Before teachers are trained."""
    model = Cosine(Sampled(LightGCN.from_data(data, dim=4), [2, 2]))
    with pytest.raises(ValueError, match=r"'RRD' looks at all.*'Sampled'"):
        Recommendation(model, data, balance=CKD(on_random=RRD(k=5)))


def test_no_sampler(data, monkeypatch):
    for name in ('WITH_PYG_LIB', 'WITH_TORCH_SPARSE'):
        monkeypatch.setattr(torch_geometric.typing, name, False)
    model = Sampled(LightGCN.from_data(data, dim=4), [2, 2])
    task = Recommendation(model, data)
    with pytest.raises(ImportError, match=r"'pyg-lib' or 'torch-sparse'.*pip"):
        fit(task, max_epochs=1, progress=False)
    assert evaluate(model, data)  # needs none


def test_repr(data):
    model = LightGCN.from_data(data, dim=4)
    assert repr(Sampled(model, [2, -1])) == (
        f'Sampled({model!r}, num_neighbors=[2, -1])'
    )
    assert Sampled(model, [2, -1]).name == 'Sampled(LightGCN)'


def test_numbers_of_numpy_are_taken(data):
    model = Sampled(LightGCN.from_data(data), np.array([2, -1]))
    assert repr(model) == repr(Sampled(model.recommender, [2, -1]))


@pytest.mark.parametrize('num_neighbors', [[2], [2, 0], [2, -2], [2, 2.0]])
def test_numbers_error(data, num_neighbors):
    model = LightGCN.from_data(data, dim=4)
    with pytest.raises(ValueError, match=r'needs 2 numbers.*one for each'):
        Sampled(model, num_neighbors)


@pytest.mark.parametrize('cls', [VBPR, LATTICE])
def test_models_error(data, cls):
    model = cls.from_data(data, dim=4)
    with pytest.raises(ValueError, match=f"'{cls.__name__}' cannot be trained"):
        Sampled(model, [2, 2])


def test_kinds_error(data):
    with pytest.raises(TypeError, match=r"'num_neighbors' .*list.*\(got 10\)"):
        Sampled(LightGCN.from_data(data, dim=4), 10)
    with pytest.raises(TypeError, match=r'Backbone.*PlainRecommender'):
        Sampled(PlainRecommender(data), [2])
    with pytest.raises(TypeError, match=r'Backbone.*Cosine.*go around it'):
        Sampled(Cosine(LightGCN.from_data(data, dim=4)), [2, 2])
    assert RATES in data.edge_types
