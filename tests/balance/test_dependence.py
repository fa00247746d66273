import pytest
import torch
from torch import nn

from pyg_ckd import nn as backbones
from pyg_ckd.balance import AGM, CKD, OGMGE, UMT, ModalityDropout
from pyg_ckd.balance.dependence import check_modalities
from pyg_ckd.graph import modalities
from pyg_ckd.nn import (
    BM3,
    BPRMF,
    FREEDOM,
    VBPR,
    Backbone,
    Cosine,
    FeatureKNN,
    FixedEmbeddings,
    GraphFilter,
    InteractionKNN,
    ItemBias,
    LightGCN,
    Popularity,
    Recommender,
    Sampled,
)
from pyg_ckd.testing import PlainRecommender, fake_graph
from pyg_ckd.train import Recommendation
from pyg_ckd.views import without

BALANCES = [AGM, CKD, OGMGE, UMT, ModalityDropout]
#: No features, or no parameters:
OTHERS = {
    BM3,
    BPRMF,
    Cosine,
    FeatureKNN,
    FixedEmbeddings,
    GraphFilter,
    InteractionKNN,
    ItemBias,
    Popularity,
    Sampled,
    Backbone,
    Recommender,
}
BACKBONES = [
    cls
    for cls in vars(backbones).values()
    if isinstance(cls, type)
    and issubclass(cls, Recommender)
    and cls not in OTHERS
]
EACH_BACKBONE = pytest.mark.parametrize(
    'make', [*BACKBONES, 'cosine', 'item_bias', 'foreign'], ids=str
)


def made(make, data):
    """Return a model, and the data with all that it needs."""
    if make == 'foreign':
        return PlainRecommender(data), data
    if make == 'cosine':
        return Cosine(VBPR.from_data(data)), data
    if make == 'item_bias':
        return ItemBias(VBPR.from_data(data)), data
    transform = make.pre_transform
    data = data if transform is None else transform(data)
    return make.from_data(data), data


class IdsOnly(nn.Module):
    """A recommender that looks at no features."""

    def __init__(self, data, dropout=0.0):
        super().__init__()
        self.user = nn.Embedding(data['user'].num_nodes, 4)
        self.item = nn.Embedding(data['item'].num_nodes, 4)
        self.dropout = nn.Dropout(dropout)

    def forward(self, data):
        return self.dropout(self.user.weight), self.item.weight


def graph(num_modalities=2):
    return fake_graph(num_modalities, num_users=30, num_items=20)


@pytest.fixture
def data():
    return FREEDOM.pre_transform(graph())


def task(model, data, balance=CKD):
    return Recommendation(model, data, balance=balance())


# Modalities ##################################################################


@pytest.mark.parametrize('balance', BALANCES)
@pytest.mark.parametrize('names', [(), ('text',)])
def test_too_few_modalities(names, balance, data):
    for name in set(modalities(data)) - set(names):
        del data['item'][f'x_{name}']
    with pytest.raises(ValueError, match='at least two') as info:
        task(VBPR.from_data(data, dim=4), data, balance)
    assert str(list(names)) in str(info.value)
    assert f"'{balance.__name__}'" in str(info.value)


def constant(x):
    return x[:1].expand_as(x).clone()


def one_ulp_apart(x):
    """Return rows that are equal but for rounding, in random directions."""
    x = constant(x) + 1
    target = torch.where(torch.rand_like(x) < 0.5, -torch.inf, torch.inf)
    return torch.nextafter(x, target)


def rounded_sums(x):
    """Return rows that are equal, computed in different orders."""
    parts = torch.rand(100, x.size(1))
    orders = [torch.randperm(100) for _ in x]
    return torch.stack([parts[order].cumsum(0)[-1] for order in orders])


def zero(x):
    return torch.zeros_like(x)


@pytest.mark.parametrize(
    'change', [constant, one_ulp_apart, rounded_sums, zero]
)
@EACH_BACKBONE
def test_constant_modality(make, change):
    """No item graph is made of rounding errors, in any backbone."""
    data = graph()
    data['item'].x_image = change(data['item'].x_image)
    model, data = made(make, data)
    message = r"x_image is the same for all .*'CKD'.*'image'"
    with pytest.raises(ValueError, match=message):
        task(model, data)


@pytest.mark.parametrize('balance', BALANCES)
def test_constant_modality_of_each_balance(balance, data):
    data['item'].x_text = constant(data['item'].x_text)
    message = f"x_text is the same for all .*'{balance.__name__}'"
    with pytest.raises(ValueError, match=message):
        task(VBPR.from_data(data), data, balance)


def far_from_zero(x):
    """Return what tells items apart by the fourth digit."""
    return 1000 + torch.rand_like(x)


def one_column(x):
    """Return a huge constant column beside a small one that varies."""
    out = torch.full_like(x, 1e7)
    out[:, 1] = torch.rand(len(x))
    return out


def one_item(x):
    out = constant(x)
    out[3] += 0.01
    return out


def tiny(x):
    return 1e-20 * x


@pytest.mark.parametrize('change', [far_from_zero, one_column, one_item, tiny])
def test_modality_that_varies_a_little(change, data):
    """What tells some items apart is no constant."""
    data['item'].x_image = change(data['item'].x_image)
    check_modalities(data, 'CKD')


# Models ######################################################################


@pytest.mark.parametrize(
    ('make', 'name'),
    [
        (lambda data: LightGCN.from_data(data, use=[], dim=4), 'LightGCN'),
        (lambda data: VBPR.from_data(data, use=[], dim=4), 'VBPR'),
        (lambda data: BPRMF.from_data(data, dim=4), 'BPRMF'),
        (lambda data: BM3.from_data(data, dim=4), 'BM3'),
        (lambda data: Cosine(BPRMF.from_data(data, dim=4)), 'Cosine'),
        (IdsOnly, 'IdsOnly'),
        (lambda data: IdsOnly(data, dropout=0.5), 'IdsOnly'),
    ],
    ids=['light_gcn', 'vbpr', 'bpr_mf', 'bm3', 'cosine', 'plain', 'dropout'],
)
def test_features_that_are_ignored(make, name, data):
    model = make(data)
    with pytest.raises(ValueError, match='do not change') as info:
        task(model, data)
    message = str(info.value)
    assert name in message
    assert 'image or text' in message
    assert "nothing 'CKD' could balance or distil" in message
    assert model.training


@pytest.mark.parametrize('balance', [AGM, CKD, OGMGE, UMT])
@pytest.mark.parametrize('m', ['image', 'text', 'audio'])
def test_one_modality_that_is_ignored(m, balance):
    data = graph(3)
    used = sorted(without(modalities(data), m))
    model = VBPR.from_data(data, use=used, dim=4)
    with pytest.raises(ValueError, match=f'when {m} is ablated'):
        task(model, data, balance)


@pytest.mark.parametrize(
    'model', [Popularity, InteractionKNN, FeatureKNN, GraphFilter]
)
def test_nothing_to_train(model, data):
    with pytest.raises(
        ValueError, match=f"{model.__name__} has no parameters to train.*'CKD'"
    ):
        task(model.from_data(data), data)


def test_frozen_student(data):
    model = VBPR.from_data(data, dim=4).requires_grad_(False)
    with pytest.raises(ValueError, match='VBPR has no parameters to train'):
        task(model, data)


@EACH_BACKBONE
def test_accepted(make):
    """Random numbers, modes and gradients stay as they were."""
    model, data = made(make, graph())
    model.eval()
    state = torch.get_rng_state()
    task(model, data)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(part.training for part in model.modules())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize('dtype', [torch.double, torch.bfloat16])
def test_model_in_another_precision(dtype, data):
    task(VBPR.from_data(data, dim=4).to(dtype), data)
    with pytest.raises(ValueError, match='do not change when image or text'):
        task(BPRMF.from_data(data, dim=4).to(dtype), data)
