"""What is shown: tables, and what is said beside them."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Cell(NamedTuple):
    """A cell of a table.

    Args:
        text: What it says, in notebooks as in terminals.
        bar: The length of its bar in notebooks, from -1 to 1; :obj:`None` for
            no bar.
        signed: Whether bars begin in the middle of the cell, since values may
            be negative.
    """

    text: str
    bar: float | None = None
    signed: bool = False


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        head (list[str]): The headings of the columns; empty for none.
        rows (list[list[Cell]]): The cells; the first of a row is its name.
        title (str): What is above it.
        reading (str): How to read it, below.
        words (set[int]): The columns that hold words instead of numbers.
        merged (int): In how many of the first columns a cell that is that of
            the row above is shown once.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    title: str = ''
    reading: str = ''
    words: Collection[int] = (0,)
    merged: int = 0

    def repeats(self, row: int, column: int) -> bool:
        """Return whether a cell is that of the row above, shown once."""
        if column >= self.merged or row == 0:
            return False
        until = column + 1
        return list(self.rows[row][:until]) == list(self.rows[row - 1][:until])


@dataclass(frozen=True)
class Note:
    """A paragraph.

    Args:
        text (str): What it says.
        warns (bool): Whether it is a warning.
    """

    text: str
    warns: bool = False


Block = Table | Note


def number(
    value: float, form: str, most: float | None = None, *, signed: bool = False
) -> Cell:
    """Return the cell of a number.

    Args:
        value: The number.
        form: How to write it, such as ``.4f``.
        most: The number whose bar fills the cell; without it, there is none.
        signed: Whether bars begin in the middle.

    Example:
        >>> number(0.25, '.1%', 0.5)
        Cell(text='25.0%', bar=0.5, signed=False)
        >>> number(float('nan'), '.4f', 0.5)
        Cell(text='nan', bar=None, signed=False)
    """
    bar = value / most if most else math.nan
    return Cell(
        f'{value:{form}}',
        None if math.isnan(bar) else max(-1.0, min(bar, 1.0)),
        signed,
    )
