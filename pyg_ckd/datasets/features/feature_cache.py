"""Features of texts and pictures, each encoded once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from PIL.Image import Image
from torch import Tensor

from pyg_ckd.datasets.features.encode import Matrix, encode, fill_template
from pyg_ckd.datasets.features.item_files import ItemFiles
from pyg_ckd.datasets.features.lazy import Lazy
from pyg_ckd.datasets.features.pictures import open_picture, skip_damaged

T = TypeVar('T')


@dataclass(frozen=True)
class FeatureCache:
    """A folder that keeps features by their content and their encoder.

    Each method returns features, ``float32`` of shape ``[num_items,
    num_features]``, with zeros for items that have no content; and which items
    have one, Booleans of shape ``[num_items]``.

    Args:
        folder (str): The folder. It is created once there is something to keep.

    Example:
        >>> import tempfile
        >>> def encoder(texts):
        ...     return torch.tensor([[float(len(text))] for text in texts])
        >>> with tempfile.TemporaryDirectory() as root:
        ...     FeatureCache(root).encode_texts(encoder, ['a cup', '', 'tea'])
        (tensor([[5.],
                 [0.],
                 [3.]]), tensor([ True, False,  True]))
    """

    folder: str

    def encode_records(
        self,
        encoder: Callable[[list[str]], Matrix],
        template: str,
        records: Iterable[Mapping[str, str]],
    ) -> tuple[Tensor, Tensor]:
        """Return the features of texts that are made by a template.

        Args:
            encoder: From a list of texts to a matrix.
            template: As in :func:`fill_template`.
            records: For each item the value of each field.
        """
        texts = [fill_template(template, record) for record in records]
        return self.encode_texts(encoder, texts)

    def encode_texts(
        self, encoder: Callable[[list[str]], Matrix], texts: list[str]
    ) -> tuple[Tensor, Tensor]:
        """Return the features of texts.

        Args:
            encoder: From a list of texts to a matrix.
            texts: For each item its text, ``''`` where there is none.
        """
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
        """Return the features of pictures.

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
        """Return the features of contents.

        Args:
            encoder: From a list of contents to a matrix.
            contents: The contents of the items that have one; of a sequence
                only those are taken that were not encoded before.
            keys: For each item what tells its content from others, ``None``
                for items without.
            modality: The name of the modality.
            chunk: The number of contents the encoder gets at once.
                (default: ``256``)
        """
        has = torch.tensor([key is not None for key in keys])
        x = encode(encoder, contents, keys, modality, self.folder, chunk)
        return x, has
