"""Lines of text."""

from __future__ import annotations

import os
from collections.abc import Generator
from functools import partial

from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.regular_file import open_regular


def text_lines(
    path: str | os.PathLike[str], limits: Limits = Limits()
) -> Generator[tuple[int, str]]:
    r"""Yield the number and the text of each line, without its end.

    No more than one line is kept in memory. What is not UTF-8 is replaced by
    ``'\ufffd'``.

    Args:
        path: A file of text in UTF-8, with or without a mark at its start.
        limits: ``line`` is the most bytes of a line. (default: ``Limits()``)

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no regular file, or a line is too long.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with open(f'{root}/a.txt', 'wb') as file:
        ...         _ = file.write(b'one\r\n\nthree')
        ...     list(text_lines(f'{root}/a.txt'))
        [(1, 'one'), (2, ''), (3, 'three')]
    """
    with open_regular(path) as file:
        lines = iter(partial(file.readline, limits.line + 1), b'')
        for line, text in enumerate(lines, start=1):
            if len(text) > limits.line:
                raise ValueError(
                    f"'{os.fspath(path)}', line {line} has more than "
                    f'{limits.line:,} bytes; {limits.remedy("line")}'
                )
            encoding = 'utf-8-sig' if line == 1 else 'utf-8'
            yield line, text.decode(encoding, 'replace').rstrip('\r\n')


def first_line(path: str | os.PathLike[str], limits: Limits = Limits()) -> str:
    """Return the first line of a text, such as its header.

    Args:
        path: As in :func:`text_lines`.
        limits: As in :func:`text_lines`. (default: ``Limits()``)

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no regular file, or the line is too long.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with open(f'{root}/a.csv', 'w') as file:
        ...         _ = file.write('user,item')
        ...     first_line(f'{root}/a.csv')
        'user,item'
    """
    lines = text_lines(path, limits)
    try:
        return next(lines, (1, ''))[1]
    finally:
        lines.close()
