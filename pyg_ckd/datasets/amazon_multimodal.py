"""Amazon's product data of 2014, from its original files."""

from __future__ import annotations

import html
import os
import os.path as osp
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch_geometric.data import HeteroData

from pyg_ckd.datasets.features.contents import Contents, Modality
from pyg_ckd.datasets.features.encode import Matrix, template_fields
from pyg_ckd.datasets.formats.amazon_2014 import (
    read_image_features,
    read_metadata,
    read_reviews,
)
from pyg_ckd.datasets.formats.amazon_releases import AMAZON_2014
from pyg_ckd.datasets.raw.download import download, verify
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.recipe import RawFile, Recipe
from pyg_ckd.datasets.raw_dataset import RawDataset, as_text_encoder
from pyg_ckd.datasets.splits import Split, as_split

_VERSION = 2  # Of the processed files, to be raised when their content changes.
_FIELDS = ('title', 'brand', 'categories', 'description')
_FILES = {'image': 'image', 'text': 'metadata'}  # of each modality


class AmazonMultimodal(RawDataset):
    r"""Users who reviewed products with texts and pictures, of Amazon in 2014.

    From the `"Image-based Recommendations on Styles and Substitutes"
    <https://arxiv.org/abs/1506.04757>`_ and `"Ups and Downs: Modeling the
    Visual Evolution of Fashion Trends with One-Class Collaborative Filtering"
    <https://arxiv.org/abs/1602.01585>`_ papers: the 5-core of one of 24
    categories, in which each user and item has at least five reviews. The
    original files are downloaded to ``root/name/raw``, or put there by hand,
    and checked by their checksums. Those that nobody has published are noted at
    the first download, in ``SHA256SUMS`` beside the files, and hold from then
    on.

    The graph has a node for each reviewer and each product with a review,
    sorted by their ids, see :attr:`users` and :attr:`items`, and

    - ``data['item'].x_image`` of shape ``[num_items, 4096]``, the published
      features of pictures;
    - ``data['item'].x_text`` of shape ``[num_items, num_features]``, from an
      encoder of sentences;
    - ``data['item'].has_image`` and ``.has_text`` where items lack one: these
      have the mean of the others;
    - the interactions of training, validation and test, as in
      :class:`MMRecFolder`, with ``.rating`` (1 to 5) and ``.time`` (seconds
      since 1970) of training;
    - ``data.split``, what they were split by.

    Args:
        root (str or PathLike): The directory that holds the folder ``name``.
        name (str): The category, such as ``'Baby'``.
        split (Split, str or PathLike, optional): A split, such as
            ``MMRecSplit(seed=1)``, the name of one (``'random'``, ``'time'``,
            ``'leave_one_out'``, ``'mmrec'`` or ``'lattice'``), or the path of a
            :class:`PublishedSplit`. (default: ``'mmrec'``)
        modalities (Sequence[str], optional): The modalities to load. Without
            ``'image'`` its large file is not needed.
            (default: ``('image', 'text')``)
        text_encoder (str or callable, optional): A model of
            `sentence-transformers`, a folder that holds one, or a function
            from a list of texts to a matrix with a row for each, a tensor or
            NumPy array. A function is known by its ``repr``, which has to name
            all its settings.
            (default: ``'all-MiniLM-L6-v2'``)
        template (str, optional): The text of an item, with the fields
            ``title``, ``brand``, ``categories`` and ``description``. HTML
            entities are resolved, categories joined by spaces.
            (default: ``'{title} {brand} {categories} {description}'``)
        skip_invalid (bool, optional): Whether to skip malformed lines and
            repeated reviews or items, and warn how many there were, instead of
            an error. Of several reviews of an item by the same user the
            earliest counts. (default: :obj:`False`)
        recipe (str or PathLike, optional): A file that says where to download
            from. (default: that of the category, in
            ``pyg_ckd/datasets/raw/recipes``)
        transform (callable, optional): As in :class:`GraphDataset`.
        pre_transform (callable, optional): As in :class:`GraphDataset`.
        processed_root (str or PathLike, optional): The directory to save
            results in. (default: ``root``)
        force_reload (bool, optional): As in :class:`GraphDataset`.
        limits (Limits, optional): How much is believed of the files; ``line``
            is the most bytes of a line. (default: ``Limits()``)

    Raises:
        ConnectionError: If files are missing and no mirror can be reached. The
            message says which to fetch by hand, and where to put them.
        ValueError: If a file is malformed, incomplete or not the published
            one, or an argument is out of range.

    Example:
        >>> dataset = AmazonMultimodal('datasets', 'Baby')  # doctest: +SKIP
        >>> data = dataset[0]  # doctest: +SKIP

    **STATS:**

    .. list-table::
        :widths: 40 15 15 15
        :header-rows: 1

        * - Name
          - #users
          - #items
          - #interactions
        * - Baby
          - 19,445
          - 7,050
          - 160,792
        * - Sports_and_Outdoors
          - 35,598
          - 18,357
          - 296,337
        * - Clothing_Shoes_and_Jewelry
          - 39,387
          - 23,033
          - 278,677
        * - Beauty
          - 22,363
          - 12,101
          - 198,502
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        name: str,
        split: Split | str | os.PathLike[str] = 'mmrec',
        modalities: Sequence[str] = ('image', 'text'),
        text_encoder: str | Callable[[list[str]], Matrix] = 'all-MiniLM-L6-v2',
        template: str = '{title} {brand} {categories} {description}',
        skip_invalid: bool = False,
        recipe: str | os.PathLike[str] | None = None,
        transform: Callable[[HeteroData], Any] | None = None,
        pre_transform: Callable[[HeteroData], Any] | None = None,
        processed_root: str | os.PathLike[str] | None = None,
        force_reload: bool = False,
        limits: Limits = Limits(),
    ) -> None:
        for modality in modalities:
            if modality not in _FILES:
                raise ValueError(
                    f"'modalities' may name 'image' and 'text' (got "
                    f'{modality!r})'
                )
        for field in template_fields(template):
            if field not in _FIELDS:
                raise ValueError(
                    f"'template' may have the fields {', '.join(_FIELDS)} (got "
                    f'{field!r})'
                )
        self.name = name
        self.split = as_split(split)
        self.modalities = sorted(set(modalities))
        self.text_encoder = as_text_encoder(text_encoder)
        self.template = template
        self.skip_invalid = skip_invalid
        self.limits = limits
        if recipe is None:
            AMAZON_2014.check_other(name)
        self.recipe = Recipe.load(recipe or name)
        self.processed_root = osp.expanduser(processed_root or root)
        super().__init__(root, transform, pre_transform, force_reload)

    @property
    def settings(self) -> Any:
        text = (self.text_encoder, self.template)
        return (
            _VERSION,
            self.split,
            self.split.state,
            self.modalities,
            text if 'text' in self.modalities else None,
            self.skip_invalid,
        )

    @property
    def raw_dir(self) -> str:
        return osp.join(self.root, self.name, 'raw')

    @property
    def processed_parent(self) -> str:
        return osp.join(self.processed_root, self.name, 'processed')

    @property
    def raw_files(self) -> dict[str, RawFile]:
        """The original files that are needed, by their content."""
        needed = ('reviews', *(_FILES[m] for m in self.modalities))
        return {key: self.recipe.files[key] for key in needed}

    @property
    def raw_file_names(self) -> list[str]:
        return [file.name for file in self.raw_files.values()]

    def download(self) -> None:
        AMAZON_2014.check_folder(self.raw_dir, self.name)
        download(self.raw_files.values(), self.raw_dir)

    def build(self) -> HeteroData:
        verify(self.raw_files.values(), self.raw_dir)
        return super().build()

    def read_interactions(self) -> Interactions:
        path = self._path('reviews')
        interactions = read_reviews(path, self.skip_invalid, self.limits)
        expected = self.recipe.statistics
        found = {
            'users': len(interactions.users),
            'items': len(interactions.items),
            'interactions': interactions.user.numel(),
        }
        if expected is not None and found != expected:
            raise ValueError(
                f"'{path}' has {found}, but the published file {expected}; "
                f"delete it and its line in 'SHA256SUMS' to download it again, "
                f'or pass a recipe without [statistics]'
            )
        return interactions

    def read_contents(self, items: list[str]) -> Contents:
        return Contents(self._modalities(items))

    def __repr__(self) -> str:
        return f'{self.name}()'

    def _modalities(self, items: list[str]) -> Iterator[Modality]:
        if 'image' in self.modalities:
            path = self._path('image')
            yield 'image', *read_image_features(path, items, self.skip_invalid)
        if 'text' in self.modalities:
            path = self._path('metadata')
            metadata = read_metadata(
                path, items, self.skip_invalid, self.limits
            )
            records = [_texts(metadata.get(item, {})) for item in items]
            encoder, template = self.text_encoder, self.template
            yield 'text', *self.cache.encode_records(encoder, template, records)

    def _path(self, key: str) -> str:
        return osp.join(self.raw_dir, self.raw_files[key].name)


def _texts(record: dict[str, Any]) -> dict[str, str]:
    """Return the fields of an item's metadata as text."""
    categories = [
        name for path in record.get('categories', []) for name in path
    ]
    fields = {**record, 'categories': ' '.join(categories)}
    return {key: html.unescape(str(fields.get(key, ''))) for key in _FIELDS}
