import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.graph import RATES, fingerprint
from pyg_ckd.kernels import Ranks
from pyg_ckd.triplet_loader import TripletLoader

SAMPLING = ('interaction', 'user')


def graph(num_users: int, num_items: int, pairs) -> HeteroData:
    data = HeteroData()
    data['user'].num_nodes = num_users
    data['item'].num_nodes = num_items
    index = torch.tensor(list(pairs), dtype=torch.long).view(-1, 2)
    data[RATES].edge_index = index.t().contiguous()
    return data


def epoch_of(loader: TripletLoader) -> Tensor:
    """Return the triples of one epoch, of shape [3, N]."""
    return torch.cat([torch.stack(batch) for batch in loader], dim=1)


def counts(value: Tensor, size: int) -> list[int]:
    return torch.bincount(value, minlength=size).tolist()


@st.composite
def graphs(draw: st.DrawFn) -> HeteroData:
    """Graphs in any edge order, with repeated edges and idle users."""
    num_users, num_items = draw(st.integers(1, 6)), draw(st.integers(2, 6))
    pairs = []
    for user in range(num_users):
        items = draw(
            st.lists(st.integers(0, num_items - 1), max_size=num_items + 2)
        )
        spared = draw(st.integers(0, num_items - 1))
        pairs += [(user, item) for item in items if item != spared]
    pairs = draw(st.permutations(pairs))
    return graph(num_users, num_items, pairs)


@settings(deadline=None, max_examples=150)
@given(
    data=graphs(),
    batch_size=st.integers(1, 12),
    sampling=st.sampled_from(SAMPLING),
)
def test_triplet_loader(data, batch_size, sampling):
    known = {(u, i) for u, i in data[RATES].edge_index.t().tolist()}
    if not known:
        with pytest.raises(ValueError, match='no training interactions'):
            TripletLoader(data, batch_size, sampling)
        return
    users = {user for user, _ in known}
    num_items = data['item'].num_nodes
    loader = TripletLoader(data, batch_size, sampling)

    for _ in range(2):
        batches = list(loader)
        assert len(batches) == len(loader)
        epoch = []
        for batch in batches:
            assert len(batch) == 3
            for part in batch:
                assert part.dtype == torch.long
                assert part.dim() == 1
                assert 1 <= len(part) == len(batch[0]) <= batch_size
            triples = torch.stack(batch, dim=1).tolist()
            epoch += triples
            if sampling == 'user':
                assert len(batch[0]) == min(batch_size, len(users))
                assert len({user for user, _, _ in triples}) == len(triples)
        if sampling == 'user':
            assert len(batches) == len(known) // batch_size + 1
        else:  # each interaction exactly once
            assert sorted((u, i) for u, i, _ in epoch) == sorted(known)
            assert [len(batch[0]) for batch in batches[:-1]] == [batch_size] * (
                len(batches) - 1
            )
        for user, pos, neg in epoch:
            assert (user, pos) in known
            assert (user, neg) not in known
            assert 0 <= neg < num_items


@settings(deadline=None, max_examples=50)
@given(data=graphs(), draw=st.data())
def test_negatives(data, draw):
    known = {(u, i) for u, i in data[RATES].edge_index.t().tolist()}
    if not known:
        return
    user = draw.draw(
        st.lists(st.integers(0, data['user'].num_nodes - 1), max_size=20)
    )
    loader = TripletLoader(data)
    neg = loader.negatives(torch.tensor(user, dtype=torch.long))
    assert neg.shape == (len(user),)
    assert known.isdisjoint(zip(user, neg.tolist(), strict=True))


@pytest.mark.parametrize('sampling', SAMPLING)
def test_epochs_differ_and_can_be_repeated(sampling):
    data = FakeMultimodal(num_users=30, num_items=20)[0]
    loader = TripletLoader(data, 64, sampling)
    torch.manual_seed(7)
    first, second = epoch_of(loader), epoch_of(loader)
    for one, other in zip(first, second, strict=True):
        assert not torch.equal(one, other)

    torch.manual_seed(7)
    again = TripletLoader(data, 64, sampling)
    assert torch.equal(epoch_of(again), first)
    assert torch.equal(epoch_of(again), second)
    torch.manual_seed(8)
    assert not torch.equal(epoch_of(loader), first)


@pytest.mark.parametrize('sampling', SAMPLING)
def test_order_of_edges_does_not_matter(sampling):
    data = FakeMultimodal(num_users=30, num_items=20)[0]
    torch.manual_seed(7)
    expected = epoch_of(TripletLoader(data, 64, sampling))

    index = data[RATES].edge_index
    index = torch.cat([index, index[:, ::3]], dim=1)  # some edges twice
    data[RATES].edge_index = index[:, torch.randperm(index.size(1))]
    before = data[RATES].edge_index.clone()
    torch.manual_seed(7)
    loader = TripletLoader(data, 64, sampling)
    assert torch.equal(epoch_of(loader), expected)
    assert torch.equal(data[RATES].edge_index, before)


# Several processes ###########################################################


def epochs_of(data, size, batch_size, sampling):
    """Return the batches of each process, and what they leave behind."""
    epochs, states = [], []
    for rank in range(size):
        torch.manual_seed(7)
        ranks = Ranks(rank, size)
        loader = TripletLoader(data, batch_size, sampling, ranks)
        epochs.append([torch.stack(batch) for batch in loader])
        assert len(epochs[-1]) == len(loader)
        states.append(torch.get_rng_state())
    return epochs, states


@settings(deadline=None, max_examples=100)
@given(
    data=graphs(),
    batch_size=st.integers(1, 12),
    sampling=st.sampled_from(SAMPLING),
    size=st.integers(1, 4),
)
def test_an_epoch_is_shared_out(data, batch_size, sampling, size):
    """No triple is trained twice, and next to none is left out."""
    known = {(u, i) for u, i in data[RATES].edge_index.t().tolist()}
    users = {user for user, _ in known}
    if len(users if sampling == 'user' else known) < size:
        with pytest.raises(ValueError):  # also without any interaction
            TripletLoader(data, batch_size, sampling, Ranks(size - 1, size))
        return
    epochs, states = epochs_of(data, size, batch_size, sampling)
    assert all(torch.equal(state, states[0]) for state in states)
    for batches in zip(*epochs, strict=True):
        assert len({batch.size(1) for batch in batches}) == 1
        assert 1 <= batches[0].size(1) <= batch_size
        if sampling == 'user':
            together = torch.cat(batches, dim=1)[0].tolist()
            assert len(set(together)) == len(together)
    triples = torch.cat([b for batches in epochs for b in batches], dim=1)
    pairs = [(u, i) for u, i, _ in triples.t().tolist()]
    assert set(pairs) <= known
    assert known.isdisjoint((u, j) for u, _, j in triples.t().tolist())
    if sampling == 'interaction':
        assert len(set(pairs)) == len(pairs) > len(known) - size


@pytest.mark.parametrize('sampling', SAMPLING)
def test_processes_take_the_batches_of_one(sampling):
    """Its users, in its order; negatives are drawn by each process."""
    data = FakeMultimodal(num_users=30, num_items=20)[0]
    (one,), _ = epochs_of(data, 1, 60, sampling)
    (first, second), _ = epochs_of(data, 2, 30, sampling)
    again, _ = epochs_of(data, 2, 30, sampling)
    for whole, *parts in zip(one, first, second, strict=True):
        parts = torch.cat(parts, dim=1)
        rows = slice(0, 1) if sampling == 'user' else slice(0, 2)
        assert torch.equal(parts[rows], whole[rows, : parts.size(1)])
        assert not torch.equal(parts[2], whole[2])
    for found, expected in zip(again, (first, second), strict=True):
        for batch, other in zip(found, expected, strict=True):
            assert torch.equal(batch, other)
    assert not torch.equal(first[0][2], second[0][2])


# Distributions ###############################################################

# User 1 is idle, user 0 is three times as active as user 3:
PAIRS = [(2, 4), (0, 0), (0, 3), (3, 5), (0, 5), (2, 1)]


def test_negatives_are_uniform():
    loader = TripletLoader(graph(4, 7, PAIRS))
    for user in range(4):
        known = {item for u, item in PAIRS if u == user}
        neg = loader.negatives(torch.full((4000,), user))
        count = counts(neg, 7)
        assert [count[item] for item in known] == [0] * len(known)
        left = [count[item] for item in range(7) if item not in known]
        assert chisquare(left).pvalue > 0.001


def test_users_and_their_positives_are_uniform():
    loader = TripletLoader(graph(4, 7, PAIRS), 2, 'user')
    triples = torch.cat([epoch_of(loader) for _ in range(500)], dim=1)
    count = counts(triples[0], 4)
    assert count[1] == 0
    # Users of a batch are distinct, so that their counts vary even less than
    # those of independent draws:
    assert chisquare([count[0], count[2], count[3]]).pvalue > 0.001
    for user, items in {0: [0, 3, 5], 2: [1, 4], 3: [5]}.items():
        count = counts(triples[1, triples[0] == user], 7)
        assert sum(count) == sum(count[item] for item in items)
        if len(items) > 1:
            assert chisquare([count[i] for i in items]).pvalue > 0.001


def test_interactions_come_in_random_order():
    """Each interaction is as likely as any other in the first batch."""
    loader = TripletLoader(graph(4, 7, PAIRS), 1)
    first = [next(iter(loader)) for _ in range(1500)]
    keys = [int(user) * 7 + int(pos) for user, pos, _ in first]
    count = counts(torch.tensor(keys), 28)
    assert sum(value > 0 for value in count) == len(PAIRS)
    assert chisquare([c for c in count if c]).pvalue > 0.001


# Edge cases ##################################################################


@pytest.mark.parametrize('sampling', SAMPLING)
def test_user_who_knows_nearly_all_items(sampling):
    size = 3000
    pairs = [(0, item) for item in range(size) if item != 1234] + [(1, 0)]
    loader = TripletLoader(graph(2, size, pairs), size, sampling)
    for user, _, neg in loader:
        assert set(neg[user == 0].tolist()) <= {1234}


@pytest.mark.parametrize('sampling', SAMPLING)
def test_user_who_knows_all_items(sampling):
    pairs = [(2, 0), (1, 2), (1, 0), (1, 1), (1, 1)]
    with pytest.raises(ValueError, match=r'User 1 .* all 3 items'):
        TripletLoader(graph(3, 3, pairs), sampling=sampling)


def test_repeated_edges_do_not_make_a_user_full():
    loader = TripletLoader(graph(1, 3, [(0, 0), (0, 1), (0, 1)]))
    assert epoch_of(loader)[2].tolist() == [2, 2]


@pytest.mark.parametrize('size', [1, 7, 10_000])
@pytest.mark.parametrize('sampling', SAMPLING)
def test_sample(sampling, size):
    """As a batch of an epoch would be, whatever the size of batches."""
    data = FakeMultimodal(num_users=20, num_items=15)[0]
    known = {tuple(pair) for pair in data[RATES].edge_index.t().tolist()}
    torch.manual_seed(1)
    loader = TripletLoader(data, batch_size=3, sampling=sampling)
    user, pos, neg = (x.tolist() for x in loader.sample(size))
    positives = list(zip(user, pos, strict=True))
    assert set(positives) <= known
    assert not set(zip(user, neg, strict=True)) & known
    distinct = set(user) if sampling == 'user' else set(positives)
    most = 20 if sampling == 'user' else len(known)
    assert len(distinct) == len(user) == min(size, most)


@pytest.mark.parametrize('sampling', SAMPLING)
def test_sample_is_a_batch_of_an_epoch(sampling):
    """With one batch an epoch, it is the same draw."""
    data = FakeMultimodal(num_users=20, num_items=15)[0]
    loader = TripletLoader(data, batch_size=1000, sampling=sampling)
    torch.manual_seed(1)
    (batch,) = loader
    torch.manual_seed(1)
    for one, other in zip(batch, loader.sample(1000), strict=True):
        assert torch.equal(one, other)


def test_num_batches_by_user():
    """As the authors' code: `num_train // batch_size + 1`."""
    data = FakeMultimodal(num_users=20, num_items=15, num_interactions=12)[0]
    assert data[RATES].edge_index.size(1) == 200
    for batch_size, expected in [(8, 26), (10, 21), (200, 2), (201, 1)]:
        loader = TripletLoader(data, batch_size, 'user')
        assert len(loader) == len(list(loader)) == expected


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(batch_size=0), r"'batch_size' .* 'TripletLoader' \(got 0\)"),
        (dict(batch_size=-1), r"'batch_size' .* 'TripletLoader' \(got -1\)"),
        (dict(sampling='item'), r"'sampling' .* 'TripletLoader' .*'item'"),
    ],
)
def test_argument_errors(kwargs, message):
    with pytest.raises(ValueError, match=message):
        TripletLoader(graph(2, 3, [(0, 0)]), **kwargs)


def test_repr():
    loader = TripletLoader(graph(2, 3, [(0, 0)]), 8, 'user')
    assert repr(loader) == "TripletLoader(batch_size=8, sampling='user')"


# Weights #####################################################################

#: User 0 has three interactions, one of them certain; user 2 is idle.
WEIGHTED = {(0, 0): 1.0, (0, 3): 0.5, (0, 5): 0.1, (1, 1): 0.7, (3, 5): 0.2}


def weighted(weights=None) -> HeteroData:
    weights = WEIGHTED if weights is None else weights
    data = graph(4, 7, weights)
    data[RATES].edge_weight = torch.tensor([*weights.values()])
    return data


@settings(deadline=None, max_examples=60)
@given(
    data=graphs(),
    batch_size=st.integers(1, 12),
    sampling=st.sampled_from(SAMPLING),
    size=st.integers(1, 3),
    draw=st.data(),
)
def test_processes_share_an_epoch_of_weights(
    data, batch_size, sampling, size, draw
):
    """All draw the same interactions, and as many batches each time."""
    num = data[RATES].edge_index.size(1)
    weight = draw.draw(
        st.lists(st.sampled_from([1.0, 0.5, 0.1]), min_size=num, max_size=num)
    )
    if not num:
        return
    data[RATES].edge_weight = torch.tensor(weight)
    best = {}
    for (u, i), w in zip(
        data[RATES].edge_index.t().tolist(), weight, strict=True
    ):
        best[u, i] = max(w, best.get((u, i), 0))
    certain = {pair for pair, w in best.items() if w == 1}
    if len({user for user, _ in certain}) < size:
        return
    total = sum(best.values())
    epochs, states = epochs_of(data, size, batch_size, sampling)
    assert all(torch.equal(state, states[0]) for state in states)
    for batches in zip(*epochs, strict=True):
        assert len({batch.size(1) for batch in batches}) == 1
        assert 1 <= batches[0].size(1) <= batch_size + (size == 1)
    triples = torch.cat([b for batches in epochs for b in batches], dim=1)
    taken = [(u, i) for u, i, _ in triples.t().tolist()]
    assert set(taken) <= best.keys()
    assert best.keys().isdisjoint((u, j) for u, _, j in triples.t().tolist())
    if sampling == 'interaction':
        assert len(set(taken)) == len(taken)
        assert total - size < len(taken) < total + 1
        if size == 1:
            assert certain <= set(taken)


def test_interactions_take_part_as_their_weights_say():
    loader = TripletLoader(weighted(), 2)
    num_epochs = 2000
    triples = torch.cat([epoch_of(loader) for _ in range(num_epochs)], dim=1)
    count = counts(triples[0] * 7 + triples[1], 28)
    for (user, item), weight in WEIGHTED.items():
        share = count[user * 7 + item] / num_epochs
        spread = (weight * (1 - weight) / num_epochs) ** 0.5
        assert abs(share - weight) <= 4 * spread + 1e-9
    assert sum(count) == triples.size(1)
    # 2.5 on average, two or three each time, in one batch as ever:
    epochs = [[*loader] for _ in range(50)]
    assert {len(epoch) for epoch in epochs} == {len(loader)} == {1}
    assert {len(epoch[0][0]) for epoch in epochs} == {2, 3}


def test_epochs_have_as_many_as_weights_sum_to():
    loader = TripletLoader(weighted(), 5)
    sizes = [epoch_of(loader).size(1) for _ in range(200)]
    assert set(sizes) == {2, 3}
    assert abs(sum(sizes) / 200 - 2.5) < 0.15


def test_expected_loss_is_the_weighted_one():
    """Its gradient is that of each interaction times its weight."""
    value = torch.rand(4, 7, dtype=torch.double)
    loader = TripletLoader(weighted(), 100)
    num_epochs, total = 4000, 0.0
    for _ in range(num_epochs):
        user, pos, _ = epoch_of(loader)
        total += float(value[user, pos].sum())
    expected = sum(w * float(value[pair]) for pair, w in WEIGHTED.items())
    assert total / num_epochs == pytest.approx(expected, rel=0.03)


def test_items_of_a_user_are_drawn_by_their_weights():
    weights = {(0, 0): 1.0, (0, 3): 0.1, (1, 1): 0.25, (1, 2): 0.25}
    loader = TripletLoader(weighted(weights), 8, 'user')
    assert len(loader) == 1
    triples = torch.cat([epoch_of(loader) for _ in range(2000)], dim=1)
    assert [*counts(triples[0], 4)] == [2000, 2000, 0, 0]
    for user, odds in ((0, [10, 1]), (1, [1, 1])):
        item = counts(triples[1, triples[0] == user], 7)
        expected = [2000 * share / sum(odds) for share in odds]
        found = [num for num in item if num]
        assert chisquare(found, expected).pvalue > 0.001


@pytest.mark.parametrize('sampling', SAMPLING)
def test_equal_weights_are_none(sampling):
    data = weighted(dict.fromkeys(WEIGHTED, 1.0))
    without = graph(4, 7, [*WEIGHTED])
    epochs = []
    for each in (data, without):
        torch.manual_seed(0)
        epochs.append(epoch_of(TripletLoader(each, 5, sampling)).tolist())
    assert epochs[0] == epochs[1]
    assert fingerprint(data) == fingerprint(without)


EPOCH = [[0, 3, 2, 0, 0, 2], [5, 5, 1, 0, 3, 4], [2, 6, 3, 4, 1, 2]]
EPOCH_BY_USER = [[3, 0, 2, 3, 2, 0], [5, 3, 1, 5, 1, 3], [2, 4, 2, 4, 2, 4]]


def test_no_random_number_changes_without_weights():
    """The numbers that this loader has always drawn."""
    torch.manual_seed(0)
    loader = TripletLoader(graph(4, 7, PAIRS), 4)
    assert epoch_of(loader).tolist() == EPOCH
    torch.manual_seed(0)
    loader = TripletLoader(graph(4, 7, PAIRS), 4, 'user')
    assert epoch_of(loader).tolist() == EPOCH_BY_USER


def test_weights_of_a_pair_that_occurs_twice():
    data = graph(4, 7, [(0, 0), (0, 1), (0, 0)])
    data[RATES].edge_weight = torch.tensor([0.1, 0.1, 1.0])
    loader = TripletLoader(data)
    assert loader.num_pairs == 1
    assert all(0 in epoch_of(loader)[1].tolist() for _ in range(20))


def test_weights_that_draw_nothing_are_refused():
    data = weighted({(0, 0): 0.3, (1, 1): 0.3})
    with pytest.raises(ValueError, match='sums to less than 1, so that an'):
        TripletLoader(data)
    with pytest.raises(
        ValueError, match=r'3 processes cannot share .* 2 inter'
    ):
        TripletLoader(weighted(), ranks=Ranks(0, 3))


# Cold items ##################################################################


@pytest.mark.parametrize('sampling', SAMPLING)
def test_cold_items_are_no_negatives(sampling):
    data = graph(4, 7, [(0, 0), (0, 1), (1, 3), (3, 0)])
    data['item'].cold = torch.tensor([0, 0, 1, 0, 1, 0, 1]).bool()
    loader = TripletLoader(data, 4, sampling)
    negatives = torch.cat([epoch_of(loader)[2] for _ in range(100)])
    assert set(negatives.tolist()) == {0, 1, 3, 5}
    neg = loader.negatives(torch.zeros(2000, dtype=torch.long))
    count = counts(neg, 7)
    assert count[0] == count[1] == count[2] == count[4] == count[6] == 0
    assert chisquare([count[3], count[5]]).pvalue > 0.001


def test_user_who_knows_all_that_can_be_drawn():
    data = graph(2, 3, [(0, 0), (0, 1), (1, 0)])
    TripletLoader(data)
    data['item'].cold = torch.tensor([False, False, True])
    with pytest.raises(ValueError, match='User 0 has interacted with all 2'):
        TripletLoader(data)
