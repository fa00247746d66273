"""What is told of all backbones in one table, and their base."""

import inspect

import pytest
import torch

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
    Backbone,
    EgoGCN,
    LGMRec,
    LightGCN,
)
from pyg_ckd.testing import fake_graph
from pyg_ckd.transforms import ItemKNN, NormalizedAdjacency

# Of 10 users, 8 items and such features, in 4 dimensions:
SIZES = {'image': 5, 'text': 7}
BRANCHES = 4 * (10 + 8) + (4 * 10 + 4 * 5 + 4) + (4 * 10 + 4 * 7 + 4)
TABLE = [
    (BPRMF, 4 * (10 + 8), ''),
    (
        BM3,
        4 * (10 + 8) + (4 * 4 + 4) + (4 * 5 + 4) + (4 * 7 + 4),
        ', num_layers=1, dropout=0.5, feature_weight=2.0, norm_weight=0.1',
    ),
    (VBPR, BRANCHES, ''),
    (LightGCN, BRANCHES, ', num_layers=2'),
    (
        FREEDOM,
        4 * (10 + 8) + (4 * 5 + 4) + (4 * 7 + 4),
        ", num_layers=2, graph_weight={'image': 0.5, 'text': 0.5}, "
        'prune=0.8, feature_weight=0.001, co_occurrence=0.0',
    ),
    (
        MMGCN,
        BRANCHES + 2 * 3 * 3 * (4 * 4 + 4),
        ', num_layers=3, train_preference=True',
    ),
    (GRCN, BRANCHES + 2 * (10 + 8), ", num_routings=3, routing='paper'"),
    (EgoGCN, BRANCHES, ', num_routings=3, threshold=0.4'),
    (
        LATTICE,
        4 * (10 + 8) + (4 * 5 + 4) + (4 * 7 + 4) + 2,
        ', num_layers=2, num_item_layers=1, k=10, original_weight=0.9',
    ),
    (
        MICRO,
        4 * (10 + 8) + (4 * 5 + 4) + (4 * 7 + 4) + (4 * 4 + 4) + 4,
        ', num_layers=2, num_item_layers=1, k=10, original_weight=0.9, '
        'contrastive_weight=0.03, tau=0.5',
    ),
    (
        MGCN,
        4 * 18 + (24 + 32) + 2 * 2 * (4 * 4 + 4) + (4 * 4 + 4) + 4,
        ', num_layers=2, contrastive_weight=0.01, tau=0.2',
    ),
    (
        LGMRec,
        4 * 18 + (4 * 5 + 4 * 7) + (4 * 5 + 4 * 7),
        ', num_layers=2, num_modal_layers=2, num_hyperedges=4, '
        'num_hyper_layers=1, global_weight=0.3, dropout=0.5, '
        'contrastive_weight=0.0001, tau=0.2',
    ),
    (
        SMORE,
        4 * 18 + (24 + 32) + 3 * (2 * 3 + 2 * 20) + 2 * (20 + 16),
        ', num_layers=4, contrastive_weight=0.01, tau=0.2, dropout=0.0',
    ),
]


@pytest.mark.parametrize(('backbone', 'size', 'settings'), TABLE)
def test_parameters_and_repr(backbone, size, settings):
    model = backbone(10, 8, SIZES, dim=4)
    assert sum(p.numel() for p in model.parameters()) == size
    assert all(p.requires_grad for p in model.parameters())
    assert list(model.buffers()) == []
    assert repr(model) == (
        f"{backbone.__name__}(10, 8, {{'image': 5, 'text': 7}}, "
        f'dim=4{settings})'
    )
    assert inspect.signature(backbone).parameters['dim'].default == 64


@pytest.mark.parametrize('use', ['text', ['sound'], ['text', 'sound']])
def test_use_error(use):
    with pytest.raises(ValueError, match=r"'use'.*\['image', 'text'\].*'VBPR'"):
        VBPR.from_data(fake_graph(), use=use)


def test_base_does_nothing():
    data = fake_graph()
    model = Backbone(12, 9, {}, dim=4)
    assert model.pre_transform is model.adjacency is model.neighbors is None
    arguments = data, frozenset(['text']), None, None, None, None
    assert model.regularization(*arguments) == 0
    assert model.loss(*arguments) is None
    model.start_epoch(data, frozenset())
    assert model.tables('text') == model.modality_parameters('text') == []
    assert repr(model) == 'Backbone(12, 9, {}, dim=4)'


def test_fine_tuned_features():
    data = fake_graph()
    model = Backbone(12, 9, {'image': 5, 'text': 5}, 4, train_features=True)
    torch.nn.init.normal_(model.offset['text'])
    expected = data['item'].x_text + model.offset['text']
    assert torch.equal(model.features(data, 'text'), expected)
    index = torch.tensor([3, 8, 3])
    assert torch.equal(model.features(data, 'text', index), expected[index])
    assert model.tables('text') == [model.offset['text']]


def test_an_instance_may_be_given_other_graphs():
    data = ItemKNN(k=2)(NormalizedAdjacency('row')(fake_graph()))
    model = FREEDOM.from_data(data, dim=4)
    model.adjacency, model.neighbors = NormalizedAdjacency('row'), ItemKNN(k=2)
    assert model.user_item_graph(data) is NormalizedAdjacency('row').of(data)
    graph = model.item_item_graph(data, 'text')
    assert graph is ItemKNN(k=2).of(data, 'text')
    assert FREEDOM.neighbors.k == 10  # others keep theirs
    model(data)
