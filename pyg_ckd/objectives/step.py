"""What one step of training looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.kernels.ranks import ALONE, Ranks
from pyg_ckd.views import Keep, Triples, Views

#: Users and two items for each, of shape ``[N]`` each.
Batch = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Step:
    """One step of training: a batch, and what the model makes of it.

    Args:
        data (HeteroData): The user-item graph.
        keeps (sequence[frozenset[str]]): The views, the trained one first.
        views (Views): The embeddings of these views.
        batch (tuple[Tensor, Tensor, Tensor]): Training triples: users,
            positive and negative items, each of shape ``[B]``.
        triples (Triples): The embeddings of the batch.
        random (tuple[Tensor, Tensor, Tensor], optional): Random triples that
            were asked for beside the batch, each of shape ``[G]``.
        random_triples (Triples, optional): Their embeddings.
        ranks (Ranks, optional): The processes that take this step together,
            each with a batch of its own, whose gradients are averaged.
    """

    data: HeteroData
    keeps: Sequence[Keep]
    views: Views
    batch: Batch
    triples: Triples
    random: Batch | None = None
    random_triples: Triples | None = None
    ranks: Ranks = ALONE

    @cached_property
    def margin(self) -> Tensor:
        """The margins of the batch in each view, ``[B, V]``."""
        return self.triples.margin()

    def place(self, keep: Keep) -> int:
        """Return the position of a view."""
        return self.keeps.index(keep)
