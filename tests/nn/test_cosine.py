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
    STAIR,
    VBPR,
    Cosine,
    EgoGCN,
    FeatureKNN,
    GraphFilter,
    InteractionKNN,
    LGMRec,
    LightGCN,
    Recommender,
)
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
    STAIR,
    VBPR,
]


class Plain(nn.Module):
    """A module that is not ours, with a preference for each modality."""

    def __init__(self, num_users, num_items, sizes):
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
            model = Plain(12, 9, dict.fromkeys(modalities(data), 5))
            return Cosine(model), data
        model = backbone.from_data(data, dim=4)
        for parameter in model.parameters():
            nn.init.normal_(parameter)
        cosine = Cosine(model)
        if cosine.neighbors is not None:
            cosine.neighbors = ItemKNN(k=3)
        graphs = [g for g in (model.adjacency, model.neighbors) if g]
        return cosine, Compose(graphs)(data)

    return make


def naive(cosine, data, keep):
    """Ablate the recommender from outside, then normalise."""
    user, item = view(cosine.recommender, data, keep)
    return F.normalize(user, dim=-1), F.normalize(item, dim=-1)


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
def test_views_equal_ablation_and_normalisation(
    backbone, num_modalities, wrapped
):
    model, data = wrapped(backbone, num_modalities)
    model.eval()
    keeps = distinct_views(modalities(data))
    user = torch.randint(12, (40,))
    pos, neg = torch.randint(9, (2, 40))
    pairs = [naive(model, data, keep) for keep in keeps]
    scores = torch.stack([u @ i.t() for u, i in pairs])  # [V, U, I]
    margins = (scores[:, user, pos] - scores[:, user, neg]).t()

    several = model.views(data, keeps)
    assert_same(several.triples(user, pos, neg).margin(), margins, model)
    assert_same(
        torch.stack(
            [
                u @ i.t()
                for u, i in (several.embedding(v) for v in range(len(keeps)))
            ]
        ),
        scores,
        model,
    )
    for v in range(len(keeps)):
        u, i = several.embedding(v, user=user, item=pos)
        assert_same((u * i).sum(dim=-1), scores[v, user, pos], model)
        for emb in (*several.embedding(v), u, i):
            length = emb.norm(dim=-1)
            torch.testing.assert_close(length, torch.ones_like(length))


@pytest.mark.parametrize('backbone', [*BACKBONES, Plain])
def test_forward_and_default_views(backbone, wrapped):
    model, data = wrapped(backbone)
    model.eval()
    torch.testing.assert_close(
        model(data), naive(model, data, full(modalities(data)))
    )
    keeps = distinct_views(modalities(data))
    user, pos, neg = torch.randint(9, (3, 40))
    own, default = (
        several.triples(user, pos, neg)
        for several in (
            model.views(data, keeps),
            default_views(model, data, keeps),
        )
    )
    assert_same(own.margin(), default.margin(), model)
    embeddings = own.embedding(1)  # with no constants left out
    for result, expected in zip(embeddings, default.embedding(1), strict=True):
        torch.testing.assert_close(
            result.square().sum(), expected.square().sum()
        )


def test_training_mode_and_start_epoch(wrapped):
    """In training FREEDOM propagates over what start_epoch has drawn."""
    model, data = wrapped(FREEDOM)
    keep = full(modalities(data))
    before = model(data)[0]
    model.train().start_epoch(data, keep)
    pruned = model(data)[0]
    assert not torch.allclose(before, pruned)
    torch.testing.assert_close(model.views(data, [keep]).embedding()[0], pruned)
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
    assert model.neighbors == inner.neighbors
    assert repr(inner.neighbors) == repr(ItemKNN(k=3))
    assert model.adjacency is FREEDOM.adjacency
    assert model.pre_transform is FREEDOM.pre_transform
    assert model.modality_parameters('text') == [
        *inner.projection['text'].parameters()
    ]
    plain, _ = wrapped(Plain)
    preference = plain.recommender.module.preference
    assert list(plain.tables('text')) == [preference['text']]
    assert plain.neighbors is plain.adjacency is plain.pre_transform is None
    assert Cosine(plain).tables('text')[0] is preference['text']


def test_twice_is_once(wrapped):
    model, data = wrapped(LGMRec)
    keep = only('image')
    twice = Cosine(model).eval()
    batch = torch.randint(9, (3, 20))
    several = twice.views(data, [keep])
    expected = model.views(data, [keep])
    torch.testing.assert_close(
        several.triples(*batch).margin(), expected.triples(*batch).margin()
    )
    torch.testing.assert_close(
        twice.regularization(data, keep, several, *batch),
        model.regularization(data, keep, expected, *batch),
    )


def test_computes_needed_rows_once(wrapped):
    """Items that are not asked for are not projected, others once."""
    model, data = wrapped(VBPR)
    seen = []
    for projection in model.recommender.projection.values():
        projection.register_forward_hook(
            lambda module, args, out: seen.append(len(args[0]))
        )
    several = model.views(data, distinct_views(modalities(data)))
    assert seen == []
    item = torch.tensor([3, 5, 3])
    several.triples(item, item, item.roll(1))
    assert sorted(seen) == [1, 1, 2, 2]  # a mean and 2 items a modality
    seen.clear()
    several.embedding(1, user=item, item=item[:1])
    assert sorted(seen) == [0, 1, 1, 1]  # and none for users


def test_zero_embeddings(wrapped):
    model, data = wrapped(BPRMF)
    with torch.no_grad():
        model.recommender.item.weight[2] = 0
    user, item = model(data)
    assert torch.equal(item[2], torch.zeros(4))
    (grad,) = torch.autograd.grad(
        (user @ item.t()).sum(), model.recommender.item.weight
    )
    torch.testing.assert_close(grad[2], user.sum(dim=0))


def test_precision(wrapped):
    model, data = wrapped(VBPR)
    expected = model(data)
    with torch.autocast('cpu', torch.bfloat16):
        result = model(data)
    torch.testing.assert_close(
        [x.float() for x in result], list(expected), rtol=0, atol=2e-2
    )
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
    other = Cosine(FREEDOM.from_data(data, dim=4)).eval()
    other.neighbors = ItemKNN(k=3)
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(data), model(data), rtol=0, atol=0)


def test_repr():
    model = VBPR(8, 5, {'text': 12}, dim=4)
    assert repr(Cosine(model)) == f'Cosine({model!r})'
    assert repr(Cosine(nn.Linear(2, 3))) == f'Cosine({nn.Linear(2, 3)!r})'


@pytest.mark.parametrize('backbone', [FeatureKNN, GraphFilter, InteractionKNN])
def test_sparse_error(backbone, graph):
    data = graph(with_graphs=False)
    model = Cosine(backbone.from_data(data))
    message = f"'Cosine' needs dense.*'{backbone.__name__}' are sparse"
    with pytest.raises(ValueError, match=message):
        model(data)
    with pytest.raises(ValueError, match=message):
        model.views(data, [full(modalities(data))])


def test_no_module_error():
    with pytest.raises(TypeError, match=r'torch\.nn\.Module'):
        Cosine(3)


def test_missing_graph_error(graph):
    data = graph(with_graphs=False)
    with pytest.raises(ValueError, match=r"'FREEDOM' needs a graph"):
        Cosine(FREEDOM.from_data(data, dim=4))(data)
