"""Users whose embedding is what they have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class ItemWeights(NamedTuple):
    r"""What an item adds to the row of a user, for models with a dimension for
    each item.

    Neighbours and filters embed a user in what she has,

    .. math::
        u_{ui} = w_i \, |\mathcal{I}_u|^{-\alpha} \quad \text{for } i \in
        \mathcal{I}_u,

    and nowhere else, such as :math:`w_i = 1` and :math:`\alpha = 0` for
    :class:`~pyg_ckd.nn.InteractionKNN`. Weights and exponent are the least
    squares of logarithms over all entries, and so exact.

    Args:
        log_weight (Tensor): The logarithms :math:`\log w_i`, ``[num_items]``.
        alpha (Tensor): The exponent :math:`\alpha`.
    """

    log_weight: Tensor
    alpha: Tensor

    @classmethod
    def fitted(cls, user: Tensor) -> ItemWeights | None:
        """Return the weights of a model, or nothing if it is of another kind.

        Args:
            user: The rows of users, ``[num_users, num_items]``.

        Example:
            >>> user = torch.tensor([[0.5, 1.0], [0.0, 2.0]]).to_sparse()
            >>> weights = ItemWeights.fitted(user)
            >>> weights(torch.float, [torch.tensor([0])]).to_dense()
            tensor([[1., 0.]])
        """
        if user.layout != torch.sparse_coo:
            return None
        user = user.coalesce()
        row, item = user.indices()
        value = user.values().double()
        if not len(value) or not bool((value > 0).all()):
            return None
        length = torch.bincount(row, minlength=len(user))[row].double().log()
        count = torch.bincount(item, minlength=user.size(1)).clamp(min=1)

        def by_item(x: Tensor) -> Tensor:
            total = x.new_zeros(len(count)).index_add_(0, item, x)
            return total / count

        value = value.log()
        x = length - by_item(length)[item]
        y = value - by_item(value)[item]
        alpha = -(x @ y) / (x @ x).clamp(min=1e-12)
        log_weight = by_item(value + alpha * length)
        never = torch.bincount(item, minlength=len(count)) == 0
        log_weight[never] = log_weight[~never].mean()
        error = log_weight[item] - alpha * length - value
        if bool((error.abs() > 1e-3).any()):
            return None
        return cls(log_weight, alpha)

    def __call__(
        self, dtype: torch.dtype, histories: Sequence[Tensor]
    ) -> Tensor:
        """Return the rows of users, ``[N, num_items]``.

        Args:
            dtype: Their dtype.
            histories: The items of each, at least one.
        """
        length = torch.tensor([len(items) for items in histories])
        row = torch.arange(len(histories)).repeat_interleave(length)
        item = torch.cat([*histories])
        scale = length.double().log()[row]
        value = (self.log_weight[item] - self.alpha * scale).exp()
        return torch.sparse_coo_tensor(
            torch.stack([row, item]),
            value.to(dtype),
            (len(histories), len(self.log_weight)),
            check_invariants=False,
            is_coalesced=True,
        )
