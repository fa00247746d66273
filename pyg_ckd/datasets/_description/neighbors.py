"""Nearest neighbours of some items among many."""

from __future__ import annotations

import torch
from torch import Tensor

from pyg_ckd.kernels.topk import stable_topk

#: Items that are compared with at once.
BLOCK = 4096


def with_direction(x: Tensor, has: Tensor | None) -> Tensor:
    """Return the items that a cosine can be taken of, ascending.

    These have the modality, and features that are not all zero.

    Args:
        x: Features, ``[num_items, num_features]``.
        has: Which items have the modality, ``[num_items]``; ``None`` for all.
    """
    known = torch.cat([part.ne(0).any(dim=1) for part in x.split(BLOCK)])
    return (known if has is None else known & has).nonzero().flatten()


def nearest(
    x: Tensor, items: Tensor, among: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """Return the nearest neighbours of items by cosine, items themselves not.

    Memory grows with the number of items asked for, not with that of all. Equal
    cosines are ordered by lower item.

    Args:
        x: Features, ``[num_items, num_features]``.
        items: The items asked for, ``[num_asked]``, each one of ``among``.
        among: The items that may be neighbours, ascending.
        k: The number of neighbours.

    Returns:
        Neighbours and their cosines, each ``[num_asked, k]``, nearest first;
        fewer columns if there are fewer others.

    Example:
        >>> x = torch.tensor([[1., 0.], [0., 1.], [2., 1.]])
        >>> nearest(x, torch.tensor([0]), torch.arange(3), k=1)[0]
        tensor([[2]])
    """
    k = min(k, len(among) - 1)
    asked = _unit(x[items])  # [num_asked, num_features]
    best = asked.new_empty(len(items), 0)
    found = items.new_empty(len(items), 0)
    for some in among.split(BLOCK):
        cosine = asked @ _unit(x[some]).t()  # [num_asked, block]
        place = torch.searchsorted(some, items).clamp(max=len(some) - 1)
        own = (some[place] == items).nonzero().flatten()
        cosine[own, place[own]] = -torch.inf
        value, column = stable_topk(cosine, min(k, len(some)))
        # Those found before have lower numbers, and come first where equal:
        best = torch.cat([best, value], dim=1)
        found = torch.cat([found, some[column]], dim=1)
        best, column = stable_topk(best, min(k, best.size(1)))
        found = found.gather(1, column)
    return found, best.clamp(-1, 1)


def mean_cosine(x: Tensor, among: Tensor) -> float:
    """Return the mean cosine of two different items.

    Args:
        x: Features, ``[num_items, num_features]``.
        among: The items, at least two.

    Example:
        >>> mean_cosine(torch.eye(3), torch.arange(3))
        0.0
    """
    total = torch.zeros(x.size(1), dtype=torch.double)
    for some in among.split(BLOCK):
        total += _unit(x[some]).double().sum(dim=0)
    num = len(among)
    return float(total.dot(total) - num) / (num * (num - 1))


def _unit(x: Tensor) -> Tensor:
    """Return rows of length 1, in single precision."""
    x = x.detach().float()
    # First by the largest entry, so that no square is too large or too small:
    x = x / x.abs().amax(dim=1, keepdim=True)
    return x / x.norm(dim=1, keepdim=True)
