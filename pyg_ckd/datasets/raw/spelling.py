"""Ids that are the same to people, and written in two ways."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection


def nfc(name: str) -> str:
    r"""Return a name with composed characters.

    A Mac may write ``'é'`` in the name of a file as ``'e'`` and an accent.

    Example:
        >>> nfc('cafe\u0301') == 'caf\u00e9'
        True
    """
    return unicodedata.normalize('NFC', name)


def two_of(names: Collection[str]) -> str:
    """Return up to two names, as examples for a message.

    Example:
        >>> two_of(['cup']), two_of({'pot', 'mug', 'cup'})
        ("'cup'", "'cup' and 'mug'")
    """
    return ' and '.join(map(repr, sorted(names)[:2]))


#: In what ids may differ, and what makes them equal.
_CHANGES: dict[str, Callable[[str], str]] = {
    'in another letter case': str.casefold,
    'with other leading zeros': lambda name: name.lstrip('0') or name[:1],
    'with other blanks around': str.strip,
    "with or without '.0' at the end": lambda name: name.removesuffix('.0'),
    'in another form of Unicode': nfc,
}


def likely_spelling(names: Collection[str], known: Collection[str]) -> str:
    """Return how most of some names would be found, ``''`` if none would.

    Args:
        names: Names that are not known.
        known: The names that are.

    Example:
        >>> likely_spelling(['SKU-1', 'SKU-2'], ['sku-1', 'sku-3'])
        "1 of them would be found in another letter case, such as 'sku-1'"
    """
    names, known = sorted(names), sorted(known, reverse=True)
    most, found = 0, ''
    for how, change in _CHANGES.items():
        twin_of = {change(name): name for name in known}
        twins = [twin_of.get(change(name)) for name in names]
        same = [twin for twin in twins if twin is not None]
        if len(same) > most:
            most = len(same)
            found = f'{most} of them would be found {how}, such as {same[0]!r}'
    return found
