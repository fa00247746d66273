"""Cross-entropy over all items."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

#: How many scores there are at a time: a cache full, or of a GPU 256 MB.
SCORES_AT_A_TIME = {'cpu': 2**21, 'cuda': 2**26}


def cross_entropy(user: Tensor, item: Tensor, target: Tensor) -> Tensor:
    r"""Return the cross-entropy of an item of each user against all items.

    .. math::
        -\mathrm{mean}_b \log \mathrm{softmax}(\mathbf{I} \mathbf{u}_b)_{i_b}

    The scores are made for some users at a time, each time with their
    gradients, so that they stay in a cache and are never all in memory.

    Args:
        user: Embeddings of shape ``[B, d]``.
        item: Embeddings of all items, ``[num_items, d]``.
        target: The item of each user, ``[B]``.

    Returns:
        A scalar, which has no second derivatives.

    Raises:
        NotImplementedError: If they are asked for, by ``create_graph``.

    Example:
        >>> one = torch.eye(2)
        >>> cross_entropy(one, one, torch.tensor([0, 1]))
        tensor(0.3133)
    """
    loss: Tensor = _CrossEntropy.apply(user, item, target)  # type: ignore[no-untyped-call]
    return loss


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, user: Tensor, item: Tensor, target: Tensor) -> Tensor:
        loss = user.new_zeros(())
        grad_user, grad_item = torch.empty_like(user), torch.zeros_like(item)
        size = SCORES_AT_A_TIME.get(user.device.type, 2**21)
        size = max(1, size // len(item))  # of users
        for u, t, grad_u in zip(
            user.split(size),
            target.unsqueeze(1).split(size),
            grad_user.split(size),
            strict=True,
        ):
            log_p = (u @ item.t()).log_softmax(dim=1)  # [size, num_items]
            own = log_p.gather(1, t)  # [size, 1]
            loss -= own.sum()
            p = log_p.exp_()
            p.scatter_(1, t, own.expm1())
            torch.mm(p, item, out=grad_u)
            grad_item.addmm_(p.t(), u)
        ctx.save_for_backward(grad_user, grad_item)
        ctx.size = len(user)
        return loss / len(user)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, Tensor, None]:
        if torch.is_grad_enabled():
            raise NotImplementedError(
                "'Softmax' over all items has no second derivatives: use a "
                "number of items as its 'negatives', or no 'create_graph'"
            )
        grad_user, grad_item = ctx.saved_tensors
        mean = grad[0] / ctx.size
        return mean * grad_user, mean * grad_item, None
