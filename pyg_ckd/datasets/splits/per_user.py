"""Splits of the history of each user."""

from __future__ import annotations

import torch
from torch import Tensor

from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.splits.split import TEST, TRAIN, VALIDATION


def rank_from_last(user: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Rank the interactions of each user from the last in an order, from 0.

    Args:
        user: The user of each interaction.
        order: All interactions.

    Returns:
        For each interaction its rank, and how many its user has.

    Example:
        >>> rank_from_last(torch.tensor([5, 5, 5]), torch.tensor([2, 0, 1]))
        (tensor([1, 0, 2]), tensor([3, 3, 3]))
    """
    by_user = order[user[order].argsort(stable=True)]
    count = torch.bincount(user)
    end = count.cumsum(0)
    last = torch.empty_like(user)
    last[by_user] = end[user[by_user]] - 1 - torch.arange(user.numel())
    return last, count[user]


def hold_out_fifth(
    interactions: Interactions, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw what is held out of each user: a fifth, or two of less than ten.

    Args:
        interactions: The interactions.
        seed: The seed by which they are ordered.

    Returns:
        For each interaction its rank from the last in that order, how many its
        user has, and how many of them are held out.
    """
    user = interactions.user
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(user.numel(), generator=generator)
    last, count = rank_from_last(user, order)
    return last, count, torch.where(count < 10, 2, count // 5)


def label_of(is_test: Tensor, is_held_out: Tensor, count: Tensor) -> Tensor:
    """Return labels; users with less than three interactions only train.

    Args:
        is_test: Which interactions test.
        is_held_out: Which test or validate.
        count: For each interaction how many its user has.
    """
    label = torch.where(
        is_test, TEST, torch.where(is_held_out, VALIDATION, TRAIN)
    )
    return label.masked_fill(count < 3, TRAIN)
