"""What is to be thought of features, in words."""

from __future__ import annotations

from pyg_ckd._shown.page.section import Point
from pyg_ckd.datasets._description.lift import Lift
from pyg_ckd.datasets._description.modality import Modality

#: From this share of items with equal features on, they are worth a warning.
MANY = 0.01


def verdict(modality: Modality) -> Point:
    """Return whether neighbours by a modality share their users.

    Args:
        modality: The modality.
    """
    lift = modality.lift
    if lift is None:
        return Point(
            modality.name,
            'no two items to compare: there are too few interactions of '
            'training, or too few items with features',
            'unsure',
        )
    text = (
        f'nearest neighbours share their users {times(lift.found)}; with '
        f'features handed out at random, {times(lift.at_random)}'
    )
    if lift.tells:
        return Point(modality.name, text, 'gain')
    return Point(
        modality.name,
        f'{text}. That is not told from chance: either these features say '
        f'nothing of who wants what, or they belong to other items, as those '
        f'of a file whose rows are in another order',
        'loss',
    )


def times(lift: Lift) -> str:
    """Return a lift with its interval, as people say it.

    Example:
        >>> times(Lift(3.05, 2.5, 3.6))
        '3.05 times as often as by chance (2.50 to 3.60)'
    """
    return (
        f'{lift.value:.2f} times as often as by chance ({lift.low:.2f} to '
        f'{lift.high:.2f})'
    )


def warnings_of(modality: Modality) -> list[str]:
    """Return what is wrong with features, a sentence each.

    Args:
        modality: The modality.
    """
    found = []
    num = int(modality.has.sum())
    largest = len(modality.equal[0]) if modality.equal else 0
    if largest > max(MANY * num, 2):
        found.append(
            f'{largest:,} items have the very same features of '
            f'{modality.name}, such as those of one default picture or of an '
            f"empty text. Say that they lack it, data['item'].has_"
            f'{modality.name}.'
        )
    if modality.num_zero:
        items = 'item has' if modality.num_zero == 1 else 'items have'
        found.append(
            f'{modality.num_zero:,} {items} only zeros as features of '
            f'{modality.name}, which have no neighbours.'
        )
    return found
