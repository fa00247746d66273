"""Pairs of matrices whose products are scores."""

from __future__ import annotations

from torch import Tensor


def checked(user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
    """Return the embeddings of a teacher, dense and without gradients.

    Args:
        user: User embeddings, ``[num_users, d]``.
        item: Item embeddings, ``[num_items, d]``.

    Raises:
        ValueError: If they are not floating tensors of one width, or an entry
            is not finite; it names the first row.
    """
    user, item = user.detach().to_dense(), item.detach().to_dense()
    shapes = list(user.shape), list(item.shape)
    floating = user.is_floating_point() and item.is_floating_point()
    if (
        not (floating and user.dim() == item.dim() == 2)
        or shapes[0][1] != shapes[1][1]
    ):
        raise ValueError(
            f"A 'Teacher' needs floating embeddings of the shapes "
            f'[num_users, d] and [num_items, d] (got {shapes[0]} of '
            f'{user.dtype} and {shapes[1]} of {item.dtype})'
        )
    for side, emb in (('user', user), ('item', item)):
        finite = emb.isfinite().all(dim=1)
        if not finite.all():
            raise ValueError(
                f'The {side} embeddings of a teacher hold NaN or infinity, '
                f'first in row {int((~finite).nonzero()[0])}: its training '
                f'diverged, or they were computed wrongly. A student of it '
                f'would diverge, too: train it again'
            )
    return user, item


def spread_of_margins(user: Tensor, item: Tensor) -> float:
    """Return the standard deviation of margins on random triples.

    Args:
        user: User embeddings, ``[num_users, d]``.
        item: Item embeddings, ``[num_items, d]``.
    """
    user, item = user.double(), item.double()
    item = item - item.mean(dim=0)
    covariance = item.t() @ item / len(item)  # [d, d]
    return float((2 * ((user @ covariance) * user).sum(1).mean()).sqrt())
