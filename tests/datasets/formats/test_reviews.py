import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_ckd.datasets.formats.reviews import Reviews
from pyg_ckd.datasets.raw.problems import Problems

ROWS = st.lists(
    st.tuples(
        *(st.sampled_from('abc'), st.sampled_from('xyz')),
        *(st.integers(1, 5).map(float), st.integers(-3000, 3000)),
    )
)


def collect(files, skip=True):
    reviews = Reviews()
    problems = [Problems(f'{i}.gz', 'line', skip) for i in range(len(files))]
    for rows, problem in zip(files, problems, strict=True):
        reviews.read(enumerate(rows, start=1), lambda row: row, problem)
    return reviews, problems


def naive(files, ticks):
    """Return all that is kept, by ids."""
    rows = [(*row, file) for file, rows in enumerate(files) for row in rows]
    kept = {}
    for place, (user, item, rating, time, file) in enumerate(rows):
        before = kept.get((user, item))
        if before is None or time < before[1]:
            kept[user, item] = place, time, rating, file
    out = sorted(
        ((time if ticks > 1 else 0, place), user, item, rating, time, file)
        for (user, item), (place, time, rating, file) in kept.items()
    )
    return [row[1:] for row in out]


@settings(max_examples=40, deadline=None)
@given(st.lists(ROWS, max_size=3), st.sampled_from([1, 1000]))
def test_reviews_against_a_naive_reader(files, ticks):
    reviews, problems = collect(files)
    assert len(reviews) == sum(map(len, files))
    found, file = reviews.interactions(ticks)
    rows = naive(files, ticks)
    assert found.users == sorted({user for user, *_ in rows})
    assert found.items == sorted({item for _, item, *_ in rows})
    assert [found.users[i] for i in found.user] == [row[0] for row in rows]
    assert [found.items[i] for i in found.item] == [row[1] for row in rows]
    assert found.rating.tolist() == [row[2] for row in rows]
    assert found.time.tolist() == [row[3] // ticks for row in rows]
    assert file.tolist() == [row[4] for row in rows]
    assert found.rating.dtype == torch.float32
    assert found.time.dtype == found.user.dtype == file.dtype == torch.int64
    assert sum(map(len, problems)) == len(reviews) - len(rows)


def test_repeats_of_another_file_are_told():
    row = ('a', 'x', 5.0, 1)
    reviews, _ = collect([[('b', 'x', 5.0, 1), row], [row]], skip=False)
    message = (
        "'1.gz', line 1: user 'a' and item 'x' are paired twice, first in line "
        "2 of '0.gz'"
    )
    with pytest.raises(ValueError, match=message):
        reviews.interactions()
    reviews, _ = collect([[row, row]], skip=False)
    with pytest.raises(ValueError, match='first in line 1; correct it'):
        reviews.interactions()
