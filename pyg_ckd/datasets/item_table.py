"""A table of items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyg_ckd.datasets.features.encode import template_fields
from pyg_ckd.datasets.formats.table_source import TableSource
from pyg_ckd.datasets.formats.tables import Source


@dataclass(frozen=True, eq=False, repr=False)
class ItemTable(TableSource):
    """Where the items of a :class:`Catalogue` are, and in which columns.

    The table is a file or a data frame as in :class:`InteractionTable`, with a
    row for each item.

    Args:
        source (str, PathLike or DataFrame): The table.
        item (str, optional): The column of items. (default: ``'item'``)
        title (str, optional): The column of what people call an item. It
            becomes ``data['item'].title``, with the id of an item that has
            none. (default: :obj:`None`)
        text (str, optional): The text of an item, a template with columns in
            braces, such as ``'{title}. {description}'``. (default: :obj:`None`)
        image (str, optional): The column that holds the name of the picture,
            with or without its ending, where that is not the id of the item.
            (default: :obj:`None`)
        names (list[str], optional): The names of all columns of a file that
            has no header. (default: :obj:`None`)

    Raises:
        ValueError: If ``source`` is neither a path nor a data frame, ``text``
            is no template, or ``names`` lacks a column.

    Example:
        >>> ItemTable('items.csv', item='sku', text='{brand}: {title}').columns
        ['sku', 'brand', 'title']
    """

    source: Source
    item: str = 'item'
    title: str | None = None
    text: str | None = None
    image: str | None = None
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        self.check_source()

    @property
    def columns(self) -> list[str]:
        """The columns that are read."""
        wanted = [self.item, self.image, self.title]
        fields = [] if self.text is None else template_fields(self.text)
        known = [column for column in wanted if column is not None]
        return list(dict.fromkeys([*known, *fields]))
