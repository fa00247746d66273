"""MicroLens: short videos with titles, covers, sound and frames."""

from __future__ import annotations

import os
import os.path as osp
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from PIL.Image import Image
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.features.encode import Matrix
from pyg_ckd.datasets.formats.microlens import read_titles
from pyg_ckd.datasets.formats.shop_tables import read_interactions
from pyg_ckd.datasets.interaction_table import InteractionTable
from pyg_ckd.datasets.item_table import ItemTable
from pyg_ckd.datasets.published_catalogue import PublishedCatalogue
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.splits import Split

_VERSION = 1  # Of the processed files, to be raised when their content changes.
_TITLES = {'50k': 'MicroLens-50k_titles.csv'}  # Others: <name>_title_en.csv


class MicroLens(PublishedCatalogue):
    r"""Users who commented on short videos, of `"A Content-Driven Micro-Video
    Recommendation Dataset at Scale" <https://arxiv.org/abs/2309.15379>`_.

    The files are put into ``root/MicroLens-<size>/raw`` by hand, under the
    names that they have on the page of the `authors
    <https://github.com/westlake-repl/MicroLens>`_:

    - ``MicroLens-50k_pairs.csv``: the columns ``user``, ``item`` and
      ``timestamp``, in thousandths of a second;
    - ``MicroLens-50k_titles.csv``, or for 100k ``MicroLens-100k_title_en.csv``:
      the numbers and titles of videos;
    - ``MicroLens-50k_covers``, a folder or ``.zip``, of pictures named by the
      numbers of videos, unless ``'image'`` is left out.

    Vectors of sound, of frames or of anything else are passed as ``features``,
    those that the authors publish for 100k included. The rows of a matrix
    belong to the videos of the titles, their numbers ascending.

    The graph is that of :class:`Catalogue`, users and videos named by their
    numbers, with titles in ``data['item'].title`` and with the interactions of
    training ``.time`` (seconds since 1970).

    The authors ask to cite their paper and not to pass on changed copies; they
    state no licence.

    Args:
        root (str or PathLike): The directory that holds the folder
            ``MicroLens-<size>``.
        size (str, optional): ``'50k'`` or ``'100k'``, or that of another part
            whose files are named likewise, such as ``'1M'``.
            (default: ``'50k'``)
        modalities (Sequence[str], optional): What to encode: ``'image'``, the
            covers, and ``'text'``, the titles. (default: both)
        features (dict[str, str or PathLike], optional): For each further
            modality, such as ``'audio'`` or ``'video'``, a folder or zip
            archive of vectors ``<number>.npy``, or a single ``.npy`` matrix.
            They may take the place of ``modalities`` that are left out.
            (default: :obj:`None`)
        text_encoder (str or callable, optional): As in :class:`Catalogue`.
            (default: ``'all-MiniLM-L6-v2'``)
        image_encoder (str or callable, optional): As in :class:`Catalogue`.
            (default: ``'openai/clip-vit-base-patch32'``)
        image_size (int, optional): As in :class:`Catalogue`.
            (default: :obj:`512`)
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
        FileNotFoundError: If a file is missing. The message says which, and
            where they come from.
        ValueError: If a file is malformed, or an argument is out of range.

    Example:
        >>> published = 'MicroLens-100k_video_features_VideoMAE.npy'
        >>> dataset = MicroLens(
        ...     'datasets', '100k', features={'video': published}, split='time',
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
        * - MicroLens-50k
          - 50,000
          - 19,220
          - 359,708
        * - MicroLens-100k
          - 100,000
          - 19,738
          - 719,405
    """

    fields = ('title',)

    def __init__(
        self,
        root: str | os.PathLike[str],
        size: str = '50k',
        modalities: Sequence[str] = ('image', 'text'),
        features: Mapping[str, str | os.PathLike[str]] | None = None,
        *,
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
        for modality in modalities:
            if modality not in ('image', 'text'):
                raise ValueError(
                    f"'modalities' may name 'image' and 'text' (got "
                    f"{modality!r}); pass vectors of others as 'features'"
                )
        self.folder = f'MicroLens-{size}'
        raw = osp.join(osp.expanduser(root), self.folder, 'raw')
        pairs = osp.join(raw, f'{self.folder}_pairs.csv')
        titles = _TITLES.get(size, f'{self.folder}_title_en.csv')
        self.titles_path = osp.join(raw, titles)
        covers = osp.join(raw, f'{self.folder}_covers')
        if not osp.isdir(covers):
            covers += '.zip'
        super().__init__(
            root,
            InteractionTable(pairs, time='timestamp'),
            ItemTable(
                pairs,
                title='title',
                text='{title}' if 'text' in modalities else None,
            ),
            covers if 'image' in modalities else None,
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

    @property
    def published_paths(self) -> list[str]:
        paths = [self.interactions_path, self.titles_path, self.images_path]
        return [path for path in paths if path is not None]

    def get_published(self) -> None:
        missing = [p for p in self.published_paths if not osp.exists(p)]
        names = ', '.join(f"'{osp.basename(path)}'" for path in missing)
        hint = ''
        if self.images_path in missing:
            hint = ", or leave out 'image' of 'modalities'"
        raise FileNotFoundError(
            f"'{osp.dirname(self.interactions_path)}' lacks {names}; download "
            f'them from the page that https://github.com/westlake-repl/'
            f'MicroLens links, and put them there under these names{hint}. '
            f"'{self.folder}_pairs.tsv' does not do: it has no times"
        )

    def read_published_interactions(self) -> Interactions:
        tables = list(self.interaction_tables.values())
        interactions = read_interactions(tables, self.skip_invalid, self.limits)
        assert interactions.time is not None
        seconds = interactions.time.double() / 1000
        return interactions._replace(time=seconds)

    def read_published_items(self) -> pd.DataFrame:
        return read_titles(self.titles_path, self.skip_invalid)
