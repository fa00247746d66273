"""Where users lie, by what they have."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LinearMap:
    r"""The best linear map from what users have to where they lie.

    Whatever the model, users and items lie in one space, and where a user lies
    follows from her items. With :math:`\mathbf{z}_u` their mean embedding,

    .. math::
        \mathbf{u} = \bar{\mathbf{u}} + \mathbf{W}^{\top} (\mathbf{z} -
        \bar{\mathbf{z}}), \qquad \mathbf{W} = \arg \min \sum_u \|\mathbf{u}_u -
        \bar{\mathbf{u}} - \mathbf{W}^{\top} (\mathbf{z}_u -
        \bar{\mathbf{z}})\|^2 + \lambda \|\mathbf{W}\|^2

    over the users of training who have any item, with the means
    :math:`\bar{\mathbf{u}}` and :math:`\bar{\mathbf{z}}` over them.

    Args:
        weight (Tensor): The map :math:`\mathbf{W}`, ``[d, c]``.
        item (Tensor): The mean :math:`\bar{\mathbf{z}}`, ``[d]``.
        user (Tensor): The mean :math:`\bar{\mathbf{u}}`, ``[c]``.
    """

    weight: Tensor
    item: Tensor
    user: Tensor

    @classmethod
    def fitted(
        cls, user: Tensor, item: Tensor, known: Tensor, strength: float = 0.01
    ) -> LinearMap:
        r"""Return the map of a model.

        Args:
            user: Rows of users ``[num_users, c]``, such as their embeddings.
            item: Item embeddings ``[num_items, d]``.
            known: Sorted keys ``user * num_items + item`` of what users have,
                each once.
            strength: The strength :math:`\lambda`, in units of the mean
                variance of :math:`\mathbf{z}` times the number of users.

        Example:
            >>> item = torch.tensor([[1.0], [3.0]])
            >>> user = torch.tensor([[4.0], [8.0]])  # who has both, and one
            >>> fitted = LinearMap.fitted(
            ...     user, item, torch.tensor([0, 1, 3]), strength=0.0)
            >>> fitted(torch.tensor([[2.0], [2.5]]))
            tensor([[4.],
                    [6.]])
        """
        size, dtype = len(item), item.dtype
        row, column = known // size, known % size
        count = torch.bincount(row, minlength=len(user))
        average = torch.sparse_coo_tensor(
            torch.stack([row, column]),
            count.double().reciprocal()[row],
            (len(user), size),
            check_invariants=False,
            is_coalesced=True,
        )
        has_any = count > 0
        mean = (average @ item.double()).to_dense()[has_any]  # [N, d]
        target = user.to_dense().double()[has_any]  # [N, c]
        item_mean, user_mean = mean.mean(dim=0), target.mean(dim=0)
        mean, target = mean - item_mean, target - user_mean
        square = mean.t() @ mean
        ridge = strength * square.diagonal().mean() + 1e-12
        weight = torch.linalg.solve(
            square + ridge * torch.eye(len(square), dtype=torch.double),
            mean.t() @ target,
        )
        return cls(*(x.to(dtype) for x in (weight, item_mean, user_mean)))

    def __call__(self, mean: Tensor) -> Tensor:
        """Return where users lie.

        Args:
            mean: The mean embeddings of their items, ``[N, d]``.
        """
        return self.user + (mean - self.item) @ self.weight
