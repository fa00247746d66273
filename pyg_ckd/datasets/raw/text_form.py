"""How a table of text is written, where that is not how it should be."""

from __future__ import annotations

import codecs
import re
from io import TextIOWrapper

from pyg_ckd.datasets.raw.packed import open_unpacked

#: Separators, and what each is called.
_NAMES = {',': 'commas', '\t': 'tabs', ';': "';'", '|': "'|'"}
_REMEDIES = {
    ',': 'with commas, or as .tsv with tabs',
    '\t': 'with tabs, or as .csv with commas',
}
#: How many bytes are looked at, of a line and of a file.
_LINE, _START = 2**16, 2**20
_QUOTED = re.compile('"[^"]*"')
_WORD = re.compile(r'[^\s,;|"]+')
#: Of Windows-1252, beside letters.
_SIGNS = set('€£¥§©®°™±²³¼½¾«»‹›‘’“”„–—…•·¡¿')


def likely_form(path: str, separator: str) -> str:
    r"""Return how a table seems to be written, and how to save it instead.

    It is a guess, for the message once a table could not be read: from what
    the first line is separated by, and from bytes that are not UTF-8 in the
    first megabyte.

    Args:
        path: The file, which may be packed by gzip.
        separator: What it should be separated by, a comma or a tab.

    Returns:
        What follows the name of the file in a message, ``''`` if it looks as
        it should.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with open(f'{root}/a.csv', 'w') as file:
        ...         _ = file.write('user;item\nann;cup\n')
        ...     likely_form(f'{root}/a.csv', ',')
        "looks separated by ';': save it with commas, or as .tsv with tabs"
    """
    encoding, shown = _encoding(path)
    looks, save = [], ''
    with open_unpacked(path) as file:
        text = TextIOWrapper(file, encoding or 'latin-1', errors='replace')
        header = _QUOTED.sub('', text.readline(_LINE))
        text.detach()
    found = max(_NAMES, key=header.count)
    if header.count(found) > header.count(separator):
        looks.append(f'separated by {_NAMES[found]}')
        save = f' {_REMEDIES[separator]}'
    if encoding:
        looks.append(f'written in {shown}')
        save = f' as UTF-8{save}'
    return f'looks {" and ".join(looks)}: save it{save}' if looks else ''


def _encoding(path: str) -> tuple[str, str]:
    """Return the name of an encoding that is not UTF-8, for Python and people.

    Both are empty if there is no such, or it cannot be told.
    """
    with open_unpacked(path) as file:
        start = file.read(4)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return 'utf-16', 'UTF-16'
    # Without a mark, every other byte of Latin letters is zero:
    for order, rest in (('le', start[1::2]), ('be', start[::2])):
        if rest == b'\0\0' and start.count(0) == 2:
            return f'utf-16-{order}', 'UTF-16'
    words = _words_of_windows(path)
    letters = [letter for _, word in words for letter in word]
    num_ascii = sum(x.isascii() and x.isalpha() for x in letters)
    others = [x for x in letters if not x.isascii()]
    num_other = sum(map(str.isalpha, others))
    is_known = all(x.isalpha() or x in _SIGNS for x in others)
    # Where other encodings have letters in these bytes, many follow each other:
    if not words or not is_known or (num_other and num_other >= num_ascii):
        return '', ''
    number, word = words[0]
    return 'cp1252', f'Windows-1252 ({word[:40]!r} in line {number})'


def _words_of_windows(path: str) -> list[tuple[int, str]]:
    """Return words that are not UTF-8, with their lines, as Windows-1252.

    There are none if they are no Windows-1252 either.
    """
    words = []
    with open_unpacked(path) as file:
        lines = file.read(_START).split(b'\n')
        if file.read(1):
            del lines[-1]  # Its last character may be cut.
    for number, line in enumerate(lines, start=1):
        try:
            line.decode()
        except UnicodeDecodeError:
            try:
                found = _WORD.findall(line.decode('cp1252'))
            except UnicodeDecodeError:
                return []
            words += [(number, word) for word in found if not word.isascii()]
    return words
