"""The contents of items in a table, with pictures and vectors beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pandas as pd
from PIL.Image import Image
from torch import Tensor

from pyg_ckd.datasets.features.contents import Contents, Modality
from pyg_ckd.datasets.features.encode import Matrix
from pyg_ckd.datasets.features.feature_cache import FeatureCache
from pyg_ckd.datasets.features.item_files import ItemFiles, item_of
from pyg_ckd.datasets.features.pictures import PICTURES
from pyg_ckd.datasets.features.vectors import is_matrix, read_rows, read_vectors
from pyg_ckd.datasets.item_table import ItemTable
from pyg_ckd.datasets.raw.limits import Limits


@dataclass(frozen=True, eq=False)
class TableContents:
    """Makes contents of a table of items, of pictures and of vectors.

    Args:
        columns (ItemTable, optional): What the columns of the table mean;
            :obj:`None` if there is no table.
        text_encoder (callable): From a list of texts to a matrix.
        image_encoder (callable): From a list of pictures to a matrix.
        image_size (int, optional): Larger pictures are shrunk to so many pixels
            a side; :obj:`None` leaves them as they are.
        cache (FeatureCache): Where features of texts and pictures are kept.
        skip_invalid (bool): Whether to skip damaged pictures, with a warning.
            (default: :obj:`False`)
        limits (Limits): How large files may be. (default: ``Limits()``)

    Example:
        >>> import tempfile
        >>> import torch
        >>> table = pd.DataFrame({'item': ['cup'], 'title': ['A cup']})
        >>> def encoder(texts):
        ...     return torch.tensor([[float(len(text))] for text in texts])
        >>> with tempfile.TemporaryDirectory() as root:
        ...     contents_of = TableContents(
        ...         ItemTable(table, title='title', text='{title}'),
        ...         encoder, encoder, 512, FeatureCache(root),
        ...     )
        ...     contents = contents_of(['pot', 'cup'], table)
        ...     [(modality, x, has)] = contents.modalities
        >>> contents.titles, has
        (['pot', 'A cup'], tensor([False,  True]))
    """

    columns: ItemTable | None
    text_encoder: Callable[[list[str]], Matrix]
    image_encoder: Callable[[list[Image]], Matrix]
    image_size: int | None
    cache: FeatureCache
    skip_invalid: bool = False
    limits: Limits = Limits()

    def __call__(
        self,
        items: list[str],
        table: pd.DataFrame | None,
        images: str | None = None,
        features: Mapping[str, str] | None = None,
        is_whole: bool = True,
    ) -> Contents:
        """Return the contents of items, which are encoded as they are taken.

        Args:
            items: The items.
            table: The table, if there is one, as text. Its first column has the
                items; the first of several rows of an item counts.
            images: A folder or zip archive of pictures. (default: ``None``)
            features: For each further modality a folder or zip archive of
                vectors, or a matrix whose rows are those of the table.
                (default: ``None``)
            is_whole: Whether the table has all items that there are, so that
                files of others can be warned of. (default: ``True``)

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If a file is malformed or larger than the limits.
        """
        ids, rows = [], pd.DataFrame(index=items)
        if table is not None:
            # The row of an item that is not in the table is empty.
            column = table.columns[0]
            first = table.drop_duplicates(column).set_index(column, drop=False)
            rows = first.reindex(items, fill_value='')
            ids = table[column].tolist()
        known = ids if is_whole else []
        return self.of_rows(rows, ids, known, images, features)

    def of_rows(
        self,
        rows: pd.DataFrame,
        ids: list[str],
        known: list[str],
        images: str | None = None,
        features: Mapping[str, str] | None = None,
    ) -> Contents:
        """Return the contents of items whose rows are put in order already.

        Args:
            rows: The row of each item as text, indexed by item.
            ids: The item of each row of the table, for matrices.
            known: All items that there are, empty if that is not known.
            images: As in the call. (default: ``None``)
            features: As in the call. (default: ``None``)
        """
        modalities = self._modalities(rows, ids, known, images, features or {})
        return Contents(modalities, self._titles(rows), rows.index.tolist())

    def _titles(self, rows: pd.DataFrame) -> list[str] | None:
        """Return the titles of items, if they have any."""
        if self.columns is None or self.columns.title is None:
            return None
        return [
            title if title.strip() else item
            for item, title in rows[self.columns.title].items()
        ]

    def _modalities(
        self,
        rows: pd.DataFrame,
        ids: list[str],
        known: list[str],
        images: str | None,
        features: Mapping[str, str],
    ) -> Iterator[Modality]:
        """Yield the modalities of items, see :meth:`of_rows`."""
        items = rows.index.tolist()
        if images is not None:
            yield 'image', *self._encode_pictures(images, known, rows)
        template = None if self.columns is None else self.columns.text
        if template is not None:
            encoder, records = self.text_encoder, rows.to_dict('records')
            encoded = self.cache.encode_records(encoder, template, records)
            yield 'text', *encoded
        for modality, path in features.items():
            if is_matrix(path):
                yield modality, *read_rows(path, ids, items)
            else:
                yield modality, *read_vectors(path, items, known, self.limits)

    def _encode_pictures(
        self, path: str, known: list[str], rows: pd.DataFrame
    ) -> tuple[Tensor, Tensor]:
        files = ItemFiles(path, PICTURES, self.limits)
        names = rows.index.tolist()
        column = None if self.columns is None else self.columns.image
        if column is not None:
            names = [item_of(name, PICTURES) or name for name in rows[column]]
            files.warn_of_missing(names)
        else:
            files.compare_ids(names, known)
        return self.cache.encode_pictures(
            self.image_encoder,
            files,
            names,
            self.image_size,
            self.skip_invalid,
        )
