"""The base of published catalogues, whose files have a fixed form."""

from __future__ import annotations

import os.path as osp
from abc import abstractmethod
from typing import ClassVar

import pandas as pd

from pyg_ckd.datasets.catalogue import Catalogue
from pyg_ckd.datasets.features.contents import Contents
from pyg_ckd.datasets.features.encode import template_fields
from pyg_ckd.datasets.formats.shop_tables import (
    read_items,
    warn_of_missing_rows,
)
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.raw.k_core import core_of


class PublishedCatalogue(Catalogue):
    """A catalogue whose interactions and items are published files.

    Further contents of items are given as in :class:`Catalogue`: pictures,
    vectors, and a table ``items`` whose columns a ``template`` may name as
    well. Without that table, the rows of a feature matrix are those of
    :meth:`read_published_items`.

    A subclass sets ``fields``, passes the path of its interactions on, also in
    place of ``items`` that are not given, sets ``folder`` before, and
    implements :meth:`get_published`,
    :meth:`read_published_interactions` and :meth:`read_published_items`.
    """

    #: The columns of :meth:`read_published_items`.
    fields: ClassVar[tuple[str, ...]]
    #: The name of the folder below ``root``.
    folder: str

    @abstractmethod
    def get_published(self) -> None:
        """Download the published files that are missing, or raise an error."""

    @abstractmethod
    def read_published_interactions(self) -> Interactions:
        """Return all interactions that count."""

    @abstractmethod
    def read_published_items(self) -> pd.DataFrame:
        """Return the ``fields`` of all items, indexed by their ids."""

    @property
    def processed_parent(self) -> str:
        return osp.join(self.root, self.folder, 'processed')

    @property
    def published_paths(self) -> list[str]:
        """The published files that are needed."""
        return [self.interactions_path]

    @property
    def raw_paths(self) -> list[str]:
        return list(dict.fromkeys([*self.published_paths, *super().raw_paths]))

    def download(self) -> None:
        published = self.published_paths
        for path in self.raw_paths:
            if path not in published and not osp.exists(path):
                raise FileNotFoundError(f"There is no '{path}'")
        self.get_published()

    def read_interactions(self) -> Interactions:
        interactions = self.read_published_interactions()
        return core_of(interactions, self.k_core, self.interactions_path)

    def read_contents(self, items: list[str]) -> Contents:
        table = self.read_published_items()
        rows = table.reindex(items, fill_value='')
        ids = known = table.index.tolist()
        if self.has_table:
            given = self._read_given()
            ids = given[self.item_column].tolist()
            warn_of_missing_rows(str(self.items_path), ids, items)
            column = self.item_column
            given = given.drop_duplicates(column).set_index(column)
            rows = rows.join(given.reindex(items, fill_value=''))
        titles = None
        if self.title_column is not None:
            column = rows[self.title_column]
            titles = [
                title if title.strip() else item
                for item, title in zip(items, column, strict=True)
            ]
        modalities = self._modalities(
            rows, ids, known, self.images_path, self.features
        )
        return Contents(modalities, titles)

    @property
    def has_table(self) -> bool:
        """Whether there is a table of items beside the published files."""
        return self.items_path not in (None, self.interactions_path)

    def _read_given(self) -> pd.DataFrame:
        """Return the table of items that was given, and what is needed."""
        fields = [] if self.template is None else template_fields(self.template)
        columns = [field for field in fields if field not in self.fields]
        if self.image_column is not None:
            columns.append(self.image_column)
        path = str(self.items_path)
        return read_items(
            path, self.item_column, columns, self.skip_invalid, self.limits
        )

    def _check_arguments(self) -> None:
        super()._check_arguments()
        if self.has_table:
            return
        fields = [] if self.template is None else template_fields(self.template)
        for field in fields:
            if field not in self.fields:
                raise ValueError(
                    f"'template' may have the fields {', '.join(self.fields)}, "
                    f"and the columns of a table 'items' (got {field!r}); pass "
                    f"one as 'items'"
                )
        if self.image_column is not None:
            raise ValueError(
                f"'image_column' needs 'items' (got {self.image_column!r}); "
                f'pass both'
            )

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
