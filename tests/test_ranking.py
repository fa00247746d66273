import copy
import math
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.metrics import (
    LinkPredHitRatio,
    LinkPredMAP,
    LinkPredMRR,
    LinkPredNDCG,
    LinkPredPrecision,
    LinkPredRecall,
)

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.graph import RATES, fingerprint
from pyg_ckd.metrics import BEYOND, METRICS, hits, means, per_user
from pyg_ckd.nn import VBPR, LightGCN
from pyg_ckd.ranking import (
    evaluate,
    evaluate_hits,
    evaluate_users,
    evaluate_views,
    evaluating,
    rank,
    rank_views,
    recommend,
)
from pyg_ckd.views import distinct_views, full, only, view_name, without

PROTOCOLS = ('standard', 'ckd', 'mmrec')
Pairs = Sequence[tuple[int, int]]


class Table(nn.Module):
    """A recommender that is not ours: two fixed tables."""

    def __init__(self, user: Tensor, item: Tensor) -> None:
        super().__init__()
        self.register_buffer('user', user)
        self.register_buffer('item', item)

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        return self.user, self.item


class Features(nn.Module):
    """A recommender that is not ours: it fuses modalities non-linearly."""

    def __init__(self, data: HeteroData, names: Sequence[str]) -> None:
        super().__init__()
        self.names = names
        self.user = nn.Embedding(data['user'].num_nodes, 4)
        self.item = nn.Linear(sum(len(self.x(data, m)[0]) for m in names), 4)

    def x(self, data: HeteroData, name: str) -> Tensor:
        return data['item'][f'x_{name}']

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        x = torch.cat([self.x(data, m) for m in self.names], dim=-1)
        return self.user.weight, self.item(x).tanh()


def graph(
    num_users: int,
    num_items: int,
    train: Pairs = (),
    val: Pairs = (),
    test: Pairs = (),
) -> HeteroData:
    data = HeteroData()
    data['user'].num_nodes = num_users
    data['item'].num_nodes = num_items
    for name, pairs in {
        'edge_index': train,
        'val_edge_label_index': val,
        'test_edge_label_index': test,
    }.items():
        index = torch.tensor(list(pairs), dtype=torch.long)
        data[RATES][name] = index.view(-1, 2).t().contiguous()
    return data


SPLITS = 'edge_index', 'val_edge_label_index', 'test_edge_label_index'


def pairs_of(data: HeteroData, name: str) -> list[tuple[int, int]]:
    return [(u, i) for u, i in data[RATES][name].t().tolist()]


# The naive reference #########################################################


def naive_ranking(score: Tensor, known: Iterable[int]) -> list[int]:
    left = set(range(len(score))) - set(known)
    return sorted(left, key=lambda item: (-float(score[item]), item))


def naive_metrics(
    ranking: list[int], held_out: set[int], ks: Sequence[int], protocol: str
) -> dict[str, float]:
    out = {}
    hits = [item in held_out for item in ranking[: max(ks)]]
    hits += [False] * (max(ks) - len(hits))
    ideal = sum(hits) if protocol == 'ckd' else len(held_out)
    for k in ks:
        places = [place for place in range(k) if hits[place]]
        dcg = sum(1 / math.log2(place + 2) for place in places)
        best = sum(1 / math.log2(place + 2) for place in range(min(ideal, k)))
        precision = [sum(hits[: place + 1]) / (place + 1) for place in places]
        out[f'recall@{k}'] = len(places) / len(held_out)
        out[f'precision@{k}'] = len(places) / k
        out[f'ndcg@{k}'] = dcg / best if places else 0.0
        out[f'map@{k}'] = sum(precision) / min(k, len(held_out))
        out[f'mrr@{k}'] = 1 / (places[0] + 1) if places else 0.0
        out[f'hit_ratio@{k}'] = float(bool(places))
    return out


def naive_evaluation(
    user_emb: Tensor,
    item_emb: Tensor,
    data: HeteroData,
    split: str,
    ks: Sequence[int],
    protocol: str,
) -> dict[int, dict[str, float]]:
    """Return the metrics of each evaluated user."""
    train = pairs_of(data, 'edge_index')
    label = pairs_of(data, f'{split}_edge_label_index')
    result = {}
    for user in range(data['user'].num_nodes):
        known = {i for u, i in train if u == user}
        held_out = {i for u, i in label if u == user}
        if not held_out or (protocol == 'mmrec' and not known):
            continue
        ranking = naive_ranking(item_emb @ user_emb[user], known)
        result[user] = naive_metrics(ranking, held_out, ks, protocol)
    return result


def mean_of(result: dict[int, dict[str, float]]) -> dict[str, float]:
    names = next(iter(result.values()))
    return {
        name: sum(one[name] for one in result.values()) / len(result)
        for name in names
    }


@st.composite
def cases(draw: st.DrawFn) -> tuple[Table, HeteroData]:
    """Small graphs with integer embeddings, so that scores often tie."""
    num_users, num_items = draw(st.integers(1, 5)), draw(st.integers(1, 7))
    dim = draw(st.integers(1, 2))
    grid = [(u, i) for u in range(num_users) for i in range(num_items)]
    parts: dict[str, list[tuple[int, int]]] = {
        name: [] for name in ('none', 'train', 'val', 'test')
    }
    first, *others = draw(st.permutations(grid))
    parts['train'].append(first)  # there is no graph without training
    for pair in others:
        parts[draw(st.sampled_from(sorted(parts)))].append(pair)
    del parts['none']
    emb = draw(
        st.lists(
            st.integers(-1, 2),
            min_size=(num_users + num_items) * dim,
            max_size=(num_users + num_items) * dim,
        )
    )
    user, item = torch.tensor(emb, dtype=torch.float).split(
        [num_users * dim, num_items * dim]
    )
    model = Table(user.view(num_users, dim), item.view(num_items, dim))
    return model, graph(num_users, num_items, **parts)


# Against the reference #######################################################


@settings(deadline=None, max_examples=150)
@given(
    case=cases(),
    split=st.sampled_from(['val', 'test']),
    protocol=st.sampled_from(PROTOCOLS),
    ks=st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True),
    block_size=st.sampled_from([1, 2, 3, 1024]),
)
def test_evaluate_matches_a_loop(case, split, protocol, ks, block_size):
    model, data = case
    expected = naive_evaluation(
        model.user, model.item, data, split, ks, protocol
    )
    kwargs = dict(protocol=protocol, block_size=block_size)
    if not expected:
        with pytest.raises(ValueError, match=r'is empty|no user with training'):
            evaluate(model, data, split, ks, **kwargs)
        return

    result = evaluate_users(model, data, split, ks, **kwargs)
    assert result.pop('user').tolist() == list(expected)
    assert set(result) == {f'{name}@{k}' for name in METRICS for k in ks}
    for name, value in result.items():
        assert value.tolist() == pytest.approx(
            [one[name] for one in expected.values()], abs=1e-6
        )

    total = evaluate(model, data, split, ks, **kwargs)
    assert list(total) == list(result)
    tolerance = 1e-6
    if protocol == 'mmrec':
        assert total == {name: round(x, 4) for name, x in total.items()}
        tolerance += 5e-5
    assert total == pytest.approx(mean_of(expected), abs=tolerance)


@settings(deadline=None, max_examples=100)
@given(
    case=cases(),
    split=st.sampled_from(['val', 'test']),
    k=st.integers(1, 9),
    block_size=st.sampled_from([1, 2, 1024]),
)
def test_hits_match_a_loop(case, split, k, block_size):
    model, data = case
    train = pairs_of(data, 'edge_index')
    label = pairs_of(data, f'{split}_edge_label_index')
    if not label:
        with pytest.raises(ValueError, match=f'{split}_edge.* is empty'):
            evaluate_hits(model, data, split, k)
        return
    result = evaluate_hits(model, data, split, k, block_size=block_size)
    ends = (result['user'].tolist(), result['item'].tolist())
    pairs = list(zip(*ends, strict=True))
    assert pairs == sorted(set(label))
    score = model.user @ model.item.t()
    hits = result[f'hit@{k}'].tolist()
    for (user, item), hit in zip(pairs, hits, strict=True):
        known = {i for u, i in train if u == user}
        assert hit == (item in naive_ranking(score[user], known)[:k])


@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.parametrize('split', ['val', 'test'])
def test_evaluate_of_a_model_matches_a_loop(split, protocol):
    data = FakeMultimodal(num_users=50, num_items=40, num_interactions=25)[0]
    model = VBPR.from_data(data, dim=4)
    with torch.no_grad():
        embedding = model(data)
    expected = naive_evaluation(*embedding, data, split, (3, 20), protocol)
    result = evaluate(model, data, split, (3, 20), protocol=protocol)
    assert result == pytest.approx(
        mean_of(expected), abs=6e-5 if protocol == 'mmrec' else 1e-6
    )
    assert all(isinstance(value, float) for value in result.values())


@pytest.mark.parametrize('split', ['val', 'test'])
def test_evaluate_matches_pyg(split):
    """The metrics that PyG computes from one whole score matrix."""
    data = FakeMultimodal(num_users=50, num_items=40, num_interactions=25)[0]
    model = VBPR.from_data(data, dim=4)
    with torch.no_grad():
        user_emb, item_emb = model(data)
    score = user_emb @ item_emb.t()
    score[tuple(data[RATES].edge_index)] = -torch.inf
    ranking = score.argsort(dim=1, descending=True)

    result = evaluate(model, data, split, ks=(1, 5, 10))
    for name, cls in {
        'recall': LinkPredRecall,
        'precision': LinkPredPrecision,
        'ndcg': LinkPredNDCG,
        'map': LinkPredMAP,
        'mrr': LinkPredMRR,
        'hit_ratio': LinkPredHitRatio,
    }.items():
        for k in (1, 5, 10):
            metric = cls(k)
            metric.update(
                ranking[:, :k], data[RATES][f'{split}_edge_label_index']
            )
            expected = float(metric.compute())
            assert result[f'{name}@{k}'] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('block_size', [1, 7, 49, 50, 51])
def test_block_size_does_not_matter(block_size):
    data = FakeMultimodal(num_users=50, num_items=40)[0]
    generator = torch.Generator().manual_seed(1)
    model = Table(
        torch.randint(-3, 4, (50, 3), generator=generator).float(),
        torch.randint(-3, 4, (40, 3), generator=generator).float(),
    )
    expected = evaluate_users(model, data, block_size=1000)
    result = evaluate_users(model, data, block_size=block_size)
    assert list(result) == list(expected)
    for name, value in result.items():
        assert torch.equal(value, expected[name])


def test_order_of_interactions_does_not_matter():
    data = FakeMultimodal(num_users=30, num_items=20)[0]
    model = VBPR.from_data(data, dim=4)
    expected = evaluate(model, data)
    for name in SPLITS:
        index = data[RATES][name]
        data[RATES][name] = index[:, torch.randperm(index.size(1))]
    assert evaluate(model, data) == pytest.approx(expected, abs=1e-12)


# Sparse embeddings ###########################################################


SIDES = ['none', 'user', 'item', 'user and item']


def sparse_table(user: Tensor, item: Tensor, sides: str) -> Table:
    if 'user' in sides:
        user = user.to_sparse()
    if 'item' in sides:  # each entry in two halves, not coalesced
        half = item.to_sparse() / 2
        item = torch.sparse_coo_tensor(
            half.indices().repeat(1, 2),
            half.values().repeat(2),
            half.shape,
            check_invariants=False,
        )
    return Table(user, item)


@pytest.mark.parametrize('sides', SIDES[1:])
def test_sparse_embeddings_rank_as_dense_ones(sides):
    data = FakeMultimodal(num_users=50, num_items=40)[0]
    user = torch.randint(-1, 2, (50, 6)).float()  # many zeros, many ties
    item = torch.randint(-1, 2, (40, 6)).float()
    dense, sparse = Table(user, item), sparse_table(user, item, sides)
    for kwargs in (dict(block_size=7), dict(protocol='ckd', split='val')):
        expected = evaluate_users(dense, data, **kwargs)
        for name, value in evaluate_users(sparse, data, **kwargs).items():
            assert torch.equal(value, expected[name])
    assert evaluate(sparse, data) == evaluate(dense, data)
    assert evaluate_views(sparse, data) == evaluate_views(dense, data)
    for one, other in zip(
        recommend(sparse, data, torch.tensor([3, 0, 3]), k=20),
        recommend(dense, data, torch.tensor([3, 0, 3]), k=20),
        strict=True,
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize('sides', ['user', 'item'])
def test_sparse_embeddings_need_to_be_finite(sides):
    data = graph(2, 3, train=[(0, 0)], test=[(0, 1)])
    user, item = torch.eye(2, 3), torch.eye(3)
    (user if sides == 'user' else item)[1, 1] = torch.nan
    with pytest.raises(ValueError, match='not finite'):
        evaluate(sparse_table(user, item, sides), data, ks=[1])


# The protocol ################################################################


def test_ties_go_to_the_lower_id():
    model = Table(torch.zeros(1, 2), torch.randn(5, 2))
    for held_out in range(1, 5):
        data = graph(1, 5, train=[(0, 0)], test=[(0, held_out)])
        for k in range(1, 6):
            result = evaluate(model, data, ks=[k], metrics=['recall'])
            assert result == {f'recall@{k}': float(held_out <= k)}


def test_users_without_held_out_items_are_skipped():
    model = Table(torch.ones(4, 1), torch.tensor([[3.0], [2.0], [1.0]]))
    data = graph(4, 3, train=[(0, 0), (2, 0)], test=[(3, 0), (1, 1)])
    result = evaluate_users(model, data, ks=[1], metrics=['recall'])
    assert result['user'].tolist() == [1, 3]
    assert result['recall@1'].tolist() == [0.0, 1.0]
    assert evaluate(model, data, ks=[1], metrics=['recall']) == {
        'recall@1': 0.5
    }


def test_items_without_training_edges_are_ranked():
    model = Table(torch.ones(1, 1), torch.tensor([[1.0], [2.0], [3.0]]))
    data = graph(1, 3, train=[(0, 0)], test=[(0, 2)])
    assert evaluate(model, data, ks=[1])['recall@1'] == 1.0
    user = torch.tensor([0])
    assert recommend(model, data, user, k=2)[0].tolist() == [[1, -1]]
    del data[RATES].test_edge_label_index
    assert recommend(model, data, user, k=2)[0].tolist() == [[2, 1]]


def test_validation_items_stay_candidates_at_test():
    model = Table(torch.ones(1, 1), torch.tensor([[3.0], [2.0], [1.0]]))
    data = graph(1, 3, train=[(0, 0)], val=[(0, 1)], test=[(0, 2)])
    result = evaluate(model, data, ks=(1, 2))
    assert (result['recall@1'], result['recall@2']) == (0.0, 1.0)
    # And test items are candidates at validation:
    data = graph(1, 3, train=[(0, 0)], val=[(0, 2)], test=[(0, 1)])
    result = evaluate(model, data, 'val', ks=(1, 2))
    assert (result['recall@1'], result['recall@2']) == (0.0, 1.0)


@pytest.mark.parametrize('split', ['val', 'test'])
def test_lists_longer_than_what_is_left(split):
    """Places without an item are no hits, but count for precision."""
    model = Table(torch.ones(1, 1), torch.tensor([[3.0], [2.0], [1.0]]))
    data = graph(1, 3, train=[(0, 0), (0, 1)], val=[(0, 2)], test=[(0, 2)])
    result = evaluate(model, data, split, ks=(1, 5))
    assert result.pop('precision@5') == pytest.approx(0.2)
    assert result == pytest.approx(dict.fromkeys(result, 1.0))
    assert rank(model, data, split, k=5).item.tolist() == [[2, -1, -1, -1, -1]]


def test_repeated_held_out_pairs_count_once():
    model = Table(torch.ones(2, 1), torch.tensor([[3.0], [2.0], [1.0]]))
    once = graph(2, 3, [(1, 0)], test=[(0, 1), (0, 2)])
    twice = graph(2, 3, [(1, 0)], test=[(0, 1), (0, 2), (0, 1)])
    for protocol in PROTOCOLS[:2]:
        assert evaluate(
            model, twice, ks=(1, 2, 3), protocol=protocol
        ) == evaluate(model, once, ks=(1, 2, 3), protocol=protocol)


def test_repeated_training_pairs():
    """They leave out one item, and are counted as often as they occur."""
    model = Table(torch.ones(1, 1), torch.tensor([[3.0], [2.0], [1.0]]))
    data = graph(1, 3, train=[(0, 0)] * 3, test=[(0, 2)])
    for some in (None, [0, 1, 2]):
        ranking = rank(model, data, k=3, candidates=some)
        assert ranking.item.tolist() == [[1, 2, -1]]
    assert recommend(model, data, 0, 3)[0].tolist() == [[1, -1, -1]]
    assert ranking.popularity.tolist() == [3, 0, 0]
    assert ranking.activity.tolist() == [3]


def test_protocols_differ():
    """One user has two held-out items, the other no training."""
    item = torch.arange(6.0, 0.0, -1.0).unsqueeze(1)
    model = Table(torch.ones(2, 1), item)
    data = graph(2, 6, train=[(0, 0)], test=[(0, 1), (0, 5), (1, 3)])

    def ndcg(protocol: str, *ks: int) -> dict[str, float]:
        return evaluate(model, data, ks=ks, metrics=['ndcg'], protocol=protocol)

    both = 1 + 1 / math.log2(3)  # the ideal of the first user
    assert ndcg('standard', 2) == pytest.approx({'ndcg@2': 1 / both / 2})
    # Only one of her two items is in the top 2, and it is at the top:
    assert ndcg('ckd', 2) == pytest.approx({'ndcg@2': 1 / 2})
    # The other is fifth, and counts for the shorter list, too:
    assert ndcg('ckd', 5, 2) == pytest.approx(
        {
            'ndcg@5': ((1 + 1 / math.log2(6)) / both + 1 / math.log2(5)) / 2,
            'ndcg@2': 1 / both / 2,
        }
    )
    assert ndcg('ckd', 2, 5) == ndcg('ckd', 5, 2)
    assert ndcg('mmrec', 2) == {'ndcg@2': round(1 / both, 4)}


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_users_without_training_interactions(protocol):
    model = Table(torch.ones(2, 1), torch.tensor([[2.0], [1.0]]))
    data = graph(2, 2, train=[(1, 0)], val=[(0, 0)], test=[(0, 0), (1, 1)])
    users = evaluate_users(model, data, ks=[1], protocol=protocol)['user']
    assert users.tolist() == ([1] if protocol == 'mmrec' else [0, 1])
    if protocol == 'mmrec':
        with pytest.raises(ValueError, match='no user with training'):
            evaluate(model, data, 'val', ks=[1], protocol=protocol)


# Views #######################################################################


@pytest.mark.parametrize('own', [True, False])
@pytest.mark.parametrize('names', [('image', 'text'), ('a', 'b', 'c')])
def test_evaluate_views(names, own):
    data = FakeMultimodal(
        num_users=30,
        num_items=20,
        taste=dict.fromkeys(names, 1.0),
        noise=dict.fromkeys(names, 0.1),
    )[0]
    model = VBPR.from_data(data, dim=4) if own else Features(data, names)
    result = evaluate_views(model, data, 'val', (5,), metrics=('ndcg',))
    keeps = distinct_views(names)
    assert list(result) == [view_name(keep, names) for keep in keeps]
    for keep in keeps:
        assert result[view_name(keep, names)] == evaluate(
            model, data, 'val', (5,), metrics=('ndcg',), view=keep
        )
    assert result['full'] == evaluate(
        model, data, 'val', (5,), metrics=['ndcg']
    )
    assert len({value['ndcg@5'] for value in result.values()}) > 1


def test_evaluate_views_of_choice():
    data = FakeMultimodal(num_users=30, num_items=20)[0]
    model = VBPR.from_data(data, dim=4)
    keeps = [without(['image', 'text'], 'image'), full(['image', 'text'])]
    result = evaluate_views(
        model, data, ks=(5,), keeps=keeps, protocol='mmrec', block_size=7
    )
    assert list(result) == ['only(text)', 'full']
    assert result['full'] == evaluate(model, data, ks=(5,), protocol='mmrec')


def test_metrics_may_be_an_iterator():
    data = FakeMultimodal(num_users=30, num_items=20)[0]
    model = VBPR.from_data(data, dim=4)
    assert list(
        evaluate(model, data, ks=[5], metrics=iter(['mrr', 'map']))
    ) == [
        'mrr@5',
        'map@5',
    ]
    for value in evaluate_views(
        model, data, ks=[5], metrics=iter(['mrr'])
    ).values():
        assert list(value) == ['mrr@5']


def test_evaluation_changes_nothing():
    data = LightGCN.pre_transform(FakeMultimodal(num_users=30, num_items=20)[0])
    model = LightGCN.from_data(data, dim=4)
    before = fingerprint(data), [p.clone() for p in model.parameters()]
    random = torch.get_rng_state()
    evaluate(model, data, view=only('text'))
    evaluate_views(model, data)
    recommend(model, data, torch.tensor([0]))
    assert torch.equal(torch.get_rng_state(), random)
    assert fingerprint(data) == before[0]
    for parameter, old in zip(model.parameters(), before[1], strict=True):
        assert torch.equal(parameter, old)
        assert parameter.grad is None


# The model's mode ############################################################


class EvalOnly(Table):
    """A recommender that must not be evaluated in training mode."""

    def __init__(self, user: Tensor, item: Tensor) -> None:
        super().__init__(user, item)
        self.frozen = nn.BatchNorm1d(2)

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        assert not self.training
        assert not torch.is_grad_enabled()
        return super().forward(data)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize(
    'call',
    [
        evaluate,
        evaluate_users,
        evaluate_views,
        lambda model, data, **_: recommend(model, data, torch.tensor([0])),
    ],
)
def test_mode_is_restored(call, training):
    data = graph(2, 30, train=[(0, 0)], test=[(0, 1)])
    model = EvalOnly(torch.randn(2, 3), torch.randn(30, 3)).train(training)
    call(model, data)
    assert model.training == training
    assert model.frozen.training == training
    assert torch.is_grad_enabled()


def test_mode_is_restored_after_an_error():
    data = graph(2, 30, train=[(0, 0)], test=[(0, 1)])
    model = Table(torch.full((2, 3), torch.nan), torch.randn(30, 3))
    with pytest.raises(ValueError):
        evaluate(model, data)
    assert model.training


def test_mode_is_restored_module_by_module():
    """A part that the user froze in evaluation mode stays there."""
    data = graph(2, 30, train=[(0, 0)], test=[(0, 1)])
    model = EvalOnly(torch.randn(2, 3), torch.randn(30, 3))
    model.frozen.eval()
    evaluate(model, data)
    assert model.training
    assert not model.frozen.training


# Errors ######################################################################


@pytest.mark.parametrize('bad', [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize('table', ['user', 'item'])
def test_embeddings_need_to_be_finite(table, bad):
    data = graph(2, 3, train=[(0, 0)], test=[(0, 1)])
    model = Table(torch.randn(2, 3), torch.randn(3, 3))
    getattr(model, table)[1, 1] = bad
    for call in (evaluate, evaluate_users, evaluate_views):
        with pytest.raises(ValueError, match='not finite'):
            call(model, data, ks=[1])


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(ks=[0]), r"'ks' needs whole numbers, at least 1 \(got 0\)"),
        (dict(ks=[1, -4]), r"'ks' needs whole numbers, at least 1 \(got -4\)"),
        (dict(ks=[]), "'ks'"),
        (dict(metrics=['auc']), r"'metrics' knows .*recall.* \(got 'auc'\)"),
        (dict(protocol='lattice'), r"'protocol' .* \(got 'lattice'\)"),
        (dict(split='train'), r"'split' .* \(got 'train'\)"),
        (dict(split='val'), 'val_edge_label_index is empty'),
        (dict(block_size=0), "'block_size'"),
    ],
)
@pytest.mark.parametrize('call', [evaluate, evaluate_users, evaluate_views])
def test_argument_errors(call, kwargs, message):
    data = graph(2, 3, train=[(0, 0)], test=[(0, 1)])
    data['item'].x_text = torch.randn(3, 2)
    model = Table(torch.randn(2, 3), torch.randn(3, 3))
    with pytest.raises(ValueError, match=message):
        call(model, data, **{'ks': [1], **kwargs})


def test_unknown_modality_in_a_view_is_an_error():
    data = FakeMultimodal(num_users=20, num_items=10)[0]
    model = VBPR.from_data(data, dim=4)
    with pytest.raises(ValueError, match='txt'):
        evaluate(model, data, ks=[5], view=only('txt'))
    with pytest.raises(ValueError, match='txt'):
        evaluate_views(model, data, ks=[5], keeps=[only('txt')])


def test_graph_follows_the_model():
    """To its precision and its device; the graph itself is left as it is."""
    data = FakeMultimodal(num_users=20, num_items=10)[0]
    model = VBPR.from_data(data, dim=4)
    expected = evaluate(model, data, ks=[5])
    cuda = torch.cuda.is_available()
    for place in (torch.double, *(['cuda'] if cuda else [])):
        other = copy.deepcopy(model).to(place)
        assert evaluate(other, data, ks=[5]) == pytest.approx(expected)
        item, score = recommend(other, data, 7, k=3)
        assert score.dtype == other.user.weight.dtype
        assert item.device == other.user.weight.device
    assert data['item'].x_text.dtype == torch.float


def test_model_of_another_type():
    data = graph(2, 3, train=[(0, 0)], test=[(0, 1), (1, 2)])
    user, item = torch.randn(2, 3), torch.randn(3, 3)
    for dtype in (torch.double, torch.bfloat16):
        model = Table(user.to(dtype), item.to(dtype))
        assert recommend(model, data, 1)[1].dtype == dtype
        score = (model.user @ model.item.t())[1].tolist()
        order = sorted(range(3), key=lambda i, s=score: (-s[i], i))
        found, _ = recommend(model, data, 1, k=3, exclude_known=False)
        assert found.tolist() == [order]
        for value in evaluate_users(model, data, ks=[2]).values():
            assert value.dtype in (torch.float, torch.long)


@pytest.mark.parametrize(
    'call',
    [evaluate, lambda m, d: recommend(m, d, 0, exclude_known=False)],
)
def test_scores_need_to_be_finite(call):
    data = graph(2, 3, train=[(1, 0)], test=[(0, 1)])
    huge = torch.tensor([[1e30, 1e30], [0.0, 0.0]])
    for item in ([[1, 0], [1e30, -1e30], [0, 0]], [[1e30, 1], [0, 0], [0, 0]]):
        with pytest.raises(ValueError, match='score of user 0 is not finite'):
            call(Table(huge, torch.tensor(item)), data)


def test_ids_of_any_type():
    """Products of ids of a few bits would overflow."""
    data = FakeMultimodal(num_users=50, num_items=40)[0]
    model = VBPR.from_data(data, dim=4)
    small = data.clone()
    for name in SPLITS:
        small[RATES][name] = small[RATES][name].to(torch.int8)
    assert evaluate(model, small) == evaluate(model, data)
    for one, other in zip(
        recommend(model, small, range(50)),
        recommend(model, data, range(50)),
        strict=True,
    ):
        assert torch.equal(one, other)
    assert small[RATES].edge_index.dtype == torch.int8


@pytest.mark.parametrize(
    'call',
    [
        evaluate,
        evaluate_users,
        evaluate_views,
        evaluate_hits,
        rank,
        rank_views,
        lambda model, data: recommend(model, data, 0),
    ],
)
def test_graph_is_checked(call):
    data = FakeMultimodal(num_users=20, num_items=10)[0]
    model = VBPR.from_data(data, dim=4)
    data[RATES].edge_index = data[RATES].edge_index + 1
    with pytest.raises(ValueError, match='counted from 1'):
        call(model, data)


# The ranking as a value ######################################################


@settings(deadline=None, max_examples=100)
@given(case=cases(), draw=st.data(), k=st.integers(1, 9))
def test_rank_matches_a_loop(case, draw, k):
    model, data = case
    num_items = data['item'].num_nodes
    label = set(pairs_of(data, 'test_edge_label_index'))
    train = pairs_of(data, 'edge_index')
    if not label:
        return
    some = draw.draw(
        st.none() | st.lists(st.integers(0, num_items - 1), min_size=1)
    )
    exclude = draw.draw(st.booleans())
    block_size = draw.draw(st.sampled_from([1, 2, 1024]))
    sides = draw.draw(st.sampled_from(SIDES))
    ranking = rank(
        sparse_table(model.user, model.item, sides),
        data,
        k=k,
        candidates=some,
        exclude_known=exclude,
        block_size=block_size,
    )

    users = sorted({u for u, _ in label})
    assert ranking.user.tolist() == users
    row, item = ranking.label.tolist()
    pairs = [(users[r], i) for r, i in zip(row, item, strict=True)]
    assert pairs == sorted(label)
    popularity = [sum(i == j for _, j in train) for i in range(num_items)]
    assert ranking.popularity.tolist() == popularity
    activity = [sum(u == v for v, _ in train) for u in users]
    assert ranking.activity.tolist() == activity
    assert ranking.num_items == num_items
    for row, user in enumerate(users):
        closed = {i for u, i in train if u == user} if exclude else set()
        if some is not None:
            closed |= set(range(num_items)) - set(some)
        best = naive_ranking(model.item @ model.user[user], closed)[:k]
        best += [-1] * (k - len(best))
        assert ranking.item[row].tolist() == best
        assert ranking.hit[row].tolist() == [(user, i) in label for i in best]
        own = [i for u, i in label if u == user]
        assert ranking.num_labels[row] == len(own)


def test_all_entries_read_one_ranking():
    data = FakeMultimodal(num_users=30, num_items=20)[0]
    model = VBPR.from_data(data, dim=4)
    ranking = rank(model, data, 'val', k=7)
    names = [*METRICS, *BEYOND]
    for protocol in PROTOCOLS:
        assert evaluate(
            model, data, 'val', (7, 3), metrics=names, protocol=protocol
        ) == means(ranking, (7, 3), names, protocol)
        expected = per_user(ranking, (7, 3), protocol=protocol)
        for name, value in evaluate_users(
            model, data, 'val', (7, 3), protocol=protocol
        ).items():
            assert torch.equal(value, expected[name])
    for name, value in evaluate_hits(model, data, 'val', 7).items():
        assert torch.equal(value, hits(ranking)[name])


def test_rank_views():
    data = FakeMultimodal(num_users=30, num_items=20)[0]
    model = VBPR.from_data(data, dim=4)
    names = ['image', 'text']
    rankings = rank_views(model, data, k=5, candidates=range(3, 17))
    assert list(rankings) == ['full', 'only(image)', 'only(text)']
    for keep in distinct_views(names):
        expected = rank(model, data, k=5, view=keep, candidates=range(3, 17))
        ranking = rankings[view_name(keep, names)]
        assert torch.equal(ranking.item, expected.item)
        assert torch.equal(ranking.label, expected.label)
    assert not torch.equal(
        rankings['only(text)'].item, rankings['only(image)'].item
    )
    rankings = rank_views(model, data, 'val', 5, [only('text')])
    assert list(rankings) == ['only(text)']


def test_views_are_computed_once():
    calls = []

    class Counting(VBPR):
        def views(self, data, keeps):
            calls.append(list(keeps))
            return super().views(data, keeps)

    data = FakeMultimodal(num_users=30, num_items=20)[0]
    model = Counting.from_data(data, dim=4)
    for call in (rank_views, evaluate_views):
        call(model, data)
        assert calls.pop() == distinct_views(['image', 'text'])
        assert calls == []


def test_candidates_of_an_evaluation():
    """The others are not found, and count as held out all the same."""
    model = Table(torch.ones(1, 1), torch.tensor([[4.0], [3.0], [2.0], [1.0]]))
    data = graph(1, 4, train=[(0, 0)], test=[(0, 1), (0, 3)])
    kwargs = dict(ks=[1], metrics=['recall', 'coverage'])
    expected = {
        (0, 1, 2, 3): {'recall@1': 0.5, 'coverage@1': 0.25},
        (3, 2, 0, 3): {'recall@1': 0.0, 'coverage@1': 0.25},
        (3,): {'recall@1': 0.5, 'coverage@1': 0.25},
        (0,): {'recall@1': 0.0, 'coverage@1': 0.0},
    }
    for some, result in expected.items():
        kwargs['candidates'] = some
        assert evaluate(model, data, **kwargs) == result
        assert evaluate_views(model, data, **kwargs) == {'full': result}
        users = evaluate_users(
            model, data, ks=[1], metrics=['recall'], candidates=some
        )
        assert users['recall@1'].tolist() == [result['recall@1']]
        found = evaluate_hits(model, data, k=1, candidates=some)['hit@1']
        assert found.mean() == result['recall@1']


@pytest.mark.parametrize(
    ('some', 'message'),
    [
        ([], 'at least one item'),
        ([0, 3], r'ids from 0 to 2 \(got 0 to 3\)'),
        ([-1, 1], r'ids from 0 to 2 \(got -1 to 1\)'),
        ([0.5], 'integer ids .*float64'),
        ([True, False, True], 'integer ids .*bool'),
        (torch.tensor([1.0]), 'integer ids .*float32'),
        (torch.tensor([True]), 'integer ids .*bool.*those of a mask are'),
        ([[0, 1]], r'needs to be 1-D \(got shape \[1, 2\]\)'),
        (1, r'needs to be 1-D'),
    ],
)
def test_candidates_error(some, message):
    model = Table(torch.ones(2, 1), torch.ones(3, 1))
    data = graph(2, 3, train=[(0, 0)], test=[(0, 1)])
    for call in (rank, evaluate):
        with pytest.raises(ValueError, match=f"'candidates'.*{message}"):
            call(model, data, candidates=some)


@pytest.mark.parametrize('k', [0, -3])
def test_rank_length_error(k):
    model = Table(torch.ones(2, 1), torch.ones(3, 1))
    data = graph(2, 3, train=[(0, 0)], test=[(0, 1)])
    for call in (rank, rank_views, evaluate_hits):
        with pytest.raises(
            ValueError, match=rf"'k' .* at least 1, .* \(got {k}\)"
        ):
            call(model, data, k=k)


def test_evaluating():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    model[1].eval()
    with evaluating(model):
        assert not any(part.training for part in model.modules())
        assert not torch.is_grad_enabled()
    assert [part.training for part in model.modules()] == [True, True, False]
    assert torch.is_grad_enabled()


# Recommendation ##############################################################


@settings(deadline=None, max_examples=150)
@given(case=cases(), draw=st.data(), exclude=st.booleans())
def test_recommend_matches_a_loop(case, draw, exclude):
    model, data = case
    num_items = data['item'].num_nodes
    user = draw.draw(
        st.lists(st.integers(0, data['user'].num_nodes - 1), max_size=5)
    )
    k = draw.draw(st.integers(1, num_items + 2))
    ids = st.lists(st.integers(0, num_items - 1), min_size=1, max_size=8)
    kind = draw.draw(st.sampled_from(['all', 'one list', 'a list each']))
    if kind == 'all':
        some, open_to = None, [range(num_items)] * len(user)
    elif kind == 'one list':
        some = draw.draw(ids)
        open_to = [some] * len(user)
    else:
        entry = st.lists(st.integers(-1, num_items - 1), min_size=4, max_size=4)
        some = draw.draw(
            st.lists(entry, min_size=len(user), max_size=len(user))
        )
        open_to = some
        some = torch.tensor(some, dtype=torch.long).view(-1, 4)
    sides = draw.draw(st.sampled_from(SIDES))
    table = sparse_table(model.user, model.item, sides)
    item, score = recommend(
        table, data, user, k, candidates=some, exclude_known=exclude
    )
    assert item.shape == score.shape == (len(user), k)

    owned = [pair for name in SPLITS for pair in pairs_of(data, name)]
    for row, u in enumerate(user):
        value = model.item @ model.user[u]
        closed = {i for v, i in owned if v == u} if exclude else set()
        closed |= set(range(num_items)) - set(open_to[row])
        ranking = naive_ranking(value, closed)[:k]
        left = len(ranking)
        assert item[row].tolist() == ranking + [-1] * (k - left)
        assert score[row, :left].tolist() == value[ranking].tolist()
        assert score[row, left:].tolist() == [-torch.inf] * (k - left)


@pytest.mark.parametrize(
    'user',
    [
        7,
        np.int16(7),
        torch.tensor(7),
        [7],
        (7,),
        range(7, 8),
        np.array(7),
        *[
            np.array([7], dtype=dtype)
            for dtype in (np.int8, np.uint8, np.uint16, np.int32, np.uint64)
        ],
        *[
            torch.tensor([7], dtype=dtype)
            for dtype in (torch.int8, torch.uint8, torch.int32, torch.long)
        ],
    ],
    ids=repr,
)
def test_recommend_takes_any_kind_of_user(user):
    data = FakeMultimodal(num_users=30, num_items=20)[0]
    model = VBPR.from_data(data, dim=4)
    expected = recommend(model, data, torch.tensor([3, 7]), k=4)
    for one, other in zip(
        recommend(model, data, user, 4), expected, strict=True
    ):
        assert one.shape == (1, 4)
        torch.testing.assert_close(one[0], other[1])


@pytest.mark.parametrize(
    'some', [[5, 3], (5, 3), np.array([5, 3], np.int32), torch.tensor([5, 3])]
)
def test_recommend_takes_any_kind_of_candidates(some):
    model = Table(torch.ones(2, 1), torch.arange(6.0).unsqueeze(1))
    data = graph(2, 6, train=[(1, 5)])
    for candidates in (some, [some, some], np.stack([np.asarray(some)] * 2)):
        item, _ = recommend(model, data, [0, 1], 3, candidates=candidates)
        assert item.tolist() == [[5, 3, -1], [3, -1, -1]]
    # A list for each, one filled up:
    item, _ = recommend(model, data, [1, 0], 2, candidates=[[2, -1], [2, 4]])
    assert item.tolist() == [[2, -1], [4, 2]]


def test_recommend_of_no_users():
    model = Table(torch.ones(2, 1), torch.ones(3, 1))
    data = graph(2, 3, train=[(0, 0)])
    for user in ([], np.array([]), torch.tensor([], dtype=torch.long)):
        item, score = recommend(model, data, user, k=5)
        assert item.shape == score.shape == (0, 5)
        assert item.dtype == torch.long


def test_recommend_many_users():
    """More than one block of them."""
    model = Table(torch.ones(3, 1), torch.tensor([[1.0], [3.0], [2.0]]))
    data = graph(3, 3, train=[(0, 1)])
    user = torch.arange(3000) % 3
    item, _ = recommend(model, data, user, k=1)
    assert torch.equal(item[:, 0], torch.tensor([2, 1, 1]).repeat(1000))


def test_recommend_in_a_view():
    data = FakeMultimodal(num_users=30, num_items=20)[0]
    model = VBPR.from_data(data, dim=4)
    everything = {'k': 20, 'view': only('text'), 'exclude_known': False}
    item, _ = recommend(model, data, range(30), **everything)
    ranking = rank(model, data, **everything)
    assert torch.equal(item[ranking.user], ranking.item)
    assert not torch.equal(item, recommend(model, data, range(30), k=20)[0])


def test_recommend_repeats_users_and_ignores_their_order():
    data = FakeMultimodal(num_users=30, num_items=20)[0]
    model = VBPR.from_data(data, dim=4)
    item, score = recommend(model, data, torch.tensor([3, 0, 3]), k=4)
    assert item.dtype == torch.long
    assert not score.requires_grad
    assert item[0].tolist() == item[2].tolist()
    assert (
        item[1].tolist()
        == recommend(model, data, torch.tensor([0]), k=4)[0][0].tolist()
    )


def test_recommend_without_anything_left():
    data = graph(1, 2, train=[(0, 0), (0, 1)])
    model = Table(torch.ones(1, 1), torch.ones(2, 1))
    item, score = recommend(model, data, torch.tensor([0]), k=2)
    assert item.tolist() == [[-1, -1]]
    assert score.tolist() == [[-torch.inf, -torch.inf]]


@pytest.mark.parametrize('k', [0, -1])
def test_recommend_k_error(k):
    model = Table(torch.ones(2, 1), torch.ones(3, 1))
    data = graph(2, 3, train=[(0, 0)])
    with pytest.raises(ValueError, match=rf"'k' .* at least 1, .* \(got {k}\)"):
        recommend(model, data, torch.tensor([0]), k=k)


@pytest.mark.parametrize('user', [[-1], [2], [0, 5], -1, 2])
def test_recommend_user_error(user):
    model = Table(torch.ones(2, 1), torch.ones(3, 1))
    data = graph(2, 3, train=[(0, 0)])
    for kind in (user, torch.tensor(user), np.array(user)):
        with pytest.raises(ValueError, match="'user' needs ids from 0 to 1"):
            recommend(model, data, kind, k=1)


@pytest.mark.parametrize(
    'user',
    [
        0.0,
        True,
        '0',
        [0.5],
        [True, False],
        None,
        {0, 1},
        torch.tensor([0.0]),
        torch.tensor([True]),
        np.array([0.0]),
        np.array([True]),
    ],
    ids=repr,
)
def test_recommend_user_type_error(user):
    model = Table(torch.ones(2, 1), torch.ones(3, 1))
    data = graph(2, 3, train=[(0, 0)])
    with pytest.raises(ValueError, match="'user' needs integer ids"):
        recommend(model, data, user, k=1)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(user=[[0, 1]]), r"'user' .* 0-D or 1-D \(got shape \[1, 2\]\)"),
        (dict(candidates=[]), "'candidates' needs at least one"),
        (dict(candidates=[3]), "'candidates' needs ids from 0 to 2"),
        (dict(candidates=[-1]), "'candidates' needs ids from 0 to 2"),
        (dict(candidates=[[0, -2]] * 2), "'candidates' needs ids from -1 to 2"),
        (dict(candidates=[[0, 3]] * 2), "'candidates' needs ids from -1 to 2"),
        (dict(candidates=[[0]] * 3), r'each of 2 users.*\(got 3 lists\)'),
        (dict(candidates=[[0], [0, 1]]), 'one length: fill them up with -1'),
        (dict(candidates=[[[0]]]), r"'candidates' needs to be 1-D or 2-D"),
        (dict(candidates=[0.5]), "'candidates' needs integer ids"),
        (dict(view=only('txt')), 'txt'),
    ],
)
def test_recommend_argument_errors(kwargs, message):
    model = Table(torch.ones(2, 1), torch.ones(3, 1))
    data = graph(2, 3, train=[(0, 0)])
    with pytest.raises(ValueError, match=message):
        recommend(model, data, **{'user': [0, 1], **kwargs})


def test_recommend_needs_finite_embeddings():
    data = FakeMultimodal(num_users=20, num_items=10)[0]
    model = VBPR.from_data(data, dim=4)
    with torch.no_grad():
        next(model.parameters())[7] = torch.nan
    with pytest.raises(ValueError, match=r'(?s)user.*full.*not finite.*row 7'):
        recommend(model, data, 3)


def test_recommend_leaves_out_what_is_held_out():
    """A user has what was held out of training, too."""
    model = Table(torch.ones(1, 1), torch.tensor([[4.0], [3.0], [2.0], [1.0]]))
    data = graph(1, 4, train=[(0, 3)], val=[(0, 0)], test=[(0, 1)])
    assert recommend(model, data, 0, 2)[0].tolist() == [[2, -1]]
    assert rank(model, data, k=2).item.tolist() == [[0, 1]]
    both = recommend(model, data, 0, 2, exclude_known=False)[0]
    assert both.tolist() == [[0, 1]]
