"""A table of interactions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

from pyg_ckd.datasets.formats.table_source import TableSource
from pyg_ckd.datasets.formats.tables import Source


@dataclass(frozen=True, eq=False, repr=False)
class InteractionTable(TableSource):
    """Where the interactions of a :class:`Catalogue` are, and in which columns.

    A table is a file of CSV (``.csv``) or TSV (``.tsv``), each of which may be
    packed by gzip (``.csv.gz``), or Parquet (``.parquet``), or a data frame of
    pandas or polars. It has a row for each interaction.

    Interactions of several types have several weights: how much each says about
    what is to be predicted, compared with the others. The types are in a column
    of one table, by ``type`` and ``weights``, or each type has a table of its
    own with its ``weight``.

    Args:
        source (str, PathLike or DataFrame): The table.
        user (str, optional): The column of users. (default: ``'user'``)
        item (str, optional): The column of items. (default: ``'item'``)
        rating (str, optional): The column of ratings, numbers.
            (default: :obj:`None`)
        time (str, optional): The column of times: numbers, which are kept as
            they are, or dates of ISO 8601, which become seconds since 1970.
            (default: :obj:`None`)
        type (str, optional): The column of the types of interactions.
            (default: :obj:`None`)
        weights (dict[str, float], optional): The weight of each type, such as
            ``{'view': 0.1, 'cart': 0.5, 'buy': 1.0}``. (default: :obj:`None`)
        weight (float, optional): The weight of all rows, where there is no
            ``type``. (default: :obj:`1.0`)
        names (list[str], optional): The names of all columns of a file that
            has no header. (default: :obj:`None`)

    Raises:
        ValueError: If ``source`` is neither a path nor a data frame, a weight
            is not a positive finite number, only one of ``type`` and
            ``weights`` is given, or ``names`` lacks a column.

    Example:
        >>> InteractionTable('sales.csv.gz', time='sold_at')
        InteractionTable('sales.csv.gz', time='sold_at')
        >>> log = InteractionTable(
        ...     'events.tsv', names=['user', 'item', 'event'],
        ...     type='event', weights={'view': 0.1, 'buy': 1.0},
        ... )
        >>> log.columns
        ['user', 'item', 'event']
    """

    source: Source
    user: str = 'user'
    item: str = 'item'
    rating: str | None = None
    time: str | None = None
    type: str | None = None
    weights: Mapping[str, float] | None = None
    weight: float = 1.0
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        self.check_source()
        if (self.type is None) != (self.weights is None):
            raise ValueError(
                f"'type' names the column of the types, and 'weights' has the "
                f'weight of each: pass both or neither (got {self.type!r} and '
                f'{self.weights!r})'
            )
        if self.weights is not None and self.weight != 1:
            raise ValueError(
                f"'weight' is that of a table without 'weights'; leave it out "
                f'(got {self.weight!r})'
            )
        if not isinstance(self.weights, Mapping | None):
            raise TypeError(
                f"'weights' needs to be a dictionary of the weight of each "
                f'type (got a {type(self.weights).__name__})'
            )
        if not self.all_weights:
            raise ValueError("'weights' needs at least one type (got {})")
        for weight in self.all_weights:
            if not (isinstance(weight, Real) and 0 < float(weight) < math.inf):
                raise ValueError(
                    f'A weight needs to be a positive finite number (got '
                    f'{weight!r}); leave out rows that should not count'
                )

    @property
    def columns(self) -> list[str]:
        """The columns that are read."""
        wanted = (self.user, self.item, self.rating, self.time, self.type)
        return [column for column in wanted if column is not None]

    @property
    def all_weights(self) -> list[float]:
        """The weights that rows may have."""
        if self.weights is None:
            return [self.weight]
        return list(self.weights.values())
