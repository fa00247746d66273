import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.graph import RATES
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
