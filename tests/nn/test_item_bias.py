import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch_geometric.transforms import Compose

from pyg_ckd.graph import modalities
from pyg_ckd.nn import (
    BM3,
    BPRMF,
    FREEDOM,
    GRCN,
    LATTICE,
    MGCN,
    MICRO,
    MMGCN,
    SMORE,
    VBPR,
    Cosine,
    EgoGCN,
    FeatureKNN,
    GraphFilter,
    InteractionKNN,
    ItemBias,
    LGMRec,
    LightGCN,
    Popularity,
    Recommender,
)
from pyg_ckd.objectives import BPR
from pyg_ckd.ranking import evaluate
from pyg_ckd.testing import fake_graph
from pyg_ckd.train import Recommendation, fit
from pyg_ckd.transforms import ItemKNN
from pyg_ckd.views import default_views, distinct_views, full, only, view

BACKBONES = [
    BM3,
    BPRMF,
    EgoGCN,
    FREEDOM,
    GRCN,
    LATTICE,
    LGMRec,
    LightGCN,
    MGCN,
    MICRO,
    MMGCN,
    SMORE,
    VBPR,
]


class Plain(nn.Module):
    """A module that is not ours, with a preference for each modality."""

    def __init__(self, num_users, sizes):
        super().__init__()
        self.preference = nn.ParameterDict(
            {m: torch.randn(num_users, 4) for m in sizes}
        )
        self.weight = nn.ParameterDict(
            {m: torch.randn(size, 4) for m, size in sizes.items()}
        )

    def forward(self, data):
        item = [data['item'][f'x_{m}'] @ w for m, w in self.weight.items()]
        return torch.cat([*self.preference.values()], -1), torch.cat(item, -1)


@pytest.fixture
def wrapped(graph):
    """Makes a backbone with large parameters, its wrapper, and data."""

    def make(backbone, num_modalities=2):
        data = graph(num_modalities, with_graphs=False)
        if backbone is Plain:
            model = Plain(12, dict.fromkeys(modalities(data), 5))
            biased = ItemBias(model, num_items=9)
        else:
            model = backbone.from_data(data, dim=4)
            biased = ItemBias(model)
        for parameter in biased.parameters():
            nn.init.normal_(parameter)
        if biased.neighbors is not None:
            biased.neighbors = ItemKNN(k=3)
        graphs = [g for g in (biased.adjacency, biased.neighbors) if g]
        return biased, Compose(graphs)(data)

    return make


def naive(biased, data, keep):
    """Ablate the recommender from outside, and add the bias."""
    user, item = view(biased.recommender, data, keep)
    return torch.stack([row @ item.t() + biased.bias for row in user])


def gradients(out, model):
    return torch.autograd.grad(
        out,
        list(model.parameters()),
        retain_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )


def assert_same(result, expected, model):
    """Compare values, and the gradients of a random weighing."""
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)
    weight = torch.randn_like(result)
    torch.testing.assert_close(
        gradients((result * weight).sum(), model),
        gradients((expected * weight).sum(), model),
        rtol=1e-3,
        atol=1e-3,
    )


@pytest.mark.parametrize('num_modalities', [2, 3])
@pytest.mark.parametrize('backbone', [*BACKBONES, Plain])
def test_views_equal_ablation_and_bias(backbone, num_modalities, wrapped):
    model, data = wrapped(backbone, num_modalities)
    model.eval()
    keeps = distinct_views(modalities(data))
    user = torch.randint(12, (40,))
    pos, neg = torch.randint(9, (2, 40))
    scores = torch.stack([naive(model, data, keep) for keep in keeps])
    margins = (scores[:, user, pos] - scores[:, user, neg]).t()

    several = model.views(data, keeps)
    inner = model.recommender.views(data, keeps)
    assert several.num_blocks == inner.num_blocks + 1  # without constants
    assert_same(several.triples(user, pos, neg).margin(), margins, model)
    pairs = [several.embedding(v, constants=True) for v in range(len(keeps))]
    assert_same(torch.stack([u @ i.t() for u, i in pairs]), scores, model)
    for v in range(len(keeps)):
        u, i = several.embedding(v, user=user, item=pos, constants=True)
        assert_same((u * i).sum(dim=-1), scores[v, user, pos], model)


@pytest.mark.parametrize('backbone', [*BACKBONES, Plain])
def test_forward_and_default_views(backbone, wrapped):
    model, data = wrapped(backbone)
    model.eval()
    user, item = model(data)
    inner = model.recommender(data)[0].size(1)
    assert user.shape == (12, inner + 1)
    assert item.shape == (9, inner + 1)
    torch.testing.assert_close(
        user @ item.t(), naive(model, data, full(modalities(data)))
    )
    keeps = distinct_views(modalities(data))
    user, pos, neg = torch.randint(9, (3, 40))
    own, default = (
        several.triples(user, pos, neg).margin()
        for several in (
            model.views(data, keeps),
            default_views(model, data, keeps),
        )
    )
    assert_same(own, default, model)


def test_starts_without_bias():
    data = fake_graph()
    inner = VBPR.from_data(data, dim=4)
    model = ItemBias(inner)
    user, item = model(data)
    expected_user, expected_item = inner(data)
    torch.testing.assert_close(
        user @ item.t(), expected_user @ expected_item.t()
    )
    nn.init.normal_(model.bias)
    before = inner.user.weight.clone()
    model.reset_parameters()
    assert model.bias.eq(0).all()
    assert torch.equal(inner.user.weight, before)


def test_training_mode_and_start_epoch(wrapped):
    """In training FREEDOM propagates over what start_epoch has drawn."""
    model, data = wrapped(FREEDOM)
    keep = full(modalities(data))
    before = model(data)[0]
    model.train().start_epoch(data, keep)
    pruned = model(data)[0]
    assert not torch.allclose(before, pruned)
    torch.testing.assert_close(model.eval()(data)[0], before)


@pytest.mark.parametrize('backbone', [FREEDOM, MGCN, LGMRec, BM3, VBPR])
def test_losses_see_the_recommender_as_it_is(backbone, wrapped):
    model, data = wrapped(backbone)
    model.eval()  # no noise
    inner = model.recommender
    keep = only('text')
    batch = torch.randint(9, (3, 20))
    outer_views = model.views(data, [keep])
    inner_views = inner.views(data, [keep])
    for method in ('regularization', 'loss'):
        result = getattr(model, method)(data, keep, outer_views, *batch)
        expected = getattr(inner, method)(data, keep, inner_views, *batch)
        if isinstance(expected, torch.Tensor):
            torch.testing.assert_close(result, expected)
        else:
            assert result == expected


def test_declarations_are_those_of_the_recommender(wrapped):
    model, _ = wrapped(FREEDOM)
    inner = model.recommender
    assert isinstance(model, Recommender)
    assert model.name == 'ItemBias(FREEDOM)'
    assert repr(inner.neighbors) == repr(ItemKNN(k=3))
    assert model.neighbors is inner.neighbors
    assert model.adjacency is FREEDOM.adjacency
    assert model.pre_transform is FREEDOM.pre_transform
    assert model.modality_parameters('text') == [
        *inner.projection['text'].parameters()
    ]
    plain, _ = wrapped(Plain)
    preference = plain.recommender.module.preference
    assert list(plain.tables('text')) == [preference['text']]


@pytest.mark.parametrize('backbone', [VBPR, FREEDOM, LGMRec])
def test_around_cosine(backbone, wrapped):
    """Cosines and a bias, and the other way round the cosine of both."""
    biased, data = wrapped(backbone)
    inner = biased.eval().recommender
    keep = only('text')
    user, item = view(inner, data, keep)
    cosine = F.normalize(user) @ F.normalize(item).t()
    model = ItemBias(Cosine(inner)).eval()
    nn.init.normal_(model.bias)
    user, item = model.views(data, [keep]).embedding()
    torch.testing.assert_close(user @ item.t(), cosine + model.bias)
    batch = torch.randint(9, (3, 20))
    torch.testing.assert_close(
        model.regularization(data, keep, model.views(data, [keep]), *batch),
        inner.regularization(data, keep, inner.views(data, [keep]), *batch),
    )
    for emb in Cosine(biased).views(data, [keep]).embedding():
        torch.testing.assert_close(emb.norm(dim=1), torch.ones(len(emb)))


def test_learns_what_all_like():
    """With nothing else to learn the bias orders items by popularity."""
    data = fake_graph(num_users=60, num_items=12)
    data['item'].x_image, data['item'].x_text = torch.zeros(2, 12, 5)
    inner = VBPR.from_data(data, dim=2)
    for parameter in inner.parameters():
        nn.init.zeros_(parameter).requires_grad_(False)
    model = ItemBias(inner)
    task = Recommendation(model, data, BPR(l2=0.0), lr=0.05, batch_size=64)
    fit(task, max_epochs=60, eval_every=60, progress=False)
    popular = Popularity.from_data(data)(data)[1].squeeze(1)
    both = torch.stack([model.bias.detach(), popular])
    assert torch.corrcoef(both)[0, 1] > 0.9
    assert set(evaluate(model, data)) == set(evaluate(inner, data))


def test_precision(wrapped):
    model, data = wrapped(VBPR)
    expected = model(data)
    with torch.autocast('cpu', torch.bfloat16):
        result = model(data)
    for low, high in zip(result, expected, strict=True):
        assert (low.float() - high).norm() < 0.03 * high.norm()
    model = model.double()
    for m in modalities(data):
        data['item'][f'x_{m}'] = data['item'][f'x_{m}'].double()
    keep = full(modalities(data))
    for emb in (*model(data), *model.views(data, [keep]).embedding()):
        assert emb.dtype == torch.double


def test_copies(wrapped):
    model, data = wrapped(FREEDOM)
    model.eval()
    copied = copy.deepcopy(model)
    torch.testing.assert_close(copied(data), model(data), rtol=0, atol=0)
    assert copied.recommender is not model.recommender
    other = ItemBias(FREEDOM.from_data(data, dim=4)).eval()
    other.neighbors = ItemKNN(k=3)
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(data), model(data), rtol=0, atol=0)


def test_repr():
    model = VBPR(8, 5, {'text': 12}, dim=4)
    assert repr(ItemBias(model)) == f'ItemBias({model!r})'


def test_number_of_items():
    model = VBPR(8, 5, {'text': 12}, dim=4)
    for inner in (model, Cosine(model), ItemBias(Cosine(model))):
        assert ItemBias(inner).bias.shape == (5,)
    with pytest.raises(ValueError, match=r"'num_items'.*'Linear'.*num_nodes"):
        ItemBias(nn.Linear(2, 3))
    assert ItemBias(nn.Linear(2, 3), num_items=7).bias.shape == (7,)


@pytest.mark.parametrize('backbone', [FeatureKNN, GraphFilter, InteractionKNN])
def test_sparse_error(backbone, graph):
    data = graph(with_graphs=False)
    model = ItemBias(backbone.from_data(data))
    message = f"'ItemBias' needs dense.*'{backbone.__name__}' are sparse"
    with pytest.raises(ValueError, match=message):
        model(data)
    with pytest.raises(ValueError, match=message):
        model.views(data, [full(modalities(data))])
