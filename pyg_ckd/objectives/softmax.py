"""Cross-entropy over items."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_ckd.graph import warm_items
from pyg_ckd.kernels.arguments import check_number, is_whole
from pyg_ckd.kernels.precise import precise
from pyg_ckd.objectives._cross_entropy import cross_entropy
from pyg_ckd.objectives._item_counts import ItemCounts
from pyg_ckd.objectives._squared_norm import squared_norm
from pyg_ckd.objectives.objective import Objective
from pyg_ckd.objectives.step import Step


@dataclass(frozen=True)
class Softmax(Objective):
    r"""Cross-entropy of the preferred item against others.

    Over the pairs :math:`(u, i)` of a batch of size :math:`B`,

    .. math::
        -\mathrm{mean} \log \frac{\exp z_{ui}}{\exp z_{ui} +
        \sum_{j \in \mathcal{N} \setminus \{i\}} \exp z_{uj}} +
        \frac{\lambda_2}{2 B} \sum \left(\|\mathbf{u}_u\|^2 +
        \|\mathbf{i}_i\|^2\right), \qquad z_{uj} = \frac{s(u, j)}{\tau}

    where :math:`\mathcal{N}` is one of

    * ``"all"``: all items, except cold ones. This is the multinomial
      likelihood: other items that the user is known to like are among
      :math:`\mathcal{N}`. It takes time for :math:`B |\mathcal{I}|` scores, of
      which some are in memory at a time; all are where items are cold.
    * a number :math:`n`: so many items, drawn uniformly without replacement in
      each step, for the whole batch; the sampled softmax of the `"On Using
      Very Large Target Vocabulary for Neural Machine Translation"
      <https://arxiv.org/abs/1412.2007>`_ paper. With :math:`n \geq
      |\mathcal{I}|` it is ``"all"``. No cold item is drawn.
    * ``"batch"``: the preferred items of the batch, as often as they occur;
      where several processes train together, of the batches of all.
      Popular items occur more often, which is corrected for as in the
      `"Sampling-Bias-Corrected Neural Modeling for Large Corpus Item
      Recommendations" <https://doi.org/10.1145/3298689.3346996>`_ paper:
      :math:`z_{uj} = s(u, j) / \tau - \log p_j` with :math:`p_j` the share of
      the item among training interactions, by their weights where they have
      some, each pair once.

    Item :math:`i` itself counts once in any case, and nothing else is taken
    out of :math:`\mathcal{N}`. The drawn item of a triple is not used.

    .. note::
        The temperature assumes scores of a known range. Wrap the model in
        :class:`pyg_ckd.nn.Cosine` for scores in :math:`[-1, 1]`; for dot
        products of any size :math:`\tau = 1` is the usual choice.

    Args:
        tau (float, optional): The temperature :math:`\tau`.
            (default: :obj:`0.2`)
        negatives (str or int, optional): ``"all"``, ``"batch"`` or the number
            :math:`n`. (default: :obj:`"all"`)
        l2 (float, optional): The weight :math:`\lambda_2`.
            (default: :obj:`0.0`)

    Raises:
        ValueError: If an argument is none of these, ``tau`` or ``n`` is not
            positive, or ``l2`` is negative.

    Example:
        >>> Softmax(negatives=512)
        Softmax(tau=0.2, negatives=512, l2=0.0)
    """

    tau: float = 0.2
    negatives: Literal['all', 'batch'] | int = 'all'
    l2: float = 0.0
    _counts: ItemCounts = field(
        default_factory=ItemCounts, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        check_number('Softmax', 'positive', tau=self.tau)
        check_number('Softmax', 'at least 0', l2=self.l2)
        n = self.negatives
        if n not in ('all', 'batch') and (not is_whole(n) or n < 1):
            raise ValueError(
                f"'negatives' needs to be 'all', 'batch' or a positive number "
                f"of items in 'Softmax' (got {n!r})"
            )

    def loss(self, step: Step) -> Tensor:
        """Return the loss of the trained view."""
        user, pos, _ = map(precise, step.triples.embedding())  # [B, d]
        preferred = step.batch[1]
        other: Tensor | None
        if self.negatives == 'batch':
            other, item = step.ranks.gather(preferred), step.ranks.gather(pos)
            count = self._counts(step.data)[other]
            bias = -torch.where(count > 0, count, 1).log().to(pos.dtype)
            own_bias = step.ranks.part(bias).unsqueeze(1)
        else:
            other, item = self._drawn(step)
            bias = own_bias = pos.new_zeros(1)
        with torch.autocast(user.device.type, enabled=False):
            z_user = user / self.tau
            if other is None:
                loss = cross_entropy(z_user, item, preferred)
            else:
                own = (z_user * pos).sum(dim=-1, keepdim=True) + own_bias
                z = torch.addmm(bias, z_user, item.t())  # [B, N]
                z = z.masked_fill(other == preferred.unsqueeze(1), -torch.inf)
                first = torch.zeros_like(preferred)
                loss = F.cross_entropy(torch.cat([own, z], dim=1), first)
            squares = squared_norm(user, pos)
        return loss + self.l2 / 2 * squares / len(user)

    def _drawn(self, step: Step) -> tuple[Tensor | None, Tensor]:
        """Return items ``[N]``, ``None`` for all, and embeddings ``[N, d]``."""
        user = step.batch[0]
        warm = warm_items(step.data)
        size = step.data['item'].num_nodes if warm is None else len(warm)
        if is_whole(self.negatives) and self.negatives < size:
            index = torch.randperm(size, device=user.device)
            index = index[: self.negatives]
        elif warm is None:
            _, item = step.views.embedding(user=user[:0])
            return None, precise(item)
        else:
            index = torch.arange(size, device=user.device)
        index = index if warm is None else warm[index]
        # Those of the users are known:
        _, item = step.views.embedding(user=user[:0], item=index)
        return index, precise(item)
