"""The users and items with enough interactions."""

from __future__ import annotations

import os
import warnings

from pyg_ckd.datasets.raw.interactions import Interactions


def core_of(
    interactions: Interactions, k: int, path: str | os.PathLike[str]
) -> Interactions:
    """Return the ``k``-core of interactions, and warn of what it leaves out.

    Args:
        interactions: The interactions.
        k: The least number of interactions of each user and item.
        path: Where they come from, for messages.

    Raises:
        ValueError: If it is empty.

    Example:
        >>> interactions = Interactions.from_ids(['ann', 'bob'], ['cup', 'cup'])
        >>> core_of(interactions, 1, 'sales.csv').users
        ['ann', 'bob']
    """
    core = interactions.core(k)
    if not core.users:
        raise ValueError(
            f"'{os.fspath(path)}': no user and item have {k} interactions each "
            f"with others that do; choose a smaller 'k_core'"
        )
    num_lost = len(interactions.user) - len(core.user)
    if num_lost:
        users, items = len(interactions.users), len(interactions.items)
        warnings.warn(
            f'k_core={k} leaves out {users - len(core.users)} of {users} users '
            f'and {items - len(core.items)} of {items} items, with {num_lost} '
            f'interactions; k_core=1 keeps all',
            stacklevel=3,
        )
    return core
