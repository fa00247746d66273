"""How the rows of a table are counted."""

from __future__ import annotations

from typing import NamedTuple


class RowNumbers(NamedTuple):
    """How messages count the rows of a table."""

    #: What a row is called.
    unit: str
    #: Where the first one is, if that is not the start of the file.
    below: str
    #: The number of the first one.
    first: int


#: Those of a file with a header.
HEADER = RowNumbers('row', 'below the header', 1)
#: Those of a file of lines alone.
PLAIN = RowNumbers('line', '', 1)
#: Those of a data frame, as its ``iloc`` counts them.
FRAME = RowNumbers('row', '', 0)
