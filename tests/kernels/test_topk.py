import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_ckd.kernels.topk import stable_topk


def naive(score, k):
    """Sort each row by score, then by index, with Python's own sort."""
    rows = [
        sorted(range(len(row)), key=lambda j, row=row: (-row[j], j))[:k]
        for row in score.tolist()
    ]
    index = torch.tensor(rows, dtype=torch.long).view(-1, k)
    return score.gather(1, index), index


@st.composite
def tables(draw):
    num_rows = draw(st.integers(1, 5))
    num_columns = draw(st.integers(1, 12))
    # Few distinct values, so that ties are everywhere:
    entry = st.sampled_from([-torch.inf, -1.0, -0.0, 0.0, 0.5, torch.inf])
    row = st.lists(entry, min_size=num_columns, max_size=num_columns)
    score = draw(st.lists(row, min_size=num_rows, max_size=num_rows))
    return torch.tensor(score), draw(st.integers(1, num_columns))


@settings(max_examples=300, deadline=None)
@given(tables())
def test_stable_topk_with_ties(table):
    score, k = table
    before = score.clone()
    value, index = stable_topk(score, k)
    expected_value, expected_index = naive(score, k)
    assert torch.equal(index, expected_index)
    assert torch.equal(value, expected_value)
    assert torch.equal(score, before)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 8))
def test_stable_topk_without_ties(seed, k, num_rows):
    random = torch.Generator().manual_seed(seed)
    score = torch.randn(num_rows, 40, generator=random)
    value, index = stable_topk(score, k)
    expected = score.sort(dim=1, descending=True, stable=True)
    assert torch.equal(index, expected.indices[:, :k])
    assert torch.equal(value, expected.values[:, :k])


def test_stable_topk_of_masked_rows():
    # What a ranking sees of a user who knows nearly everything:
    score = torch.full((2, 50), -torch.inf)
    score[0, [30, 10]] = torch.tensor([1.0, 2.0])
    value, index = stable_topk(score, 4)
    assert index.tolist() == [[10, 30, 0, 1], [0, 1, 2, 3]]
    assert value[0].tolist() == [2, 1, -torch.inf, -torch.inf]


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16, torch.int64])
def test_stable_topk_of_other_types(dtype):
    score = torch.randint(5, (20, 30)).to(dtype)
    value, index = stable_topk(score, 7)
    assert value.dtype == dtype
    assert torch.equal(index, naive(score, 7)[1])


def test_stable_topk_of_no_rows():
    value, index = stable_topk(torch.empty(0, 4), 2)
    assert value.shape == index.shape == (0, 2)


# Many columns ################################################################


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 3),
    st.integers(400, 2_400),
    st.sampled_from([1, 2, 5, 100, 300, 1_000_000]),
)
def test_stable_topk_of_many_columns(seed, k, num_columns, num_values):
    """Chunks give what a stable sort of all gives, ties included."""
    random = torch.Generator().manual_seed(seed)
    score = torch.randint(
        num_values, (4, num_columns), generator=random
    ).float()
    score[1, torch.rand(num_columns, generator=random) < 0.99] = -torch.inf
    score[2] = -torch.inf
    score[3, -2:] = num_values  # the last chunk may not be whole
    before = score.clone()
    value, index = stable_topk(score, k)
    expected = score.sort(dim=1, descending=True, stable=True)
    assert torch.equal(index, expected.indices[:, :k])
    assert torch.equal(value, expected.values[:, :k])
    assert torch.equal(score, before)


def test_stable_topk_of_equal_entries_far_apart():
    """The one that comes first is not near the largest."""
    score = torch.zeros(1, 3_000)
    score[0, [300, 2_400, 2_410]] = torch.tensor([8.0, 9.0, 8.0])
    assert stable_topk(score, 2)[1].tolist() == [[2_400, 300]]
    assert stable_topk(score, 3)[1].tolist() == [[2_400, 300, 2_410]]


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16, torch.int64])
def test_stable_topk_of_many_columns_of_other_types(dtype):
    score = torch.randint(-3, 4, (5, 2_001)).to(dtype)
    if dtype == torch.int64:
        score[0] = torch.iinfo(dtype).min
    value, index = stable_topk(score, 2)
    assert value.dtype == dtype
    assert torch.equal(index, naive(score, 2)[1])


def test_stable_topk_of_no_rows_and_many_columns():
    value, index = stable_topk(torch.empty(0, 2_000), 2)
    assert value.shape == index.shape == (0, 2)
