"""The generic distillation loss of CKD."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.balance._columns import columns
from pyg_ckd.balance.generic_loss import GenericLoss
from pyg_ckd.balance.teacher import Teacher
from pyg_ckd.graph import RATES, warm_items
from pyg_ckd.kernels.arguments import check_number, check_whole, is_number
from pyg_ckd.objectives.step import Batch, Step


class SoftCrossEntropy(GenericLoss):
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
            a random pair of items; of fewer users it draws all. The authors
            draw 5,000. (default: :obj:`640`)
        weight (float, optional): The weight :math:`\gamma` of the loss beside
            the one on the batch. (default: :obj:`5.0`)
        group_size (int, optional): The users drawn are put in groups of this
            size, or in one if they are fewer, and in a group each is compared
            on each pair; who is left over for no whole group is left out.
            Looking up and updating users and items is what the loss costs;
            groups get ``group_size`` times as many triples out of it. The
            authors have no groups, which is ``1``. (default: :obj:`8`)
        eps (float, optional): What is added inside the logarithms,
            :math:`\epsilon`; ``1e-8`` for the authors' form.
            (default: :obj:`0.0`)
        relative (bool, optional): Whether the temperature is in units of each
            teacher's own :attr:`~pyg_ckd.balance.Teacher.spread`, so that one
            value suits scores of any size. The authors' is not.
            (default: :obj:`False`)
        band (float, optional): Both items of a pair lie within this share of
            the ranking of items by their training interactions, so that what
            they teach is not which items are popular. The authors' pairs are
            any. (default: :obj:`None`)

    Raises:
        ValueError: If ``tau`` is not positive, ``eps`` or ``weight`` negative,
            ``num_pairs`` or ``group_size`` no whole number from 1 on, or
            ``band`` not above 0 and up to 1.

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
        num_pairs: int = 640,
        weight: float = 5.0,
        group_size: int = 8,
        eps: float = 0.0,
        relative: bool = False,
        band: float | None = None,
    ) -> None:
        super().__init__(weight)
        name = self.__class__.__name__
        check_number(name, 'positive', tau=tau)
        check_number(name, 'at least 0', eps=eps)
        check_whole(name, num_pairs=num_pairs, group_size=group_size)
        if band is not None and not (is_number(band) and 0 < band <= 1):
            raise ValueError(
                f"'band' needs to be above 0 and up to 1 in '{name}', or None "
                f'(got {band})'
            )
        self.tau = tau
        self.num_pairs = num_pairs
        self.group_size = group_size
        self.eps = eps
        self.relative = relative
        self.band = band

    def attach(self, data: HeteroData) -> None:
        """Take up the items that can be recommended."""
        super().attach(data)
        self._items = warm_items(data)

    def begin(self, data: HeteroData, teachers: Sequence[Teacher]) -> None:
        """Take up how popular items are."""
        super().begin(data, teachers)
        count = torch.bincount(
            data[RATES].edge_index[1], minlength=self.num_items
        )
        self._items = warm_items(data)
        if self._items is not None:
            count = count[self._items]
        self._by_popularity = count.argsort(descending=True, stable=True)

    def draw(self) -> Batch:
        """Draw users, each at most once, and two items for each.

        Returns:
            Three tensors of shape ``[min(num_pairs, num_users)]``.
        """
        users, items = self.users, self._items
        size = self.num_items if items is None else len(items)
        order = torch.randperm(len(users), device=users.device)
        user = users[order[: self.num_pairs]]
        pos, neg = torch.randint(size, (2, len(user)), device=users.device)
        if self.band is not None:
            reach = max(1, round(self.band * size / 2))
            low = (pos - reach).clamp(min=0)
            high = (pos + reach).clamp(max=size - 1)
            share = torch.rand(len(user), device=users.device)
            neg = low + (share * (high - low + 1)).long()
            neg = torch.minimum(neg, high)
            pos, neg = self._by_popularity[pos], self._by_popularity[neg]
        if items is not None:
            pos, neg = items[pos], items[neg]
        return user, pos, neg

    def losses(
        self, step: Step, places: Sequence[int], teachers: Sequence[Teacher]
    ) -> Tensor:
        """Return the loss of each view that is taught."""
        assert step.random is not None and step.random_triples is not None
        size = min(self.group_size, len(step.random[0]))
        student = columns(step.random_triples.crossed_margin(size), places)
        taught = [t.margin(*step.random, size) for t in teachers]
        teacher = torch.stack(taught, dim=-1)  # [N * size, T]
        if self.relative:
            spread = teacher.new_tensor([t.spread for t in teachers])
            student, teacher = student / spread, teacher / spread
        loss: Tensor = self(student, teacher)
        return loss

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
            f'eps={self.eps}, relative={self.relative}, band={self.band}'
        )
