"""How many users two items have in common, and how many by chance."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: So many users of items are looked up at once.
AT_ONCE = 2**22
#: The most bytes of a table of all pairs.
TABLE = 2**27

Ids = NDArray[np.int64]


class CommonUsers:
    r"""The users that two items have in common in training.

    By chance, items :math:`i` and :math:`j` with :math:`d_i` and :math:`d_j`
    users have

    .. math::
        d_i\, d_j \, \frac{\sum_u n_u (n_u - 1)}{(\sum_i d_i)^2 - \sum_i d_i^2}

    of them in common, where user :math:`u` has :math:`n_u` items. That is what
    is left if popular items stay popular and active users active, and all else
    is drawn by lot. Summed over all pairs of items it is what is counted.

    NumPy does this several times faster than torch where cores are busy.

    Args:
        train (Tensor): Users above items, ``[2, num_train]``. A pair that
            occurs several times counts once.
        num_users (int): The number of users.
        num_items (int): The number of items.

    Example:
        >>> train = torch.tensor([[0, 0, 1, 1, 2], [0, 1, 0, 1, 2]])
        >>> users = CommonUsers(train, num_users=3, num_items=3)
        >>> one, other = np.array([[0, 0], [1, 2]])
        >>> users.count(one, other), users.by_chance(one, other)
        (array([2, 0]), array([1. , 0.5]))
    """

    def __init__(self, train: Tensor, num_users: int, num_items: int) -> None:
        user, item = train.numpy()
        self._num_users = max(num_users, 1)
        key = np.sort(item * self._num_users + user)
        self._key = key[np.diff(key, prepend=-1) > 0]  # each once
        # Of few users and items a table of all pairs is several times faster:
        self._table = None
        if num_items * self._num_users <= TABLE:
            self._table = np.zeros(num_items * self._num_users, np.bool_)
            self._table[self._key] = True
        item, self._user = np.divmod(self._key, self._num_users)
        #: The number of users of each item, ``[num_items]``.
        self.degree = torch.from_numpy(np.bincount(item, minlength=num_items))
        self._degree: Ids = self.degree.numpy()
        self._start = self._degree.cumsum() - self._degree
        items = np.bincount(self._user, minlength=num_users)
        #: The number of items of each user, ``[num_users]``.
        self.items = torch.from_numpy(items)
        pairs = len(self._key) ** 2 - int((self._degree**2).sum())
        common = int((items * (items - 1)).sum())
        #: What the product of two degrees is multiplied by.
        self.chance = common / pairs if pairs else 0.0

    def count(self, one: Ids, other: Ids) -> Ids:
        """Return how many users pairs of items have in common.

        Args:
            one: An item of each pair, ``[num_pairs]``.
            other: The other one.
        """
        fewer = self._degree[one] <= self._degree[other]
        few, many = np.where(fewer, (one, other), (other, one))
        out = np.zeros(len(few), np.int64)
        for part in _parts(self._degree[few]):
            out[part] = self._look_up(few[part], many[part])
        return out

    def by_chance(self, one: Ids, other: Ids) -> NDArray[np.float64]:
        """Return how many they have in common by chance.

        Args:
            one: An item of each pair, ``[num_pairs]``.
            other: The other one.
        """
        return self._degree[one] * self._degree[other] * np.float64(self.chance)

    def _look_up(self, few: Ids, many: Ids) -> Ids:
        """Return how many users of the first item the other one has."""
        number = self._degree[few]
        pair = np.repeat(np.arange(len(few)), number)
        first = np.repeat(self._start[few] - (number.cumsum() - number), number)
        user = self._user[first + np.arange(len(pair))]
        key = many[pair] * self._num_users + user
        return np.bincount(pair[self._has(key)], minlength=len(few))

    def _has(self, key: Ids) -> NDArray[np.bool_]:
        """Return which pairs ``item * num_users + user`` are interactions."""
        if self._table is not None:
            return self._table[key]
        place = np.searchsorted(self._key, key).clip(max=len(self._key) - 1)
        found: NDArray[np.bool_] = self._key[place] == key
        return found


def _parts(number: Ids) -> list[slice]:
    """Return slices of pairs that have about so many users as fit at once."""
    part = (number.cumsum() - number) // AT_ONCE
    cuts = np.flatnonzero(np.diff(part)) + 1
    return [slice(*ends) for ends in pairwise([0, *cuts.tolist(), len(number)])]
