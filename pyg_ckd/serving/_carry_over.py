"""What a model has learned, carried over to other users and items."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.graph import RATES, modalities
from pyg_ckd.serving._rows import Side
from pyg_ckd.serving.linear_map import LinearMap

#: The number of known items that a new one is like.
NEIGHBORS = 10


class Learned(NamedTuple):
    """What is known of a model that was trained before.

    Args:
        state (dict[str, Tensor]): Its parameters and buffers.
        user (Tensor): The embeddings of its users, ``[num_users, d]``.
        item (Tensor): The embeddings of its items, ``[num_items, d]``.
        known (Tensor): Keys ``user * num_items + item`` of what users have.
    """

    state: Mapping[str, Tensor]
    user: Tensor
    item: Tensor
    known: Tensor


class Rows(NamedTuple):
    """Where users and items of new data were before, -1 for new ones.

    Args:
        user (Tensor): The former row of each user, ``[num_users]``.
        item (Tensor): The former row of each item, ``[num_items]``.
    """

    user: Tensor
    item: Tensor


def carry_over(
    learned: Learned,
    model: nn.Module,
    data: HeteroData,
    rows: Rows,
    sides: Mapping[str, Side],
) -> None:
    """Give a new model what another one has learned.

    Rows of users and items that were there before are taken over, and
    everything that has no rows. A new item starts with a mean of the items
    that are most like it in content, or of all if there is no content, and a
    new user where :class:`LinearMap` puts who has such items.

    Args:
        learned: What was learned.
        model: The new model, of the same class and settings; it is
            changed.
        data: The new data.
        rows: Where users and items of it were before.
        sides: Which tensors have a row for each user or item.

    Raises:
        ValueError: If the models differ in more than users and items.
    """
    called = model.__class__.__name__
    data = copy.copy(data).cpu()
    every = model.state_dict()
    # Of a tensor under several names, files hold one:
    held = {every[name].data_ptr() for name in every.keys() & learned.state}
    new = {
        name: value
        for name, value in every.items()
        if name in learned.state or value.data_ptr() not in held
    }
    if new.keys() != learned.state.keys():
        differing = sorted(new.keys() ^ learned.state.keys())
        raise ValueError(
            f"'{called}' has other parameters than the model that "
            f'was saved: {differing}'
        )
    tables = _Tables(learned, data, rows) if sides else None
    taken_over = []
    for name, value in new.items():
        old = learned.state[name].to('cpu', value.dtype)
        taken = old
        if tables is not None and name in sides:
            taken = tables.carried(old, sides[name])
        if taken.shape != value.shape:
            raise ValueError(
                f"'{name}' of '{called}' has the shape "
                f'{list(value.shape)}, that of the model that was saved '
                f'{list(old.shape)}: make the model with the settings of then'
            )
        taken_over.append((value, taken))
    for value, taken in taken_over:  # all or none
        value.copy_(taken)


class _Tables:
    """Makes tables for new data out of former ones.

    Args:
        learned (Learned): What was learned.
        data (HeteroData): The new data.
        rows (Rows): Where its users and items were before.
    """

    def __init__(self, learned: Learned, data: HeteroData, rows: Rows) -> None:
        self.learned, self.data, self.rows = learned, data, rows
        self.new = (rows.item < 0).nonzero().flatten()
        self.weight, self.near = _nearest(data, self.new, rows.item)
        self.mean = _means(data, self.items(learned.item))  # [num_users, d]

    def carried(self, old: Tensor, side: Side) -> Tensor:
        """Return a table for the new data, former rows where there are any.

        Args:
            old: The former table.
            side: Whose rows it has.
        """
        if side == 'user':
            return self.users(old)
        if side == 'item':
            return self.items(old)
        num_users = len(self.learned.user)
        pair = self.users(old[:num_users]), self.items(old[num_users:])
        return torch.cat(pair)

    def items(self, old: Tensor) -> Tensor:
        """Return a table of items; new ones are like those near to them."""
        if not modalities(self.data):  # nothing to tell what is near
            every = old.mean(dim=0).expand(len(self.rows.item), *old.shape[1:])
            return _rows_of(old, self.rows.item, every)
        near = old.reshape(len(old), -1)[self.near]  # [num_new, k, c]
        guess = (self.weight.unsqueeze(-1).to(near) * near).sum(dim=1)
        every = old.new_zeros(len(self.rows.item), *old.shape[1:])
        every[self.new] = guess.view(-1, *old.shape[1:])
        return _rows_of(old, self.rows.item, every)

    def users(self, old: Tensor) -> Tensor:
        """Return a table of users; new ones are where the map puts them."""
        flat = old.reshape(len(old), -1)
        to_table = LinearMap.fitted(flat, self.learned.item, self.learned.known)
        guess = to_table(self.mean).to(old).view(-1, *old.shape[1:])
        return _rows_of(old, self.rows.user, guess)


def _nearest(
    data: HeteroData, new: Tensor, row: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the weights and former rows of what new items are like.

    Args:
        data: The new data.
        new: The new items, ``[N]``.
        row: The former row of each item, -1 for new ones.

    Returns:
        Both of shape ``[N, k]``.
    """
    old = (row >= 0).nonzero().flatten()
    k = min(NEIGHBORS, len(old))
    weights, places = [torch.empty(0, k)], [torch.empty(0, k).long()]
    for some in new.split(1024):
        cosine, place = _cosines(data, some, old).topk(k, dim=1)
        weights.append(cosine.softmax(dim=1))
        places.append(row[old[place]])
    return torch.cat(weights), torch.cat(places)


def _rows_of(old: Tensor, row: Tensor, other: Tensor) -> Tensor:
    """Return former rows, and other ones where there are none."""
    known = row >= 0
    taken = other.clone()
    taken[known] = old[row[known]]
    return taken


def _cosines(data: HeteroData, some: Tensor, others: Tensor) -> Tensor:
    """Return the mean cosine over modalities of items, ``[N, M]``."""
    total = torch.zeros(len(some), len(others))
    for m in modalities(data):
        x = F.normalize(data['item'][f'x_{m}'], dim=1)
        has = data['item'].get(f'has_{m}')
        if has is not None:
            x = x * has.unsqueeze(1)
        total += x[some] @ x[others].t()
    return total / max(len(modalities(data)), 1)


def _means(data: HeteroData, item_emb: Tensor) -> Tensor:
    """Return the mean embedding of what each user has, ``[num_users, d]``."""
    user, item = data[RATES].edge_index
    num_users = data['user'].num_nodes
    count = torch.bincount(user, minlength=num_users).clamp(min=1)
    total = item_emb.new_zeros(num_users, item_emb.size(1))
    total.index_add_(0, user, item_emb[item])
    mean: Tensor = total / count.unsqueeze(1)
    none = torch.bincount(user, minlength=num_users) == 0
    mean[none] = mean[~none].mean(dim=0)
    return mean
