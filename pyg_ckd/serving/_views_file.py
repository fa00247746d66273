"""Views as tensors by name, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pyg_ckd.views import Views, rows_of


def tensors_of(views: Views) -> dict[str, Tensor]:
    """Return the blocks of views by name, each once.

    Constant blocks, which change no ranking, are left out. Sparse blocks
    become their indices, values and size.

    Args:
        views: The views.
    """
    num = views.num_blocks
    users = [rows_of(block) for block in views.user[:num]]
    items = [rows_of(block) for block in views.item[:num]]
    keep = views.keep[:, :num]
    if len(users) == len(items):
        users, items, keep = _merged(users, items, keep)
    found = {'keep': keep.to('cpu', torch.bool)}
    for side, blocks in (('user', users), ('item', items)):
        for place, block in enumerate(blocks):
            found |= _saved(f'{side}.{place}', block.detach().cpu())
    return found


def views_of(
    tensors: Mapping[str, Tensor],
    num_users: int,
    num_items: int,
    num_views: int,
) -> Views:
    """Return the views that :func:`tensors_of` was given.

    Args:
        tensors: The tensors by name.
        num_users: The number of users that blocks need to have.
        num_items: The number of items.
        num_views: The number of views.

    Raises:
        ValueError: If one is missing, too many, or of another shape or type.
    """
    left = dict(tensors)
    keep = left.pop('keep', torch.empty(0))
    if keep.dim() != 2 or keep.dtype != torch.bool or len(keep) != num_views:
        raise ValueError(
            f"'keep' needs the shape [{num_views}, num_blocks] and truth values"
        )
    if not keep.any(dim=1).all():
        raise ValueError("a view of 'keep' has no block")
    num = keep.size(1)
    items = [_taken(left, f'item.{b}', num_items) for b in range(num)]
    shared = num > 1 and not any(name.startswith('user.1') for name in left)
    number = 1 if shared else num
    users = [_taken(left, f'user.{b}', num_users) for b in range(number)]
    if left:
        raise ValueError(f"'{min(left)}' is a tensor too many")
    for place, item in enumerate(items):
        user = users[0 if shared else place]
        if user.size(1) != item.size(1):
            raise ValueError(
                f"'item.{place}' has the width {item.size(1)}, the users of "
                f'that block {user.size(1)}'
            )
    return Views(
        user=[SparseRows(x) if x.is_sparse else x for x in users],
        item=[SparseRows(x) if x.is_sparse else x for x in items],
        keep=keep.to(torch.float),
    )


class SparseRows:
    """The rows of a sparse block.

    Args:
        block (Tensor): The block, coalesced.
    """

    def __init__(self, block: Tensor) -> None:
        self.block = block

    def rows(self, index: Tensor | None = None) -> Tensor:
        """Return the rows ``index``, or all of them."""
        if index is None:
            return self.block
        return self.block.index_select(0, index)


def _merged(
    users: Sequence[Tensor], items: Sequence[Tensor], keep: Tensor
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Return blocks without those that equal an earlier one."""
    chosen: list[int] = []
    merged = keep.clone()
    for place in range(len(users)):
        for other in chosen:
            if (
                not (keep[:, place].bool() & keep[:, other].bool()).any()
                and _equal(users[place], users[other])
                and _equal(items[place], items[other])
            ):
                merged[:, other] += keep[:, place]
                break
        else:
            chosen.append(place)
    return (
        [users[place] for place in chosen],
        [items[place] for place in chosen],
        merged[:, chosen],
    )


def _equal(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.layout != other.layout:
        return False
    if one.is_sparse:
        one, other = one.coalesce(), other.coalesce()
        return torch.equal(one.indices(), other.indices()) and torch.equal(
            one.values(), other.values()
        )
    return torch.equal(one, other)


def _saved(name: str, block: Tensor) -> dict[str, Tensor]:
    if not block.is_sparse:
        return {name: block.clone(memory_format=torch.contiguous_format)}
    block = block.coalesce()
    return {
        f'{name}.indices': block.indices().clone(),
        f'{name}.values': block.values().clone(),
        f'{name}.size': torch.tensor(block.shape),
    }


def _taken(left: dict[str, Tensor], name: str, num_rows: int) -> Tensor:
    """Take a block out of what is left."""
    block = left.pop(name, None)
    if block is None:
        block = _sparse(left, name)
    if block.dim() != 2 or not block.is_floating_point():
        raise ValueError(f"'{name}' needs to be a matrix of floats")
    if len(block) != num_rows:
        raise ValueError(f"'{name}' has {len(block)} rows, not {num_rows}")
    values = block.coalesce().values() if block.is_sparse else block
    if not values.isfinite().all():
        raise ValueError(f"'{name}' holds NaN or infinity")
    return block


def _sparse(left: dict[str, Tensor], name: str) -> Tensor:
    try:
        parts = [left.pop(f'{name}.{p}') for p in ('indices', 'values', 'size')]
    except KeyError:
        raise ValueError(f"'{name}' is missing") from None
    indices, values, size = parts
    try:
        return torch.sparse_coo_tensor(
            indices, values, tuple(size.tolist()), check_invariants=True
        ).coalesce()
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"'{name}' is no sparse matrix ({error})") from error
