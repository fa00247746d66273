"""Last.fm-2K with names, tags and sound of artists."""

from __future__ import annotations

import os
import os.path as osp
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pandas as pd
from PIL.Image import Image
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.features.encode import Matrix
from pyg_ckd.datasets.formats.lastfm import read_artists, read_listens
from pyg_ckd.datasets.interaction_table import InteractionTable
from pyg_ckd.datasets.item_table import ItemTable
from pyg_ckd.datasets.published_catalogue import PublishedCatalogue
from pyg_ckd.datasets.raw.download import download, verify
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.recipe import RawFile
from pyg_ckd.datasets.splits import Split

_VERSION = 1  # Of the processed files, to be raised when their content changes.


class LastFM2K(PublishedCatalogue):
    r"""Users of Last.fm and the artists they listened to, of `HetRec 2011
    <https://grouplens.org/datasets/hetrec-2011/>`_.

    ``hetrec2011-lastfm-2k.zip`` is downloaded to ``root/lastfm-2k/raw``, or put
    there by hand, checked by its checksum and read where it is. It has the
    names of artists and the tags that users gave them. Vectors of sound and
    pictures are what you have, by the ids of artists in ``artists.dat``.

    The graph is that of :class:`Catalogue`, users and artists named by their
    ids. It has the modality ``text``, ``image`` if there are ``images``, and
    those of ``features``; names in ``data['item'].title``; and with the
    interactions of training ``.rating``, how often a user listened to an
    artist. There are no times. Tags were given by the same users who listened,
    those of interactions that are held out included; to leave them out, take
    the template ``'{name}'``.

    A version with sound that is ready, text and two encoders of audio, is a
    folder of :class:`MMRecFolder`: the `collection of three multimodal data
    sets <https://zenodo.org/records/15403972>`_ of RecSys 2025.

    The data is for non-commercial use: cite Last.fm, and ask Last.fm for
    anything commercial.

    Args:
        root (str or PathLike): The directory that holds the folder
            ``lastfm-2k``.
        items (str or PathLike, optional): A table (CSV, TSV or Parquet) of
            further texts, a row an artist. (default: :obj:`None`)
        images (str or PathLike, optional): A folder or zip archive that holds
            a picture for each artist, named by its id. (default: :obj:`None`)
        features (dict[str, str or PathLike], optional): For each further
            modality, such as ``'audio'``, a folder or zip archive of vectors
            ``<id>.npy``, or a single ``.npy`` matrix whose rows belong to those
            of ``items``, or without these to those of ``artists.dat``.
            (default: :obj:`None`)
        item_column (str, optional): The column of ``items`` that holds the ids
            of artists. (default: ``'item'``)
        image_column (str, optional): As in :class:`Catalogue`.
            (default: :obj:`None`)
        template (str, optional): The text of an artist: ``name``, ``tags``, the
            most frequent first, and columns of ``items``. :obj:`None` leaves
            texts out. (default: ``'{name}. {tags}'``)
        text_encoder (str or callable, optional): As in :class:`Catalogue`.
            (default: ``'all-MiniLM-L6-v2'``)
        image_encoder (str or callable, optional): As in :class:`Catalogue`.
            (default: ``'openai/clip-vit-base-patch32'``)
        image_size (int, optional): As in :class:`Catalogue`.
            (default: :obj:`512`)
        k_core (int, optional): As in :class:`Catalogue`. (default: :obj:`5`)
        split (Split, str or PathLike, optional): As in :class:`Catalogue`,
            without those by time. (default: ``'mmrec'``)
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
        >>> dataset = LastFM2K(
        ...     'datasets', features={'audio': 'vggish/'},
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
        * - hetrec2011-lastfm-2k
          - 1,892
          - 17,632
          - 92,834
    """

    #: What is downloaded. A subclass may name a mirror.
    file: ClassVar[RawFile] = RawFile(
        'hetrec2011-lastfm-2k.zip',
        (
            'https://files.grouplens.org/datasets/hetrec2011/'
            'hetrec2011-lastfm-2k.zip',
        ),
        '6738f48195667ff03caaab4d32ca9a3133d8cc026b7c3cdaf6ce1010e913c59c',
    )
    fields = ('name', 'tags')
    folder = 'lastfm-2k'

    def __init__(
        self,
        root: str | os.PathLike[str],
        items: str | os.PathLike[str] | None = None,
        images: str | os.PathLike[str] | None = None,
        features: Mapping[str, str | os.PathLike[str]] | None = None,
        *,
        item_column: str = 'item',
        image_column: str | None = None,
        template: str | None = '{name}. {tags}',
        text_encoder: str | Callable[[list[str]], Matrix] = 'all-MiniLM-L6-v2',
        image_encoder: (
            str | Callable[[list[Image]], Matrix]
        ) = 'openai/clip-vit-base-patch32',
        image_size: int | None = 512,
        k_core: int = 5,
        split: Split | str | os.PathLike[str] = 'mmrec',
        skip_invalid: bool = False,
        transform: Callable[[HeteroData], Any] | None = None,
        pre_transform: Callable[[HeteroData], Any] | None = None,
        force_reload: bool = False,
        limits: Limits = Limits(),
    ) -> None:
        archive = osp.join(
            osp.expanduser(root), self.folder, 'raw', self.file.name
        )
        super().__init__(
            root,
            InteractionTable(archive),
            ItemTable(
                archive if items is None else items,
                item=item_column,
                title='name',
                text=template,
                image=image_column,
            ),
            images,
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
        return _VERSION, super().settings

    def get_published(self) -> None:
        download([self.file], osp.dirname(self.interactions_path))

    def build(self) -> HeteroData:
        verify([self.file], osp.dirname(self.interactions_path))
        return super().build()

    def read_published_interactions(self) -> Interactions:
        path = self.interactions_path
        return read_listens(path, self.skip_invalid, self.limits)

    def read_published_items(self) -> pd.DataFrame:
        path = self.interactions_path
        return read_artists(path, self.skip_invalid, self.limits)
