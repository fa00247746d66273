"""The backbones that experiments know by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd import nn as library
from pyg_ckd.experiments import names
from pyg_ckd.experiments.names import BASELINES as BASELINES
from pyg_ckd.nn import Backbone, LightGCN, Recommender

#: What makes a recommender: a backbone of ours, or anything that is called
#: with the graph and the ``model`` settings.
Maker = type[Backbone] | Callable[..., nn.Module]


class LightGCNOfIDs(LightGCN):
    """LightGCN without modalities, the published one."""

    @classmethod
    def from_data(  # type: ignore[override]
        cls, data: HeteroData, use: Sequence[str] | None = (), **kwargs: Any
    ) -> LightGCN:
        """Create a LightGCN with no modality, unless some are named."""
        return LightGCN.from_data(data, use, **kwargs)


#: Every backbone by name, baselines first.
BACKBONES: dict[str, Maker] = {
    **{name: vars(library)[cls] for name, cls in names.BACKBONES.items()},
    'LightGCN-ID': LightGCNOfIDs,
}


def is_ours(make: Maker) -> bool:
    """Return whether it is a class of ours, made by ``from_data``."""
    return isinstance(make, type) and issubclass(make, Backbone)


def transform_of(make: Maker) -> BaseTransform | None:
    """Return the transform that adds the graphs that a backbone needs."""
    if isinstance(make, type) and issubclass(make, Recommender):
        return make.pre_transform
    return None


def has_own_loss(make: Maker) -> bool:
    """Return whether a backbone brings a loss in place of BPR."""
    return (
        isinstance(make, type)
        and issubclass(make, Recommender)
        and make.loss is not Recommender.loss
    )
