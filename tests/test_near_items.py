"""Rankings by an index that does not look at all items."""

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.kernels.best_items import best_items
from pyg_ckd.nn import VBPR
from pyg_ckd.ranking import (
    evaluate,
    evaluate_hits,
    evaluate_users,
    evaluate_views,
    rank,
    rank_views,
)
from pyg_ckd.ranking._near_items import near_items


@pytest.fixture
def faiss():
    return pytest.importorskip('faiss')


@pytest.fixture
def shop(faiss):
    torch.manual_seed(0)
    data = FakeMultimodal(num_users=60, num_items=150)[0]
    return VBPR.from_data(data), data


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**16),
    num_users=st.integers(1, 9),
    num_items=st.integers(1, 40),
    k=st.integers(1, 45),
    block_size=st.sampled_from([None, 1, 2, 64]),
    some=st.booleans(),
)
def test_an_index_of_few_items_is_exact(
    seed, num_users, num_items, k, block_size, some
):
    """Up to 32 cells are all searched."""
    pytest.importorskip('faiss')
    draw = torch.Generator().manual_seed(seed)
    user_emb = torch.randn(num_users, 3, generator=draw)
    item_emb = torch.randn(num_items, 3, generator=draw)
    known = torch.rand(num_users * num_items, generator=draw) < 0.3
    user = torch.randperm(num_users, generator=draw)
    candidates = None
    if some:
        candidates = torch.randperm(num_items, generator=draw)
        candidates = candidates[: 1 + num_items // 2].sort().values
    args = user_emb, item_emb, user, k, known.nonzero().flatten(), candidates
    item, score = near_items(*args, block_size)
    best, highest = best_items(*args)
    assert torch.equal(item, best)
    assert torch.equal(score.isinf(), highest.isinf())
    finite = highest.isfinite()
    assert torch.allclose(score[finite], highest[finite], atol=1e-5)


def test_all_entries_take_it(shop):
    model, data = shop
    assert evaluate(model, data, exact=False) == evaluate(model, data)
    for call in (evaluate_users, evaluate_hits):
        near, exact = call(model, data, exact=False), call(model, data)
        assert near.keys() == exact.keys()
        assert all(torch.equal(near[name], exact[name]) for name in exact)
    near = evaluate_views(model, data, exact=False)
    assert near == evaluate_views(model, data)
    near, exact = rank_views(model, data, exact=False), rank_views(model, data)
    for view, ranking in exact.items():
        assert torch.equal(near[view].item, ranking.item)
    some = torch.arange(0, 150, 3)
    kwargs = dict(candidates=some, exclude_known=False)
    near = rank(model, data, exact=False, **kwargs)
    assert torch.equal(near.item, rank(model, data, **kwargs).item)


def test_many_items(faiss):
    """It misses some, lists no known item, and nothing twice."""
    torch.manual_seed(1)
    num_users, num_items, k = 200, 30_000, 20
    user_emb, item_emb = torch.randn(num_users, 8), torch.randn(num_items, 8)
    user = torch.arange(num_users)
    none = torch.empty(0, dtype=torch.long)
    best = best_items(user_emb, item_emb, user, 5, none)[0]
    known = (user.unsqueeze(1) * num_items + best).flatten().sort().values
    args = user_emb, item_emb, user, k, known
    with pytest.warns(UserWarning, match='finds (.*)% of the 20 best') as seen:
        item, score = near_items(*args)
    exact, _ = best_items(*args)
    shared = (item.unsqueeze(2) == exact.unsqueeze(1)).any(dim=2)
    told = float(str(seen[0].message).split('finds ')[1].split('%')[0])
    assert 100 * shared.float().mean() == pytest.approx(told, abs=3)
    assert 70 < told < 99
    assert not torch.isin(user.unsqueeze(1) * num_items + item, known).any()
    assert (score.diff(dim=1) <= 0).all()
    assert all(len(row.unique()) == k for row in item)
    product = (user_emb.unsqueeze(1) * item_emb[item]).sum(dim=2)
    assert torch.allclose(score, product, atol=1e-4)


def test_other_precisions(shop):
    model, data = shop
    expected = evaluate(model, data)
    model = model.double()
    found = evaluate(model, data, exact=False)
    assert found == pytest.approx(expected, abs=1e-6)


class Sparse(nn.Module):
    def forward(self, data):
        user = torch.eye(data['user'].num_nodes, 150)
        return user.to_sparse(), torch.eye(150)


def test_sparse_embeddings_are_refused(shop):
    _, data = shop
    with pytest.raises(ValueError, match="'exact=False' needs dense"):
        rank(Sparse(), data, exact=False)


def test_lists_that_are_too_long_are_refused(shop):
    model, data = shop
    with pytest.raises(ValueError, match=r"'k' .* at most 2,048 .*got 2049"):
        rank(model, data, k=2049, exact=False)
    assert rank(model, data, k=2048, exact=False).k == 2048


def test_scores_that_overflow_are_refused(shop):
    model, data = shop
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1e30)
    with pytest.raises(ValueError, match='not finite'):
        rank(model, data, exact=False)


def test_without_faiss(monkeypatch):
    data = FakeMultimodal(num_users=20, num_items=30)[0]
    model = VBPR.from_data(data)
    monkeypatch.setitem(sys.modules, 'faiss', None)
    with pytest.raises(ImportError, match=r"pip install 'pyg_ckd\[faiss\]'"):
        rank(model, data, exact=False)
    assert rank(model, data).k == 20
