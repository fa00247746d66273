import pytest
import torch

from pyg_ckd.graph import RATED_BY, RATES, modalities
from pyg_ckd.nn import Popularity
from pyg_ckd.ranking import recommend
from pyg_ckd.testing import fake_graph
from pyg_ckd.views import default_views, distinct_views


def test_scores():
    data = fake_graph()
    user_emb, item_emb = Popularity.from_data(data)(data)
    items = data[RATES].edge_index[1].tolist()
    for i in range(9):
        for u in range(12):
            assert user_emb[u] @ item_emb[i] == items.count(i)


def test_items_without_interactions():
    data = fake_graph()
    edge_index = data[RATES].edge_index
    edge_index = edge_index[:, edge_index[1] < 7]
    data[RATES].edge_index = edge_index
    data[RATED_BY].edge_index = edge_index.flip(0)
    model = Popularity.from_data(data)
    assert model(data)[1].flatten().tolist()[7:] == [0, 0]
    for name in ('val_edge_label_index', 'test_edge_label_index'):
        del data[RATES][name]
    item, score = recommend(model, data, torch.tensor([0]), k=9)
    known = set(edge_index[1, edge_index[0] == 0].tolist())
    unknown = set(range(9)) - known
    assert {7, 8} < unknown
    ranked = item[0][: len(unknown)].tolist()
    assert set(ranked) == unknown
    assert set(ranked[-2:]) == {7, 8}
    score = score[0][: len(unknown)].tolist()
    assert score == sorted(score, reverse=True)


def test_views_are_all_the_same():
    data = fake_graph(3)
    model = Popularity.from_data(data)
    keeps = distinct_views(modalities(data))
    for several in (
        model.views(data, keeps),
        default_views(model, data, keeps),
    ):
        for place in range(len(keeps)):
            for one, other in zip(
                several.embedding(place), model(data), strict=True
            ):
                assert torch.equal(one, other)


def test_from_data_and_repr():
    model = Popularity.from_data(fake_graph(1))
    assert repr(model) == "Popularity(12, 9, {'image': 5})"
    assert repr(eval(repr(model))) == repr(model)
    assert repr(Popularity(3, 2)) == 'Popularity(3, 2, {})'
    assert list(model.parameters()) == list(model.buffers()) == []


@pytest.mark.parametrize('size', [0, -1])
def test_size_error(size):
    with pytest.raises(
        ValueError, match=rf"'num_items'.*'Popularity' \(got {size}\)"
    ):
        Popularity(3, size)
