"""The base of data sets from raw content."""

from __future__ import annotations

import os.path as osp
from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.features.contents import Contents
from pyg_ckd.datasets.features.encode import Matrix, fill_missing
from pyg_ckd.datasets.features.feature_cache import FeatureCache
from pyg_ckd.datasets.features.text_encoder import TextEncoder
from pyg_ckd.datasets.graph_dataset import GraphDataset
from pyg_ckd.datasets.raw.graph_of_splits import graph_of_splits
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.splits import Split


class RawDataset(GraphDataset):
    """A user-item graph from interactions and contents by id.

    A subclass sets ``split``, and implements
    :meth:`read_interactions` and :meth:`read_contents`.
    """

    split: Split

    @abstractmethod
    def read_interactions(self) -> Interactions:
        """Return the interactions, before they are split."""

    def read_split(self) -> tuple[Interactions, Tensor]:
        """Return the interactions, and the split of each as a split has it."""
        interactions = self.read_interactions()
        return interactions, self.split(interactions)

    @abstractmethod
    def read_contents(self, items: list[str]) -> Contents:
        """Return the contents of items, given their ids."""

    def build(self) -> HeteroData:
        interactions, label = self.read_split()
        contents = self.read_contents(interactions.items)
        items = contents.items or interactions.items
        features, present = {}, {}
        for modality, x, has in contents.modalities:
            if not has.any():
                raise ValueError(
                    f'No item has the modality {modality!r}; check that ids '
                    f'are written in the same way, or leave it out'
                )
            fill_missing(x, has)
            features[modality] = x
            if not has.all():
                present[modality] = has
        data = graph_of_splits(
            interactions.user,
            interactions.item,
            label,
            num_users=len(interactions.users),
            num_items=len(items),
            features=features,
            present=present,
            rating=interactions.rating,
            time=interactions.time,
            weight=interactions.weight,
        )
        if len(items) > len(interactions.items):
            is_cold = torch.arange(len(items)) >= len(interactions.items)
            data['item'].cold = is_cold
        data.split = repr(self.split)
        data['user'].name = interactions.users
        data['item'].name = items
        if contents.titles is not None:
            data['item'].title = contents.titles
        return data

    @property
    def users(self) -> list[str]:
        """The ids of users, in the order of the graph."""
        return self._data['user'].name

    @property
    def items(self) -> list[str]:
        """The ids of items, in the order of the graph."""
        return self._data['item'].name

    @property
    def cache(self) -> FeatureCache:
        """What encodes texts and pictures, and keeps their features."""
        root = osp.dirname(self.processed_parent)
        return FeatureCache(osp.join(root, 'features'))


def as_text_encoder(
    encoder: str | Callable[[list[str]], Matrix],
) -> Callable[[list[str]], Matrix]:
    """Return an encoder, made from its name unless it is one already."""
    return encoder if callable(encoder) else TextEncoder(encoder)
