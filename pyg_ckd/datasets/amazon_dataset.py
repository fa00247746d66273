"""The base of the newer releases of Amazon's data."""

from __future__ import annotations

import hashlib
import os
import os.path as osp
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from PIL.Image import Image
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.features.contents import Contents, Modality
from pyg_ckd.datasets.features.encode import (
    Matrix,
    fill_template,
    template_fields,
)
from pyg_ckd.datasets.features.image_encoder import ImageEncoder
from pyg_ckd.datasets.features.item_files import ItemFiles
from pyg_ckd.datasets.features.picture_urls import PictureDownload
from pyg_ckd.datasets.features.pictures import PICTURES
from pyg_ckd.datasets.features.vectors import read_vectors
from pyg_ckd.datasets.formats.amazon_releases import Release
from pyg_ckd.datasets.formats.feature_files import check_modality
from pyg_ckd.datasets.formats.products import Product
from pyg_ckd.datasets.raw.download import download, verify
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.raw.k_core import core_of
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.recipe import RawFile
from pyg_ckd.datasets.raw_dataset import RawDataset, as_text_encoder
from pyg_ckd.datasets.splits import Split
from pyg_ckd.kernels.arguments import check_whole

_VERSION = 1  # Of the processed files, to be raised when their content changes.


class AmazonDataset(RawDataset):
    """A category of a newer release of Amazon's data.

    A subclass sets ``release`` and ``fields``, and implements
    :meth:`read_reviews` and :meth:`read_products`. Arguments are those of
    :class:`AmazonReviews2023`.
    """

    #: The release.
    release: ClassVar[Release]
    #: The fields that a template may name.
    fields: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        root: str | os.PathLike[str],
        category: str,
        split: Split,
        k_core: int,
        template: str | None,
        text_encoder: str | Callable[[list[str]], Matrix],
        pictures: PictureDownload | None,
        image_encoder: str | Callable[[list[Image]], Matrix],
        image_size: int | None,
        features: Mapping[str, str | os.PathLike[str]] | None,
        skip_invalid: bool,
        transform: Callable[[HeteroData], Any] | None,
        pre_transform: Callable[[HeteroData], Any] | None,
        processed_root: str | os.PathLike[str] | None,
        force_reload: bool,
        limits: Limits,
    ) -> None:
        self.release.check_category(category)
        self.category = category
        self.split = split
        self.k_core = k_core
        self.template = template
        self.text_encoder = as_text_encoder(text_encoder)
        self.pictures = pictures
        self.image_encoder = (
            image_encoder
            if callable(image_encoder)
            else ImageEncoder(image_encoder)
        )
        self.image_size = image_size
        self.features = {
            modality: osp.expanduser(path)
            for modality, path in sorted((features or {}).items())
        }
        self.skip_invalid = skip_invalid
        self.limits = limits
        self.processed_root = osp.expanduser(processed_root or root)
        self._check_arguments()
        super().__init__(root, transform, pre_transform, force_reload)

    @abstractmethod
    def read_reviews(self) -> Interactions:
        """Return the interactions, of all users and items."""

    @abstractmethod
    def read_products(
        self, items: list[str], fields: list[str]
    ) -> Iterator[Product]:
        """Yield what is known of items, with some fields."""

    @property
    def interaction_files(self) -> list[tuple[str, RawFile]]:
        """The folder and the source of each file of interactions."""
        path = self.release.reviews.format(self.category)
        return [self.release.file(path)]

    @property
    def metadata_files(self) -> list[tuple[str, RawFile]]:
        """The folder and the source of the metadata, if it is needed."""
        if self.template is None and self.pictures is None:
            return []
        path = self.release.metadata.format(self.category)
        return [self.release.file(path)]

    @property
    def settings(self) -> Any:
        image = self.image_encoder, self.image_size
        return (
            _VERSION,
            self.category,
            self.split,
            self.split.state,
            self.k_core,
            self.template,
            None if self.template is None else self.text_encoder,
            None if self.pictures is None else image,
            list(self.features),
            self.skip_invalid,
        )

    @property
    def raw_dir(self) -> str:
        """The folder of a release, whose files lie as on the server."""
        return osp.join(self.root, self.release.reader)

    @property
    def raw_paths(self) -> list[str]:
        paths = [
            self.path_of(file)
            for file in (*self.interaction_files, *self.metadata_files)
        ]
        if self.pictures is not None:
            # The table of failures is there once all pictures were tried:
            paths += [self.picture_folder, self._picture_report]
        return [*paths, *self.features.values()]

    @property
    def processed_parent(self) -> str:
        return osp.join(self._own_folder, 'processed')

    @property
    def picture_folder(self) -> str:
        """The folder of pictures, named by their items."""
        folder = None if self.pictures is None else self.pictures.folder
        return osp.expanduser(folder or osp.join(self._own_folder, 'pictures'))

    def path_of(self, file: tuple[str, RawFile]) -> str:
        """Return where a file is kept."""
        folder, source = file
        return osp.join(self.raw_dir, folder, source.name)

    def download(self) -> None:
        for path in self.features.values():
            if not osp.exists(path):
                raise FileNotFoundError(f"There is no '{path}'")
        for folder, files in self._by_folder().items():
            self.release.check_folder(folder, self.category)
            download(files, folder)
        if self.pictures is not None:
            items = self.read_interactions().items
            urls = dict.fromkeys(items, '')
            for product in self.read_products(items, []):
                urls[product.item] = product.picture
            self.pictures(
                {item: url for item, url in urls.items() if url},
                self.picture_folder,
                self._picture_report,
                self.limits,
            )

    def build(self) -> HeteroData:
        for folder, files in self._by_folder().items():
            verify(files, folder)
        return super().build()

    def read_interactions(self) -> Interactions:
        path = self.path_of(self.interaction_files[0])
        return core_of(self.read_reviews(), self.k_core, path)

    def read_contents(self, items: list[str]) -> Contents:
        if self.template is None:
            return Contents(self._modalities(items, []))
        fields = list(dict.fromkeys(['title', *template_fields(self.template)]))
        row_of = {item: row for row, item in enumerate(items)}
        texts, titles = [''] * len(items), list(items)
        for item, record, _ in self.read_products(items, fields):
            texts[row_of[item]] = fill_template(self.template, record)
            titles[row_of[item]] = ' '.join(record['title'].split()) or item
        return Contents(self._modalities(items, texts), titles)

    def __repr__(self) -> str:
        return f'{self.release.reader}({self.category!r})'

    @property
    def _own_folder(self) -> str:
        reader = self.release.reader
        return osp.join(self.processed_root, reader, self.category)

    @property
    def _picture_report(self) -> str:
        """The table of failures, of what decides which pictures are wanted."""
        items = self.interaction_files, self.k_core, self.skip_invalid
        wanted = repr((items, self.pictures))
        key = hashlib.sha256(wanted.encode()).hexdigest()[:8]
        return osp.join(self.picture_folder, f'failures_{key}.csv')

    def _by_folder(self) -> dict[str, list[RawFile]]:
        files: dict[str, list[RawFile]] = {}
        for name, file in (*self.interaction_files, *self.metadata_files):
            files.setdefault(osp.join(self.raw_dir, name), []).append(file)
        return files

    def _modalities(
        self, items: list[str], texts: list[str]
    ) -> Iterator[Modality]:
        if self.pictures is not None:
            files = ItemFiles(self.picture_folder, PICTURES, self.limits)
            yield (
                'image',
                *self.cache.encode_pictures(
                    self.image_encoder,
                    files,
                    items,
                    self.image_size,
                    self.skip_invalid,
                ),
            )
        if self.template is not None:
            yield 'text', *self.cache.encode_texts(self.text_encoder, texts)
        for modality, path in self.features.items():
            yield modality, *read_vectors(path, items, limits=self.limits)

    def _check_arguments(self) -> None:
        for name, value in (
            ('k_core', self.k_core),
            ('image_size', self.image_size),
        ):
            if value is not None:
                check_whole(self.__class__.__name__, **{name: value})
        for field in template_fields(self.template) if self.template else []:
            if field not in self.fields:
                raise ValueError(
                    f"'template' may have the fields {', '.join(self.fields)} "
                    f'(got {field!r})'
                )
        own = {'image': self.pictures, 'text': self.template}
        if not self.features and all(x is None for x in own.values()):
            raise ValueError(
                "There is no modality; pass a 'template', 'pictures' or "
                "'features'"
            )
        for modality, path in self.features.items():
            reason = check_modality(modality)
            if own.get(modality) is not None:
                reason = 'is encoded as well'
            if path.lower().endswith('.npy'):
                reason = f"is a matrix ('{path}'), whose rows name no items"
            if reason:
                raise ValueError(
                    f"'features' names the modality {modality!r}, which "
                    f'{reason}; pass a folder or zip archive of vectors '
                    f"'<item>.npy' for a modality of its own, template=None in "
                    f'place of texts or pictures=None in place of pictures'
                )
