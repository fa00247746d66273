"""Items whose features are the same."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from pyg_ckd.datasets._description.neighbors import BLOCK

_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def equal_rows(x: Tensor, items: Tensor) -> list[list[int]]:
    """Return the groups of items whose features are equal to the bit.

    Args:
        x: Features, ``[num_items, num_features]``.
        items: The items that are looked at, ascending.

    Returns:
        Groups of two and more items, the largest first, of equal ones the one
        with the lowest item.

    Example:
        >>> x = torch.tensor([[1.0], [2.0], [1.0], [3.0]])
        >>> equal_rows(x, torch.arange(4))
        [[0, 2]]
    """
    groups: dict[bytes, list[int]] = {}
    for item in _candidates(x, items).tolist():
        row = x[item].detach().cpu().contiguous().view(torch.uint8)
        key = hashlib.blake2b(row.numpy().tobytes(), digest_size=16).digest()
        groups.setdefault(key, []).append(item)
    found = [group for group in groups.values() if len(group) > 1]
    return sorted(found, key=lambda group: (-len(group), group[0]))


def _candidates(x: Tensor, items: Tensor) -> Tensor:
    """Return the items whose rows have the same key as another's.

    Equal rows have equal keys, which are sums of bits with random weights.
    """
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(2**62, (x.size(1),), generator=generator)
    keys = [
        (x[some].detach().cpu().view(_BITS[x.element_size()]) * weight).sum(1)
        for some in items.split(BLOCK)
    ]
    if not keys:
        return items
    _, place, count = torch.cat(keys).unique(
        return_inverse=True, return_counts=True
    )
    return items[count[place] > 1]
