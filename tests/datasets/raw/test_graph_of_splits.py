import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_ckd.datasets.raw.graph_of_splits import graph_of_splits
from pyg_ckd.graph import RATED_BY, RATES, modalities

KEYS = ('edge_index', 'val_edge_label_index', 'test_edge_label_index')


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 2)),
        max_size=20,
        unique_by=lambda row: row[:2],
    ).filter(lambda rows: any(label == 0 for _, _, label in rows))
)
def test_graph_of_splits(rows):
    user, item, label = torch.tensor(rows, dtype=torch.long).view(-1, 3).t()
    num = len(rows)
    data = graph_of_splits(
        user,
        item,
        label,
        num_users=5,
        num_items=7,
        features={},
        rating=torch.arange(num).float(),
        time=torch.arange(num),
    )
    assert (data['user'].num_nodes, data['item'].num_nodes) == (5, 7)
    for value, key in enumerate(KEYS):
        expected = [[u, i] for u, i, other in rows if other == value]
        assert data[RATES][key].t().tolist() == expected
        assert data[RATES][key].dtype == torch.long
    train = [row for row, (_, _, value) in enumerate(rows) if value == 0]
    assert data[RATES].rating.tolist() == data[RATES].time.tolist() == train
    expected = [[i, u] for u, i, value in rows if value == 0]
    assert data[RATED_BY].edge_index.t().tolist() == expected
    data.validate()


@pytest.mark.parametrize(
    ('item', 'message'),
    [([2, 2], 'a training interaction'), ([3, 1], 'item 3')],
)
def test_graph_of_splits_refuses_a_broken_contract(item, message):
    user, label = torch.tensor([0, 0]), torch.tensor([0, 2])
    with pytest.raises(ValueError, match=message):
        graph_of_splits(user, torch.tensor(item), label, 1, 3, features={})


def test_graph_of_splits_keeps_what_is_known():
    user, item, label = torch.tensor([[0, 1, 1], [2, 0, 1], [0, 1, 2]])
    features = {'text': torch.rand(3, 4), 'image': torch.rand(3, 2)}
    has_text = torch.tensor([True, False, True])
    data = graph_of_splits(
        user, item, label, 2, 3, features, present={'text': has_text}
    )
    assert modalities(data) == ['text', 'image']
    assert data['item'].x_text is features['text']
    assert data['item'].x_image is features['image']
    assert data['item'].has_text is has_text
    assert 'has_image' not in data['item']
    for key in ('rating', 'time'):
        assert key not in data[RATES]
