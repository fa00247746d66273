"""Recommenders around other ones."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd.nn.door import as_recommender
from pyg_ckd.nn.recommender import Recommender
from pyg_ckd.transforms import ItemKNN, NormalizedAdjacency
from pyg_ckd.views import Keep, Rows, Views


@dataclass
class WrappedViews(Views):
    """Views that are made of those of the recommender inside."""

    inner: Views = field(kw_only=True)


class Wrapper(Recommender):
    r"""What :class:`Cosine` and :class:`ItemBias` share.

    All but the embeddings is that of the recommender inside: its graphs, its
    tables, and its losses, which see its embeddings as they were.

    Args:
        recommender (torch.nn.Module): Any module with ``user_emb, item_emb =
            module(data)``.
    """

    def __init__(self, recommender: nn.Module) -> None:
        super().__init__()
        self.recommender = as_recommender(recommender)

    @abstractmethod
    def views(self, data: HeteroData, keeps: Sequence[Keep]) -> Views:
        """Return several views, made of those of the recommender."""

    def tables(self, modality: str) -> Sequence[nn.Parameter]:
        """Return the parameters that are ablated along with a modality."""
        return self.recommender.tables(modality)

    def modality_parameters(self, modality: str) -> list[nn.Parameter]:
        """Return the parameters that serve one modality alone."""
        return self.recommender.modality_parameters(modality)

    def regularization(
        self,
        data: HeteroData,
        keep: Keep,
        views: Views,
        user: Tensor,
        pos: Tensor,
        neg: Tensor,
    ) -> Tensor | float:
        """Return the loss terms that the recommender adds."""
        assert isinstance(views, WrappedViews)
        return self.recommender.regularization(
            data, keep, views.inner, user, pos, neg
        )

    def loss(
        self,
        data: HeteroData,
        keep: Keep,
        views: Views,
        user: Tensor,
        pos: Tensor,
        neg: Tensor,
    ) -> Tensor | None:
        """Return the loss that the recommender has in place of BPR."""
        assert isinstance(views, WrappedViews)
        return self.recommender.loss(data, keep, views.inner, user, pos, neg)

    def start_epoch(self, data: HeteroData, keep: Keep) -> None:
        """Let the recommender prepare an epoch of training."""
        self.recommender.start_epoch(data, keep)

    @property
    def is_sampled(self) -> bool:
        """Whether steps of training look at some users and items alone."""
        return self.recommender.is_sampled

    @property
    def adjacency(self) -> NormalizedAdjacency | None:  # type: ignore[override]
        """The graph of users and items that the recommender needs."""
        return self.recommender.adjacency

    @adjacency.setter
    def adjacency(self, adjacency: NormalizedAdjacency | None) -> None:
        self.recommender.adjacency = adjacency

    @property
    def neighbors(self) -> ItemKNN | None:  # type: ignore[override]
        """The item graphs that the recommender needs."""
        return self.recommender.neighbors

    @neighbors.setter
    def neighbors(self, neighbors: ItemKNN | None) -> None:
        self.recommender.neighbors = neighbors

    @property
    def pre_transform(self) -> BaseTransform | None:  # type: ignore[override]
        """The transform that adds these graphs to a data set."""
        return self.recommender.pre_transform

    @property
    def name(self) -> str:
        """What messages call it."""
        return f'{self.__class__.__name__}({self.recommender.name})'

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.recommender!r})'

    def check_dense(self, *blocks: Tensor | Rows) -> None:
        """Raise a ``ValueError`` if embeddings are sparse."""
        for block in blocks:
            if isinstance(block, Tensor) and block.layout != torch.strided:
                name = self.recommender.__class__.__name__
                raise ValueError(
                    f"'{self.__class__.__name__}' needs dense embeddings, but "
                    f"those of '{name}' are sparse: use it without"
                )
