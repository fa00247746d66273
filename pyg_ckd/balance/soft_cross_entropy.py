"""The generic distillation loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyg_ckd.objectives.step import Batch


class SoftCrossEntropy(nn.Module):
    r"""The generic distillation loss of CKD, a soft cross-entropy.

    From the `"Modality-Balanced Learning for Multimedia Recommendation"
    <https://arxiv.org/abs/2408.06360>`_ paper. Over random triples
    :math:`(u, j, k)`, with :math:`D` the margin of the student's view that
    sees only modality :math:`m` and :math:`D^{\mathcal{T}_m}` the teacher's,

    .. math::
        G_m = \mathrm{mean} \; \mathrm{BCE}\left(\sigma(D_{\mathrm{only}(m)} /
        \tau), \sigma(D^{\mathcal{T}_m} / \tau)\right)

    As in the authors' code it is a cross-entropy, not a divergence, without a
    factor :math:`\tau^2`.

    The code also adds :math:`\epsilon = 10^{-8}` inside the logarithms, in
    single precision. That bounds the loss of a triple, and a student that is
    wrong by far (:math:`|D| / \tau` above about 18) gets no gradient to mend
    it. By default the loss is exact, and such triples pull with full force.

    Args:
        tau (float, optional): The temperature :math:`\tau`.
            (default: :obj:`0.1`)
        num_pairs (int, optional): The number of users a step draws, each with
            a random pair of items. (default: :obj:`5000`)
        weight (float, optional): The weight :math:`\gamma` of the loss beside
            the one on the batch. (default: :obj:`5.0`)
        group_size (int, optional): The users are put in groups of this size,
            in which each is compared on each pair. Looking up and updating
            users and items is what the loss costs; groups get ``group_size``
            times as many triples out of it. The authors have no groups.
            (default: :obj:`1`)
        eps (float, optional): What is added inside the logarithms,
            :math:`\epsilon`; ``1e-8`` for the authors' form.
            (default: :obj:`0.0`)

    Raises:
        ValueError: If ``tau`` is not positive, ``eps`` or ``weight`` negative,
            or ``group_size`` not from 1 to ``num_pairs``.

    Shapes:
        - **student:** margins :math:`(N, *)`
        - **teacher:** margins :math:`(N, *)`
        - **output:** the mean loss over the first dimension, :math:`(*)`

    Example:
        >>> SoftCrossEntropy()(torch.zeros(4, 2), torch.randn(4, 2))
        tensor([0.6931, 0.6931])
    """

    def __init__(
        self,
        tau: float = 0.1,
        num_pairs: int = 5000,
        weight: float = 5.0,
        group_size: int = 1,
        eps: float = 0.0,
    ) -> None:
        super().__init__()
        name = self.__class__.__name__
        if not tau > 0:
            raise ValueError(
                f"'tau' needs to be positive in '{name}' (got {tau})"
            )
        for argument, value in {'eps': eps, 'weight': weight}.items():
            if not value >= 0:
                raise ValueError(
                    f"'{argument}' needs to be at least 0 in '{name}' "
                    f'(got {value})'
                )
        if not 1 <= group_size <= num_pairs:
            raise ValueError(
                f"'group_size' needs to be from 1 to 'num_pairs' in '{name}' "
                f'(got {group_size}, num_pairs={num_pairs})'
            )
        self.tau = tau
        self.num_pairs = num_pairs
        self.weight = weight
        self.group_size = group_size
        self.eps = eps

    def draw(self, users: Tensor, num_items: int) -> Batch:
        """Draw users, each at most once, and two items for each.

        Args:
            users: The users to draw from.
            num_items: The number of items.

        Returns:
            Three tensors of shape ``[min(num_pairs, len(users))]``.
        """
        order = torch.randperm(len(users), device=users.device)
        user = users[order[: self.num_pairs]]
        pos, neg = torch.randint(num_items, (2, len(user)), device=users.device)
        return user, pos, neg

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean loss over the first dimension."""
        target = (teacher / self.tau).sigmoid()
        if self.eps == 0:
            loss = F.binary_cross_entropy_with_logits(
                student / self.tau, target, reduction='none'
            )
        else:
            p = (student.float() / self.tau).sigmoid()
            loss = -target * (p + self.eps).log()
            loss = loss - (1 - target) * (1 - p + self.eps).log()
        return loss.mean(dim=0)

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f'tau={self.tau}, num_pairs={self.num_pairs}, '
            f'weight={self.weight}, group_size={self.group_size}, '
            f'eps={self.eps}'
        )
