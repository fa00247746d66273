"""What tables of interactions and of items have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import pandas as pd

from pyg_ckd.datasets.formats.row_numbers import (
    FRAME,
    HEADER,
    PLAIN,
    RowNumbers,
)
from pyg_ckd.datasets.formats.tables import (
    Source,
    digest_of,
    path_of,
    read_table,
)
from pyg_ckd.datasets.raw.limits import Limits


class TableSource(ABC):
    """A table, and what its columns are called.

    A subclass is a frozen dataclass whose fields have the values of arguments,
    ``source`` and ``names`` among them, and implements ``columns``.
    """

    source: Source
    names: Sequence[str] | None

    @property
    @abstractmethod
    def columns(self) -> list[str]:
        """The columns that are read."""

    @property
    def path(self) -> str | None:
        """The path of the file, ``None`` for a data frame."""
        return path_of(self.source)

    @property
    def name(self) -> str:
        """What the table is called in messages."""
        return self.path or 'DataFrame'

    @property
    def row_numbers(self) -> RowNumbers:
        """How its rows are counted in messages."""
        if self.path is None:
            return FRAME
        return HEADER if self.names is None else PLAIN

    @property
    def settings(self) -> Any:
        """What results depend on beside the content of the file.

        For a data frame that is the content of the columns that are read.
        """
        given = {
            field.name: getattr(self, field.name)
            for field in fields(self)  # type: ignore[arg-type]
            if field.name != 'source'
        }
        content = self.path
        if content is None:
            content = f'DataFrame {digest_of(self.read(self.columns))}'
        return content, sorted(given.items())

    def read(
        self, columns: Sequence[str], limits: Limits = Limits()
    ) -> pd.DataFrame:
        """Return columns as text, see :func:`read_table`."""
        kind = type(self).__name__
        hint = (
            f'{kind}(...) says what columns are called, and '
            f'{kind}(..., names=[...]) those of a table without a header'
        )
        return read_table(self.source, columns, hint, limits, self.names)

    def check_source(self) -> None:
        """Check the source, and the columns that are named.

        Raises:
            ValueError: If it is neither a path nor a data frame, or ``names``
                lacks a column that is read, or has one twice.
        """
        path_of(self.source)
        columns, names = self.columns, self.names
        if names is None:
            return
        lacks = [column for column in columns if column not in names]
        if isinstance(names, str) or len(set(names)) < len(names) or lacks:
            reason = f'has no {lacks[0]!r}' if lacks else 'is no list of those'
            raise ValueError(
                f"'names' needs to name all columns of a table without a "
                f'header, each once, and {reason} (got {names!r})'
            )

    def __repr__(self) -> str:
        given = [
            f'{field.name}={getattr(self, field.name)!r}'
            for field in fields(self)  # type: ignore[arg-type]
            if field.name != 'source'
            and getattr(self, field.name) != field.default
        ]
        source = self.name if self.path is None else repr(self.path)
        return f'{type(self).__name__}({", ".join([source, *given])})'
