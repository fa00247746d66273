"""Tables whose rows are shared out among processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from pyg_ckd.kernels.ranks import Ranks


@dataclass(frozen=True)
class RowShards:
    r"""Tables of one height whose rows are shared out among processes.

    Of :math:`N` rows, process :math:`r` of :math:`n` has those from
    :math:`\lfloor r N / n \rfloor` to :math:`\lfloor (r + 1) N / n \rfloor`,
    the latter excluded. A table is the tensor of a process's own rows.

    All processes have to call the methods that communicate, in the same order,
    each with places of its own.

    Args:
        num_rows (int): The number of rows :math:`N` of a whole table.
        ranks (Ranks): The processes.

    Raises:
        ValueError: If there are fewer rows than processes.

    Example:
        >>> RowShards(7, Ranks(rank=1, size=3)).own
        slice(2, 4, None)
    """

    num_rows: int
    ranks: Ranks

    def __post_init__(self) -> None:
        if self.num_rows < self.ranks.size:
            raise ValueError(
                f'{self.ranks.size} processes cannot share the {self.num_rows} '
                f'rows of a table: start fewer of them'
            )

    @property
    def bounds(self) -> list[int]:
        """Where the rows of each process begin, and the number of rows."""
        size = self.ranks.size
        return [self.num_rows * rank // size for rank in range(size + 1)]

    @property
    def slices(self) -> list[slice]:
        """The rows of each process."""
        return [slice(*pair) for pair in pairwise(self.bounds)]

    @property
    def own(self) -> slice:
        """The rows of this process."""
        return self.slices[self.ranks.rank]

    def scattered(self, table: Tensor, device: torch.device) -> Tensor:
        """Return the own rows of the table of the first process.

        Args:
            table: A whole table, of which only that of the first is read.
            device: Where the rows are wanted.
        """
        if self.ranks.rank == 0:
            assert len(table) == self.num_rows
            for rank, rows in list(enumerate(self.slices))[1:]:
                dist.send(table[rows].to(device).contiguous(), rank)
            return table[self.own].to(device, copy=True)
        height = self.own.stop - self.own.start
        own = table.new_empty(height, *table.shape[1:], device=device)
        dist.recv(own, 0)
        return own

    def gathered(self, table: Tensor) -> Tensor | None:
        """Return the whole table, in main memory, in the first process.

        Args:
            table: The own rows.
        """
        if self.ranks.rank > 0:
            dist.send(table.contiguous(), 0)
            return None
        whole = table.new_empty(self.num_rows, *table.shape[1:], device='cpu')
        whole[self.own] = table.cpu()
        for rank, rows in list(enumerate(self.slices))[1:]:
            received = torch.empty_like(whole[rows], device=table.device)
            dist.recv(received, rank)
            whole[rows] = received.cpu()
        return whole

    def whole(self, table: Tensor) -> Tensor:
        """Return the whole table in each process, without gradient.

        Args:
            table: The own rows.
        """
        whole = table.new_empty(self.num_rows, *table.shape[1:])
        whole[self.own] = table
        for rank, rows in enumerate(self.slices):
            if self.ranks.size > 1:
                dist.broadcast(whole[rows], rank)
        return whole

    def mean(self, table: Tensor) -> Tensor:
        """Return the mean over all rows, with gradient, ``[1, d]``.

        Args:
            table: The own rows.
        """
        mean: Tensor = _Mean.apply(table, self)  # type: ignore[no-untyped-call]
        return mean


class Lookup:
    r"""Rows of several tables at the same places.

    A process asks each of the others for the rows it needs and they have, each
    row once, and is answered with them: by two ``all_to_all_single`` for each
    list of places, and one more for each table. Gradients go the way back in
    another one, and are added up where the row is. They are divided by the
    number of processes, as are those that ``DistributedDataParallel`` averages.

    Args:
        shards (RowShards): How the rows are shared out.
    """

    def __init__(self, shards: RowShards) -> None:
        self.shards = shards
        self._index: Tensor | None = None
        self._route: _Route | None = None

    def rows(self, table: Tensor, index: Tensor) -> Tensor:
        """Return rows of a table, ``[N, d]``.

        Args:
            table: The own rows.
            index: The numbers of rows of the whole table, ``[N]``.
        """
        if self._route is None or index is not self._index:
            self._index, self._route = index, _Route.of(index, self.shards)
        rows: Tensor = _Fetch.apply(table, self._route)  # type: ignore[no-untyped-call]
        return F.embedding(self._route.place, rows)


@dataclass(frozen=True)
class _Route:
    """Which rows this process needs of whom, and who needs which of its own."""

    place: Tensor
    needed: Sequence[int]
    local: Tensor
    asked: Sequence[int]
    size: int

    @classmethod
    def of(cls, index: Tensor, shards: RowShards) -> _Route:
        row, place = index.unique(return_inverse=True)  # ascending
        bounds = torch.tensor(shards.bounds, device=index.device)
        needed = torch.searchsorted(row, bounds).diff()
        asked = torch.empty_like(needed)
        dist.all_to_all_single(asked, needed)
        sizes = needed.tolist(), asked.tolist()
        local = _exchanged(row, *sizes) - shards.own.start
        return cls(place, sizes[0], local, sizes[1], shards.ranks.size)


class _Fetch(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, route: _Route) -> Tensor:
        ctx.route, ctx.height = route, len(table)
        rows = F.embedding(route.local, table)
        return _exchanged(rows, route.asked, route.needed)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None]:
        route = ctx.route
        received = _exchanged(grad[0] / route.size, route.needed, route.asked)
        own = received.new_zeros(ctx.height, *received.shape[1:])
        return own.index_add_(0, route.local, received), None


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, shards: RowShards) -> Tensor:
        ctx.shards, ctx.height = shards, len(table)
        total = shards.ranks.sum(table.sum(dim=0, keepdim=True))
        return total / shards.num_rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None]:
        ranks = ctx.shards.ranks
        row = ranks.sum(grad[0]) / (ctx.shards.num_rows * ranks.size)
        return row.expand(ctx.height, -1), None


def _exchanged(
    x: Tensor, sent: Sequence[int], received: Sequence[int]
) -> Tensor:
    """Send each process its rows, and return those that came from each."""
    out = x.new_empty(sum(received), *x.shape[1:])
    dist.all_to_all_single(out, x.contiguous(), list(received), list(sent))
    return out
