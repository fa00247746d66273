"""A user's own data."""

from __future__ import annotations

import os
import os.path as osp
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from PIL.Image import Image
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.features.contents import Contents
from pyg_ckd.datasets.features.encode import Matrix
from pyg_ckd.datasets.features.image_encoder import ImageEncoder
from pyg_ckd.datasets.features.new_items import NewItems
from pyg_ckd.datasets.features.table_contents import TableContents
from pyg_ckd.datasets.features.vectors import is_matrix
from pyg_ckd.datasets.formats.feature_files import check_modality
from pyg_ckd.datasets.formats.shop_tables import (
    compare_ids,
    new_ids,
    read_interactions,
    read_items,
)
from pyg_ckd.datasets.formats.tables import Source, path_of
from pyg_ckd.datasets.interaction_table import InteractionTable
from pyg_ckd.datasets.item_table import ItemTable
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.raw.k_core import core_of
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw_dataset import RawDataset, as_text_encoder
from pyg_ckd.datasets.splits import Split, as_split
from pyg_ckd.kernels.arguments import check_whole

_VERSION = 4  # Of the processed files, to be raised when their content changes.


class Catalogue(RawDataset):
    r"""A shop's own interactions and items, as a user-item graph.

    A table is a path or a data frame with the columns ``user`` and ``item``, or
    an :class:`InteractionTable` or :class:`ItemTable`, which say how columns
    are called, and what else is in them.

    Users and items of the graph are those in the ``k_core`` of the
    interactions, sorted by their ids, see :attr:`users` and :attr:`items`. The
    graph is that of :class:`AmazonMultimodal`, with the modality ``text`` if
    items have a template of texts, ``image`` if there are ``images``, and those
    of ``features``. An item without one has the mean of the others, and
    ``False`` in ``data['item'].has_<modality>``. Items that are not in the
    graph are encoded in the same way by :meth:`encode_new`.

    **Several types of interactions** have weights, see
    :class:`InteractionTable`. A user and an item have one interaction, of the
    largest weight that their rows have. What has the largest of all is what is
    to be predicted: validation and test are drawn from it alone, and all else
    is for training, except what such a split holds out of training by its
    nature: other interactions of items held out (:class:`ColdItemSplit`), or
    after the first one held out (:class:`TimeSplit` and ``per_user=False``).
    The weights of training, divided by the largest, are
    ``data['user', 'rates', 'item'].edge_weight``: a pair takes part in an epoch
    with the probability of its weight (:class:`~pyg_ckd.train.TripletLoader`).
    Whatever a user has done counts alike where models propagate over
    interactions, where popularity is counted, and where items that she knows
    are left out of recommendations.

    **Repeats.** A user who has bought an item several times has one interaction
    with it: the earliest where there are times, wherever it is in the file (at
    equal times the first), and the first of the file where there are none. In a
    table without types repeats are errors unless ``skip_invalid``.

    Args:
        root (str or PathLike): The directory to save results in.
        interactions (str, PathLike, DataFrame, InteractionTable or dict): The
            interactions: a table, or several by the name of their type, such as
            ``{'view': InteractionTable('views.csv', weight=0.1), 'buy':
            'sales.csv'}``.
        items (str, PathLike, DataFrame or ItemTable, optional): The items.
            Needed for texts, titles, names of pictures and feature matrices.
            (default: :obj:`None`)
        images (str or PathLike, optional): A folder or zip archive that holds a
            picture for each item, named by its id. (default: :obj:`None`)
        features (dict[str, str or PathLike], optional): For each further
            modality a folder or zip archive of vectors ``<id>.npy``, or a
            single ``.npy`` matrix whose rows belong to those of ``items``.
            (default: :obj:`None`)
        text_encoder (str or callable, optional): As in
            :class:`AmazonMultimodal`. (default: ``'all-MiniLM-L6-v2'``)
        image_encoder (str or callable, optional): A vision model of
            `transformers`, a folder that holds one, or a function from a list
            of :class:`PIL.Image.Image` (RGB) to a matrix, a tensor or NumPy
            array. A function is known by its ``repr``, which has to name all
            its settings. (default: ``'openai/clip-vit-base-patch32'``)
        image_size (int, optional): Larger pictures are shrunk to so many pixels
            a side before they are encoded, 32 at once; :obj:`None` leaves them
            as they are. (default: :obj:`512`)
        k_core (int, optional): The least number of interactions, of all types,
            of each user and item. Others are left out, with a warning.
            (default: :obj:`5`)
        split (Split, str or PathLike, optional): A split, such as
            ``MMRecSplit(seed=1)``, the name of one (``'random'``, ``'time'``,
            ``'leave_one_out'``, ``'mmrec'`` or ``'lattice'``), or a table of
            the columns ``user``, ``item`` and ``split``, see
            :class:`PublishedSplit`. (default: ``'mmrec'``)
        cold_items (bool, optional): Whether items of the table without sales,
            or outside the ``k_core``, are in the graph as well, after the
            others: with their features, without any interaction, and ``True``
            in ``data['item'].cold``. No loss draws them as negatives, so that
            what a model learns of an item itself, its ID, stays as it was
            initialised. It does not in models that pass IDs on between similar
            items (:class:`~pyg_ckd.nn.LATTICE`, :class:`~pyg_ckd.nn.MICRO`,
            :class:`~pyg_ckd.nn.FREEDOM`, :class:`~pyg_ckd.nn.MGCN`,
            :class:`~pyg_ckd.nn.LGMRec`, :class:`~pyg_ckd.nn.SMORE`), where it
            learns from these, and in :class:`~pyg_ckd.nn.BM3`, which makes all
            IDs smaller. (default: :obj:`False`)
        skip_invalid (bool, optional): Whether to skip rows with an empty id, a
            malformed rating or time or a type without weight, repeated pairs of
            user and item (see above) and repeated rows of ``items`` (the first
            counts), and damaged pictures, and warn how many there were, instead
            of an error. (default: :obj:`False`)
        limits (Limits, optional): How large the parts of files may be.
            (default: ``Limits()``)
        transform (callable, optional): As in :class:`GraphDataset`.
        pre_transform (callable, optional): As in :class:`GraphDataset`.
        force_reload (bool, optional): As in :class:`GraphDataset`.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is malformed or larger than the limits, files do
            not fit each other, or an argument is out of range.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import pandas as pd
        >>> import torch
        >>> with tempfile.TemporaryDirectory() as root:
        ...     _ = Path(root, 'sales.csv').write_text(
        ...         'user,item\nann,cup\nann,pot\nann,mug\nbob,cup\n'
        ...     )
        ...     _ = Path(root, 'items.csv').write_text(
        ...         'item,title\ncup,A red cup\npot,A pot\nmug,\n'
        ...     )
        ...     dataset = Catalogue(
        ...         root, f'{root}/sales.csv',
        ...         ItemTable(f'{root}/items.csv', text='{title}'), k_core=1,
        ...         text_encoder=lambda texts: torch.tensor(
        ...             [[float(len(text))] for text in texts]
        ...         ),
        ...     )
        ...     dataset.items
        ['cup', 'mug', 'pot']
        >>> data = dataset[0]
        >>> data['item'].x_text.view(-1)
        tensor([9.0000, 7.0000, 5.0000])
        >>> data['item'].has_text
        tensor([ True, False,  True])

        New items have the same kind of features:

        >>> new = dataset.encode_new(
        ...     pd.DataFrame({'item': ['vase'], 'title': ['A vase']})
        ... )
        >>> new.name, new.features['text']
        (['vase'], tensor([[6.]]))

        Purchases are predicted, and views help:

        >>> events = pd.DataFrame({
        ...     'user': [*'aaaaabbbbb'], 'item': [*'12345', *'12346'],
        ...     'event': [*('buy', 'buy', 'buy', 'view', 'view')] * 2,
        ... })
        >>> log = InteractionTable(
        ...     events, type='event', weights={'view': 0.1, 'buy': 1.0}
        ... )
        >>> with tempfile.TemporaryDirectory() as root:
        ...     data = Catalogue(root, log, k_core=1)[0]
        >>> data['user', 'rates', 'item'].edge_weight
        tensor([1.0000, 0.1000, 0.1000, 1.0000, 0.1000, 0.1000])
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        interactions: (
            Source | InteractionTable | Mapping[str, Source | InteractionTable]
        ),
        items: Source | ItemTable | None = None,
        images: str | os.PathLike[str] | None = None,
        features: Mapping[str, str | os.PathLike[str]] | None = None,
        *,
        text_encoder: str | Callable[[list[str]], Matrix] = 'all-MiniLM-L6-v2',
        image_encoder: (
            str | Callable[[list[Image]], Matrix]
        ) = 'openai/clip-vit-base-patch32',
        image_size: int | None = 512,
        k_core: int = 5,
        split: Split | str | os.PathLike[str] = 'mmrec',
        cold_items: bool = False,
        skip_invalid: bool = False,
        limits: Limits = Limits(),
        transform: Callable[[HeteroData], Any] | None = None,
        pre_transform: Callable[[HeteroData], Any] | None = None,
        force_reload: bool = False,
    ) -> None:
        self.interaction_tables = _interaction_tables(interactions)
        self.item_table = None if items is None else _item_table(items)
        self.images_path = None if images is None else osp.expanduser(images)
        self.features = {
            modality: osp.expanduser(path)
            for modality, path in sorted((features or {}).items())
        }
        self.text_encoder = as_text_encoder(text_encoder)
        self.image_encoder = (
            image_encoder
            if callable(image_encoder)
            else ImageEncoder(image_encoder)
        )
        self.image_size = image_size
        self.k_core = k_core
        self.split = as_split(split)
        self.cold_items = cold_items
        self.skip_invalid = skip_invalid
        self.limits = limits
        self._check_arguments()
        super().__init__(root, transform, pre_transform, force_reload)

    @property
    def template(self) -> str | None:
        """The template of texts, if items have texts."""
        return None if self.item_table is None else self.item_table.text

    @cached_property
    def settings(self) -> Any:
        items = self.item_table
        return (
            _VERSION,
            [table.settings for table in self.interaction_tables.values()],
            None if items is None else items.settings,
            self.images_path,
            self.features,
            None if self.template is None else self.text_encoder,
            None if self.images_path is None else self.image_encoder,
            self.image_size,
            self.k_core,
            self.split,
            self.split.state,
            self.cold_items,
            self.skip_invalid,
            self.limits if self.skip_invalid else None,
        )

    @property
    def processed_parent(self) -> str:
        return osp.join(self.root, 'processed')

    @property
    def raw_paths(self) -> list[str]:
        tables = [*self.interaction_tables.values(), self.item_table]
        paths = [table.path for table in tables if table is not None]
        paths += [self.images_path, *self.features.values()]
        return [path for path in paths if path is not None]

    def download(self) -> None:
        missing = [path for path in self.raw_paths if not osp.exists(path)]
        raise FileNotFoundError(f"There is no '{missing[0]}'")

    def read_interactions(self) -> Interactions:
        tables = list(self.interaction_tables.values())
        interactions = read_interactions(tables, self.skip_invalid, self.limits)
        names = "', '".join(table.name for table in tables)
        return core_of(interactions, self.k_core, names)

    @property
    def contents_of(self) -> TableContents:
        """What makes contents of tables, pictures and vectors."""
        return TableContents(
            self.item_table,
            self.text_encoder,
            self.image_encoder,
            self.image_size,
            self.cache,
            self.skip_invalid,
            self.limits,
        )

    def read_contents(self, items: list[str]) -> Contents:
        table = None
        if self.item_table is not None:
            table = read_items(self.item_table, self.skip_invalid, self.limits)
            ids = table[self.item_table.item]
            compare_ids(self.item_table.name, ids, items)
            if self.cold_items:
                cold = {name for name in ids if name.strip()}.difference(items)
                items = [*items, *sorted(cold)]
        return self.contents_of(items, table, self.images_path, self.features)

    def encode_new(
        self,
        items: Source,
        images: str | os.PathLike[str] | None = None,
        features: Mapping[str, str | os.PathLike[str]] | None = None,
    ) -> NewItems:
        """Return the contents of new items, encoded as those of the others.

        The same template, encoders and columns hold, and ``skip_invalid``. The
        same texts and pictures have the same features to the bit, unless the
        results of an encoder depend on what else is encoded at once. They are
        features before any ``pre_transform`` or ``transform``.

        :func:`~pyg_ckd.serving.with_new_items` makes a trained model recommend
        such items: ``with_new_items(model, data, new.features, new.name,
        new.title, has=new.has)``.

        Args:
            items: A path or a data frame, a row a new item, with the columns
                that the items of the catalogue have.
            images: A folder or zip archive with their pictures, as in the
                constructor, where pictures of others are passed over. Needed if
                the catalogue has pictures.
            features: For each further modality of the catalogue their vectors
                or a matrix, as in the constructor.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If an item is in the catalogue already, a file is
                malformed, or files of a modality are missing.
        """
        new_table = self._new_table(items)
        pictures = None if images is None else osp.expanduser(images)
        vectors = {
            modality: osp.expanduser(file)
            for modality, file in sorted((features or {}).items())
        }
        self._check_new(pictures, vectors)
        table = read_items(new_table, self.skip_invalid, self.limits)
        names = new_ids(new_table, table[new_table.item], self.items)
        new = self.contents_of(names, table, pictures, vectors, is_whole=False)
        x, has = {}, {}
        for modality, encoded, is_there in new.modalities:
            x[modality] = self._as_wide(modality, encoded, is_there)
            if not is_there.all():
                has[modality] = is_there
            if not is_there.any():
                warnings.warn(
                    f'No new item has the modality {modality!r}; check that '
                    f'ids are written in the same way',
                    stacklevel=2,
                )
        return NewItems(names, x, has, new.titles)

    def __repr__(self) -> str:
        names = [repr(x.name) for x in self.interaction_tables.values()]
        return f'Catalogue({", ".join(names)})'

    def _check_arguments(self) -> None:
        check_whole('Catalogue', k_core=self.k_core)
        if self.image_size is not None:
            check_whole('Catalogue', image_size=self.image_size)
        own = {'image': self.images_path, 'text': self.template}
        encoded = [name for name, source in own.items() if source is not None]
        for modality in self.features:
            reason = check_modality(modality)
            if modality in encoded:
                reason = 'is that of texts or pictures'
            if reason:
                raise ValueError(
                    f"'features' names the modality {modality!r}, which "
                    f'{reason}; name it otherwise'
                )
        items = self.item_table
        matrices = list(filter(is_matrix, self.features.values()))
        for argument, value in (
            ('features', matrices),
            ('cold_items', self.cold_items),
        ):
            if value and items is None:
                raise ValueError(
                    f"'{argument}' needs 'items' (got {value!r}); pass both"
                )
        if items is not None and items.image and self.images_path is None:
            raise ValueError(
                f"'image' of 'items' needs 'images' (got {items.image!r}); "
                f'pass both'
            )

    def _new_table(self, items: Source) -> ItemTable:
        """Return a table of new items, whose columns are known."""
        known = self.item_table
        if known is None:
            first = next(iter(self.interaction_tables.values()))
            return ItemTable(items, item=first.item)
        names = None if path_of(items) is None else known.names
        return replace(known, source=items, names=names)

    def _check_new(self, images: str | None, features: dict[str, str]) -> None:
        """Check that there are files for the modalities of the catalogue."""
        if (images is None) != (self.images_path is None):
            reason = (
                'needs a folder or zip archive, which may be empty: the '
                'catalogue has pictures'
                if images is None
                else f'is given ({images!r}), but the catalogue has no pictures'
            )
            raise ValueError(f"'images' {reason}")
        if features.keys() != self.features.keys():
            raise ValueError(
                f"'features' needs those of the modalities "
                f'{list(self.features)} for new items (got {list(features)})'
            )
        for path in filter(None, (images, *features.values())):
            if not osp.exists(path):
                raise FileNotFoundError(f"There is no '{path}'")

    def _as_wide(self, modality: str, x: Tensor, has: Tensor) -> Tensor:
        """Return features of new items, of the width of the others'."""
        known = self._data['item'].get(f'x_{modality}')
        if known is None:
            return x
        if not has.any():
            return x.new_zeros(len(x), known.size(1))
        # A `pre_transform` may have changed those that are known.
        if self.pre_transform is None and x.size(1) != known.size(1):
            raise ValueError(
                f'New items have {x.size(1)} features of {modality!r}, the '
                f'others {known.size(1)}; make them in the same way'
            )
        return x


def _interaction_tables(
    tables: Source | InteractionTable | Mapping[str, Source | InteractionTable],
) -> dict[str, InteractionTable]:
    """Return tables of interactions by their types, ``''`` for one without."""
    named = tables if isinstance(tables, Mapping) else {'': tables}
    if not named:
        raise ValueError("'interactions' needs at least one table (got {})")
    return {
        name: table
        if isinstance(table, InteractionTable)
        else InteractionTable(table)
        for name, table in named.items()
    }


def _item_table(table: Source | ItemTable) -> ItemTable:
    return table if isinstance(table, ItemTable) else ItemTable(table)
