"""Adaptive gradient modulation."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.balance._batch_sums import BatchSums
from pyg_ckd.balance.balance import Balance
from pyg_ckd.balance.modulation import Modulation, Names, checked_names
from pyg_ckd.graph import RATES
from pyg_ckd.nn import Recommender
from pyg_ckd.objectives.step import Step
from pyg_ckd.views import Keep, distinct_views, full, only, without


def modality_losses(full: Tensor, without: Tensor, alone: Tensor) -> Tensor:
    r"""Return how badly each modality tells the preference of a triple.

    Args:
        full: Margins of the full view, ``[B]``.
        without: Margins without each modality, ``[B, M]``.
        alone: Margins of each modality alone, ``[B, M]``.

    Returns:
        Losses whose mean over triples is :math:`s_m`, see :class:`AGM`,
        ``[B, M]``.

    Example:
        >>> modality_losses(torch.tensor([3.0]), torch.tensor([[1.0, 2.0]]),
        ...                 torch.tensor([[2.0, 1.0]]))
        tensor([[0.1269, 0.3133]])
    """
    out = (full.unsqueeze(-1) - without + alone) / 2  # [B, M]
    # A probability counts as 1e-8 at least:
    return (-F.logsigmoid(out)).clamp(max=-math.log(1e-8))


def relative_strength(score: Tensor) -> Tensor:
    r"""Return how strong each modality is beside the others.

    Args:
        score: The loss :math:`s_m` of each modality, ``[M]``.

    Returns:
        Positive numbers :math:`r_m`, see :class:`AGM`, ``[M]``.

    Example:
        >>> relative_strength(torch.tensor([0.1269, 0.3133]))
        tensor([1.2049, 0.8299])
    """
    num = len(score)
    return (num / (num - 1) * (score.mean() - score)).exp()


class AGM(Balance):
    r"""Adaptive gradient modulation.

    From the `"Boosting Multi-modal Model Performance with Adaptive Gradient
    Modulation" <https://arxiv.org/abs/2308.07686>`_ paper. What a modality
    does to a margin, its Shapley value for two modalities, and how well it
    tells the preference are

    .. math::
        o_m = \frac{1}{2} \left(D_{\mathrm{full}} - D_{\mathrm{without}(m)} +
        D_{\mathrm{only}(m)}\right) \qquad
        s_m = \mathrm{mean}_b \left(-\log \sigma(o_m)\right)

    The strength of a modality beside the others, large where its loss
    :math:`s_m` is small, is compared with its own mean over the steps before,
    and the gradients of its parameters are multiplied by :math:`\kappa_m`
    before the optimizer's step:

    .. math::
        r_m = \exp\left(\frac{M}{M - 1} \left(\mathrm{mean}_n \, s_n -
        s_m\right)\right) \qquad
        \kappa_m = \exp\left(\alpha \min(\bar{r}_m - r_m, 7)\right)

    It needs ablations only, so that it suits early fusion, too.

    The paper is about classification, where :math:`s_m` is the cross-entropy
    of the right class; the pairwise one is this library's adaptation. So is
    the mean :math:`\bar{r}_m` of strengths (the authors' code has the strength
    of mean losses), which is :math:`r_m` itself in the first step. As in their
    code, a probability counts as :math:`10^{-8}` at least.

    The parameters of a modality are what
    :meth:`~pyg_ckd.nn.Recommender.modality_parameters` returns. Of a module
    that is not ours they are the entries under its name of all
    :class:`~torch.nn.ModuleDict` and :class:`~torch.nn.ParameterDict`; others
    are named. A parameter of two modalities is refused.

    Where an optimizer's step sees the gradients of several batches, of this
    process or of others, so does the mean over :math:`b`. What is logged is
    that of each batch by itself.

    Args:
        alpha (float, optional): How much the gradients change,
            :math:`\alpha`. (default: :obj:`1.0`)
        parameters (dict[str, list[str]], optional): For each modality the
            names of its parameters in the module that is trained, or the
            first parts of these names, such as
            ``{'image': ['encoder_image'], 'text': ['encoder_text']}``.
            (default: :obj:`None`)

    Raises:
        ValueError: If ``alpha`` is negative; and, once it is part of a task,
            if there are fewer than two modalities, one of them has no
            parameters, a name is unknown, a parameter serves two modalities,
            or the model's scores do not depend on each modality.

    Example:
        >>> AGM(alpha=0.5)
        AGM(alpha=0.5, parameters=None)
    """

    #: The mean strength of each modality over the steps so far, ``[M]``.
    reference: Tensor
    #: The number of these steps.
    count: Tensor

    def __init__(
        self, alpha: float = 1.0, parameters: Names | None = None
    ) -> None:
        super().__init__()
        self.parameter_names = checked_names(alpha, parameters, 'AGM')
        self.alpha = alpha
        self.names: list[str] = []
        self._sums = BatchSums()

    def attach(self, recommender: Recommender, data: HeteroData) -> None:
        """Find the parameters of each modality."""
        self._modulation = Modulation.of(
            recommender, data, self.parameter_names, 'AGM'
        )
        self.names = list(self._modulation.parameters)
        self.register_buffer('reference', torch.zeros(len(self.names)))
        self.register_buffer('count', torch.zeros((), dtype=torch.long))

    def begin(self, data: HeteroData) -> None:
        """Move what is remembered to where the data is."""
        self.to(data[RATES].edge_index.device)

    @property
    def keeps(self) -> list[Keep]:
        """The full view, and those of each modality alone and ablated."""
        return distinct_views(self.names) if self.names else []

    def loss(self, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        """Return a zero, and the factors ``factor_<m>``, to be logged."""
        dtype = torch.promote_types(step.margin.dtype, torch.float)
        margin = step.margin.detach().to(dtype)
        names = self.names
        losses = modality_losses(
            full=margin[:, step.place(full(names))],
            without=margin[:, [step.place(without(names, m)) for m in names]],
            alone=margin[:, [step.place(only(m)) for m in names]],
        )  # [B, M]
        factor = self._factor(relative_strength(losses.mean(dim=0)))
        scalars = {f'factor_{m}': factor[i] for i, m in enumerate(names)}
        sums = [losses.sum(dim=0), losses.new_tensor([len(losses)])]
        return self._sums.add(torch.cat(sums), step.ranks), scalars

    def after_backward(self) -> None:
        """Multiply the gradients of each modality, and count the step."""
        sums = self._sums.take()
        if sums is None:
            return
        strength = relative_strength(sums[:-1] / sums[-1])
        self._modulation.multiply(self._factor(strength))
        self.count += 1
        self.reference += (strength - self.reference) / self.count

    def _factor(self, strength: Tensor) -> Tensor:
        """Return by how much gradients are multiplied, ``[M]``."""
        known = torch.where(self.count > 0, self.reference, strength)
        return (self.alpha * (known - strength).clamp(max=7)).exp()

    def extra_repr(self) -> str:
        """Return the settings."""
        return f'alpha={self.alpha}, parameters={self.parameter_names}'
