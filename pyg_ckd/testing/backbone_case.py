"""A backbone on a tiny graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.graph import modalities
from pyg_ckd.nn import Backbone
from pyg_ckd.testing._fake_graph import fake_graph
from pyg_ckd.testing._same_noise import same_noise
from pyg_ckd.testing.required import require
from pyg_ckd.transforms import ItemKNN
from pyg_ckd.views import Keep, distinct_views, full


class BackboneCase:
    """What the suites ask of a backbone, and how they make one.

    The graph has 12 users and 9 items; the last of each has no interactions.
    Where the backbone needs item graphs, each item is linked to 3: with the
    neighbours of large data, all would be neighbours. Random numbers start
    from one state, and noise is the same in each call.

    Attributes:
        model (type[Backbone]): The backbone.
        blind (bool): Whether its scores do not depend on features.
            (default: :obj:`False`)
    """

    model: ClassVar[type[Backbone]]
    blind: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        require(cls, 'model', 'VBPR')

    @pytest.fixture(autouse=True)
    def _same_noise(self) -> Iterator[None]:
        torch.manual_seed(12345)
        with same_noise():
            yield

    def data(self, num_modalities: int = 2) -> HeteroData:
        """Return a graph, ready for what :meth:`make` returns."""
        return self.with_graphs(fake_graph(num_modalities, lonely=True))

    def with_graphs(self, data: HeteroData) -> HeteroData:
        """Add what the backbone needs to a graph, anew if it is there."""
        if self.model.pre_transform is not None:
            data = self.model.pre_transform(data)
        neighbors = self.few_neighbors()
        return data if neighbors is None else neighbors(data)

    def few_neighbors(self) -> ItemKNN | None:
        """Return the transform for the item graphs, if any are needed."""
        if self.model.neighbors is None:
            return None
        return ItemKNN(k=3, weight=self.model.neighbors.weight)

    def make(
        self, data: HeteroData, training: bool = False, **kwargs: Any
    ) -> Backbone:
        """Return a model with parameters large enough for errors to show."""
        model = self.model.from_data(data, **{'dim': 4, **kwargs})
        model.train(training)
        for parameter in model.parameters():
            nn.init.normal_(parameter)
        model.neighbors = self.few_neighbors()
        if training:
            model.start_epoch(data, full(modalities(data)))
        return model

    def batch(self, size: int = 40) -> Tensor:
        """Return random users and pairs of items, ``[3, size]``."""
        return torch.stack(
            [torch.randint(12, (size,)), *torch.randint(9, (2, size))]
        )

    def margin(
        self,
        model: Backbone,
        data: HeteroData,
        batch: Tensor,
        keeps: Sequence[Keep] | None = None,
    ) -> Tensor:
        """Return the margins in some views, in all distinct ones by default."""
        if keeps is None:
            keeps = distinct_views(modalities(data))
        return model.views(data, keeps).triples(*batch).margin()
