"""Where users lie, by what they have."""

from __future__ import annotations

import torch
from torch import Tensor


def linear_map(
    user: Tensor, item: Tensor, known: Tensor, strength: float = 0.01
) -> Tensor:
    r"""Return the best linear map from the items of users to the users.

    .. math::
        \mathbf{W} = \arg \min \sum_u \|\mathbf{u}_u - \mathbf{W}^{\top}
        \mathbf{z}_u\|^2 + \lambda \|\mathbf{W}\|^2

    with :math:`\mathbf{z}_u` the mean embedding of the items that user
    :math:`u` has; users who have none do not count. :math:`\lambda` is in
    units of the mean over the diagonal of :math:`\mathbf{Z}^{\top}
    \mathbf{Z}`.

    Args:
        user: Rows of users ``[num_users, c]``, such as their embeddings.
        item: Item embeddings ``[num_items, d]``.
        known: Sorted keys ``user * num_items + item`` of what users have,
            each once.
        strength: The strength :math:`\lambda`.

    Returns:
        The map :math:`\mathbf{W}` of shape ``[d, c]``.

    Example:
        >>> item = torch.tensor([[1.0], [3.0]])
        >>> user = torch.tensor([[4.0], [8.0]])  # the one has both, the other 1
        >>> linear_map(user, item, torch.tensor([0, 1, 3]), strength=0.0)
        tensor([[2.4615]])
    """
    size = len(item)
    row, column = known // size, known % size
    count = torch.bincount(row, minlength=len(user))
    share = count.to(item.dtype).reciprocal()[row]
    average = torch.sparse_coo_tensor(
        torch.stack([row, column]),
        share,
        (len(user), size),
        check_invariants=False,
        is_coalesced=True,
    )
    mean = (average @ item).to_dense()  # [num_users, d]
    square = mean.t() @ mean
    ridge = strength * square.diagonal().mean() * torch.eye(len(square))
    return torch.linalg.solve(
        (square + ridge).double(), (mean.t() @ user.to_dense()).double()
    ).to(item.dtype)
