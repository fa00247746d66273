"""Amazon's review data of 2018."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from PIL.Image import Image
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.amazon_dataset import AmazonDataset
from pyg_ckd.datasets.features.encode import Matrix
from pyg_ckd.datasets.features.picture_urls import PictureDownload
from pyg_ckd.datasets.formats.amazon_2018 import (
    FIELDS,
    read_metadata,
    read_reviews,
)
from pyg_ckd.datasets.formats.amazon_releases import AMAZON_2018
from pyg_ckd.datasets.formats.products import Product
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.splits import Split, as_split


class Amazon2018(AmazonDataset):
    r"""Users who reviewed products with texts and pictures, of Amazon in 2018.

    From the `"Justifying Recommendations using Distantly-Labeled Reviews and
    Fine-Grained Aspects" <https://aclanthology.org/D19-1018/>`_ paper: one of
    29 categories. The published 5-core of its reviews repeats some pairs of
    user and item, of which the earliest review counts; what is left is reduced
    to its ``k_core``. Files lie in ``root/Amazon2018`` as on the server, and
    are downloaded and checked as those of :class:`AmazonMultimodal`.

    The graph is that of :class:`AmazonReviews2023`.

    Args:
        root (str or PathLike): The directory that holds the folder
            ``Amazon2018``.
        category (str): The category, such as ``'Video_Games'``.
        split (Split, str or PathLike, optional): A split, such as
            ``MMRecSplit(seed=1)``, the name of one (``'random'``, ``'time'``,
            ``'leave_one_out'``, ``'mmrec'`` or ``'lattice'``), or the path of a
            :class:`PublishedSplit`. (default: ``'mmrec'``)
        k_core (int, optional): The least number of interactions of each user
            and item. Others are left out, with a warning. (default: :obj:`5`)
        template (str, optional): The text of an item, with the fields
            ``title``, ``brand``, ``category``, ``feature``, ``description``,
            ``main_cat``, ``price`` and ``rank``. HTML entities are resolved,
            lists joined by spaces. :obj:`None` leaves texts out.
            (default: ``'{title} {brand} {category} {feature} {description}'``)
        text_encoder (str or callable, optional): As in
            :class:`AmazonReviews2023`. (default: ``'all-MiniLM-L6-v2'``)
        pictures (PictureDownload, optional): How to download pictures, the
            first of ``imageURLHighRes`` of each item. :obj:`None` leaves them
            out. (default: :obj:`None`)
        image_encoder (str or callable, optional): As in
            :class:`AmazonReviews2023`.
            (default: ``'openai/clip-vit-base-patch32'``)
        image_size (int, optional): As in :class:`AmazonReviews2023`.
            (default: :obj:`512`)
        features (dict[str, str or PathLike], optional): As in
            :class:`AmazonReviews2023`. (default: :obj:`None`)
        skip_invalid (bool, optional): Whether to skip malformed lines and
            damaged pictures, and warn how many there were, instead of an error.
            (default: :obj:`False`)
        transform (callable, optional): As in :class:`GraphDataset`.
        pre_transform (callable, optional): As in :class:`GraphDataset`.
        processed_root (str or PathLike, optional): The directory to save
            results and pictures in. (default: ``root``)
        force_reload (bool, optional): As in :class:`GraphDataset`.
        limits (Limits, optional): How much is believed of the files.
            (default: ``Limits()``)

    Raises:
        ConnectionError: If files are missing and no mirror can be reached, or
            no picture can.
        ValueError: If a file is malformed, incomplete or of another release, or
            an argument is out of range.

    Example:
        >>> dataset = Amazon2018('datasets', 'Video_Games')  # doctest: +SKIP
        >>> data = dataset[0]  # doctest: +SKIP
    """

    release = AMAZON_2018
    fields = FIELDS

    def __init__(
        self,
        root: str | os.PathLike[str],
        category: str,
        split: Split | str | os.PathLike[str] = 'mmrec',
        *,
        k_core: int = 5,
        template: str
        | None = '{title} {brand} {category} {feature} {description}',
        text_encoder: str | Callable[[list[str]], Matrix] = 'all-MiniLM-L6-v2',
        pictures: PictureDownload | None = None,
        image_encoder: (
            str | Callable[[list[Image]], Matrix]
        ) = 'openai/clip-vit-base-patch32',
        image_size: int | None = 512,
        features: Mapping[str, str | os.PathLike[str]] | None = None,
        skip_invalid: bool = False,
        transform: Callable[[HeteroData], Any] | None = None,
        pre_transform: Callable[[HeteroData], Any] | None = None,
        processed_root: str | os.PathLike[str] | None = None,
        force_reload: bool = False,
        limits: Limits = Limits(),
    ) -> None:
        super().__init__(
            root,
            category,
            as_split(split),
            k_core,
            template,
            text_encoder,
            pictures,
            image_encoder,
            image_size,
            features,
            skip_invalid,
            transform,
            pre_transform,
            processed_root,
            force_reload,
            limits,
        )

    def read_reviews(self) -> Interactions:
        path = self.path_of(self.interaction_files[0])
        return read_reviews(path, self.skip_invalid, self.limits)

    def read_products(
        self, items: list[str], fields: list[str]
    ) -> Iterator[Product]:
        path = self.path_of(self.metadata_files[0])
        return read_metadata(
            path, items, fields, self.skip_invalid, self.limits
        )
