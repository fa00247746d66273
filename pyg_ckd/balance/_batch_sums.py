"""Sums over the batches of a step."""

from __future__ import annotations

import torch
from torch import Tensor

from pyg_ckd.kernels.ranks import ALONE, Ranks


class BatchSums:
    """Sums over all batches whose gradients a step of the optimizer sees.

    A step may see the gradients of several batches, and a loss may be looked
    at without training on it. So values are summed by the backward pass
    itself: what :meth:`add` returns joins the loss, adds nothing to it, and
    has the values as its gradient. They are scaled as the gradients are, by
    the number of batches or for half precision: only quotients of them count.
    Where several processes train together, the sums are those of all.

    Example:
        >>> sums = BatchSums()
        >>> for value in (1.0, 2.0):
        ...     sums.add(torch.tensor([value])).backward()
        >>> looked_at = sums.add(torch.tensor([9.0]))
        >>> sums.take()
        tensor([3.])
    """

    def __init__(self) -> None:
        self._leaf = torch.zeros(())
        #: The processes that trained the last batch.
        self.ranks = ALONE

    def add(self, values: Tensor, ranks: Ranks = ALONE) -> Tensor:
        """Return a zero to add to the loss of a batch.

        Args:
            values: What is summed, of shape ``[K]``, without gradients.
            ranks: The processes that train the batch.
        """
        if not torch.is_grad_enabled():
            return values.new_zeros(())
        self.ranks, leaf = ranks, self._leaf
        if leaf.shape != values.shape or leaf.device != values.device:
            self._leaf = torch.zeros_like(values, requires_grad=True)
        return (self._leaf * values).sum()

    def take(self) -> Tensor | None:
        """Return the sums since the last call, if there was a backward."""
        sums, self._leaf.grad = self._leaf.grad, None
        return None if sums is None else self.ranks.sum(sums)
