"""Scales of features, and what is said of those that differ."""

import warnings

import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_ckd import fit_teachers
from pyg_ckd._contract.scales import scale_text, scales_remark
from pyg_ckd.balance import CKD
from pyg_ckd.datasets import FakeMultimodal, MMRecFolder, statistics
from pyg_ckd.graph import check, feature_scales
from pyg_ckd.nn import BPRMF, VBPR, Cosine, FeatureKNN, LightGCN
from pyg_ckd.testing import PlainRecommender, fake_graph
from pyg_ckd.train import Recommendation, SaveLast, fit
from pyg_ckd.train.scales import _say
from pyg_ckd.transforms import (
    AblateModality,
    NormalizedAdjacency,
    StandardizeModality,
)
from pyg_ckd.views import only


def items(**x):
    """Return items with features, and nothing else."""
    data = HeteroData()
    for name, value in x.items():
        data['item'][f'x_{name}'] = value
    return data


def remark(data):
    """Return what is said of a graph's features."""
    x = data['item']
    scales = feature_scales(data)
    return scales_remark(scales, {m: x[f'x_{m}'].size(1) for m in scales})


def unit(num_features):
    return torch.nn.functional.normalize(torch.randn(200, num_features), dim=1)


# The scale ###################################################################


@pytest.mark.parametrize('dtype', [torch.float, torch.double, torch.half])
def test_formula(dtype):
    x = (3 * torch.randn(20, 4) + 5).to(dtype)
    rows = x.tolist()
    mean = [sum(column) / 20 for column in zip(*rows, strict=True)]
    squares = [
        sum((a - b) ** 2 for a, b in zip(row, mean, strict=True))
        for row in rows
    ]
    expected = (sum(squares) / 20) ** 0.5
    assert feature_scales(items(text=x))['text'] == pytest.approx(
        expected, rel=1e-5
    )


def test_items_that_lack_it_do_not_count():
    x = torch.randn(20, 4)
    data = items(text=x.clone())
    data['item'].has_text = torch.arange(20) < 12
    data['item'].x_text[12:] = 1e4
    assert feature_scales(data) == feature_scales(items(text=x[:12]))
    data['item'].has_text[:] = False
    assert feature_scales(data) == {'text': 0.0}


def test_what_is_the_same_for_all_does_not_count():
    x = torch.randn(20, 4, dtype=torch.double)
    before = feature_scales(items(text=x))['text']
    assert feature_scales(items(text=x + 7))['text'] == pytest.approx(before)
    assert feature_scales(items(text=torch.ones(20, 4))) == {'text': 0.0}


@pytest.mark.parametrize(
    ('scale', 'text'),
    [
        (0, '0'),
        (0.0361, '0.0361'),
        (12.34, '12.3'),
        (269.7, '270'),
        (12345.6, '12,346'),
        (float('nan'), 'nan'),
    ],
)
def test_text(scale, text):
    assert scale_text(scale) == text


# What is said ################################################################


@pytest.mark.parametrize(
    ('text', 'image', 'differ'),
    [
        (unit(384), 9.5 * unit(384), False),
        (unit(384), 10.5 * unit(384), True),
        (10.5 * unit(384), unit(384), True),
        # The usual: sentences of unit length, pooled maps of ReLUs:
        (unit(384), torch.randn(200, 1280).relu(), True),
        (unit(384), 30 * torch.rand(200, 128), True),
        # Normal forms of any width, which standardising would not help:
        (unit(18), unit(4096), False),
        (torch.randn(200, 18), torch.randn(200, 4096), False),
        # Nothing that could be learned:
        (unit(384), torch.full((200, 8), 1e4), False),
        (unit(384), torch.full((200, 8), torch.nan), False),
    ],
)
def test_which_differ(text, image, differ):
    found = remark(items(text=text, image=image))
    assert bool(found) == differ
    if differ:
        assert 'more than tenfold (text ' in found
        assert 'StandardizeModality()(data)' in found


@pytest.mark.parametrize('num_features', [1, 16])
@pytest.mark.parametrize('factor', [1e-4, 1e4])
def test_the_remedy_helps(factor, num_features):
    data = items(
        text=torch.randn(200, 4096),
        image=factor * torch.rand(200, num_features),
    )
    assert remark(data)
    assert not remark(StandardizeModality()(data))


def test_one_modality_or_none():
    assert remark(items(text=1e9 * torch.rand(5, 2))) == ''
    assert remark(items()) == ''


def test_ablated_modality():
    data = fake_graph()
    data['item'].x_image *= 100
    assert remark(data)
    for name in ('image', 'text'):
        assert not remark(AblateModality(name)(data))


@pytest.mark.parametrize('name', ['baby', 'lastfm-2k'])
def test_real_data(name, tmp_path, shared):
    root = shared / 'data'
    if not (root / name).is_dir():
        pytest.skip(f"needs the folder '{name}' in 'shared/data'")
    data = MMRecFolder(root, name, processed_root=tmp_path)[0]
    assert bool(remark(data)) == (name == 'lastfm-2k')
    assert not remark(StandardizeModality()(data))


@pytest.mark.parametrize('seed', range(5))
def test_no_false_alarm(seed):
    for num_channels in (5, 32, 512):
        data = FakeMultimodal(num_channels=num_channels, seed=seed)[0]
        assert not remark(data)
        assert statistics(data).remark() is None


# Training ####################################################################


@pytest.fixture
def data():
    """Return features that differ in scale, and are like no others."""
    data = FakeMultimodal(num_users=20, num_items=30)[0]
    data['item'].x_image *= 100
    return check(data)


@pytest.fixture(autouse=True)
def _nothing_said():
    _say.cache_clear()
    yield
    _say.cache_clear()


def train(model, data, callbacks=(), ckpt_path=None, **kwargs):
    """Return what training says of scales, and the file that it points at."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        fit(
            Recommendation(model, data, **kwargs),
            max_epochs=2,
            eval_every=1,
            progress=False,
            callbacks=list(callbacks),
            ckpt_path=ckpt_path,
        )
    return [
        (str(each.message), each.filename)
        for each in caught
        if 'differ in scale' in str(each.message)
    ]


def test_said_once(data, tmp_path):
    model = VBPR.from_data(data, dim=4)
    [(text, place)] = train(model, data, [SaveLast(tmp_path / 'a')])
    assert f'image {feature_scales(data)["image"]:,.0f}' in text
    assert place == __file__
    # Not again of the same data:
    assert train(VBPR.from_data(data, dim=4), data, lr=0.1) == []
    # But of others:
    data['item'].x_image = data['item'].x_image * 100
    assert len(train(VBPR.from_data(data, dim=4), data)) == 1


def test_not_said_when_training_goes_on(data, tmp_path):
    file = tmp_path / 'last.ckpt'
    train(VBPR.from_data(data, dim=4), data, [SaveLast(file)])
    _say.cache_clear()  # as in another process
    assert train(VBPR.from_data(data, dim=4), data, ckpt_path=file) == []


def test_teachers(data):
    model = VBPR.from_data(data, dim=4)
    assert len(train(model, data, balance=CKD())) == 1
    _say.cache_clear()
    with warnings.catch_warnings():
        warnings.filterwarnings('error', 'Features differ')
        fit_teachers(
            lambda: VBPR.from_data(data, dim=4),
            data,
            max_epochs=1,
            progress=False,
        )


@pytest.mark.parametrize(
    ('make', 'says'),
    [
        (lambda data: VBPR.from_data(data, dim=4), True),
        (lambda data: Cosine(VBPR.from_data(data, dim=4)), True),
        (lambda data: BPRMF.from_data(data, dim=4), False),
        (lambda data: Cosine(BPRMF.from_data(data, dim=4)), False),
        (lambda data: LightGCN(20, 30, {}, dim=4), False),
        (lambda data: LightGCN(20, 30, {'text': 32}, dim=4), False),
        (lambda data: LightGCN(20, 30, {'image': 32, 'text': 32}, dim=4), True),
        (FeatureKNN.from_data, False),
        # Of a module that is not ours nobody knows what it learns from:
        (PlainRecommender, True),
        (lambda data: Cosine(PlainRecommender(data)), True),
    ],
)
def test_models(make, says, data):
    data = NormalizedAdjacency()(data)
    assert bool(train(make(data), data)) == says


def test_view_of_one_modality(data):
    model = VBPR.from_data(data, dim=4)
    assert train(model, data, keep=only('image')) == []


def test_standardised(data):
    data = StandardizeModality()(data)
    assert train(VBPR.from_data(data, dim=4), data) == []
