"""What models make of a graph once, and use in each step."""

import gc

import pytest
import torch

from pyg_ckd.graph import RATED_BY, RATES, modalities
from pyg_ckd.nn import MMGCN, SMORE, LightGCN
from pyg_ckd.testing import fake_graph, gradients
from pyg_ckd.views import distinct_views


def margins(model, data):
    batch = torch.tensor([[0, 1, 2], [3, 4, 5], [6, 7, 8]])
    keeps = distinct_views(modalities(data))
    return model.views(data, keeps).triples(*batch).margin()


@pytest.mark.parametrize('backbone', [LightGCN, MMGCN, SMORE])
def test_training_after_an_evaluation(backbone):
    """Nothing of an evaluation is left that has no gradient."""
    results = []
    for evaluate_first in (True, False):
        torch.manual_seed(0)
        data = fake_graph(pre_transform=backbone.pre_transform)
        model = backbone.from_data(data, dim=4)
        if evaluate_first:
            with torch.inference_mode():
                margins(model, data)
        loss = margins(model, data).square().sum()
        results.append((loss, gradients([loss], model)))
    torch.testing.assert_close(*results)


def made(backbone, other):
    """One of two data sets, with graphs that nobody else has."""
    torch.manual_seed(0)
    data = fake_graph()
    if other:
        data[RATES].edge_index = data[RATES].edge_index[:, 3:]
        data[RATED_BY].edge_index = data[RATES].edge_index.flip(0)
        data['item'].x_text = data['item'].x_text.flip(0)
    return backbone.pre_transform(data)


@pytest.mark.parametrize('backbone', [LightGCN, MMGCN, SMORE])
def test_two_data_sets_in_turn(backbone):
    """Each has its own graphs, as if there were no other."""
    model = backbone.from_data(made(backbone, False), dim=4)
    alone = []
    for other in (False, True):
        gc.collect()
        alone.append(margins(model, made(backbone, other)).detach())
    gc.collect()
    assert (alone[0] - alone[1]).abs().max() > 1e-4
    both = [made(backbone, other) for other in (False, True)]
    for place in (0, 1, 0):
        torch.testing.assert_close(
            margins(model, both[place]), alone[place], rtol=0, atol=0
        )
