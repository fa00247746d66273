from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.datasets._description import common_users, lift
from pyg_ckd.datasets._description.common_users import CommonUsers
from pyg_ckd.datasets._description.lift import feature_lifts, lift_of
from pyg_ckd.graph import RATES

SIZES = 7, 6  # users, items


@st.composite
def interactions(draw):
    user = st.integers(0, SIZES[0] - 1)
    item = st.integers(0, SIZES[1] - 1)
    pairs = draw(st.lists(st.tuples(user, item), max_size=30))
    return torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).t()


def users_of(train: torch.Tensor) -> list[set[int]]:
    """The users of each item."""
    pairs = set(map(tuple, train.t().tolist()))
    return [{u for u, i in pairs if i == item} for item in range(SIZES[1])]


@pytest.mark.parametrize('table', [True, False])
@settings(max_examples=60, deadline=None)
@given(train=interactions())
def test_common_users_are_counted(table, train):
    with pytest.MonkeyPatch.context() as patch:
        if not table:
            patch.setattr(common_users, 'TABLE', 0)
        patch.setattr(common_users, 'AT_ONCE', 3)
        users = CommonUsers(train, *SIZES)
    own = users_of(train)
    pairs = np.array([*combinations(range(SIZES[1]), 2)]).T
    counts = [len(own[i] & own[j]) for i, j in pairs.T]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(common_users, 'AT_ONCE', 3)
        assert users.count(*pairs).tolist() == counts
        assert users.count(*pairs[::-1]).tolist() == counts
    assert users.degree.tolist() == [*map(len, own)]
    # Over all pairs of items, chance is what is counted:
    assert users.by_chance(*pairs).sum() == pytest.approx(sum(counts))


def naive_lift(data: HeteroData, modality: str, k: int) -> float:
    x = data['item'][f'x_{modality}'].double()
    pairs = set(map(tuple, data[RATES].edge_index.t().tolist()))
    num_users, num_items = data['user'].num_nodes, data['item'].num_nodes
    users = [{u for u, i in pairs if i == n} for n in range(num_items)]
    items = [len([i for u, i in pairs if u == n]) for n in range(num_users)]
    common = sum(n * (n - 1) for n in items)
    chance = common / (len(pairs) ** 2 - sum(len(own) ** 2 for own in users))
    cosine = torch.nn.functional.cosine_similarity(x[:, None], x[None], dim=2)
    above = below = 0.0
    for item in range(num_items):
        if users[item]:
            order = cosine[item].argsort(descending=True).tolist()
            for other in [j for j in order if j != item][:k]:
                above += len(users[item] & users[other])
                below += len(users[item]) * len(users[other]) * chance
    return above / below


def test_lift_is_what_it_says():
    data = FakeMultimodal(num_users=60, num_items=40)[0]
    edges = data[RATES].edge_index
    data[RATES].edge_index = torch.cat([edges, edges[:, :5]], dim=1)
    del data['item', 'rated_by', 'user']
    found = feature_lifts(data, k=3)
    for modality in ('image', 'text'):
        value = naive_lift(data, modality, k=3)
        assert found[modality].found.value == pytest.approx(value)


def test_features_of_other_items_tell_nothing():
    data = FakeMultimodal()[0]
    x = data['item'].x_text
    data['item'].x_mixed = x[torch.randperm(len(x))]
    found = feature_lifts(data)
    assert found['text'].tells and found['image'].tells
    assert not found['mixed'].tells
    for each in found.values():
        assert each.at_random.low < 1 < each.at_random.high
        assert each.found.low < each.found.value < each.found.high


def test_items_without_a_modality_are_left_out():
    data = FakeMultimodal(num_users=80, num_items=40)[0]
    has = torch.arange(40) % 3 > 0
    data['item'].x_text[~has] = 7.0
    data['item'].has_text = has
    every = feature_lifts(data)['text']
    assert every.num_items <= int(has.sum())
    data['item'].x_text[~has] = -3.0
    assert feature_lifts(data)['text'] == every


def test_many_items_are_drawn(monkeypatch):
    data = FakeMultimodal()[0]
    whole = feature_lifts(data)['text']
    monkeypatch.setattr(lift, 'MOST', 200)
    part = feature_lifts(data)['text']
    assert (whole.sampled, part.sampled) == (whole.num_items, 200)
    assert part.found.low < whole.found.value < part.found.high
    monkeypatch.setattr(lift, 'PRODUCTS', 1)
    monkeypatch.setattr(lift, 'LEAST', 50)
    assert feature_lifts(data)['text'].sampled == 50


def test_nothing_to_compare():
    users = CommonUsers(torch.tensor([[0, 1], [0, 1]]), 2, 2)
    assert lift_of(torch.eye(2), torch.arange(2), users, 5) is None
    users = CommonUsers(torch.empty(2, 0, dtype=torch.long), 2, 2)
    assert lift_of(torch.eye(2), torch.arange(2), users, 5) is None


def test_errors():
    data = FakeMultimodal(num_users=20, num_items=10)[0]
    with pytest.raises(ValueError, match=r"'k' needs .* 1, .* \(got 0\)"):
        feature_lifts(data, k=0)
    data[RATES].edge_index[1, 0] = 10
    with pytest.raises(ValueError, match='but the 10 items are 0 to 9'):
        feature_lifts(data)
