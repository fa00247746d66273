"""MovieLens-1M with posters, plots and more."""

from __future__ import annotations

import os
import os.path as osp
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pandas as pd
from PIL.Image import Image
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.features.encode import Matrix
from pyg_ckd.datasets.formats.movielens import read_films, read_ratings
from pyg_ckd.datasets.interaction_table import InteractionTable
from pyg_ckd.datasets.item_table import ItemTable
from pyg_ckd.datasets.published_catalogue import PublishedCatalogue
from pyg_ckd.datasets.raw.download import download, verify
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.recipe import RawFile
from pyg_ckd.datasets.splits import Split
from pyg_ckd.kernels.arguments import check_number

_VERSION = 1  # Of the processed files, to be raised when their content changes.


class MovieLens1M(PublishedCatalogue):
    r"""A million ratings of films, of `MovieLens
    <https://grouplens.org/datasets/movielens/1m/>`_.

    From `"The MovieLens Datasets: History and Context"
    <https://doi.org/10.1145/2827872>`_. ``ml-1m.zip`` is downloaded to
    ``root/ml-1m/raw``, or put there by hand, checked by its checksum and read
    where it is. It has the titles and genres of films. Their contents may not
    be passed on, and are what you have: posters, a table of plots, vectors of
    sound, all by the ids of MovieLens, such as 1 for *Toy Story*.

    The graph is that of :class:`Catalogue`, users and films named by their ids.
    It has the modality ``text``, ``image`` if there are ``posters``, and those
    of ``features``; the title in ``data['item'].title``; and with the
    interactions of training ``.rating`` (1 to 5) and ``.time`` (seconds since
    1970). A rating is an interaction, whatever it is, from ``min_rating`` on.

    The data is for research: acknowledge it, do not pass it on, and ask
    GroupLens before any commercial use.

    Args:
        root (str or PathLike): The directory that holds the folder ``ml-1m``.
        items (str or PathLike, optional): A table (CSV, TSV or Parquet) of
            further texts, such as plots, a row a film. (default: :obj:`None`)
        posters (str or PathLike, optional): A folder or zip archive that holds
            a picture for each film, named by its id. (default: :obj:`None`)
        features (dict[str, str or PathLike], optional): For each further
            modality, such as ``'audio'``, a folder or zip archive of vectors
            ``<id>.npy``, or a single ``.npy`` matrix whose rows belong to those
            of ``items``, or without these to the films of ``movies.dat``.
            (default: :obj:`None`)
        item_column (str, optional): The column of ``items`` that holds the ids
            of MovieLens. (default: ``'item'``)
        image_column (str, optional): As in :class:`Catalogue`.
            (default: :obj:`None`)
        template (str, optional): The text of a film: ``title``, with its year,
            and ``genres`` are those of MovieLens, other fields are columns of
            ``items``. :obj:`None` leaves texts out.
            (default: ``'{title}. {genres}'``)
        text_encoder (str or callable, optional): As in :class:`Catalogue`.
            (default: ``'all-MiniLM-L6-v2'``)
        image_encoder (str or callable, optional): As in :class:`Catalogue`.
            (default: ``'openai/clip-vit-base-patch32'``)
        image_size (int, optional): As in :class:`Catalogue`.
            (default: :obj:`512`)
        min_rating (float, optional): The least rating that counts as an
            interaction. (default: :obj:`1`, all)
        k_core (int, optional): As in :class:`Catalogue`. (default: :obj:`5`)
        split (Split, str or PathLike, optional): As in :class:`Catalogue`.
            (default: ``'mmrec'``)
        skip_invalid (bool, optional): As in :class:`Catalogue`.
            (default: :obj:`False`)
        transform (callable, optional): As in :class:`GraphDataset`.
        pre_transform (callable, optional): As in :class:`GraphDataset`.
        force_reload (bool, optional): As in :class:`GraphDataset`.
        limits (Limits, optional): As in :class:`Catalogue`.
            (default: ``Limits()``)

    Raises:
        ConnectionError: If the archive is missing and cannot be downloaded.
        FileNotFoundError: If another file is missing.
        ValueError: If a file is malformed or not the published one, or an
            argument is out of range.

    Example:
        >>> dataset = MovieLens1M(
        ...     'datasets', 'films.tsv', 'posters.zip', {'audio': 'trailers/'},
        ...     template='{title}. {plot}', min_rating=4, split='time',
        ... )  # doctest: +SKIP
        >>> data = dataset[0]  # doctest: +SKIP

    **STATS:**

    .. list-table::
        :widths: 40 15 15 15
        :header-rows: 1

        * - Name
          - #users
          - #items
          - #interactions
        * - ml-1m
          - 6,040
          - 3,706
          - 1,000,209
    """

    #: What is downloaded. A subclass may name a mirror.
    file: ClassVar[RawFile] = RawFile(
        'ml-1m.zip',
        ('https://files.grouplens.org/datasets/movielens/ml-1m.zip',),
        'a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20',
    )
    fields = ('title', 'genres')
    folder = 'ml-1m'

    def __init__(
        self,
        root: str | os.PathLike[str],
        items: str | os.PathLike[str] | None = None,
        posters: str | os.PathLike[str] | None = None,
        features: Mapping[str, str | os.PathLike[str]] | None = None,
        *,
        item_column: str = 'item',
        image_column: str | None = None,
        template: str | None = '{title}. {genres}',
        text_encoder: str | Callable[[list[str]], Matrix] = 'all-MiniLM-L6-v2',
        image_encoder: (
            str | Callable[[list[Image]], Matrix]
        ) = 'openai/clip-vit-base-patch32',
        image_size: int | None = 512,
        min_rating: float = 1,
        k_core: int = 5,
        split: Split | str | os.PathLike[str] = 'mmrec',
        skip_invalid: bool = False,
        transform: Callable[[HeteroData], Any] | None = None,
        pre_transform: Callable[[HeteroData], Any] | None = None,
        force_reload: bool = False,
        limits: Limits = Limits(),
    ) -> None:
        check_number('MovieLens1M', 'any', min_rating=min_rating)
        self.min_rating = min_rating
        archive = osp.join(
            osp.expanduser(root), self.folder, 'raw', self.file.name
        )
        super().__init__(
            root,
            InteractionTable(archive),
            ItemTable(
                archive if items is None else items,
                item=item_column,
                title='title',
                text=template,
                image=image_column,
            ),
            posters,
            features,
            text_encoder=text_encoder,
            image_encoder=image_encoder,
            image_size=image_size,
            k_core=k_core,
            split=split,
            skip_invalid=skip_invalid,
            transform=transform,
            pre_transform=pre_transform,
            force_reload=force_reload,
            limits=limits,
        )

    @property
    def settings(self) -> Any:
        return _VERSION, super().settings, self.min_rating

    def get_published(self) -> None:
        download([self.file], osp.dirname(self.interactions_path))

    def build(self) -> HeteroData:
        verify([self.file], osp.dirname(self.interactions_path))
        return super().build()

    def read_published_interactions(self) -> Interactions:
        path = self.interactions_path
        ratings = read_ratings(path, self.skip_invalid, self.limits)
        assert ratings.rating is not None
        assert ratings.time is not None
        keep = ratings.rating >= self.min_rating
        if not keep.any():
            raise ValueError(
                f"'min_rating' leaves no rating (got {self.min_rating}, the "
                f'highest is {ratings.rating.max():g})'
            )
        kept = ratings._replace(
            user=ratings.user[keep],
            item=ratings.item[keep],
            rating=ratings.rating[keep],
            time=ratings.time[keep],
        )
        return kept.core(1)  # Without who has none left.

    def read_published_items(self) -> pd.DataFrame:
        path = self.interactions_path
        return read_films(path, self.skip_invalid, self.limits)
