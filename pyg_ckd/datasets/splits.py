"""Splits of interactions into training, validation and test."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch import Tensor

from pyg_ckd.datasets.interactions import Interactions
from pyg_ckd.datasets.published_split import read_split

TRAIN, VALIDATION, TEST = 0, 1, 2


def split_interactions(
    interactions: Interactions,
    split: str | os.PathLike[str],
    seed: int = 0,
) -> Tensor:
    r"""Return the split of each interaction.

    - ``'random'``: a tenth of all interactions is for test and a tenth for
      validation, drawn at random.
    - ``'time'``: the latest tenth is for test, the tenth before for validation:
      one point in time for all users.
    - ``'leave_one_out'``: the latest interaction of each user is for test, the
      one before for validation. Users with less than three only train.
    - ``'mmrec'`` and ``'lattice'``: the two rules behind published splits of
      Amazon's data. Of the :math:`n` interactions of a user,
      :math:`\lfloor n / 5 \rfloor` are held out at random, or two if
      :math:`n < 10`. Where they cannot be halved, MMRec has one more for test,
      LATTICE one more for validation. Neither published its random numbers, so
      that these are splits of the same kind, but not the published ones. Users
      with less than three only train.
    - A path: a split that was published. It is a folder of MMRec or LATTICE
      with its id mappings, or a table (CSV, TSV or Parquet) of the columns
      ``user``, ``item`` and ``split``, which is ``train``, ``validation`` or
      ``test``. Each interaction has to be in it once.

    Among interactions at the same time, the order is that of the file.

    Args:
        interactions: The interactions.
        split: The name of a rule, or a path.
        seed: The seed of random rules. (default: ``0``)

    Returns:
        For each interaction 0 (training), 1 (validation) or 2 (test).

    Raises:
        ValueError: If the rule is unknown, needs times that are not known, or
            leaves nothing for one of the three.

    Example:
        >>> interactions = Interactions.from_ids(
        ...     ['ann'] * 4, ['a', 'b', 'c', 'd'],
        ...     time=torch.tensor([3, 1, 4, 2]),
        ... )
        >>> split_interactions(interactions, 'leave_one_out')
        tensor([1, 0, 2, 0])
    """
    if split in RULES:
        generator = torch.Generator().manual_seed(seed)
        label = RULES[str(split)](interactions, generator)
    elif os.path.exists(split):
        label = read_split(split, interactions)
    else:
        raise ValueError(
            f"'split' is neither one of {', '.join(map(repr, RULES))} nor a "
            f'path that exists (got {os.fspath(split)!r})'
        )
    for value, name in enumerate(('training', 'validation', 'test')):
        if not (label == value).any():
            raise ValueError(
                f'split={os.fspath(split)!r} leaves no interaction for {name}; '
                f'choose another rule, or another core'
            )
    return label


def _random(interactions: Interactions, generator: torch.Generator) -> Tensor:
    num = interactions.user.numel()
    return _last_tenths(torch.randperm(num, generator=generator))


def _time(interactions: Interactions, _: torch.Generator) -> Tensor:
    return _last_tenths(_known_time(interactions).argsort(stable=True))


def _leave_one_out(interactions: Interactions, _: torch.Generator) -> Tensor:
    order = _known_time(interactions).argsort(stable=True)
    last, count = _rank_from_last(interactions.user, order)
    return _label(last < 1, last < 2, count)


def _mmrec(interactions: Interactions, generator: torch.Generator) -> Tensor:
    last, count, held_out = _hold_out(interactions, generator)
    return _label(last < held_out - held_out // 2, last < held_out, count)


def _lattice(interactions: Interactions, generator: torch.Generator) -> Tensor:
    last, count, held_out = _hold_out(interactions, generator)
    return _label(last < held_out // 2, last < held_out, count)


RULES: dict[str, Callable[[Interactions, torch.Generator], Tensor]] = {
    'random': _random,
    'time': _time,
    'leave_one_out': _leave_one_out,
    'mmrec': _mmrec,
    'lattice': _lattice,
}


def _known_time(interactions: Interactions) -> Tensor:
    if interactions.time is None:
        raise ValueError(
            "'split' needs the time of each interaction to be 'time' or "
            "'leave_one_out'; name the column that holds it, or choose another "
            'rule'
        )
    return interactions.time


def _last_tenths(order: Tensor) -> Tensor:
    tenth = order.numel() // 10
    label = torch.full_like(order, TRAIN)
    label[order[order.numel() - 2 * tenth :]] = VALIDATION
    label[order[order.numel() - tenth :]] = TEST
    return label


def _hold_out(
    interactions: Interactions, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    user = interactions.user
    order = torch.randperm(user.numel(), generator=generator)
    last, count = _rank_from_last(user, order)
    return last, count, torch.where(count < 10, 2, count // 5)


def _rank_from_last(user: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Rank the interactions of each user from the last in `order`, from 0.

    Also returns how many interactions the user has.
    """
    by_user = order[user[order].argsort(stable=True)]
    count = torch.bincount(user)
    end = count.cumsum(0)
    last = torch.empty_like(user)
    last[by_user] = end[user[by_user]] - 1 - torch.arange(user.numel())
    return last, count[user]


def _label(is_test: Tensor, is_held_out: Tensor, count: Tensor) -> Tensor:
    label = torch.where(
        is_test, TEST, torch.where(is_held_out, VALIDATION, TRAIN)
    )
    return label.masked_fill(count < 3, TRAIN)
