"""The processes that train one model together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """The processes that train one model together, and which one this is.

    A process by itself, the default, talks to nobody. Of several, each has to
    call the methods that communicate, in the same order. They use the default
    process group of :mod:`torch.distributed`, which has to be there.

    All of them draw the same random numbers: what is drawn is drawn for all,
    and each takes its :meth:`part`. So several processes train what one
    process would.

    Args:
        rank (int, optional): The number of this process. (default: :obj:`0`)
        size (int, optional): How many there are. (default: :obj:`1`)

    Raises:
        ValueError: If there is no such process.

    Example:
        >>> Ranks(rank=1, size=3).part(torch.arange(7))
        tensor([2, 3])
        >>> Ranks().part(torch.arange(3))
        tensor([0, 1, 2])
    """

    rank: int = 0
    size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.size:
            raise ValueError(
                f"'rank' needs to be from 0 to 'size' - 1 in 'Ranks' (got "
                f'rank={self.rank}, size={self.size})'
            )

    def part(self, x: Tensor) -> Tensor:
        """Return the rows of this process.

        All have equally many, so that a mean of means is the mean. What is
        left over, fewer rows than there are processes, is dropped.

        Args:
            x: What has been drawn for all, of shape ``[N, *]``.

        Raises:
            ValueError: If there are fewer rows than processes.
        """
        length = len(x) // self.size
        if length == 0 and self.size > 1:
            raise ValueError(
                f'{self.size} processes cannot share {len(x)} rows: start '
                f'fewer of them'
            )
        return x[self.rank * length : (self.rank + 1) * length]

    def sum(self, x: Tensor) -> Tensor:
        """Return the sum over all processes, without gradient."""
        return self._reduced(x, dist.ReduceOp.SUM)

    def min(self, x: Tensor) -> Tensor:
        """Return the minimum over all processes, without gradient."""
        return self._reduced(x, dist.ReduceOp.MIN)

    def gather(self, x: Tensor) -> Tensor:
        """Return the rows of all processes, with gradient.

        Args:
            x: The rows of this one, as many as each has, ``[N, *]``.

        Returns:
            All of them, by rank, ``[size * N, *]``.
        """
        if self.size == 1:
            return x
        gathered: Tensor = _Gather.apply(x, self)  # type: ignore[no-untyped-call]
        return gathered

    def values(self, value: Any) -> list[Any]:
        """Return what each process passes, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def share_buffers(self, module: torch.nn.Module) -> None:
        """Take up the buffers of the first process."""
        for buffer in module.buffers() if self.size > 1 else ():
            if buffer.numel() > 0:
                dist.broadcast(buffer, 0)

    def share_generators(self, device: torch.device) -> None:
        """Take up the random generators of the first process.

        Args:
            device: The device of the model; its generator is shared, too.
        """
        if self.size == 1:
            return
        torch.set_rng_state(self._first(torch.get_rng_state(), device))
        if device.type == 'cuda':
            state = torch.cuda.get_rng_state(device)
            torch.cuda.set_rng_state(self._first(state, device), device)

    @staticmethod
    def _first(state: Tensor, device: torch.device) -> Tensor:
        sent = state.to(device, copy=True)
        dist.broadcast(sent, 0)
        return sent.cpu()

    def _reduced(self, x: Tensor, how: Any) -> Tensor:
        if self.size == 1:
            return x
        x = x.detach().clone()
        dist.all_reduce(x, how)
        return x


#: A process by itself.
ALONE = Ranks()


class _Gather(torch.autograd.Function):
    """Rows of all processes; gradients of all copies of a row are summed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        parts = [torch.empty_like(x) for _ in range(ranks.size)]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.ranks.part(ctx.ranks.sum(grad.contiguous())), None
