"""How much is believed of a file."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Limits:
    """How large the parts of a file may be.

    A file of a few kilobytes can unpack to more than fits any memory, and one
    wrong number asks for a graph of billions of nodes. What is larger than here
    is refused, with the name of the file and of the limit; a data set whose
    parts are larger is read with others.

    Args:
        line: The most bytes of a line of text, unpacked.
        file: The most bytes of a file of one item, such as a picture, unpacked.
        pixels: The most pixels of a picture.
        ids: The highest number of a user or item, where files have numbers, in
            multiples of the number of interactions, and a thousand more.

    Raises:
        ValueError: If one is not positive.

    Example:
        >>> Limits(line=2**26)
        Limits(line=67108864, file=268435456, pixels=178956970, ids=100)
    """

    line: int = 2**24
    file: int = 2**28
    pixels: int = 178_956_970  # As in Pillow.
    ids: int = 100

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 1:
                raise ValueError(
                    f"'{field.name}' needs to be positive (got {value})"
                )
