"""The base of published catalogues, whose files have a fixed form."""

from __future__ import annotations

import os.path as osp
from abc import abstractmethod
from typing import ClassVar

import pandas as pd

from pyg_ckd.datasets.catalogue import Catalogue
from pyg_ckd.datasets.features.contents import Contents
from pyg_ckd.datasets.features.encode import template_fields
from pyg_ckd.datasets.formats.shop_tables import check_items, compare_ids
from pyg_ckd.datasets.item_table import ItemTable
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
    def interactions_path(self) -> str:
        """The file of interactions."""
        (table,) = self.interaction_tables.values()
        return str(table.path)

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
            given, column = self._read_given(), self.items_given.item
            ids = given[column].tolist()
            compare_ids(self.items_given.name, ids, items)
            given = given.drop_duplicates(column).set_index(column)
            rows = rows.join(given.reindex(items, fill_value=''))
        return self.contents_of.of_rows(
            rows, ids, known, self.images_path, self.features
        )

    @property
    def items_given(self) -> ItemTable:
        """The table of items, or the published files in its place."""
        assert self.item_table is not None
        return self.item_table

    @property
    def has_table(self) -> bool:
        """Whether there is a table of items beside the published files."""
        return self.items_given.path != self.interactions_path

    def _read_given(self) -> pd.DataFrame:
        """Return the table of items that was given, and what is needed."""
        items = self.items_given
        fields = [] if items.text is None else template_fields(items.text)
        columns = [field for field in fields if field not in self.fields]
        if items.image is not None:
            columns.append(items.image)
        table = items.read([items.item, *columns], self.limits)
        check_items(table, items.name, items.item, self.skip_invalid)
        return table

    def _check_arguments(self) -> None:
        if not self.has_table:
            self._check_published()
        super()._check_arguments()

    def _check_published(self) -> None:
        """Check what is asked of items without a table of one's own."""
        items = self.items_given
        fields = [] if items.text is None else template_fields(items.text)
        for field in fields:
            if field not in self.fields:
                raise ValueError(
                    f"'template' may have the fields {', '.join(self.fields)}, "
                    f"and the columns of a table 'items' (got {field!r}); pass "
                    f"one as 'items'"
                )
        if items.image is not None:
            raise ValueError(
                f"'image_column' needs 'items' (got {items.image!r}); pass both"
            )

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
