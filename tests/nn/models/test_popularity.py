import pytest
import torch

from pyg_ckd.graph import RATES, modalities
from pyg_ckd.evaluation import recommend
from pyg_ckd.nn import Popularity
from pyg_ckd.views import default_views, distinct_views


def test_scores(graph):
    data = graph()
    user_emb, item_emb = Popularity.from_data(data)(data)
    items = data[RATES].edge_index[1].tolist()
    for i in range(9):
        for u in range(12):
            assert user_emb[u] @ item_emb[i] == items.count(i)


def test_items_without_interactions(graph):
    data = graph()
    edge_index = data[RATES].edge_index
    data[RATES].edge_index = edge_index[:, edge_index[1] < 7]
    model = Popularity.from_data(data)
    assert model(data)[1].flatten().tolist()[7:] == [0, 0]
    item, score = recommend(model, data, torch.tensor([0]), k=9)
    assert len(set(item[0].tolist())) == 9
    ranked = score[0][score[0] > -torch.inf]
    assert ranked.tolist() == sorted(ranked.tolist(), reverse=True)


def test_views_are_all_the_same(graph):
    data = graph(3)
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


def test_from_data_and_repr(graph):
    model = Popularity.from_data(graph(1))
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
