import random
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_ckd.datasets.interactions import Interactions
from pyg_ckd.datasets.splits import split_interactions

RANDOM = ('random', 'mmrec', 'lattice')


def interactions_of(counts: list[int], seed: int = 0) -> Interactions:
    """Return as many interactions of each user, in any order, without times."""
    pairs = [
        (f'user {user}', f'item {item}')
        for user, count in enumerate(counts)
        for item in range(count)
    ]
    random.Random(seed).shuffle(pairs)
    users, items = zip(*pairs, strict=True)
    return Interactions.from_ids(list(users), list(items))


@st.composite
def histories(draw):
    """Draw interactions with times, many of them at the same time."""
    counts = draw(st.lists(st.integers(1, 25), min_size=1, max_size=5))
    interactions = interactions_of(counts, draw(st.integers(0, 99)))
    num = interactions.user.numel()
    times = draw(st.lists(st.integers(0, 9), min_size=num, max_size=num))
    return interactions._replace(time=torch.tensor(times))


def rows_of_users(interactions: Interactions) -> list[list[int]]:
    rows = [[] for _ in interactions.users]
    for row, user in enumerate(interactions.user.tolist()):
        rows[user].append(row)
    return rows


def check(interactions: Interactions, split: str, expected: list[int]) -> None:
    """Check a split, which is refused if it has no training, 1s or 2s."""
    if set(expected) == {0, 1, 2}:
        label = split_interactions(interactions, split)
        assert label.dtype == torch.long
        assert label.tolist() == expected
    else:
        with pytest.raises(ValueError, match=f"split='{split}' leaves no"):
            split_interactions(interactions, split)


# Rules #######################################################################


@settings(max_examples=50, deadline=None)
@given(histories())
def test_time(interactions):
    time = interactions.time.tolist()
    rows = sorted(range(len(time)), key=lambda row: (time[row], row))
    tenth = len(rows) // 10
    expected = [0] * len(rows)
    for row in rows[len(rows) - 2 * tenth : len(rows) - tenth]:
        expected[row] = 1
    for row in rows[len(rows) - tenth :]:
        expected[row] = 2
    check(interactions, 'time', expected)


@settings(max_examples=50, deadline=None)
@given(histories())
def test_leave_one_out(interactions):
    time = interactions.time.tolist()
    expected = [0] * len(time)
    for rows in rows_of_users(interactions):
        rows = sorted(rows, key=lambda row: (time[row], row))
        if len(rows) >= 3:
            expected[rows[-2]], expected[rows[-1]] = 1, 2
    check(interactions, 'leave_one_out', expected)


@pytest.mark.parametrize('rule', ['time', 'leave_one_out'])
def test_order_of_the_file_decides_ties(rule):
    interactions = interactions_of([30])._replace(time=torch.zeros(30))
    label = split_interactions(interactions, rule)
    num = 3 if rule == 'time' else 1
    assert label.tolist() == [0] * (30 - 2 * num) + [1] * num + [2] * num


def test_leave_one_out_takes_times_that_are_not_whole():
    interactions = interactions_of([3])._replace(
        time=torch.tensor([0.5, 0.75, 0.25])
    )
    label = split_interactions(interactions, 'leave_one_out')
    assert label.tolist() == [1, 2, 0]


@settings(max_examples=30, deadline=None)
@given(histories(), st.integers(0, 3))
def test_random(interactions, seed):
    num = interactions.user.numel()
    if num < 10:
        with pytest.raises(ValueError, match='no interaction for validation'):
            split_interactions(interactions, 'random', seed)
        return
    label = split_interactions(interactions, 'random', seed)
    assert torch.bincount(label).tolist() == [
        num - 2 * (num // 10),
        num // 10,
        num // 10,
    ]


def sizes(rule: str, n: int) -> tuple[int, int, int]:
    """Return how many of n interactions train, validate and test."""
    if n < 3:
        return n, 0, 0
    if n < 10:
        return n - 2, 1, 1
    held_out = int(0.2 * n)
    first, rest = held_out // 2, held_out - held_out // 2
    if rule == 'lattice':
        return n - held_out, rest, first
    return n - held_out, first, rest


@pytest.mark.parametrize('rule', ['mmrec', 'lattice'])
@pytest.mark.parametrize('seed', [0, 1])
def test_mmrec_and_lattice(rule, seed):
    counts = [*range(1, 102), 1234]
    interactions = interactions_of(counts, seed)
    label = split_interactions(interactions, rule, seed).tolist()
    for user, rows in enumerate(rows_of_users(interactions)):
        of_user = Counter(label[row] for row in rows)
        expected = sizes(rule, len(rows))
        assert tuple(of_user[value] for value in range(3)) == expected, user


@pytest.mark.parametrize(
    ('rule', 'n', 'expected'),
    [
        ('lattice', 15, [12, 2, 1]),
        ('mmrec', 15, [12, 1, 2]),
        ('lattice', 10, [8, 1, 1]),
        ('mmrec', 20, [16, 2, 2]),
        ('mmrec', 5, [3, 1, 1]),
        ('lattice', 9, [7, 1, 1]),
        ('mmrec', 3, [1, 1, 1]),
    ],
)
def test_mmrec_and_lattice_by_hand(rule, n, expected):
    label = split_interactions(interactions_of([n]), rule)
    assert torch.bincount(label).tolist() == expected


@pytest.mark.parametrize('rule', RANDOM)
def test_random_rules_favour_no_interaction(rule):
    interactions = interactions_of([10, 10])
    labels = torch.stack(
        [split_interactions(interactions, rule, seed) for seed in range(1000)]
    )
    # Each is for test (and validation) in a tenth of all splits, give or take
    # five standard deviations:
    for value in (1, 2):
        share = (labels == value).float().mean(dim=0)
        assert (share - 0.1).abs().max() < 0.05


# Seeds #######################################################################


@pytest.mark.parametrize('rule', RANDOM)
def test_seed(rule):
    interactions = interactions_of([12, 30, 5])
    expected = split_interactions(interactions, rule, seed=1)
    torch.manual_seed(7)  # Which is of no effect.
    state = torch.get_rng_state()
    assert split_interactions(interactions, rule, seed=1).equal(expected)
    assert torch.get_rng_state().equal(state)
    assert not split_interactions(interactions, rule, seed=2).equal(expected)
    default = split_interactions(interactions, rule)
    assert default.equal(split_interactions(interactions, rule, seed=0))


@pytest.mark.parametrize(
    ('rule', 'validation', 'test'),
    [('random', [2], [8]), ('mmrec', [0], [2, 8]), ('lattice', [0, 2], [8])],
)
def test_seed_means_the_same_split_in_all_releases(rule, validation, test):
    interactions = Interactions.from_ids(['ann'] * 15, list('abcdefghijklmno'))
    label = split_interactions(interactions, rule, seed=3)
    assert label.eq(1).nonzero().view(-1).tolist() == validation
    assert label.eq(2).nonzero().view(-1).tolist() == test


@pytest.mark.parametrize('rule', ['time', 'leave_one_out'])
def test_rules_by_time_ignore_the_seed(rule):
    interactions = interactions_of([12, 30, 5])
    interactions = interactions._replace(time=torch.arange(47) % 6)
    first, second = (
        split_interactions(interactions, rule, seed) for seed in (1, 2)
    )
    assert first.equal(second)


# Paths #######################################################################


@pytest.fixture
def published(tmp_path):
    path = tmp_path / 'split.csv'
    path.write_text(
        'user,item,split\n'
        'user 0,item 1,train\n'
        'user 0,item 0,validation\n'
        'user 0,item 2,test\n'
    )
    return path


@pytest.mark.parametrize('kind', [str, lambda path: path])
def test_path(published, kind):
    interactions = Interactions.from_ids(
        ['user 0'] * 3, ['item 0', 'item 1', 'item 2']
    )
    label = split_interactions(interactions, kind(published))
    assert label.tolist() == [1, 0, 2]


def test_name_of_a_rule_comes_before_a_path(published, monkeypatch):
    monkeypatch.chdir(published.parent)
    published.rename('mmrec')
    interactions = interactions_of([5, 5])  # Others than those of the file.
    assert split_interactions(interactions, 'mmrec').numel() == 10


# Errors ######################################################################


@pytest.mark.parametrize('rule', ['time', 'leave_one_out'])
def test_missing_times(rule):
    with pytest.raises(ValueError, match="'split' needs the time of each"):
        split_interactions(interactions_of([20]), rule)


@pytest.mark.parametrize('split', ['rand', 'no/such/folder', ''])
def test_unknown_rule(split):
    with pytest.raises(ValueError) as info:
        split_interactions(interactions_of([20]), split)
    assert str(info.value) == (
        "'split' is neither one of 'random', 'time', 'leave_one_out', "
        f"'mmrec', 'lattice' nor a path that exists (got '{split}')"
    )


@pytest.mark.parametrize('rule', ['mmrec', 'lattice', 'leave_one_out'])
def test_users_with_less_than_three_only_train(rule):
    interactions = interactions_of([2, 1, 2])
    interactions = interactions._replace(time=torch.arange(5))
    with pytest.raises(ValueError) as info:
        split_interactions(interactions, rule)
    assert str(info.value) == (
        f"split='{rule}' leaves no interaction for validation; choose another "
        f'rule, or another core'
    )


@pytest.mark.parametrize('rule', [*RANDOM, 'time', 'leave_one_out'])
def test_nothing_to_split(rule):
    empty = Interactions.from_ids([], [], time=torch.empty(0))
    with pytest.raises(ValueError, match='no interaction for training'):
        split_interactions(empty, rule)


@pytest.mark.parametrize(
    ('name', 'other'),
    [('train', 'test'), ('validation', 'test'), ('test', 'train')],
)
def test_published_split_without_a_part(published, name, other):
    text = published.read_text().replace(name, other)
    published.write_text(text)
    interactions = Interactions.from_ids(
        ['user 0'] * 3, ['item 0', 'item 1', 'item 2']
    )
    part = {'train': 'training'}.get(name, name)
    with pytest.raises(ValueError) as info:
        split_interactions(interactions, published)
    assert f"split='{published}' leaves no interaction for {part}" in str(
        info.value
    )
