"""The base of data sets from raw content."""

from __future__ import annotations

import hashlib
import os.path as osp
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
from PIL.Image import Image
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.features.contents import Contents
from pyg_ckd.datasets.features.encode import (
    Matrix,
    encode,
    fill_missing,
    fill_template,
)
from pyg_ckd.datasets.features.item_files import ItemFiles
from pyg_ckd.datasets.features.lazy import Lazy
from pyg_ckd.datasets.features.pictures import open_picture, skip_damaged
from pyg_ckd.datasets.features.text_encoder import TextEncoder
from pyg_ckd.datasets.graph_dataset import GraphDataset
from pyg_ckd.datasets.raw.graph_of_splits import graph_of_splits
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.splits import Split

T = TypeVar('T')


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

    def encode_texts(
        self,
        encoder: Callable[[list[str]], Matrix],
        template: str,
        records: list[dict[str, str]],
    ) -> tuple[Tensor, Tensor]:
        """Return the features of texts, and which records have a text."""
        texts = [fill_template(template, record) for record in records]
        return self.encode_filled(encoder, texts)

    def encode_filled(
        self, encoder: Callable[[list[str]], Matrix], texts: list[str]
    ) -> tuple[Tensor, Tensor]:
        """Return the features of texts, and which of them are not empty."""
        return self.encode(
            encoder,
            [text for text in texts if text],
            [
                hashlib.sha256(text.encode()).digest() if text else None
                for text in texts
            ],
            'text',
        )

    def encode_pictures(
        self,
        encoder: Callable[[list[Image]], Matrix],
        files: ItemFiles,
        names: Sequence[str],
        longest_side: int | None,
        skip_invalid: bool,
    ) -> tuple[Tensor, Tensor]:
        """Return the features of pictures, and which items have one.

        Args:
            encoder: From a list of pictures to a matrix.
            files: The files of pictures.
            names: For each item the name of its picture.
            longest_side: Larger pictures are shrunk to so many pixels a side.
            skip_invalid: Whether to skip damaged pictures, with a warning.
        """
        names = [name if name in files else '' for name in names]
        if skip_invalid:
            names = skip_damaged(files, names, longest_side)
        side = f'{longest_side}'.encode()
        keys = [
            hashlib.sha256(side + files.read(name)).digest() if name else None
            for name in names
        ]
        images = Lazy(
            lambda name: open_picture(files, name, longest_side),
            [name for name in names if name],
        )
        return self.encode(encoder, images, keys, 'image', chunk=32)

    def encode(
        self,
        encoder: Callable[[list[T]], Matrix],
        contents: Iterable[T],
        keys: Sequence[bytes | None],
        modality: str,
        chunk: int = 256,
    ) -> tuple[Tensor, Tensor]:
        """Return the features of contents, and which items have one.

        Args:
            encoder: From a list of contents to a matrix.
            contents: The contents of the items that have one; of a sequence
                only those are taken that were not encoded before.
            keys: For each item what tells its content from others, ``None``
                for items without.
            modality: The name of the modality.
            chunk: The number of contents the encoder gets at once.
        """
        has = torch.tensor([key is not None for key in keys])
        x = encode(encoder, contents, keys, modality, self.cache, chunk)
        return x, has

    @property
    def cache(self) -> str:
        """The folder that keeps features."""
        return osp.join(osp.dirname(self.processed_parent), 'features')


def as_text_encoder(
    encoder: str | Callable[[list[str]], Matrix],
) -> Callable[[list[str]], Matrix]:
    """Return an encoder, made from its name unless it is one already."""
    return encoder if callable(encoder) else TextEncoder(encoder)
