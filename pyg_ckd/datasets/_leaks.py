"""What numbers and splits give away, measured."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: How many users below and above are the neighbours of a user.
REACH = 5
#: The length of lists.
K = 20
#: Of the random numbers to compare with. It is none that data sets are
#: renumbered by, which would bring back the numbers of the files.
SEED = 240_806_360
#: Whose neighbours are looked at at once.
_USERS = 4096

Ids = NDArray[np.int64]


class Recall(NamedTuple):
    """Recall@20 of recommending what neighbours have in training.

    Args:
        found (float): With the numbers that users have.
        at_random (float): With random numbers.
        error (float): The standard error of their difference.
    """

    found: float
    at_random: float
    error: float


def rank_correlation(one: Tensor, other: Tensor) -> float | None:
    """Return Spearman's rank correlation, with mean ranks for equal values.

    Args:
        one: Numbers, ``[N]``.
        other: As many.

    Returns:
        A number from -1 to 1; ``None`` where all values of one are equal.

    Example:
        >>> rank_correlation(torch.arange(3), torch.tensor([1, 5, 5]))
        0.8660254037844387
    """
    if len(one) < 2:
        return None
    pair = torch.stack([_ranks(one), _ranks(other)])
    pair = pair - pair.mean(dim=1, keepdim=True)
    length = pair.norm(dim=1)
    if not bool((length > 0).all()):
        return None
    value = float((pair[0] * pair[1]).sum() / (length[0] * length[1]))
    return max(-1.0, min(value, 1.0))


def smallest_and_mean(
    pairs: Tensor, num_users: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return who has items, and the smallest and the mean item of each.

    Args:
        pairs: Users above items, ``[2, num_pairs]``.
        num_users: The number of users.

    Returns:
        Users ascending, and for each her smallest and her mean item.
    """
    user, item = pairs
    count = torch.bincount(user, minlength=num_users)
    smallest = torch.full((num_users,), torch.iinfo(torch.long).max)
    smallest.scatter_reduce_(0, user, item, 'amin')
    total = torch.zeros(num_users, dtype=torch.double)
    total.index_add_(0, user, item.double())
    some = count.nonzero().flatten()
    return some, smallest[some], total[some] / count[some]


def share_in_order(values: Tensor) -> float | None:
    """Return the share of values that are not below the one before."""
    if len(values) < 2:
        return None
    return float((values[1:] >= values[:-1]).double().mean())


def recall_of_neighbors(
    train: Tensor, test: Tensor, users: Tensor, sizes: tuple[int, int]
) -> Recall:
    """Return what users with the nearest numbers tell of the test items.

    Each user is recommended what the ten users with the nearest numbers have
    in training, most frequent first, ties by lower number of the item, and
    what she has in training left out.

    Args:
        train: Interactions of training, ``[2, num_train]``.
        test: Those of test, ``[2, num_test]``.
        users: The users that count, each with test items and once.
        sizes: The number of users and of items.
    """
    generator = torch.Generator().manual_seed(SEED)
    number = torch.randperm(sizes[0], generator=generator)
    found = _recalls(train, test, users, sizes)
    other = _recalls(
        torch.stack([number[train[0]], train[1]]),
        torch.stack([number[test[0]], test[1]]),
        number[users],
        sizes,
    )
    difference = found - other
    error = difference.std(correction=0) / len(users) ** 0.5
    return Recall(float(found.mean()), float(other.mean()), float(error))


def twins(x: Tensor, some: Tensor, others: Tensor) -> int:
    """Return how many rows equal one of others, bit for bit.

    Args:
        x: Features, ``[num_items, num_features]``.
        some: The items that are counted.
        others: The items that they are compared with.
    """
    if not len(some):
        return 0
    known = {_digest(x[row]) for row in others.tolist()}
    return sum(_digest(x[row]) in known for row in some.tolist())


def _recalls(
    train: Tensor, test: Tensor, users: Tensor, sizes: tuple[int, int]
) -> Tensor:
    """Return the Recall@20 of each of some users, ``[num_users]``.

    NumPy does this several times faster than torch where cores are busy.
    """
    num_users, num_items = sizes
    user, item = train.numpy()
    items = item[user.argsort(kind='stable')]
    count = np.bincount(user, minlength=num_users)
    start = count.cumsum() - count
    truth = np.unique(test[0].numpy() * num_items + test[1].numpy())
    wanted = np.bincount(truth // num_items, minlength=num_users)
    recalls = []
    for some in np.split(users.numpy(), range(_USERS, len(users), _USERS)):
        near = [
            _keys_of((some + step) % num_users, items, start, count, num_items)
            for step in range(-REACH, REACH + 1)
            if step
        ]
        own = np.sort(_keys_of(some, items, start, count, num_items))
        keys, times = np.unique(np.concatenate(near), return_counts=True)
        new = ~among(keys, own)
        keys, times = keys[new], times[new]
        # By user, then most frequent first, then the lower item as it is:
        place = keys // num_items
        best = np.lexsort([-times, place])
        place, item = place[best], keys[best] % num_items
        length = np.bincount(place, minlength=len(some))
        rank = np.arange(len(place)) - (length.cumsum() - length)[place]
        place, item = place[rank < K], item[rank < K]
        hit = among(some[place] * num_items + item, truth)
        hits = np.bincount(place[hit], minlength=len(some))
        recalls.append(hits / wanted[some])
    return torch.from_numpy(np.concatenate(recalls))


def _keys_of(
    users: Ids, items: Ids, start: Ids, count: Ids, num_items: int
) -> Ids:
    """Return the items of users, as keys ``place * num_items + item``."""
    number = count[users]
    first = np.repeat(start[users] - (number.cumsum() - number), number)
    owner = np.repeat(np.arange(len(users)), number)
    return owner * num_items + items[first + np.arange(len(owner))]


def among(keys: Ids, known: Ids) -> NDArray[np.bool_]:
    """Return which keys are among others.

    Args:
        keys: Any keys.
        known: The others, ascending.

    Example:
        >>> among(np.array([4, 1]), np.array([1, 2]))
        array([False,  True])
    """
    if not len(known):
        return np.zeros(len(keys), np.bool_)
    place = np.searchsorted(known, keys).clip(max=len(known) - 1)
    found: NDArray[np.bool_] = known[place] == keys
    return found


def _ranks(values: Tensor) -> Tensor:
    """Return ranks, the mean rank for equal values."""
    _, place, count = values.unique(return_inverse=True, return_counts=True)
    last = count.cumsum(0).double()
    return (last - (count.double() - 1) / 2)[place]


def _digest(row: Tensor) -> bytes:
    raw = row.contiguous().view(torch.uint8).numpy().tobytes()
    return hashlib.blake2b(raw, digest_size=16).digest()
