import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_ckd.graph import (
    RATED_BY,
    RATES,
    fingerprint,
    interaction_keys,
    modalities,
)


def graph() -> HeteroData:
    random = torch.Generator().manual_seed(0)
    data = HeteroData()
    data['user'].num_nodes = 3
    data['item'].num_nodes = 4
    data['item'].x_image = torch.randn(4, 3, generator=random)
    data['item'].x_text = torch.randn(4, 3, generator=random)
    data[RATES].edge_index = torch.tensor([[2, 0, 1, 0], [1, 3, 0, 1]])
    return data


def test_modalities():
    data = graph()
    data['item'].has_text = torch.ones(4, dtype=torch.bool)
    data['item'].max_x_length = 7
    data['item'].x = torch.randn(4, 2)
    data['user'].x_age = torch.randn(3, 1)
    assert modalities(data) == ['image', 'text']
    data['item'].x_sound_track = torch.randn(4, 2)
    assert modalities(data) == ['image', 'text', 'sound_track']
    assert modalities(HeteroData()) == []


def test_interaction_keys():
    data = graph()
    user, item = data[RATES].edge_index.tolist()
    expected = sorted(4 * u + i for u, i in zip(user, item, strict=True))
    assert interaction_keys(data).tolist() == expected
    data[RATES].edge_index = torch.empty(2, 0, dtype=torch.long)
    assert interaction_keys(data).tolist() == []


def reorder_edges(data):
    data[RATES].edge_index = data[RATES].edge_index[:, [3, 1, 0, 2]]


def reorder_modalities(data):
    image = data['item'].x_image
    del data['item'].x_image
    data['item'].x_image = image


def change_layout(data):
    data['item'].x_text = data['item'].x_text.t().contiguous().t()


def require_gradient(data):
    data['item'].x_text.requires_grad_()


def add_what_is_not_trained_on(data):
    data[RATES].test_edge_label_index = torch.tensor([[0], [0]])
    data[RATED_BY].edge_index = data[RATES].edge_index.flip(0)
    data['item', 'text', 'item'].edge_index = torch.tensor([[0], [1]])
    data.adj_t = torch.eye(7)


@pytest.mark.parametrize(
    'change',
    [
        reorder_edges,
        reorder_modalities,
        change_layout,
        require_gradient,
        add_what_is_not_trained_on,
    ],
)
def test_fingerprint_stays(change):
    data = graph()
    change(data)
    assert fingerprint(data) == fingerprint(graph())


def change_edge(data):
    data[RATES].edge_index[1, 0] = 2


def drop_edge(data):
    data[RATES].edge_index = data[RATES].edge_index[:, :-1]


def add_user(data):
    data['user'].num_nodes = 4


def change_feature(data):
    data['item'].x_text[3, 2] += 1e-6


def swap_items(data):
    data['item'].x_text = data['item'].x_text[[1, 0, 2, 3]]


def swap_modalities(data):
    item = data['item']
    item.x_image, item.x_text = item.x_text, item.x_image


def drop_modality(data):
    del data['item'].x_image


def rename_modality(data):
    data['item'].x_words = data['item'].x_text
    del data['item'].x_text


@pytest.mark.parametrize(
    'change',
    [
        change_edge,
        drop_edge,
        add_user,
        change_feature,
        swap_items,
        swap_modalities,
        drop_modality,
        rename_modality,
    ],
)
def test_fingerprint_changes(change):
    data = graph()
    change(data)
    assert fingerprint(data) != fingerprint(graph())


def test_fingerprint_is_known():
    # A saved teacher is refused if this changes from version to version:
    data = graph()
    data['item'].x_image = torch.arange(12.0).view(4, 3)
    data['item'].x_text = -torch.arange(12.0).view(4, 3)
    assert fingerprint(data) == (
        '27da2707e44c92faea8f53c30d944ec17bd24e4d5e233a4324a8dd9681760d86'
    )
