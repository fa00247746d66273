"""Ids that number rows."""

from __future__ import annotations

from pyg_ckd.datasets.raw.limits import Limits


def check_highest(
    where: str,
    name: str,
    highest: int,
    number: int,
    limits: Limits = Limits(),
) -> None:
    """Refuse ids that cannot number rows.

    A graph has a node for each number up to the highest id, so that a single
    id of a database would fill the memory with nodes that nobody knows.

    Args:
        where: The file, and the line if it is known.
        name: What the id is of.
        highest: The highest id.
        number: The number of interactions.
        limits: How far it may be beyond that number. (default: 100 times it,
            and a thousand more)

    Raises:
        ValueError: If the id is farther beyond.

    Example:
        >>> check_highest("'a.inter', line 3", 'userID', 10**8, 3)
        Traceback (most recent call last):
            ...
        ValueError: 'a.inter', line 3: userID is 100000000, but there are ...
    """
    if highest > limits.ids * number + 1000:
        raise ValueError(
            f'{where}: {name} is {highest}, but there are {number:,} '
            f'interactions; ids number rows from 0: number them anew, or read '
            f'names by pyg_ckd.from_interactions; {limits.remedy("ids")}'
        )
