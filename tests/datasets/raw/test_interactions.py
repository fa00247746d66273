import tracemalloc
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_ckd.datasets.raw.interactions import Interactions

PAIRS = st.lists(
    st.tuples(st.sampled_from('dcbafe'), st.sampled_from('vuxzyw')),
    max_size=30,
    unique=True,
)


def from_pairs(pairs: list[tuple[str, str]]) -> Interactions:
    num = len(pairs)
    return Interactions.from_ids(
        [user for user, _ in pairs],
        [item for _, item in pairs],
        rating=torch.arange(num).float(),
        time=torch.arange(num) * 10,
    )


def to_rows(interactions: Interactions) -> list[tuple[str, str, float, int]]:
    return [
        (interactions.users[user], interactions.items[item], rating, time)
        for user, item, rating, time in zip(
            interactions.user.tolist(),
            interactions.item.tolist(),
            interactions.rating.tolist(),
            interactions.time.tolist(),
            strict=True,
        )
    ]


@settings(max_examples=50, deadline=None)
@given(PAIRS)
def test_from_ids(pairs):
    interactions = from_pairs(pairs)
    assert interactions.users == sorted({user for user, _ in pairs})
    assert interactions.items == sorted({item for _, item in pairs})
    assert interactions.user.dtype == interactions.item.dtype == torch.long
    assert to_rows(interactions) == [
        (*pair, row, 10 * row) for row, pair in enumerate(pairs)
    ]


def test_from_ids_sorts_and_tells_ids_apart():
    user = ['b', 'B', '10', '9', 'a\0', 'a', 'é', '']
    interactions = Interactions.from_ids(user, ['x'] * len(user))
    assert interactions.users == ['', '10', '9', 'B', 'a', 'a\0', 'b', 'é']
    assert interactions.user.tolist() == [6, 3, 1, 2, 5, 4, 7, 0]
    assert (interactions.rating, interactions.time) == (None, None)


def test_from_ids_reads_ids_once_and_keeps_names_once():
    """What is kept of a row is a number: names come and go."""
    num = 100_000

    def ids(of: str, count: int):
        yield from (f'{of}{row % count:040d}' for row in range(num))

    tracemalloc.start()
    interactions = Interactions.from_ids(ids('u', 100), ids('i', 70))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert interactions.user.equal(torch.arange(num) % 100)
    assert interactions.item.equal(torch.arange(num) % 70)
    assert interactions.items[69] == f'i{69:040d}'
    # NumPy's array grows by half while it is read. Names alone would be 9 MB:
    assert peak < 8 * num * 5


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.floats(1, 3))
def test_core_of_many(seed, k, tail):
    """The same as dropping all users and items that lack some, in turns."""
    rng = np.random.default_rng(seed)
    pairs = (rng.random((2_000, 2)) ** tail * [300, 90]).astype(int)
    pairs = np.unique(pairs, axis=0)
    rng.shuffle(pairs)
    frame = pd.DataFrame(pairs, columns=['user', 'item'])
    interactions = from_pairs([(f'{u:03d}', f'{i:02d}') for u, i in pairs])
    core = interactions.core(k)
    before = -1
    while len(frame) != before:
        before = len(frame)
        for side in ('user', 'item'):
            size = frame.groupby(side)[side].transform('size')
            frame = frame[size >= k]
    assert core.time.tolist() == (10 * frame.index).tolist()
    assert to_rows(core) == [
        (f'{u:03d}', f'{i:02d}', row, 10 * row)
        for row, u, i in frame.itertuples()
    ]
    assert core.user.unique().tolist() == list(range(len(core.users)))
    assert core.item.unique().tolist() == list(range(len(core.items)))


@settings(max_examples=100, deadline=None)
@given(PAIRS, st.integers(1, 4))
def test_core(pairs, k):
    rows = [(*pair, row, 10 * row) for row, pair in enumerate(pairs)]
    # Drop a single row at a time, until none may be dropped:
    while True:
        users = Counter(user for user, *_ in rows)
        items = Counter(item for _, item, *_ in rows)
        bad = [row for row in rows if min(users[row[0]], items[row[1]]) < k]
        if not bad:
            break
        rows.remove(bad[0])

    core = from_pairs(pairs).core(k)
    assert to_rows(core) == rows
    assert core.users == sorted({row[0] for row in rows})
    assert core.items == sorted({row[1] for row in rows})


def test_core_takes_more_than_one_round():
    # The user 'c' goes first, then the item 'z', and only then the user 'b':
    pairs = ['ax', 'ay', 'bx', 'bz', 'cz', 'dx', 'dy']
    interactions = from_pairs([(user, item) for user, item in pairs])
    core = interactions.core(2)
    assert [user + item for user, item, *_ in to_rows(core)] == [
        'ax',
        'ay',
        'dx',
        'dy',
    ]
    assert core.user.tolist() == [0, 0, 1, 1]
    assert core.rating.tolist() == [0, 1, 5, 6]


@pytest.mark.parametrize('k', [0, 1])
def test_core_may_be_all(k):
    interactions = from_pairs([('b', 'x'), ('a', 'x'), ('b', 'y')])
    assert to_rows(interactions.core(k)) == to_rows(interactions)


def test_core_may_be_empty():
    core = from_pairs([('a', 'x'), ('b', 'y')]).core(2)
    assert (core.users, core.items) == ([], [])
    assert core.user.numel() == core.item.numel() == core.time.numel() == 0
    assert core.core(2).users == []


def test_core_without_ratings_and_times():
    interactions = Interactions.from_ids(['a', 'a', 'b'], ['x', 'y', 'x'])
    core = interactions.core(1)
    assert (core.rating, core.time) == (None, None)
    assert core.user.tolist() == [0, 0, 1]


def test_core_leaves_the_interactions_as_they_are():
    interactions = from_pairs([('a', 'x'), ('b', 'y'), ('b', 'x')])
    before = to_rows(interactions)
    interactions.core(2)
    assert to_rows(interactions) == before
    assert interactions.users == ['a', 'b']
