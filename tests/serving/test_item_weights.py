"""Users of neighbours and filters are folded in as they were trained."""

import pickle

import pytest
import torch

from pyg_ckd.graph import RATES
from pyg_ckd.nn import FeatureKNN, GraphFilter, InteractionKNN
from pyg_ckd.serving.item_weights import ItemWeights
from pyg_ckd.serving.served import Served


def trained_on(data):
    """Return what each user has in training."""
    user, item = data[RATES].edge_index
    return [item[user == u].tolist() for u in range(data['user'].num_nodes)]


@pytest.mark.parametrize(
    ('model', 'options'),
    [
        (InteractionKNN, {}),
        (FeatureKNN, {}),
        (GraphFilter, {}),
        (GraphFilter, {'alpha': 0.2}),
    ],
)
def test_users_of_training(model, options, plain):
    served = Served.from_model(model.from_data(plain, **options), plain)
    histories = trained_on(plain)
    for view in (None, ['text']):
        new = served.recommend_new(
            histories, 30, exclude_known=False, view=view
        )
        old = served.recommend(range(40), 30, exclude_known=False, view=view)
        assert new.items == old.items
        torch.testing.assert_close(
            torch.tensor(new.scores), torch.tensor(old.scores)
        )


def test_an_embedding_is_a_row(plain):
    served = Served.from_model(InteractionKNN.from_data(plain), plain)
    row = served.fold_in([3, 1, 3])
    assert row.to_dense().tolist() == [0, 1, 0, 1, *[0] * 26]


@pytest.mark.parametrize(
    'user',
    [
        torch.eye(3),  # not sparse
        torch.tensor([[1.0, -1.0], [1.0, 0.0]]).to_sparse(),
        torch.tensor([[1.0, 2.0], [2.0, 1.0]]).to_sparse(),
        torch.zeros(2, 2).to_sparse(),
    ],
)
def test_users_of_another_kind(user):
    assert ItemWeights.fitted(user) is None


def test_items_that_nobody_has():
    user = torch.tensor([[2.0, 0.0], [2.0, 0.0]]).to_sparse()
    weights = ItemWeights.fitted(user)
    row = weights(torch.double, [torch.tensor([0, 1])]).to_dense()
    assert row.dtype == torch.double
    assert torch.allclose(row, torch.full((1, 2), 2.0).double())


def test_served_models_travel_between_processes(plain):
    """Locks do not, and are made anew."""
    served = Served.from_model(InteractionKNN.from_data(plain), plain)
    other = pickle.loads(pickle.dumps(served))
    for each in (served, other):
        assert each.recommend_new([[1, 2]]).items == (
            served.recommend_new([[1, 2]]).items
        )
