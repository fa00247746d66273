import random
import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.splits import (
    ColdItemSplit,
    LATTICESplit,
    MMRecSplit,
    PublishedSplit,
    RandomSplit,
    Split,
    TimeSplit,
    as_split,
)

SEEDED = {
    'random': RandomSplit,
    'mmrec': MMRecSplit,
    'lattice': LATTICESplit,
}
RANDOM = tuple(SEEDED)


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
        label = as_split(split)(interactions)
        assert label.dtype == torch.long
        assert label.tolist() == expected
    else:
        expected = re.escape(f'split={as_split(split)!r} leaves')
        with pytest.raises(ValueError, match=expected):
            as_split(split)(interactions)


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
    label = as_split(rule)(interactions)
    num = 3 if rule == 'time' else 1
    assert label.tolist() == [0] * (30 - 2 * num) + [1] * num + [2] * num


def test_leave_one_out_takes_times_that_are_not_whole():
    interactions = interactions_of([3])._replace(
        time=torch.tensor([0.5, 0.75, 0.25])
    )
    label = as_split('leave_one_out')(interactions)
    assert label.tolist() == [1, 2, 0]


@settings(max_examples=30, deadline=None)
@given(histories(), st.integers(0, 3))
def test_random(interactions, seed):
    num = interactions.user.numel()
    if num < 10:
        with pytest.raises(ValueError, match='no interaction for validation'):
            SEEDED['random'](seed=seed)(interactions)
        return
    label = SEEDED['random'](seed=seed)(interactions)
    assert torch.bincount(label).tolist() == [
        num - 2 * (num // 10),
        num // 10,
        num // 10,
    ]


@pytest.mark.parametrize('share', [0.1, 0.25, 0.29])
def test_shares(share):
    interactions = interactions_of([60, 40])
    interactions = interactions._replace(time=torch.arange(100).flip(0))
    part = round(100 * share)
    for split in (RandomSplit(share), TimeSplit(share)):
        label = split(interactions)
        assert label.bincount().tolist() == [100 - 2 * part, part, part]
    assert label[:part].tolist() == [2] * part


@settings(max_examples=50, deadline=None)
@given(histories(), st.sampled_from([0.1, 0.2, 0.45]))
def test_time_per_user(interactions, share):
    time = interactions.time.tolist()
    expected = [0] * len(time)
    for rows in rows_of_users(interactions):
        if len(rows) < 3:
            continue
        latest = sorted(rows, key=lambda row: (time[row], row), reverse=True)
        part = max(1, int(round(len(rows) * share, 6)))
        for row in latest[:part]:
            expected[row] = 2
        for row in latest[part : 2 * part]:
            expected[row] = 1
    split = TimeSplit(share, per_user=True)
    assert split.label(interactions).tolist() == expected


@settings(max_examples=50, deadline=None)
@given(histories(), st.sampled_from([0.1, 0.25, 0.4]), st.integers(0, 3))
def test_cold_items(interactions, share, seed):
    label = ColdItemSplit(share, seed).label(interactions)
    of_item = {}
    for item, value in zip(
        interactions.item.tolist(), label.tolist(), strict=True
    ):
        assert of_item.setdefault(item, value) == value
    num = len(interactions.items)
    part = max(1, int(round(num * share, 6)))
    count = Counter(of_item.values())
    assert count[2] == part
    assert count[1] == min(part, num - part)


@pytest.mark.parametrize('split', [RandomSplit, TimeSplit, ColdItemSplit])
@pytest.mark.parametrize('share', [0, 0.5, -1, float('nan')])
def test_shares_that_leave_nothing(split, share):
    with pytest.raises(ValueError, match="'share' is that of test and"):
        split(share)


def test_a_split_of_ones_own_has_to_fit():
    @dataclass(frozen=True)
    class Own(Split):
        def label(self, interactions):
            return torch.arange(3)

    assert Own()(interactions_of([3])).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r'Own\(\) has a split for each of'):
        Own()(interactions_of([4]))


def test_as_split():
    assert as_split('mmrec') == MMRecSplit(seed=0)
    assert as_split(split := TimeSplit(0.2)) is split
    with pytest.raises(ValueError, match='needs to be a name, a path or a'):
        as_split(3)


def test_no_published_split(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no split '.*none'"):
        PublishedSplit(tmp_path / 'none')


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
    label = SEEDED[rule](seed=seed)(interactions).tolist()
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
    label = as_split(rule)(interactions_of([n]))
    assert torch.bincount(label).tolist() == expected


@pytest.mark.parametrize('rule', RANDOM)
def test_random_rules_favour_no_interaction(rule):
    interactions = interactions_of([10, 10])
    labels = torch.stack(
        [SEEDED[rule](seed=seed)(interactions) for seed in range(1000)]
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
    expected = SEEDED[rule](seed=1)(interactions)
    torch.manual_seed(7)  # Which is of no effect.
    state = torch.get_rng_state()
    assert SEEDED[rule](seed=1)(interactions).equal(expected)
    assert torch.get_rng_state().equal(state)
    assert not SEEDED[rule](seed=2)(interactions).equal(expected)
    default = as_split(rule)(interactions)
    assert default.equal(SEEDED[rule](seed=0)(interactions))


@pytest.mark.parametrize(
    ('rule', 'validation', 'test'),
    [('random', [2], [8]), ('mmrec', [0], [2, 8]), ('lattice', [0, 2], [8])],
)
def test_seed_means_the_same_split_in_all_releases(rule, validation, test):
    interactions = Interactions.from_ids(['ann'] * 15, list('abcdefghijklmno'))
    label = SEEDED[rule](seed=3)(interactions)
    assert label.eq(1).nonzero().view(-1).tolist() == validation
    assert label.eq(2).nonzero().view(-1).tolist() == test


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
    label = as_split(kind(published))(interactions)
    assert label.tolist() == [1, 0, 2]


def test_name_of_a_rule_comes_before_a_path(published, monkeypatch):
    monkeypatch.chdir(published.parent)
    published.rename('mmrec')
    interactions = interactions_of([5, 5])  # Others than those of the file.
    assert as_split('mmrec')(interactions).numel() == 10


# Errors ######################################################################


@pytest.mark.parametrize('rule', ['time', 'leave_one_out'])
def test_missing_times(rule):
    with pytest.raises(ValueError, match=r'\) needs the time of each'):
        as_split(rule)(interactions_of([20]))


@pytest.mark.parametrize('split', ['rand', 'no/such/folder', ''])
def test_unknown_rule(split):
    with pytest.raises(ValueError) as info:
        as_split(split)(interactions_of([20]))
    assert str(info.value) == (
        "'split' is neither one of 'random', 'time', 'leave_one_out', "
        f"'mmrec', 'lattice' nor a path that exists (got '{split}')"
    )


@pytest.mark.parametrize('rule', ['mmrec', 'lattice', 'leave_one_out'])
def test_users_with_less_than_three_only_train(rule):
    interactions = interactions_of([2, 1, 2])
    interactions = interactions._replace(time=torch.arange(5))
    with pytest.raises(ValueError) as info:
        as_split(rule)(interactions)
    assert str(info.value) == (
        f'split={as_split(rule)!r} leaves no interaction for validation; '
        f'choose another split, or another core'
    )


@pytest.mark.parametrize('rule', [*RANDOM, 'time', 'leave_one_out'])
def test_nothing_to_split(rule):
    empty = Interactions.from_ids([], [], time=torch.empty(0))
    with pytest.raises(ValueError, match='no interaction for training'):
        as_split(rule)(empty)


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
        as_split(published)(interactions)
    assert f"(path='{published}') leaves no interaction for {part}" in str(
        info.value
    )


@dataclass(frozen=True)
class Given(Split):
    """A split that returns what it is given."""

    value: object

    def label(self, interactions):
        return self.value


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        (torch.tensor([0.0, 1.0, 2.0, 0.5]), r'of integers.*got torch.float32'),
        (torch.tensor([True, False, True, True]), r'got torch.bool'),
        (np.array([0.0, 1, 2, 0]), r'got float64'),
        ([0, 1, 2, 0], r'got list'),
        (None, r'got NoneType'),
        (torch.tensor([0, 1, 2, 3]), r'the split 3 for interaction 3'),
        (torch.tensor([0, -1, 1, 2]), r'the split -1 for interaction 1'),
        (torch.tensor([0, 1, 2]), r'each of \[3\] interactions.* are 4'),
        (np.array([0, 1, 2]), r'each of \[3\] interactions.* are 4'),
    ],
)
def test_a_split_of_ones_own_is_checked(value, message):
    with pytest.raises(ValueError, match=message):
        Given(value)(interactions_of([4]))


@pytest.mark.parametrize(
    'value',
    [
        np.array([0, 1, 2, 0]),
        np.array([0, 1, 2, 0], dtype='>u2'),
        torch.tensor([0, 1, 2, 0], dtype=torch.uint8),
    ],
)
def test_a_split_of_ones_own_has_any_integers(value):
    label = Given(value)(interactions_of([4]))
    assert label.dtype == torch.long
    assert label.tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize('rule', [RandomSplit, TimeSplit, ColdItemSplit])
@pytest.mark.parametrize('share', ['0.1', None, float('nan'), True])
def test_a_share_is_a_number(rule, share):
    with pytest.raises(ValueError, match=r"'share'.*between 0 and 0\.5"):
        rule(share=share)


@pytest.mark.parametrize(
    'rule', [RandomSplit, ColdItemSplit, MMRecSplit, LATTICESplit]
)
@pytest.mark.parametrize('seed', [1.5, '1', None, True, -1, 2**63])
def test_a_seed_is_a_whole_number(rule, seed):
    match = f"'seed' needs to be a whole number .* in '{rule.__name__}'"
    with pytest.raises(ValueError, match=match):
        rule(seed=seed)


@pytest.mark.parametrize(
    'rule', [RandomSplit, ColdItemSplit, MMRecSplit, LATTICESplit]
)
def test_a_seed_of_numpy_is_a_plain_one(rule):
    """Data on disk are known by the representation of their split."""
    assert repr(rule(seed=np.int64(1))) == repr(rule(seed=1))


def test_per_user_is_a_boolean():
    with pytest.raises(ValueError, match="'per_user' needs to be True or Fal"):
        TimeSplit(per_user='no')


def test_shares_of_long_histories_are_exact():
    num = 10_770  # In single precision, a tenth is one too few.
    interactions = Interactions(
        ['ann'],
        [str(item) for item in range(num)],
        torch.zeros(num, dtype=torch.long),
        torch.arange(num),
        time=torch.arange(num),
    )
    label = TimeSplit(share=0.1, per_user=True)(interactions)
    assert label.bincount().tolist() == [num - 2 * 1077, 1077, 1077]


# Interactions with weights ###################################################


def views_and_purchases() -> Interactions:
    """Twelve purchases, and two views of lower weight after each."""
    user, item, weight = [], [], []
    for number in range(12):
        user += [f'u{number % 3}'] * 3
        item += [f'i{number}', f'i{(number + 5) % 12}', f'j{number}']
        weight += [1.0, 0.5, 0.1]
    return Interactions.from_ids(
        user, item, time=torch.arange(36), weight=torch.tensor(weight)
    )


@pytest.mark.parametrize(
    'split',
    [RandomSplit(), MMRecSplit(), LATTICESplit(), TimeSplit(per_user=True)],
    ids=str,
)
def test_the_largest_weight_is_split(split):
    interactions = views_and_purchases()
    bought = interactions.weight == 1
    label = split(interactions)
    alone = interactions.select(bought.nonzero().flatten())
    assert label[bought].equal(split(alone._replace(weight=None)))
    assert (label[~bought] == 0).all()


def test_what_a_split_holds_out_is_not_viewed_either():
    interactions = views_and_purchases()
    bought = interactions.weight == 1
    split = ColdItemSplit(share=0.2)
    with pytest.warns(UserWarning, match=r'leaves out 4 of 24 interactions of'):
        label = split(interactions)
    held_out = set(interactions.item[label > 0].tolist())
    assert len(held_out) == 4
    for item, one, is_bought in zip(
        interactions.item.tolist(), label.tolist(), bought, strict=True
    ):
        if is_bought:
            assert (one > 0) == (item in held_out)
        else:
            assert one == (-1 if item in held_out else 0)


def test_no_view_is_later_than_what_a_time_split_holds_out():
    interactions = views_and_purchases()
    with pytest.warns(UserWarning, match=r'leaves out \d+ of 24 interactions'):
        label = TimeSplit(share=0.1)(interactions)
    first = int(interactions.time[label > 0].min())
    bought = interactions.weight == 1
    late = (interactions.time > first) & ~bought
    assert label[late].eq(-1).all()
    assert label[~late & ~bought].eq(0).all()


def test_nothing_of_the_largest_weight():
    interactions = views_and_purchases()
    half = interactions._replace(weight=interactions.weight / 2)
    with pytest.raises(ValueError, match='No interaction is left of the large'):
        RandomSplit()(half)
