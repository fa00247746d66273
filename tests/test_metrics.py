import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.metrics import (
    LinkPredAveragePopularity,
    LinkPredCoverage,
    LinkPredHitRatio,
    LinkPredMAP,
    LinkPredMRR,
    LinkPredNDCG,
    LinkPredPrecision,
    LinkPredRecall,
)

from pyg_ckd.metrics import (
    BEYOND,
    METRICS,
    average_popularity,
    coverage,
    found_hits_ndcg,
    gini,
    hits,
    means,
    novelty,
    per_user,
    recall,
    tail_recall,
)
from pyg_ckd.ranking import Ranking

PYG = {
    'recall': LinkPredRecall,
    'precision': LinkPredPrecision,
    'ndcg': LinkPredNDCG,
    'map': LinkPredMAP,
    'mrr': LinkPredMRR,
    'hit_ratio': LinkPredHitRatio,
}


def make(lists, labels, popularity, k=None, activity=None):
    """A ranking of users 10, 11, ... from lists of item ids."""
    k = max(map(len, lists)) if k is None else k
    pairs = [(u, i) for u, of in enumerate(labels) for i in sorted(of)]
    filled = [[*one, *[-1] * (k - len(one))] for one in lists]
    return Ranking(
        user=torch.arange(10, 10 + len(lists)),
        item=torch.tensor(filled, dtype=torch.long).view(-1, k),
        label=torch.tensor(pairs, dtype=torch.long).view(-1, 2).t(),
        num_items=len(popularity),
        popularity=torch.tensor(popularity),
        activity=torch.tensor(activity or [1] * len(lists)),
    )


@st.composite
def cases(draw, full=False):
    """Lists, held-out items, popularity and k; users may have few items."""
    num_items = draw(st.integers(1, 7))
    k = draw(st.integers(1, num_items if full else num_items + 2))
    lists, labels = [], []
    for _ in range(draw(st.integers(1, 5))):
        order = draw(st.permutations(range(num_items)))
        least = k if full else 0
        lists.append(order[: draw(st.integers(least, min(k, num_items)))])
        labels.append(draw(st.sets(st.integers(0, num_items - 1), min_size=1)))
    popularity = draw(
        st.lists(st.integers(0, 9), min_size=num_items, max_size=num_items)
    )
    return lists, labels, popularity, k


def naive(items, held_out, k, num_found):
    """All metrics of accuracy of one user."""
    flags = [item in held_out for item in items[:k]]
    flags += [False] * (k - len(flags))
    places = [place for place in range(k) if flags[place]]
    dcg = sum(1 / math.log2(place + 2) for place in places)

    def best(num):
        return sum(1 / math.log2(p + 2) for p in range(min(num, k)))

    shares = [sum(flags[: place + 1]) / (place + 1) for place in places]
    return {
        'recall': len(places) / len(held_out),
        'precision': len(places) / k,
        'ndcg': dcg / best(len(held_out)),
        'map': sum(shares) / min(k, len(held_out)),
        'mrr': 1 / (places[0] + 1) if places else 0.0,
        'hit_ratio': float(bool(places)),
        'found_hits_ndcg': dcg / best(num_found) if places else 0.0,
    }


# Accuracy ####################################################################


@settings(deadline=None, max_examples=150)
@given(case=cases(), draw=st.data())
def test_accuracy_by_loops(case, draw):
    lists, labels, popularity, max_k = case
    ranking = make(lists, labels, popularity, max_k)
    k = draw.draw(st.integers(1, max_k))
    expected = [
        naive(items, held_out, k, len({*items[:max_k]} & held_out))
        for items, held_out in zip(lists, labels, strict=True)
    ]
    for name, metric in METRICS.items():
        value = metric(ranking, k)
        assert value.dtype == torch.float
        assert value.tolist() == pytest.approx(
            [one[name] for one in expected], abs=1e-6
        )
    for value in (
        found_hits_ndcg(ranking, k),
        found_hits_ndcg(ranking, k, max_k),
    ):
        assert value.tolist() == pytest.approx(
            [one['found_hits_ndcg'] for one in expected], abs=1e-6
        )


@settings(deadline=None, max_examples=150)
@given(case=cases(), draw=st.data())
def test_accuracy_is_that_of_pyg(case, draw):
    """To the last bit, user by user."""
    lists, labels, popularity, max_k = case
    ranking = make(lists, labels, popularity, max_k)
    k = draw.draw(st.integers(1, max_k))
    item = ranking.item.where(ranking.item >= 0, len(popularity))
    for name, metric in METRICS.items():
        value = metric(ranking, k)
        for row, held_out in enumerate(labels):
            oracle = PYG[name](k)
            label = torch.tensor(sorted(held_out))
            oracle.update(
                item[row : row + 1, :k], (torch.zeros_like(label), label)
            )
            assert torch.equal(value[row], oracle.compute())


def test_map_is_divided_by_what_can_be_found():
    ranking = make([[0, 1], [0, 1]], [{0}, {0, 1, 2}], [1, 1, 1])
    assert METRICS['map'](ranking, 2).tolist() == [1.0, 1.0]
    assert METRICS['map'](ranking, 1).tolist() == [1.0, 1.0]


def test_precision_is_divided_by_k_where_there_are_fewer_items():
    ranking = make([[0]], [{0}], [1], k=4)
    assert METRICS['precision'](ranking, 4).tolist() == [0.25]


def test_a_place_without_an_item_is_no_hit():
    """Least of all of the last item of the user before."""
    ranking = make([[], [], [2]], [{2}, {0}, {2}], [1, 1, 1], k=2)
    assert ranking.hit.tolist() == [[False] * 2, [False] * 2, [True, False]]


@settings(deadline=None, max_examples=50)
@given(case=cases())
def test_order_of_labels_does_not_matter(case):
    ranking = make(*case)
    order = torch.randperm(ranking.label.size(1))
    other = Ranking(
        user=ranking.user,
        item=ranking.item,
        label=ranking.label[:, order],
        num_items=ranking.num_items,
        popularity=ranking.popularity,
        activity=ranking.activity,
    )
    assert torch.equal(other.hit, ranking.hit)
    assert torch.equal(other.num_labels, ranking.num_labels)
    assert torch.equal(other.found, ranking.found[order])


def test_default_dtype():
    ranking = make([[0, 1]], [{1}], [1, 1])
    torch.set_default_dtype(torch.double)
    try:
        for metric in [*METRICS.values(), found_hits_ndcg, *BEYOND.values()]:
            assert metric(ranking, 2).dtype == torch.double
    finally:
        torch.set_default_dtype(torch.float)


# Beyond accuracy #############################################################


@settings(deadline=None, max_examples=150)
@given(case=cases(), draw=st.data())
def test_beyond_accuracy_by_loops(case, draw):
    lists, labels, popularity, max_k = case
    ranking = make(lists, labels, popularity, max_k)
    k = draw.draw(st.integers(1, max_k))
    total = max(sum(popularity), 1)
    information = [-math.log2(max(n, 1) / total) for n in popularity]
    for metric, of_item in (
        (novelty, information),
        (average_popularity, popularity),
    ):
        expected = [
            sum(of_item[i] for i in one[:k]) / len(one[:k]) if one else math.nan
            for one in lists
        ]
        assert metric(ranking, k).tolist() == pytest.approx(
            expected, abs=1e-5, nan_ok=True
        )

    times = Counter(item for one in lists for item in one[:k])
    assert float(coverage(ranking, k)) == pytest.approx(
        len(times) / len(popularity)
    )
    counts = [times[item] for item in range(len(popularity))]
    differences = sum(abs(a - b) for a in counts for b in counts)
    expected = differences / (2 * len(counts) * max(sum(counts), 1))
    assert float(gini(ranking, k)) == pytest.approx(expected, abs=1e-6)


@settings(deadline=None, max_examples=50)
@given(case=cases(full=True))
def test_beyond_accuracy_is_that_of_pyg(case):
    ranking, k = make(*case), case[-1]
    for value, oracle in (
        (coverage(ranking, k), LinkPredCoverage(k, ranking.num_items)),
        (
            average_popularity(ranking, k).mean(),
            LinkPredAveragePopularity(k, ranking.popularity),
        ),
    ):
        oracle.update(ranking.item, ranking.label)
        assert float(value) == pytest.approx(float(oracle.compute()))


def test_novelty_in_bits():
    # Half, a quarter and a quarter of all interactions; item 3 has none:
    ranking = make([[0, 1], [2, 3]], [{0}, {0}], [2, 1, 1, 0])
    assert novelty(ranking, 1).tolist() == [1.0, 2.0]
    assert novelty(ranking, 2).tolist() == [1.5, 2.0]


def naive_tail(popularity):
    """The items that are not among the most popular fifth."""
    head = set()
    for count in sorted(set(popularity), reverse=True):
        more = {item for item, n in enumerate(popularity) if n >= count}
        if 5 * len(more) > len(popularity):
            break
        head = more
    return set(range(len(popularity))) - head


@st.composite
def tailed(draw):
    """Lists and held-out items of a catalogue that has a head, mostly."""
    lists, labels, _, k = draw(cases())
    num_items = draw(st.integers(7, 23))
    popularity = st.lists(
        st.integers(0, 9), min_size=num_items, max_size=num_items
    )
    return lists, labels, draw(popularity), k


@settings(deadline=None, max_examples=150)
@given(case=tailed(), draw=st.data())
def test_tail_recall_by_loops(case, draw):
    lists, labels, popularity, max_k = case
    ranking = make(*case)
    k = draw.draw(st.integers(1, max_k))
    tail = naive_tail(popularity)
    expected = [
        len(held_out & tail & {*items[:k]}) / len(held_out & tail)
        if held_out & tail
        else math.nan
        for items, held_out in zip(lists, labels, strict=True)
    ]
    value = tail_recall(ranking, k)
    assert value.tolist() == pytest.approx(expected, nan_ok=True)
    known = [one for one in expected if not math.isnan(one)]
    mean = means(ranking, [k], ['tail_recall'])[f'tail_recall@{k}']
    assert mean == pytest.approx(
        sum(known) / len(known) if known else math.nan, nan_ok=True
    )
    # The most popular items alone find nothing of the tail:
    head = sorted({*range(len(popularity))} - tail)
    only_head = make([head] * len(labels), labels, popularity, len(head) or 1)
    value = tail_recall(only_head, only_head.k)
    assert value[~value.isnan()].tolist() == [0.0] * len(known)
    # Where all held-out items are of the tail it is recall:
    of_tail = [held_out & tail or tail for held_out in labels]
    ranking = make(lists, of_tail, popularity, max_k)
    torch.testing.assert_close(tail_recall(ranking, k), recall(ranking, k))


def test_items_that_are_equally_popular_are_not_divided():
    # Two of ten may be the head; three share the second place:
    popularity = [9, 5, 5, 5, *[1] * 6]
    ranking = make([[0, 1, 9]], [{0, 1, 2, 9}], popularity)
    assert tail_recall(ranking, 3).tolist() == pytest.approx([2 / 3])
    assert tail_recall(ranking, 2).tolist() == pytest.approx([1 / 3])
    # Here it is two, and one item alone:
    ranking = make([[0, 1, 9]], [{0, 1, 2, 9}], [9, 9, 5, 5, *[1] * 6])
    assert tail_recall(ranking, 3).tolist() == [0.5]
    # Of few items, and of items that are all alike, none is the head:
    for popularity in ([9, 1, 1, 1], [3] * 10):
        ranking = make([[0, 1]], [{0, 2}], popularity)
        assert tail_recall(ranking, 2).tolist() == [0.5]


def test_users_without_a_tail_item_are_left_out_of_its_recall():
    popularity = [9, 1, 1, 1, 1]
    ranking = make([[0, 1], [0, 1]], [{0}, {1, 2}], popularity)
    found = per_user(ranking, [2], ['tail_recall'])
    assert found['user'].tolist() == [10, 11]
    assert found['tail_recall@2'].tolist() == pytest.approx(
        [math.nan, 0.5], nan_ok=True
    )
    assert means(ranking, [2], ['tail_recall']) == {'tail_recall@2': 0.5}


def test_gini_extremes():
    alike = make([[0], [1], [2]], [{0}] * 3, [1, 1, 1])
    assert float(gini(alike, 1)) == 0.0
    same = make([[0]] * 3, [{0}] * 3, [1] * 100)
    assert float(gini(same, 1)) == pytest.approx(0.99)
    nothing = make([[]], [{0}], [1, 1], k=1)
    assert float(gini(nothing, 1)) == float(coverage(nothing, 1)) == 0.0


# A ranking and all its metrics ###############################################


@settings(deadline=None, max_examples=50)
@given(case=cases(), draw=st.data())
def test_select(case, draw):
    lists, labels, popularity, k = case
    kept = draw.draw(
        st.lists(st.booleans(), min_size=len(lists), max_size=len(lists))
    )
    ranking = make(lists, labels, popularity, k, list(range(len(lists))))
    part = ranking.select(torch.tensor(kept))
    rows = [row for row, keep in enumerate(kept) if keep]
    assert part.user.tolist() == [10 + row for row in rows]
    assert part.activity.tolist() == rows
    assert torch.equal(part.hit, ranking.hit[rows])
    assert torch.equal(part.num_labels, ranking.num_labels[rows])
    for metric in METRICS.values():
        assert torch.equal(metric(part, k), metric(ranking, k)[rows])


def test_per_user_and_means():
    ranking = make([[0, 1], [1, 2]], [{1}, {0}], [3, 2, 1], activity=[2, 0])
    result = per_user(ranking, (2, 1), ['mrr', 'popularity'])
    assert {name: value.tolist() for name, value in result.items()} == {
        'user': [10, 11],
        'mrr@2': [0.5, 0.0],
        'mrr@1': [0.0, 0.0],
        'popularity@2': [2.5, 1.5],
        'popularity@1': [3.0, 2.0],
    }
    result = means(ranking, [2], ['mrr', 'coverage', 'gini', 'popularity'])
    assert result == pytest.approx(
        {'mrr@2': 0.25, 'coverage@2': 1.0, 'gini@2': 1 / 6, 'popularity@2': 2}
    )
    # The second user has no training interactions:
    assert means(ranking, [2], ['mrr', 'popularity'], protocol='mmrec') == {
        'mrr@2': 0.5,
        'popularity@2': 2.5,
    }
    assert per_user(ranking, [2], protocol='mmrec')['user'].tolist() == [10]


def test_means_leave_out_empty_lists_only_where_items_are_averaged():
    ranking = make([[0], []], [{0}, {0}], [4, 4], k=1)
    assert means(ranking, [1], ['recall', 'popularity', 'novelty']) == {
        'recall@1': 0.5,
        'popularity@1': 4.0,
        'novelty@1': 1.0,
    }


def test_ckd_looks_for_hits_in_the_longest_list():
    ranking = make([[0, 1, 2]], [{0, 2}], [1, 1, 1])
    for ks in [(1, 3), (3, 1)]:
        result = per_user(ranking, ks, ['ndcg'], 'ckd')
        for k in ks:
            expected = found_hits_ndcg(ranking, k, 3)
            assert torch.equal(result[f'ndcg@{k}'], expected)
    assert per_user(ranking, [2], ['ndcg'], 'ckd')['ndcg@2'].tolist() == [1.0]


def test_hits():
    ranking = make([[0, 1], [1]], [{1, 2}, {0, 1}], [1, 1, 1])
    assert {name: x.tolist() for name, x in hits(ranking).items()} == {
        'user': [10, 10, 11, 11],
        'item': [1, 2, 0, 1],
        'hit@2': [1.0, 0.0, 0.0, 1.0],
    }


@pytest.mark.parametrize('k', [0, -1, 3])
@pytest.mark.parametrize('metric', [*METRICS.values(), *BEYOND.values()])
def test_length_error(metric, k):
    ranking = make([[0, 1]], [{1}], [1, 1])
    with pytest.raises(ValueError, match=rf"'k' .* 1 to 2.*\(got {k}\)"):
        metric(ranking, k)


@pytest.mark.parametrize(('k', 'max_k'), [(3, None), (0, 2), (2, 1), (1, 3)])
def test_found_hits_length_error(k, max_k):
    ranking = make([[0, 1]], [{1}], [1, 1])
    with pytest.raises(ValueError, match="'k' needs to be from 1 to"):
        found_hits_ndcg(ranking, k, max_k)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(ks=[]), "'ks'"),
        (dict(ks=[0]), r"'ks' .* at least 1 \(got 0\)"),
        (dict(metrics=['auc']), r"'metrics' knows .*recall.* \(got 'auc'\)"),
        (dict(protocol='lattice'), r"'protocol' .* \(got 'lattice'\)"),
        (dict(ks=[3]), "'k' needs to be from 1 to 2"),
        (dict(protocol='mmrec'), 'no user with training'),
    ],
)
@pytest.mark.parametrize('call', [means, per_user])
def test_argument_errors(call, kwargs, message):
    ranking = make([[0, 1]], [{1}], [1, 1])
    ranking = Ranking(**{**vars(ranking), 'activity': torch.tensor([0])})
    with pytest.raises(ValueError, match=message):
        call(ranking, **{'ks': [1], **kwargs})


def test_numbers_of_all_users_are_not_of_each():
    ranking = make([[0, 1]], [{1}], [1, 1])
    for name in ('coverage', 'gini'):
        with pytest.raises(ValueError, match=f"'{name}'.*all users"):
            per_user(ranking, [1], [name])


def test_metrics_may_be_an_iterator():
    ranking = make([[0, 1]], [{1}], [1, 1])
    result = means(ranking, [1], iter(['mrr', 'coverage', 'map']))
    assert list(result) == ['mrr@1', 'coverage@1', 'map@1']
    assert recall(ranking, 2).tolist() == [1.0]
