"""Splits by their names."""

from __future__ import annotations

import os

from pyg_ckd.datasets.splits.lattice_split import LATTICESplit
from pyg_ckd.datasets.splits.leave_one_out import LeaveOneOut
from pyg_ckd.datasets.splits.mmrec_split import MMRecSplit
from pyg_ckd.datasets.splits.published_split import PublishedSplit
from pyg_ckd.datasets.splits.random_split import RandomSplit
from pyg_ckd.datasets.splits.split import Split
from pyg_ckd.datasets.splits.time_split import TimeSplit

NAMES: dict[str, type[Split]] = {
    'random': RandomSplit,
    'time': TimeSplit,
    'leave_one_out': LeaveOneOut,
    'mmrec': MMRecSplit,
    'lattice': LATTICESplit,
}


def as_split(split: Split | str | os.PathLike[str]) -> Split:
    """Return a split from its name or path.

    Args:
        split: A split; ``'random'``, ``'time'``, ``'leave_one_out'``,
            ``'mmrec'`` or ``'lattice'``, each with its defaults; or the path of
            a :class:`PublishedSplit`.

    Raises:
        ValueError: If it is none of them.

    Example:
        >>> as_split('time')
        TimeSplit(share=0.1, per_user=False)
    """
    if isinstance(split, Split):
        return split
    if not isinstance(split, str | os.PathLike):
        raise ValueError(
            f"'split' needs to be a name, a path or a Split, such as "
            f'RandomSplit(seed=1) (got {split!r})'
        )
    if split in NAMES:
        return NAMES[str(split)]()
    if split and os.path.exists(os.path.expanduser(split)):
        return PublishedSplit(split)
    raise ValueError(
        f"'split' is neither one of {', '.join(map(repr, NAMES))} nor a path "
        f'that exists (got {os.fspath(split)!r})'
    )
