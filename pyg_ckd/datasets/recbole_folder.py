"""Datasets in the folder format of RecBole."""

from __future__ import annotations

import os
import os.path as osp
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import torch
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.features.contents import Contents, Modality
from pyg_ckd.datasets.features.encode import Matrix, template_fields
from pyg_ckd.datasets.formats.feature_files import check_modality
from pyg_ckd.datasets.formats.recbole import (
    SPLITS,
    column_types,
    float_rows,
    read_recbole,
    split_files,
)
from pyg_ckd.datasets.formats.shop_tables import (
    check_items,
    compare_ids,
    interactions_of,
)
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.raw.k_core import core_of
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw_dataset import RawDataset, as_text_encoder
from pyg_ckd.datasets.splits import PublishedSplit, Split, as_split
from pyg_ckd.kernels.arguments import check_whole

_VERSION = 1  # Of the processed files, to be raised when their content changes.


class RecBoleFolder(RawDataset):
    r"""A dataset in the folder format of `"RecBole: Towards a Unified,
    Comprehensive and Efficient Framework for Recommendation Algorithms"
    <https://arxiv.org/abs/2011.01731>`_.

    The folder ``root/name`` is read in place. It holds the interactions
    ``name.inter``, and optionally the items ``name.item``, tables separated by
    tabs whose headers name columns and their types, such as
    ``user_id:token``, ``rating:float``, ``title:token_seq`` or
    ``image:float_seq``. Other files, such as ``name.user``, are not read.

    Instead of ``name.inter`` there may be a split, ``name.train.inter``,
    ``name.valid.inter`` and ``name.test.inter``, which then is the default.

    Users and items are those of the interactions, named by their tokens,
    numbers included, and sorted, see :attr:`users` and :attr:`items`. Columns
    ``float_seq`` of the items are modalities of their names, and columns
    ``token_seq`` together are the modality ``text``. The graph is that of
    :class:`Catalogue`, with ``.rating`` and ``.time`` of training where there
    are such columns of floats.

    Args:
        root (str or PathLike): The directory that holds the folder.
        name (str): The name of the folder.
        split (Split, str or PathLike, optional): As in :class:`Catalogue`.
            (default: that of the folder, or else ``'random'``)
        user_column (str, optional): The column of users.
            (default: ``'user_id'``)
        item_column (str, optional): The column of items.
            (default: ``'item_id'``)
        rating_column (str, optional): The column of ratings, if there is one.
            (default: ``'rating'``)
        time_column (str, optional): The column of times, if there is one.
            (default: ``'timestamp'``)
        template (str, optional): The text of an item, with columns of
            ``name.item`` in braces.
            (default: all columns ``token_seq``, one after the other)
        title_column (str, optional): The column of ``name.item`` that holds
            what people call an item. (default: :obj:`None`)
        text_encoder (str or callable, optional): As in :class:`Catalogue`;
            :obj:`None` leaves texts out. (default: ``'all-MiniLM-L6-v2'``)
        k_core (int, optional): As in :class:`Catalogue`. (default: :obj:`1`)
        skip_invalid (bool, optional): As in :class:`Catalogue`.
            (default: :obj:`False`)
        transform (callable, optional): As in :class:`GraphDataset`.
        pre_transform (callable, optional): As in :class:`GraphDataset`.
        processed_root (str or PathLike, optional): The directory to save
            results in. (default: ``root``)
        force_reload (bool, optional): As in :class:`GraphDataset`.
        limits (Limits, optional): How large the parts of files may be.
            (default: ``Limits()``)

    Raises:
        FileNotFoundError: If the folder has no interactions.
        ValueError: If a file is malformed, or an argument is out of range.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as root:
        ...     folder = Path(root, 'tiny')
        ...     folder.mkdir()
        ...     _ = (folder / 'tiny.inter').write_text(
        ...         'user_id:token\titem_id:token\ttimestamp:float\n'
        ...         'u1\tcup\t1\nu1\tpot\t2\nu1\tmug\t3\n'
        ...     )
        ...     _ = (folder / 'tiny.item').write_text(
        ...         'item_id:token\timage:float_seq\n'
        ...         'pot\t0.5 1\ncup\t2 3\nmug\t4 5\n'
        ...     )
        ...     dataset = RecBoleFolder(root, 'tiny', 'leave_one_out')
        >>> dataset.items, dataset[0]['item'].x_image
        (['cup', 'mug', 'pot'],
         tensor([[2.0000, 3.0000],
                [4.0000, 5.0000],
                [0.5000, 1.0000]]))
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        name: str,
        split: Split | str | os.PathLike[str] | None = None,
        *,
        user_column: str = 'user_id',
        item_column: str = 'item_id',
        rating_column: str = 'rating',
        time_column: str = 'timestamp',
        template: str | None = None,
        title_column: str | None = None,
        text_encoder: (
            str | Callable[[list[str]], Matrix] | None
        ) = 'all-MiniLM-L6-v2',
        k_core: int = 1,
        skip_invalid: bool = False,
        transform: Callable[[HeteroData], Any] | None = None,
        pre_transform: Callable[[HeteroData], Any] | None = None,
        processed_root: str | os.PathLike[str] | None = None,
        force_reload: bool = False,
        limits: Limits = Limits(),
    ) -> None:
        check_whole(self.__class__.__name__, k_core=k_core)
        if template is not None:
            template_fields(template)
        self.name = name
        self.folder = osp.join(osp.expanduser(root), name)
        self.user_column = user_column
        self.item_column = item_column
        self.rating_column = rating_column
        self.time_column = time_column
        self.template = template
        self.title_column = title_column
        self.text_encoder = (
            None if text_encoder is None else as_text_encoder(text_encoder)
        )
        self.k_core = k_core
        self.skip_invalid = skip_invalid
        self.limits = limits
        self.processed_root = osp.expanduser(processed_root or root)
        if split is None:
            is_split = not osp.isfile(self._path('inter')) and split_files(
                self.folder
            )
            split = PublishedSplit(self.folder) if is_split else 'random'
        self.split = as_split(split)
        super().__init__(root, transform, pre_transform, force_reload)

    @property
    def settings(self) -> Any:
        return (
            _VERSION,
            self.split,
            self.split.state,
            self.user_column,
            self.item_column,
            self.rating_column,
            self.time_column,
            self.template,
            self.title_column,
            self.text_encoder,
            self.k_core,
            self.skip_invalid,
        )

    @property
    def processed_parent(self) -> str:
        return osp.join(self.processed_root, self.name, 'processed')

    @property
    def interaction_paths(self) -> list[str]:
        """The file of interactions, or one for each split."""
        whole = self._path('inter')
        if osp.isfile(whole):
            return [whole]
        return split_files(self.folder) or [whole]

    @property
    def raw_paths(self) -> list[str]:
        items = self._path('item')
        return [*self.interaction_paths, *[items] * osp.isfile(items)]

    def download(self) -> None:
        splits = ', '.join(f"'{self.name}.{split}.inter'" for split in SPLITS)
        raise FileNotFoundError(
            f"'{self.folder}' needs to hold the interactions "
            f"'{self.name}.inter', or {splits}. Download the data of RecBole "
            f'(https://github.com/RUCAIBox/RecSysDatasets), or write these '
            f'files yourself'
        )

    def read_interactions(self) -> Interactions:
        paths = self.interaction_paths
        columns_of = [set(column_types(path, self.limits)) for path in paths]
        known = set.intersection(*columns_of)
        for column in (self.rating_column, self.time_column):
            if column not in known and column in set.union(*columns_of):
                warnings.warn(
                    f"'{self.folder}' has the column {column!r} in some of its "
                    f'files of interactions, so that it is left out',
                    stacklevel=2,
                )
        rating = self._known('rating_column', 'rating', known)
        time = self._known('time_column', 'timestamp', known)
        columns = [self.user_column, self.item_column]
        columns += [column for column in (rating, time) if column is not None]
        tables = [read_recbole(path, columns, self.limits) for path in paths]
        where = paths[0] if len(paths) == 1 else self.folder
        interactions = interactions_of(
            pd.concat(tables, ignore_index=True),
            where,
            self.user_column,
            self.item_column,
            rating,
            time,
            self.skip_invalid,
        )
        return core_of(interactions, self.k_core, where)

    def read_contents(self, items: list[str]) -> Contents:
        path = self._path('item')
        if not osp.isfile(path):
            for argument in ('template', 'title_column'):
                if getattr(self, argument) is not None:
                    raise ValueError(
                        f"'{argument}' needs '{path}' (got "
                        f'{getattr(self, argument)!r}); add the file, or leave '
                        f'it out'
                    )
            return Contents([])
        types = column_types(path, self.limits)
        vectors = [name for name, kind in types.items() if kind == 'float_seq']
        for name in vectors:
            reason = check_modality(name)
            if name == 'text' and self._text_columns(types):
                reason = 'is that of texts; pass text_encoder=None'
            if reason:
                raise ValueError(
                    f"'{path}' has the column {name!r}, which {reason}; name "
                    f'it otherwise'
                )
        texts = self._text_columns(types)
        titles = [] if self.title_column is None else [self.title_column]
        wanted = [self.item_column, *texts, *titles, *vectors]
        columns = list(dict.fromkeys(wanted))
        table = read_recbole(path, columns, self.limits)
        if table.empty:
            raise ValueError(f"'{path}' has no items; add a row for one")
        check_items(table, path, self.item_column, self.skip_invalid)
        compare_ids(path, table[self.item_column], items)
        first = table.drop_duplicates(self.item_column)
        rows = first.set_index(self.item_column).reindex(items, fill_value='')
        return Contents(
            self._modalities(first, rows, texts, vectors),
            None if self.title_column is None else self._titles(rows),
        )

    def _modalities(
        self,
        table: pd.DataFrame,
        rows: pd.DataFrame,
        texts: list[str],
        vectors: list[str],
    ) -> Iterator[Modality]:
        """Yield the modalities of items.

        Args:
            table: The table of items, each once.
            rows: The row of each item of the graph.
            texts: The columns of texts.
            vectors: The columns of vectors.
        """
        ids = table[self.item_column].tolist()
        row_of = {item: row for row, item in enumerate(ids)}
        index = [row_of.get(item, -1) for item in rows.index]
        is_there = torch.tensor([row >= 0 for row in index])
        for name in vectors:
            x, has = float_rows(table[name], self._path('item'), name)
            yield name, *_selected(x, has, torch.tensor(index), is_there)
        encoder = self.text_encoder
        if encoder is not None and texts:
            records = rows.to_dict('records')
            if self.template is not None:
                encoded = self.cache.encode_records(
                    encoder, self.template, records
                )
            else:
                encoded = self.cache.encode_texts(
                    encoder, [_joined(record, texts) for record in records]
                )
            yield 'text', *encoded

    def _text_columns(self, types: dict[str, str]) -> list[str]:
        """Return the columns of texts."""
        if self.text_encoder is None:
            return []
        if self.template is not None:
            return template_fields(self.template)
        return [name for name, kind in types.items() if kind == 'token_seq']

    def _titles(self, rows: pd.DataFrame) -> list[str]:
        column = rows[self.title_column]
        return [
            title if title.strip() else item for item, title in column.items()
        ]

    def _known(
        self, argument: str, default: str, known: set[str]
    ) -> str | None:
        """Return a column, or ``None`` if the default one is not there."""
        column: str = getattr(self, argument)
        if column not in known and column != default:
            raise ValueError(
                f"'{argument}' names the column {column!r}, but there are "
                f'{sorted(known)}'
            )
        return column if column in known else None

    def _path(self, ending: str) -> str:
        return osp.join(self.folder, f'{self.name}.{ending}')

    def __repr__(self) -> str:
        return f'{self.name}()'


def _joined(record: dict[str, str], columns: list[str]) -> str:
    return ' '.join(' '.join(record[name] for name in columns).split())


def _selected(
    x: torch.Tensor,
    has: torch.Tensor,
    index: torch.Tensor,
    is_there: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows of vectors, zero where there is none."""
    has = has[index] & is_there
    return x[index] * has.unsqueeze(1), has
