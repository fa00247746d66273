"""No model of the library depends on which number a user or an item has."""

import ast
import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.datasets.raw.renumbered import renumbered
from pyg_ckd.experiments import BACKBONES
from pyg_ckd.experiments.backbones import BASELINES
from pyg_ckd.nn import (
    VBPR,
    Cosine,
    FeatureKNN,
    GraphFilter,
    InteractionKNN,
    ItemBias,
    Popularity,
)
from pyg_ckd.nn.door import as_recommender
from pyg_ckd.ranking import recommend

SIZES = {'user': 40, 'item': 30}


@pytest.fixture(scope='module')
def data():
    return FakeMultimodal(num_users=40, num_items=30)[0]


def numbered_like(model, other):
    """Return a model whose tables are in the order of another graph."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for table in model.parameters():
            for node, size in SIZES.items():
                if len(table) == size:
                    table.copy_(table[other[node].original_id])
    return model


def scores(model, data):
    user_emb, item_emb = as_recommender(model)(data)
    return user_emb.to_dense() @ item_emb.to_dense().t()


# Of equal neighbours, the one with the lower number would be cut off last, so
# that the similarities of interactions, many of which are equal, are not cut:
@pytest.mark.parametrize(
    'make',
    [
        lambda data: FeatureKNN.from_data(data, k=5),
        lambda data: InteractionKNN.from_data(data, k=100),
        lambda data: InteractionKNN.from_data(data, k=100, shrinkage=5.0),
        lambda data: GraphFilter.from_data(data, k=5),
        Popularity.from_data,
        lambda data: Cosine(VBPR.from_data(data, dim=4)),
        lambda data: ItemBias(VBPR.from_data(data, dim=4)),
    ],
    ids=[
        'FeatureKNN',
        'InteractionKNN',
        'InteractionKNN, shrunk',
        'GraphFilter',
        'Popularity',
        'Cosine',
        'ItemBias',
    ],
)
@pytest.mark.parametrize('seed', [0, 1])
def test_scores_stay(data, make, seed):
    other = renumbered(data, seed)
    model = make(data)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    user, item = (other[node].original_id for node in SIZES)
    found = scores(numbered_like(model, other), other)
    torch.testing.assert_close(
        found, scores(model, data)[user][:, item], rtol=1e-4, atol=1e-4
    )


def test_recommendations_stay_up_to_ties(data):
    other = renumbered(data)
    model = Popularity.from_data(data)
    item, score = recommend(model, data, other['user'].original_id, k=10)
    same, same_score = recommend(model, other, range(40), k=10)
    assert torch.equal(score, same_score)
    same = other['item'].original_id[same]
    for row in range(40):
        for value in score[row].unique()[1:]:  # the last may be cut short
            tied = score[row] == value
            assert set(item[row, tied].tolist()) == set(
                same[row, tied].tolist()
            )


def test_every_backbone_is_tested():
    """Baselines are above; all others inherit the suite that renumbers."""
    inherit = {
        value.id
        for path in Path(__file__).parent.glob('test_*.py')
        for node in ast.walk(ast.parse(path.read_text('utf-8')))
        if isinstance(node, ast.ClassDef)
        and 'RecommenderSuite' in [getattr(b, 'id', '') for b in node.bases]
        for line in node.body
        if isinstance(line, ast.Assign) and line.targets[0].id == 'model'
        for value in [line.value]
    }
    above = {'FeatureKNN', 'InteractionKNN', 'GraphFilter', 'Popularity'}
    assert above <= set(BASELINES)
    classes = {make.__mro__[0].__name__ for make in BACKBONES.values()}
    classes -= {'LightGCNOfIDs'}  # which is a LightGCN
    assert classes <= inherit | above
