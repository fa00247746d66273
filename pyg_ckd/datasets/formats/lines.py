"""Lines of compressed text."""

from __future__ import annotations

import gzip
import os
import os.path as osp
import zlib
from collections.abc import Iterator
from functools import partial

from tqdm.auto import tqdm

from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.regular_file import open_regular


def read_lines(
    path: str | os.PathLike[str], limits: Limits = Limits()
) -> Iterator[tuple[int, bytes]]:
    r"""Yield the number and the content of each line that is not blank.

    No more than one line is kept in memory.

    Args:
        path: A file of text, compressed by gzip.
        limits: ``line`` is the most bytes of a line, unpacked.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, empty or no regular file, or a line
            is too long.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with gzip.open(f'{root}/a.gz', 'wt') as file:
        ...         _ = file.write('one\n\n three \n')
        ...     list(read_lines(f'{root}/a.gz'))
        [(1, b'one'), (3, b'three')]
    """
    line = 0
    with (
        open_regular(path) as raw,
        tqdm.wrapattr(
            raw,
            'read',
            total=osp.getsize(path),
            desc=f'Reading {osp.basename(path)}',
            leave=False,
            disable=None,
        ) as compressed,
    ):
        try:
            with gzip.open(compressed) as file:
                # A few bytes may unpack to a line that fills the memory:
                lines = iter(partial(file.readline, limits.line + 1), b'')
                for line, text in enumerate(lines, start=1):
                    if len(text) > limits.line:
                        raise ValueError(
                            f"'{path}', line {line}: it is longer than "
                            f'{limits.line:,} bytes; {limits.remedy("line")}'
                        )
                    if text := text.strip():
                        yield line, text
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"'{path}' is damaged after line {line} ({error}); download it "
                f'again'
            ) from error
    if line == 0:
        raise ValueError(f"'{path}' is empty; download it again")
