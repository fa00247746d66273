"""Ids of users and items in whatever form they come."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

_MASK = '; those of a mask are where it is true, mask.nonzero()'


def user_ids(user: Any, num_users: int, device: torch.device) -> Tensor:
    """Return ids of users as a tensor, ``[N]``.

    Args:
        user: One id or several: an integer, a list, an array or a tensor.
        num_users: The number of users that exist.
        device: Where to put them.

    Raises:
        ValueError: If they are no integers, or one does not exist.

    Example:
        >>> user_ids(7, num_users=8, device=torch.device('cpu'))
        tensor([7])
    """
    ids = _ids('user', user, device)
    _check_shape('user', ids, (0, 1))
    _check_range('user', ids, 0, num_users)
    return ids.reshape(-1)


def candidate_ids(
    candidates: Any,
    num_items: int,
    device: torch.device,
    num_lists: int | None = None,
) -> Tensor:
    """Return ids of candidates as a tensor.

    Args:
        candidates: One list for all users, or where ``num_lists`` is given, a
            list for each, filled up with -1.
        num_items: The number of items that exist.
        device: Where to put them.
        num_lists: The number of users, if each may have her own list.

    Returns:
        Ids of shape ``[C]``, ascending and each once, or ``[num_lists, C]``
        as they came.

    Raises:
        ValueError: If they are no integers, there are none, or one does not
            exist.

    Example:
        >>> candidate_ids([3, 1, 3], num_items=8, device=torch.device('cpu'))
        tensor([1, 3])
    """
    ids = _ids('candidates', candidates, device)
    _check_shape('candidates', ids, (1,) if num_lists is None else (1, 2))
    if ids.dim() == 1:
        if ids.numel() == 0:
            raise ValueError("'candidates' needs at least one item (got none)")
        _check_range('candidates', ids, 0, num_items)
        return ids.unique()
    if len(ids) != num_lists:
        raise ValueError(
            f"'candidates' needs one list for each of {num_lists} users, or "
            f'a single one for all (got {len(ids)} lists)'
        )
    _check_range('candidates', ids, -1, num_items)
    return ids


def _ids(name: str, value: Any, device: torch.device) -> Tensor:
    """Return ids as int64, whatever they come as."""
    if not isinstance(value, Tensor):
        try:
            array = np.asarray(value)
        except ValueError:
            raise ValueError(
                f"'{name}' needs lists of one length: fill them up with -1"
            ) from None
        if array.size and array.dtype.kind not in 'iu':
            hint = _MASK if array.dtype == bool else ''
            if array.dtype.kind in 'US':
                node = 'user' if name == 'user' else 'item'
                hint = (
                    f"; data['{node}'].name.index(name) is that of a name, if "
                    f'there are names'
                )
            raise ValueError(
                f"'{name}' needs integer ids (got {type(value).__name__} of "
                f'{array.dtype}){hint}'
            )
        return torch.from_numpy(array.astype(np.int64)).to(device)
    if value.numel() and (
        value.is_floating_point()
        or value.is_complex()
        or value.dtype == torch.bool
    ):
        raise ValueError(
            f"'{name}' needs integer ids (got {value.dtype})"
            + _MASK * (value.dtype == torch.bool)
        )
    return value.detach().to(device, torch.long)


def _check_shape(name: str, ids: Tensor, dims: tuple[int, ...]) -> None:
    if ids.dim() not in dims:
        wanted = ' or '.join(f'{dim}-D' for dim in dims)
        raise ValueError(
            f"'{name}' needs to be {wanted} (got shape {list(ids.shape)})"
        )


def _check_range(name: str, ids: Tensor, low: int, size: int) -> None:
    if ids.numel() and not low <= int(ids.min()) <= int(ids.max()) < size:
        raise ValueError(
            f"'{name}' needs ids from {low} to {size - 1} "
            f'(got {int(ids.min())} to {int(ids.max())})'
        )
