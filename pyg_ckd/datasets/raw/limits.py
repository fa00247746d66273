"""How much is believed of a file."""

from __future__ import annotations

from dataclasses import dataclass, fields

from pyg_ckd.kernels.arguments import is_whole


@dataclass(frozen=True)
class Limits:
    """How large the parts of a file may be.

    A file of a few kilobytes can unpack to more than fits any memory, and one
    wrong number asks for a graph of billions of nodes. What is larger than here
    is refused before it is read, with the names of the file and of the limit; a
    data set whose parts are larger is read with others.

    Args:
        line: The most bytes of a line of text, unpacked. (default: 16 MiB)
        file: The most bytes of a file of one item, such as a picture, unpacked,
            and of a JSON document. (default: 256 MiB)
        pixels: The most pixels of a picture. (default: ``178_956_970``, where
            Pillow takes it for an attack)
        ids: The highest number of a user or item, where files have numbers, in
            multiples of the number of interactions, and a thousand more.
            (default: ``100``)
        columns: The most columns of a table. (default: ``10_000``)
        unpacked: The most bytes that an archive or a Parquet file unpacks to,
            in multiples of its own size, and ``file`` more. (default: ``100``)

    Raises:
        ValueError: If one is not a positive integer.

    Example:
        >>> Limits(line=2**26, ids=1000)
        Limits(line=67108864, file=268435456, pixels=178956970, ids=1000, ...)
    """

    line: int = 2**24
    file: int = 2**28
    pixels: int = 178_956_970
    ids: int = 100
    columns: int = 10_000
    unpacked: int = 100

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not is_whole(value) or value < 1:
                raise ValueError(
                    f"'{field.name}' needs to be a positive integer (got "
                    f'{value!r})'
                )

    def remedy(self, name: str) -> str:
        """Return how to raise a limit, for the end of a message.

        Args:
            name: The limit.

        Example:
            >>> Limits().remedy('columns')
            "if that is right, raise 'columns' of limits=Limits(columns=10000)"
        """
        value = getattr(self, name)
        return (
            f"if that is right, raise '{name}' of limits=Limits({name}={value})"
        )

    def check_unpacked(self, path: str, packed: int, unpacked: int) -> None:
        """Refuse a file that unpacks to far more than its own size.

        Args:
            path: The file, for the message.
            packed: Its size in bytes.
            unpacked: The bytes that it unpacks to.

        Raises:
            ValueError: If these are too many.

        Example:
            >>> Limits().check_unpacked('a.zip', 1000, 10**10)
            Traceback (most recent call last):
                ...
            ValueError: 'a.zip' has 1,000 bytes and unpacks to 10,000,000,000...
        """
        if unpacked > self.unpacked * packed + self.file:
            raise ValueError(
                f"'{path}' has {packed:,} bytes and unpacks to {unpacked:,}; "
                f'{self.remedy("unpacked")}'
            )
