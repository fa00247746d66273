"""Amazon Reviews 2023."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from PIL.Image import Image
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.amazon_dataset import AmazonDataset
from pyg_ckd.datasets.features.encode import Matrix
from pyg_ckd.datasets.features.picture_urls import PictureDownload
from pyg_ckd.datasets.formats.amazon_2023 import (
    FIELDS,
    read_benchmark,
    read_metadata,
    read_reviews,
)
from pyg_ckd.datasets.formats.amazon_releases import AMAZON_2023
from pyg_ckd.datasets.formats.products import Product
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.recipe import RawFile
from pyg_ckd.datasets.splits import Split, as_split
from pyg_ckd.datasets.splits.benchmark_split import RULES, BenchmarkSplit

_K_CORE = 5  # of raw reviews
#: Categories of which no user and item have five interactions.
_WITHOUT_5_CORE = (
    'Amazon_Fashion',
    'Appliances',
    'Digital_Music',
    'Handmade_Products',
    'Health_and_Personal_Care',
    'Subscription_Boxes',
)


class AmazonReviews2023(AmazonDataset):
    r"""Users who reviewed products with texts and pictures, of Amazon to 2023.

    From the `"Bridging Language and Items for Retrieval and Recommendation"
    <https://arxiv.org/abs/2403.03952>`_ paper: one of 33 categories, or
    ``'Unknown'``, the products of none. Interactions are those of a published
    split, or the raw reviews, split by any other rule. Files lie in
    ``root/AmazonReviews2023`` as on the server, below ``raw`` and
    ``benchmark``. They are downloaded there, or put there by hand, and checked
    as those of :class:`AmazonMultimodal`.

    The graph has a node for each user and each product, by its
    ``parent_asin``, sorted by their ids, see :attr:`users` and :attr:`items`,
    and

    - ``data['item'].x_text`` of shape ``[num_items, num_features]``, from an
      encoder of sentences, if there is a ``template``;
    - ``data['item'].x_image`` of such a shape, from an encoder of pictures, if
      there are ``pictures``;
    - the vectors of each of the ``features``;
    - ``data['item'].has_<modality>`` where items lack one: these have the mean
      of the others;
    - ``data['item'].title``, or the id of an item that has none, if there is a
      ``template``;
    - the interactions of training, validation and test, as in
      :class:`MMRecFolder`, with ``.rating`` (1 to 5) and ``.time`` (seconds
      since 1970) of training;
    - ``data.split``, what they were split by.

    Of several reviews of an item by the same user the earliest counts, as in
    the published splits.

    **Pictures** are downloaded once, when the data set is first opened with
    ``pictures``: of each item the one that is called ``MAIN``, in its
    ``hi_res`` or else its ``large`` form. What could not be had is counted in a
    warning and listed in ``failures_<key>.csv`` beside the pictures; delete
    that file to try again. An interrupted download goes on where it stopped.

    Args:
        root (str or PathLike): The directory that holds the folder
            ``AmazonReviews2023``.
        category (str): The category, such as ``'Video_Games'``.
        split (Split, str or PathLike, optional): A published split,
            ``'last_out'`` or ``'timestamp'`` of the 5-core, or one such as
            ``BenchmarkSplit('timestamp', core=0)``; or how to split the raw
            reviews: a split such as ``MMRecSplit(seed=1)``, the name of one
            (``'random'``, ``'time'``, ``'leave_one_out'``, ``'mmrec'`` or
            ``'lattice'``), or the path of a :class:`PublishedSplit`.
            (default: ``'last_out'``)
        k_core (int, optional): Of raw reviews, the least number of interactions
            of each user and item. Others are left out, with a warning.
            (default: :obj:`5`)
        template (str, optional): The text of an item, with the fields
            ``title``, ``subtitle``, ``features``, ``description``, ``store``,
            ``categories``, ``main_category``, ``details`` and ``price``. HTML
            entities are resolved, lists joined by spaces, and so are the names
            and values of ``details``. :obj:`None` leaves texts out.
            (default: ``'{title} {store} {categories} {features}
            {description}'``)
        text_encoder (str or callable, optional): A model of
            `sentence-transformers`, a folder that holds one, or a function
            from a list of texts to a matrix with a row for each, a tensor or
            NumPy array. A function is known by its ``repr``, which has to name
            all its settings. (default: ``'all-MiniLM-L6-v2'``)
        pictures (PictureDownload, optional): How to download pictures.
            :obj:`None` leaves them out. (default: :obj:`None`)
        image_encoder (str or callable, optional): A vision model of
            `transformers`, a folder that holds one, or a function from a list
            of :class:`PIL.Image.Image` (RGB) to a matrix, known as a text
            encoder is. (default: ``'openai/clip-vit-base-patch32'``)
        image_size (int, optional): Larger pictures are shrunk to so many pixels
            a side before they are encoded. (default: :obj:`512`)
        features (dict[str, str or PathLike], optional): For each further
            modality a folder or zip archive of vectors ``<item>.npy``; also of
            ``'image'``, in place of ``pictures``, and of ``'text'``, in place
            of a ``template``. (default: :obj:`None`)
        skip_invalid (bool, optional): Whether to skip malformed lines, repeated
            items and damaged pictures, and warn how many there were, instead of
            an error. (default: :obj:`False`)
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
        >>> dataset = AmazonReviews2023(
        ...     'datasets', 'Video_Games', split='timestamp',
        ...     pictures=PictureDownload(max_items=1000),
        ... )  # doctest: +SKIP
        >>> data = dataset[0]  # doctest: +SKIP

    **STATS** of the published 5-core, rounded as published:

    .. list-table::
        :widths: 40 15 15 15
        :header-rows: 1

        * - Category
          - #users
          - #items
          - #interactions
        * - Baby_Products
          - 150.8K
          - 36.0K
          - 1.2M
        * - Electronics
          - 1.6M
          - 368.2K
          - 15.5M
        * - Sports_and_Outdoors
          - 409.8K
          - 156.2K
          - 3.5M
        * - Video_Games
          - 94.8K
          - 25.6K
          - 814.6K
    """

    release = AMAZON_2023
    fields = FIELDS

    def __init__(
        self,
        root: str | os.PathLike[str],
        category: str,
        split: Split | str | os.PathLike[str] = 'last_out',
        *,
        k_core: int | None = None,
        template: str
        | None = '{title} {store} {categories} {features} {description}',
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
        if isinstance(split, str) and split in RULES:
            split = BenchmarkSplit(split)
        try:
            split = as_split(split)
        except ValueError as error:
            raise ValueError(
                f'{error}; published are {" and ".join(map(repr, RULES))}'
            ) from None
        if isinstance(split, BenchmarkSplit):
            _check_benchmark(category, split, k_core)
        super().__init__(
            root,
            category,
            split,
            _K_CORE if k_core is None else k_core,
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

    @property
    def interaction_files(self) -> list[tuple[str, RawFile]]:
        if not isinstance(self.split, BenchmarkSplit):
            return super().interaction_files
        start = f'{self.split.folder}/{self.category}'
        return [
            self.release.file(f'{start}.{part}.csv.gz')
            for part in ('train', 'valid', 'test')
        ]

    def read_split(self) -> tuple[Interactions, Tensor]:
        if not isinstance(self.split, BenchmarkSplit):
            return super().read_split()
        paths = [self.path_of(file) for file in self.interaction_files]
        interactions, labels = read_benchmark(
            paths, self.skip_invalid, self.limits
        )
        return interactions, replace(self.split, labels=labels)(interactions)

    def read_interactions(self) -> Interactions:
        if isinstance(self.split, BenchmarkSplit):
            return self.read_split()[0]
        return super().read_interactions()

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


def _check_benchmark(
    category: str, split: BenchmarkSplit, k_core: int | None
) -> None:
    if k_core is not None:
        raise ValueError(
            f"'k_core' is that of raw reviews (got {k_core}), but {split!r} "
            f'has its own; leave it out, or choose another split'
        )
    if split.core == 5 and category in _WITHOUT_5_CORE:
        raise ValueError(
            f"'{category}' has no published 5-core, as it would be empty; pass "
            f'split=BenchmarkSplit({split.rule!r}, core=0)'
        )
