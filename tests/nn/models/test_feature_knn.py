import pytest
import torch

from pyg_ckd.graph import RATES, modalities
from pyg_ckd.nn import FeatureKNN
from pyg_ckd.ranking import evaluate_views
from pyg_ckd.testing import fake_graph
from pyg_ckd.transforms import AblateModality
from pyg_ckd.views import (
    default_views,
    distinct_views,
    only,
    view,
    view_name,
    without,
)


def naive_scores(data, k, names):
    """Compare items one by one, and go through what users know."""
    num_users, num_items = data['user'].num_nodes, data['item'].num_nodes
    pairs = set(map(tuple, data[RATES].edge_index.t().tolist()))
    score = torch.zeros(num_users, num_items)
    for m in names:
        x = data['item'][f'x_{m}']
        for i in range(num_items):
            cosine = {
                j: float(x[i] @ x[j] / x[i].norm() / x[j].norm())
                for j in range(num_items)
                if j != i and x[i].any() and x[j].any()
            }
            nearest = sorted(cosine, key=cosine.__getitem__, reverse=True)[:k]
            for u in range(num_users):
                for j in nearest:
                    if (u, j) in pairs and cosine[j] > 0:
                        score[u, i] += cosine[j]
    return score


def scores(embedding):
    user_emb, item_emb = embedding
    assert user_emb.is_sparse
    assert item_emb.is_sparse
    # An item's own similarity would only raise what users know already:
    assert item_emb.to_dense().diagonal().eq(0).all()
    return user_emb.to_dense() @ item_emb.to_dense().t()


@pytest.mark.parametrize('num_modalities', [1, 2, 3])
@pytest.mark.parametrize('k', [1, 3, 8, 9, 100])
def test_scores(k, num_modalities):
    data = fake_graph(num_modalities)
    model = FeatureKNN.from_data(data, k=k)
    expected = naive_scores(data, k, modalities(data))
    assert expected.abs().sum() > 0
    torch.testing.assert_close(scores(model(data)), expected)


def test_items_without_features():
    data = fake_graph(2)
    data['item'].x_text[:3] = 0
    model = FeatureKNN.from_data(data, k=4)
    expected = naive_scores(data, 4, ['image', 'text'])
    torch.testing.assert_close(scores(model(data)), expected)


@pytest.mark.parametrize('num_modalities', [2, 3])
def test_ablated_modality_adds_nothing(num_modalities):
    data = fake_graph(num_modalities)
    model = FeatureKNN.from_data(data, k=3)
    names = modalities(data)
    keeps = [*distinct_views(names), frozenset()]
    for several in (
        model.views(data, keeps),
        default_views(model, data, keeps),
    ):
        for place, keep in enumerate(keeps):
            expected = naive_scores(data, 3, keep)
            for embedding in (
                several.embedding(place),
                view(model, data, keep),
            ):
                torch.testing.assert_close(scores(embedding), expected)
    ablated = AblateModality('text')(data)
    expected = naive_scores(data, 3, without(names, 'text'))
    torch.testing.assert_close(scores(model(ablated)), expected)


def test_use():
    data = fake_graph(3)
    model = FeatureKNN.from_data(data, use=['text'], k=3)
    expected = naive_scores(data, 3, ['text'])
    torch.testing.assert_close(scores(model(data)), expected)
    several = model.views(data, [only('image'), only('text')])
    assert scores(several.embedding(0)).eq(0).all()
    torch.testing.assert_close(scores(several.embedding(1)), expected)


def test_evaluate_views():
    data = fake_graph(2)
    names = modalities(data)
    result = evaluate_views(FeatureKNN.from_data(data, k=3), data, ks=(2,))
    assert list(result) == ['full', 'only(image)', 'only(text)']
    for m in names:
        single = FeatureKNN.from_data(data, use=[m], k=3)
        expected = evaluate_views(single, data, ks=(2,))['full']
        assert result[view_name(only(m), names)] == expected


def test_features_in_double_precision():
    data = fake_graph(1)
    model = FeatureKNN.from_data(data, k=3)
    expected = scores(model(data))
    data['item'].x_image = data['item'].x_image.double()
    torch.testing.assert_close(scores(model(data)), expected)


def test_from_data_and_repr():
    model = FeatureKNN.from_data(fake_graph(1), k=3)
    assert repr(model) == "FeatureKNN(12, 9, {'image': 5}, k=3)"
    assert repr(eval(repr(model))) == repr(model)
    assert list(model.parameters()) == list(model.buffers()) == []


def test_k_error():
    with pytest.raises(ValueError, match=r"'k'.*'FeatureKNN' \(got 0\)"):
        FeatureKNN(3, 2, {'text': 4}, k=0)
