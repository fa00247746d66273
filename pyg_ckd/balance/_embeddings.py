"""Pairs of matrices whose products are scores."""

from __future__ import annotations

from torch import Tensor, nn


def checked(
    user: Tensor, item: Tensor, sizes: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor]:
    """Return the embeddings of a teacher, dense and without gradients.

    What training would change further is copied.

    Args:
        user: User embeddings, ``[num_users, d]``.
        item: Item embeddings, ``[num_items, d]``.
        sizes: The numbers of users and items, any by default.

    Raises:
        ValueError: If they are not floating tensors of one width and these
            sizes, or an entry is not finite; it names the first row.
    """
    user, item = _fixed(user), _fixed(item)
    num_users, num_items = sizes or ('num_users', 'num_items')
    if not (
        user.is_floating_point()
        and item.is_floating_point()
        and user.dim() == item.dim() == 2
        and user.size(1) == item.size(1)
        and sizes in (None, (len(user), len(item)))
    ):
        raise ValueError(
            f"A 'Teacher' needs floating tensors of the shapes [{num_users}, "
            f'd] and [{num_items}, d] (got {list(user.shape)} of {user.dtype} '
            f'and {list(item.shape)} of {item.dtype})'
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


def _fixed(emb: Tensor) -> Tensor:
    """Return embeddings that no training changes."""
    source = emb if emb._base is None else emb._base
    if source.requires_grad or isinstance(source, nn.Parameter):
        emb = emb.clone()
    return emb.detach().to_dense()


def spread_of_margins(user: Tensor, item: Tensor) -> float:
    r"""Return the standard deviation of margins on random triples.

    For a random user :math:`u` and random items :math:`j, k` it is

    .. math::
        \sqrt{2 \, \mathrm{mean}_u \left( \mathbf{u}_u^{\top}
        \mathrm{Cov}(\mathbf{I}) \, \mathbf{u}_u \right)}

    Args:
        user: User embeddings, ``[num_users, d]``.
        item: Item embeddings, ``[num_items, d]``.
    """
    user, item = user.double(), item.double()
    item = item - item.mean(dim=0)
    covariance = item.t() @ item / len(item)  # [d, d]
    return float((2 * ((user @ covariance) * user).sum(1).mean()).sqrt())
