"""Items to look at, popular and rare ones."""

from __future__ import annotations

import torch
from torch import Tensor

#: How many items are looked at.
NUM = 8


def sample(among: Tensor, degree: Tensor, num: int = NUM) -> Tensor:
    """Return items of all degrees of popularity, the most popular first.

    Items are cut by popularity into as many parts of about the same size, and
    one is drawn of each, always the same.

    Args:
        among: The items to draw from, ``[num_items]``.
        degree: How popular each of all items is.
        num: How many to draw; all, if there are no more.

    Example:
        >>> sample(torch.arange(4), torch.tensor([5, 9, 7, 1]), num=4)
        tensor([1, 2, 0, 3])
    """
    order = among[degree[among].argsort(descending=True, stable=True)]
    generator = torch.Generator().manual_seed(0)
    parts = order.tensor_split(min(num, len(order))) if len(order) else ()
    drawn = [
        part[torch.randint(len(part), (1,), generator=generator)]
        for part in parts
    ]
    return torch.cat([order[:0], *drawn])
