import pytest
import torch

from pyg_ckd.datasets import open_dataset
from pyg_ckd.graph import RATED_BY, RATES, modalities
from pyg_ckd.metrics import recall
from pyg_ckd.nn import GraphFilter
from pyg_ckd.ranking import rank
from pyg_ckd.testing import fake_graph
from pyg_ckd.transforms import AblateModality
from pyg_ckd.views import (
    default_views,
    distinct_views,
    full,
    only,
    view,
    without,
)


def naive_graph(x, k):
    """Link items one by one, in both directions."""
    num_items = len(x)
    w = torch.zeros(num_items, num_items)
    for i in range(num_items):
        cosine = {
            j: float(x[i] @ x[j] / x[i].norm() / x[j].norm())
            for j in range(num_items)
            if j != i and x[i].any() and x[j].any()
        }
        for j in sorted(cosine, key=cosine.__getitem__, reverse=True)[:k]:
            w[i, j] += 1
            w[j, i] += 1
    degree = w.sum(dim=1).tolist()
    for i in range(num_items):
        for j in range(num_items):
            if w[i, j] > 0:
                w[i, j] /= (degree[i] * degree[j]) ** 0.5
    return w


def naive_scores(model, data, keep):
    """Recompute the scores by the formula, on dense matrices."""
    num_users, num_items = data['user'].num_nodes, data['item'].num_nodes
    r = torch.zeros(num_users, num_items)
    for u, i in data[RATES].edge_index.t().tolist():
        r[u, i] = 1
    activity, popularity = r.sum(dim=1), r.sum(dim=0)
    for u in range(num_users):
        for i in range(num_items):
            if r[u, i] > 0:
                r[u, i] = activity[u] ** -model.alpha
                r[u, i] *= popularity[i] ** (model.alpha - 1)
    p = r.t() @ r
    p = p / p.sum(dim=1).mean()
    t = torch.zeros(num_items, num_items)
    for m in model.in_channels:
        if m in keep:
            x = data['item'][f'x_{m}']
            t += naive_graph(x, model.k) / len(model.in_channels)
    return r @ (p + model.graph_weight * t + model.hop_weight * t @ t)


def scores(embedding):
    user_emb, item_emb = embedding
    assert user_emb.is_sparse
    assert item_emb.is_sparse
    return user_emb.to_dense() @ item_emb.to_dense().t()


@pytest.mark.parametrize('num_modalities', [1, 2, 3])
@pytest.mark.parametrize('k', [1, 3, 8, 100])
@pytest.mark.parametrize(
    'weights',
    [
        {},
        dict(alpha=0.0, graph_weight=0.7),
        dict(alpha=0.3, graph_weight=2.0, hop_weight=0.5),
        dict(graph_weight=0.0),
        dict(graph_weight=0.0, hop_weight=1.0),
    ],
)
def test_scores(weights, k, num_modalities):
    data = fake_graph(num_modalities)
    model = GraphFilter.from_data(data, k=k, **weights)
    expected = naive_scores(model, data, modalities(data))
    torch.testing.assert_close(scores(model(data)), expected)


def test_defaults():
    model = GraphFilter.from_data(fake_graph(1))
    assert repr(model) == (
        "GraphFilter(12, 9, {'image': 5}, k=10, alpha=1.0, graph_weight=0.2, "
        'hop_weight=0.0)'
    )
    assert repr(eval(repr(model))) == repr(model)
    assert list(model.parameters()) == list(model.buffers()) == []


def test_items_and_users_without_interactions_or_features():
    data = fake_graph(2, lonely=True)
    data['item'].x_text[:3] = 0
    model = GraphFilter.from_data(data, k=3, hop_weight=0.1)
    result = scores(model(data))
    expected = naive_scores(model, data, modalities(data))
    torch.testing.assert_close(result, expected)
    assert result[11].eq(0).all()
    assert result[:, 8].gt(0).any()  # by what it looks like


def test_repeated_interactions_count_once():
    data = fake_graph()
    model = GraphFilter.from_data(data, k=3)
    expected = scores(model(data))
    edge_index = data[RATES].edge_index
    data[RATES].edge_index = torch.cat([edge_index, edge_index[:, :9]], dim=1)
    del data[RATED_BY]
    torch.testing.assert_close(scores(model(data)), expected)


@pytest.mark.parametrize('num_modalities', [2, 3])
def test_ablated_modality_adds_nothing(num_modalities):
    data = fake_graph(num_modalities)
    model = GraphFilter.from_data(data, k=3, hop_weight=0.3)
    names = modalities(data)
    keeps = [*distinct_views(names), frozenset()]
    for several in (
        model.views(data, keeps),
        default_views(model, data, keeps),
    ):
        for place, keep in enumerate(keeps):
            expected = naive_scores(model, data, keep)
            for embedding in (
                several.embedding(place),
                view(model, data, keep),
            ):
                torch.testing.assert_close(scores(embedding), expected)
    ablated = AblateModality('text')(data)
    expected = naive_scores(model, data, without(names, 'text'))
    torch.testing.assert_close(scores(model(ablated)), expected)


def test_use():
    data = fake_graph(3)
    model = GraphFilter.from_data(data, use=['text'], k=3)
    expected = naive_scores(model, data, ['text'])
    torch.testing.assert_close(scores(model(data)), expected)
    several = model.views(data, [only('image'), only('text')])
    torch.testing.assert_close(scores(several.embedding(1)), expected)
    blind = GraphFilter.from_data(data, use=[])
    torch.testing.assert_close(
        scores(several.embedding(0)), scores(blind(data))
    )


def test_features_in_double_precision():
    data = fake_graph(1)
    model = GraphFilter.from_data(data, k=3)
    expected = scores(model(data))
    data['item'].x_image = data['item'].x_image.double()
    torch.testing.assert_close(scores(model(data)), expected)


def test_baby(shared, tmp_path):
    """It is worth what untuned graph filters are on this split."""
    data = open_dataset(shared / 'data', 'baby', processed_root=tmp_path)[0]
    model = GraphFilter.from_data(data, use=['text'])
    ranking = rank(model, data, 'val', view=full(['text']))
    assert recall(ranking, 20).mean() == pytest.approx(0.0756, abs=2e-4)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(k=0), r"'k' needs .* at least 1, in 'GraphFilter' \(got 0\)"),
        (dict(alpha=1.5), r"'alpha' .* \[0, 1\], in 'GraphFilter' \(got 1.5\)"),
        (dict(alpha=-1), r"'alpha' .* \[0, 1\], in 'GraphFilter' \(got -1\)"),
        (dict(graph_weight=-1), r"'graph_weight'.*'GraphFilter' \(got -1\)"),
        (dict(hop_weight=-1), r"'hop_weight'.*'GraphFilter' \(got -1\)"),
    ],
)
def test_argument_errors(kwargs, message):
    with pytest.raises(ValueError, match=message):
        GraphFilter(3, 2, {'text': 4}, **kwargs)
