import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pyg_ckd.kernels.best_items import best_items

NUM_ITEMS = 140_000  # more than are scored at once, twice


def naive(user_emb, item_emb, user, k, known, open_to):
    """Sort all items of a user, those that she may have."""
    items, scores = [], []
    for row, u in enumerate(user.tolist()):
        score = item_emb @ user_emb[u]
        closed = torch.ones(len(score), dtype=torch.bool)
        closed[open_to[row]] = False
        closed[known[u]] = True
        score[closed] = -torch.inf
        score, item = score.sort(descending=True, stable=True)
        items.append(item[:k].where(score[:k] > -torch.inf, -1))
        scores.append(score[:k])
    return torch.stack(items), torch.stack(scores)


def many_items(dtype=torch.float):
    """Embeddings of few values, so that ties are everywhere, and the known."""
    random = torch.Generator().manual_seed(0)
    user_emb = torch.randint(-2, 3, (4, 2), generator=random).to(dtype)
    item_emb = torch.randint(-9, 10, (NUM_ITEMS, 2), generator=random).to(dtype)
    draw = torch.rand(4, NUM_ITEMS, generator=random)
    known = [(draw[user] < user / 6).nonzero().flatten() for user in range(3)]
    known.append(torch.arange(NUM_ITEMS - 5))  # nearly everything
    return user_emb, item_emb, known


def keys_of(known):
    return torch.cat([user * NUM_ITEMS + own for user, own in enumerate(known)])


@pytest.mark.parametrize('dtype', [torch.float, torch.double])
@pytest.mark.parametrize('block_size', [None, 1, 3])
@pytest.mark.parametrize('k', [1, 20, 300])
def test_more_items_than_are_scored_at_once(k, block_size, dtype):
    user_emb, item_emb, known = many_items(dtype)
    user = torch.tensor([2, 3, 0, 2, 1])
    expected = naive(
        user_emb, item_emb, user, k, known, [slice(None)] * len(user)
    )
    item, score = best_items(
        user_emb, item_emb, user, k, keys_of(known), block_size=block_size
    )
    assert torch.equal(item, expected[0])
    assert torch.equal(score, expected[1])


@pytest.mark.parametrize('each', [False, True])
def test_more_candidates_than_are_scored_at_once(each):
    user_emb, item_emb, known = many_items()
    user = torch.tensor([2, 3, 0])
    random = torch.Generator().manual_seed(1)
    lists = [
        torch.randperm(NUM_ITEMS, generator=random)[:100_000] for _ in user
    ]
    if each:
        candidates = torch.stack(lists)
    else:
        candidates = lists[0].sort().values
        lists = [candidates] * len(user)
    expected = naive(user_emb, item_emb, user, 30, known, lists)
    item, score = best_items(
        user_emb, item_emb, user, 30, keys_of(known), candidates
    )
    assert torch.equal(item, expected[0])
    assert torch.equal(score, expected[1])


def test_many_sparse_items():
    user_emb, item_emb, known = many_items()
    user = torch.tensor([1, 3])
    expected = best_items(user_emb, item_emb, user, 9, keys_of(known))
    found = best_items(
        user_emb.to_sparse(), item_emb.to_sparse(), user, 9, keys_of(known)
    )
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize('place', [3, 70_000, NUM_ITEMS - 1])
def test_a_score_that_overflows_is_refused_wherever_it_is(place):
    item_emb = torch.ones(NUM_ITEMS, 1)
    item_emb[place] = 1e30
    user_emb = torch.tensor([[1.0], [1e30]])
    none = torch.empty(0, dtype=torch.long)
    with pytest.raises(ValueError, match='score of user 1 is not finite'):
        best_items(user_emb, item_emb, torch.tensor([0, 1]), 5, none)
    known = torch.tensor([NUM_ITEMS + place])
    item, _ = best_items(user_emb, item_emb, torch.tensor([1]), 2, known)
    assert item.tolist() == [[0, 1]]


class LargestTensor(TorchDispatchMode):
    """Remember the bytes of the largest tensor that is no view of another."""

    def __init__(self):
        super().__init__()
        self.nbytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, torch.Tensor) and tensor._base is None:
                self.nbytes = max(self.nbytes, tensor.nbytes)
        return out


@pytest.mark.parametrize('num_items', [3_000, 65_536, 200_000])
@pytest.mark.parametrize('dtype', [torch.float, torch.double])
def test_memory(num_items, dtype):
    """However many users and items there are, a block is below 32 MiB."""
    num_users = 4_000 if num_items == 3_000 else 150
    user_emb = torch.randn(num_users, 1, dtype=dtype)
    item_emb = torch.randn(num_items, 1, dtype=dtype)
    known = torch.arange(num_users) * num_items
    with LargestTensor() as seen:
        best_items(user_emb, item_emb, torch.arange(num_users), 5, known)
    assert 15 * 2**20 < seen.nbytes <= 30 * 2**20


def test_no_candidates():
    user, item = torch.randn(3, 4), torch.randn(5, 4)
    none = torch.empty(0, dtype=torch.long)
    rows = torch.arange(3)
    found, score = best_items(user, item, rows, 2, none, candidates=none)
    assert found.tolist() == [[-1, -1]] * 3
    assert score.isneginf().all()
