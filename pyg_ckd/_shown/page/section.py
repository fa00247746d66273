"""What a section of the page is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup


@dataclass(frozen=True)
class Point:
    """One entry of a list: what it is about, and what is said of it."""

    name: str
    text: str
    kind: str = ''


@dataclass(frozen=True)
class Points:
    """A list."""

    items: Sequence[Point]
    block: str = 'points'


@dataclass(frozen=True)
class Cell:
    """A cell of a table, with what it shows when it is pointed at."""

    text: str
    hint: str = ''
    kind: str = ''
    tag: str = ''


@dataclass(frozen=True)
class Table:
    """Rows in groups; a column that is empty is left out.

    Args:
        label (str): What it is, for who cannot see it.
        head (str): The heading of the names of groups.
        groups (dict): The rows of each group, cells by column.
        above (dict): Columns by the heading that they share.
        named (tuple): The columns that hold names instead of numbers.
        broken (tuple): The columns whose lines may break.
    """

    label: str
    head: str
    groups: Mapping[str, Sequence[Mapping[str, Cell]]]
    above: Mapping[str, Sequence[str]] = field(default_factory=dict)
    named: tuple[str, ...] = ('method',)
    broken: tuple[str, ...] = ()
    block: str = 'table'

    @property
    def columns(self) -> list[str]:
        """The columns that are not empty."""
        rows = [row for rows in self.groups.values() for row in rows]
        columns = dict.fromkeys(column for row in rows for column in row)
        return [
            name
            for name in columns
            if any(name in row and row[name].text for row in rows)
        ]

    @property
    def spans(self) -> list[tuple[str, int]]:
        """The upper headings, and how many columns each spans."""
        columns = self.columns
        shared = [c for below in self.above.values() for c in below]
        first = len([c for c in columns if c not in shared])
        spans = [
            (title, len([c for c in below if c in columns]))
            for title, below in self.above.items()
        ]
        return [('', 1 + first), *(s for s in spans if s[1])] if spans else []

    def title(self, column: str) -> str:
        """Return the heading of a column; what it shares is left out."""
        for title, below in self.above.items():
            if column in below:
                return column.removeprefix(f'{title}: ')
        return column


@dataclass(frozen=True)
class Figure:
    """A plot, with what is above it and what stands for it."""

    caption: str
    text: str
    svg: Markup


@dataclass(frozen=True)
class Swatch:
    """An entry of a legend."""

    label: str
    color: str
    line: str = ''  # solid, dashed or dotted; empty for a patch


@dataclass(frozen=True)
class Figures:
    """Plots side by side, with one legend."""

    items: Sequence[Figure]
    legend: Sequence[Swatch] = ()
    layout: str = ''  # `one` or `four` in a row, else three or what fits
    block: str = 'figures'


@dataclass(frozen=True)
class Card:
    """An item: its name, what is said of it, and its picture.

    Args:
        name (str): What it is called.
        lines (list[str]): What is said of it, a short line each.
        hint (str): What it shows when it is pointed at.
        picture (str): A URI of the scheme ``data``, empty for none.
        framed (bool): Whether an empty frame stands for a picture.
    """

    name: str
    lines: Sequence[str] = ()
    hint: str = ''
    picture: str = ''
    framed: bool = False


@dataclass(frozen=True)
class Strip:
    """An item, and others beside it."""

    first: Card
    rest: Sequence[Card]


@dataclass(frozen=True)
class Strips:
    """Items with others beside them, one below the other."""

    items: Sequence[Strip]
    block: str = 'strips'


@dataclass(frozen=True)
class Entries:
    """Terms and what they mean, in letters of one width."""

    items: Sequence[tuple[str, Sequence[str]]]
    block: str = 'entries'


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    block: str = 'text'


@dataclass(frozen=True)
class Beside:
    """Blocks side by side, where there is room."""

    blocks: Sequence[Block]
    block: str = 'beside'


@dataclass(frozen=True)
class Details:
    """Blocks that are folded away, on paper too unless they are printed."""

    summary: str
    blocks: Sequence[Block]
    printed: bool = False
    block: str = 'details'


Block = Points | Table | Figures | Strips | Entries | Text | Beside | Details


@dataclass(frozen=True)
class Section:
    """A section of the page: a title, how to read it, and blocks."""

    name: str
    title: str
    reading: str
    blocks: Sequence[Block]
