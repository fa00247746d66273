import pytest
import torch
from torch import nn

from pyg_ckd.balance import CKD, RRD, Hinge, SoftCrossEntropy, Teacher
from pyg_ckd.experiments import BACKBONES, METHODS, Method, Settings
from pyg_ckd.experiments.backbones import (
    BASELINES,
    has_own_loss,
    is_ours,
    transform_of,
)
from pyg_ckd.experiments.build import (
    balance_of,
    model_of,
    objective_of,
    transforms_of,
)
from pyg_ckd.experiments.method import BALANCES, OBJECTIVES
from pyg_ckd.nn import BM3, VBPR, Cosine, ItemBias, LightGCN, Recommender
from pyg_ckd.objectives import BPR, NLGCL, Softmax
from pyg_ckd.testing import PlainRecommender, fake_graph
from pyg_ckd.transforms import (
    FeaturePCA,
    NormalizedAdjacency,
    StandardizeModality,
)
from pyg_ckd.views import only


@pytest.fixture(scope='module')
def data():
    return fake_graph()


def effective(sections=None, method=METHODS['base'], name='VBPR', make=None):
    settings = Settings({'shop': {name: sections or {}}})
    return settings.effective('shop', name, make or BACKBONES[name], method)


def teachers_of(data):
    model = VBPR.from_data(data, dim=2)
    return {
        only(m): Teacher.from_model(model, data, only(m))
        for m in ('image', 'text')
    }


@pytest.mark.parametrize('name', BACKBONES)
def test_each_backbone(name, data):
    transform = transform_of(BACKBONES[name])
    graph = data if transform is None else transform(data)
    model = model_of(BACKBONES[name], graph, effective(name=name))
    assert issubclass(BACKBONES[name], type(model))
    user, item = model(graph)
    assert len(user) == 12
    assert len(item) == 9


def test_model_of_ours(data):
    sections = {'model': {'dim': 3, 'use': ['text']}}
    model = model_of(VBPR, data, effective(sections))
    direct = VBPR.from_data(data, dim=3, use=['text'])
    assert repr(model) == repr(direct)
    assert {n: p.shape for n, p in model.named_parameters()} == {
        n: p.shape for n, p in direct.named_parameters()
    }


def test_foreign_model(data):
    def make(graph, size=3):
        assert graph is data
        return PlainRecommender(graph, size)

    settings = effective({'model': {'size': 2}}, name='own', make=make)
    model = model_of(make, data, settings)
    assert type(model) is PlainRecommender
    assert model(data)[0].shape == (12, 2)


def test_cosines(data):
    for name, is_cosine in (('BPR', False), ('CosineSoftmax', True)):
        settings = effective(method=Method(objective=name))
        model = model_of(VBPR, data, settings)
        assert isinstance(model, Cosine) is is_cosine
    foreign = model_of(
        lambda graph: PlainRecommender(graph),
        data,
        {'model': {}, 'objective': settings['objective']},
    )
    user, _ = foreign(data)
    torch.testing.assert_close(user.norm(dim=1), torch.ones(12))
    assert not isinstance(
        model_of(BM3, data, effective(name='BM3', make=BM3)), Cosine
    )


def test_objectives():
    assert objective_of({'objective': None}) is None
    softmax = {'name': 'Softmax', 'tau': 0.5, 'l2': 0.1}
    made = objective_of({'objective': softmax})
    assert made == Softmax(tau=0.5, l2=0.1)
    for name, kind in OBJECTIVES.items():
        settings = effective({name: {'l2': 0.3}}, Method(objective=name))
        made = objective_of(settings)
        assert type(made) is kind
        assert made.l2 == 0.3
    assert objective_of(effective()) == BPR()


def test_extra(data):
    plain = effective()
    make = BACKBONES['VBPR']
    assert transforms_of(make, plain) == []
    extra = {'standardize': True, 'components': 5, 'nlgcl': 1e-3}
    found = effective({'extra': extra})
    first, second, last = transforms_of(make, found)
    assert isinstance(first, StandardizeModality)
    assert isinstance(second, FeaturePCA) and second.dim == 5
    assert isinstance(last, NormalizedAdjacency)
    *before, last = transforms_of(BACKBONES['FREEDOM'], found)[:-1]
    assert isinstance(before[1], FeaturePCA)  # graphs are made afterwards
    assert objective_of(found) == NLGCL(BPR(), weight=1e-3)
    assert transforms_of(BACKBONES['LightGCN'], plain)
    with pytest.raises(ValueError, match="'nlgcl' cannot be added to the loss"):
        objective_of({'objective': None, 'extra': {'nlgcl': 1e-3}})
    biased = effective({'extra': {'item_bias': True}})
    assert isinstance(model_of(make, data, biased), ItemBias)


def test_parts_by_name(data):
    method = METHODS['ckd-rrd']
    settings = effective({'CKD': {'on_random': {'tau': 0.9}}}, method)
    made = balance_of(settings['balance'], teachers_of(data))
    assert repr(made.on_random) == repr(RRD())
    changed = {
        'strength': 0.5,
        'on_batch': {'name': 'Hinge', 'selective': True},
        'on_random': {'name': 'SoftCrossEntropy', 'tau': 0.9, 'band': 0.5},
        'weights': {'name': 'CounterfactualWeights', 'effect': 'average'},
        'gate': True,
    }
    for sections in ({}, {'CKD': changed}):  # whatever a file says
        published = effective(sections, METHODS['ckd-published'])['balance']
        made = balance_of(published, teachers_of(data))
        assert repr(made) == repr(CKD.published())


@pytest.mark.parametrize('name', BALANCES)
def test_defaults_of_balances(name, data):
    teachers = teachers_of(data)
    settings = effective(method=Method.student(name))['balance']
    before = dict(settings)
    made = balance_of(settings, teachers)
    assert settings == before
    taught = {'teachers': teachers} if name in ('CKD', 'UMT') else {}
    assert repr(made) == repr(BALANCES[name](**taught))


def test_parts_of_ckd(data):
    sections = {
        'CKD': {
            'strength': 0.5,
            'gate': True,
            'on_batch': {},
            'on_random': {'tau': 0.7, 'num_pairs': 9, 'group_size': 3},
            'weights': False,
        }
    }
    teachers = teachers_of(data)
    made = balance_of(effective(sections, METHODS['ckd'])['balance'], teachers)
    direct = CKD(
        teachers,
        strength=0.5,
        gate=True,
        on_batch=Hinge(),
        on_random=SoftCrossEntropy(tau=0.7, num_pairs=9, group_size=3),
        weights=None,
    )
    assert repr(made) == repr(direct)
    assert made.teachers.keys() == teachers.keys()
    assert balance_of(None, {}) is None


def test_kinds_of_backbones():
    class Own(Recommender):
        pre_transform = LightGCN.pre_transform

    assert all(map(is_ours, BACKBONES.values()))
    assert not any(map(is_ours, (Own, nn.Linear, lambda data: None)))
    assert transform_of(Own) is LightGCN.pre_transform
    assert transform_of(lambda data: None) is None
    assert transform_of(nn.Linear) is None
    assert [n for n, make in BACKBONES.items() if has_own_loss(make)] == ['BM3']
    assert not has_own_loss(print)
    assert list(BACKBONES)[: len(BASELINES)] == list(BASELINES)


def test_a_bias_around_what_is_not_ours(data):
    """The data tells how many items there are."""
    settings = effective({'extra': {'item_bias': True}}, make=PlainRecommender)
    model = model_of(PlainRecommender, data, settings)
    assert isinstance(model, ItemBias)
    assert model(data)[1].size(0) == 9
