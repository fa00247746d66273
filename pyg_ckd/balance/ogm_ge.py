"""On-the-fly gradient modulation with generalisation enhancement."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.balance._batch_sums import BatchSums
from pyg_ckd.balance.balance import Balance
from pyg_ckd.balance.modulation import Modulation, Names, checked_names
from pyg_ckd.nn import Recommender
from pyg_ckd.objectives.step import Step
from pyg_ckd.views import Keep, only


def ogm_factors(strength: Tensor, alpha: float) -> Tensor:
    r"""Return by how much the gradients of each modality are multiplied.

    Args:
        strength: How strong each modality is, positive numbers ``[M]``.
        alpha: How much those are slowed down that are ahead of the others.

    Returns:
        Numbers in :math:`[0, 1]`, see :class:`OGMGE`, ``[M]``.

    Example:
        >>> ogm_factors(torch.tensor([2.0, 1.0]), alpha=0.5)
        tensor([0.2384, 1.0000])
    """
    others = (strength.sum() - strength) / (len(strength) - 1)
    ratio = strength / others
    return torch.where(ratio > 1, 1 - torch.tanh(alpha * ratio), 1.0)


class OGMGE(Balance):
    r"""On-the-fly gradient modulation with generalisation enhancement.

    From the `"Balanced Multimodal Learning via On-the-fly Gradient Modulation"
    <https://arxiv.org/abs/2203.15332>`_ paper. A modality that is ahead of the
    others learns more slowly: with its strength :math:`s_m`, the gradients of
    its own parameters are multiplied by

    .. math::
        k_m = \begin{cases} 1 - \tanh(\alpha \rho_m) & \rho_m > 1 \\ 1 &
        \text{otherwise} \end{cases} \qquad
        \rho_m = \frac{s_m}{\mathrm{mean}_{n \neq m} \, s_n} \qquad
        s_m = \sum_b \sigma\left(D_{\mathrm{only}(m)}\right)

    before the optimizer's step. Then Gaussian noise is added to the gradients
    of all modalities, of the standard deviation that each gradient tensor had
    before it was multiplied.

    The paper is about classification and takes the probability of the right
    class for :math:`s_m`. Here it is the probability that BPR gives the
    preference of a triple, in the view that sees only :math:`m`. The mean over
    the others is the paper's form for more than two modalities. In a table of
    users the noise reaches those rows, too, that the batch leaves alone, and
    Adam makes much of it: compare with ``noise=False``.

    The parameters of a modality are what
    :meth:`~pyg_ckd.nn.Recommender.modality_parameters` returns. Of a module
    that is not ours they are the entries under its name of all
    :class:`~torch.nn.ModuleDict` and :class:`~torch.nn.ParameterDict`; others
    are named. A parameter of two modalities is refused.

    Where an optimizer's step sees the gradients of several batches, of this
    process or of others, so does the sum over :math:`b`. What is logged is
    that of each batch by itself.

    Args:
        alpha (float, optional): How much a modality that is ahead is slowed
            down, :math:`\alpha`. (default: :obj:`0.1`)
        noise (bool, optional): Whether to add the noise.
            (default: :obj:`True`)
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
        >>> OGMGE(alpha=0.3)
        OGMGE(alpha=0.3, noise=True, parameters=None)
    """

    def __init__(
        self,
        alpha: float = 0.1,
        noise: bool = True,
        parameters: Names | None = None,
    ) -> None:
        super().__init__()
        self.parameter_names = checked_names(alpha, parameters, 'OGMGE')
        self.alpha = alpha
        self.noise = noise
        self.names: list[str] = []
        self._sums = BatchSums()

    def attach(self, recommender: Recommender, data: HeteroData) -> None:
        """Find the parameters of each modality."""
        self._modulation = Modulation.of(
            recommender, data, self.parameter_names, 'OGMGE'
        )
        self.names = list(self._modulation.parameters)

    @property
    def keeps(self) -> list[Keep]:
        """The views that see one modality each."""
        return [only(m) for m in self.names]

    def loss(self, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        """Return a zero, and the factors ``factor_<m>``, to be logged."""
        alone = step.margin[:, [step.place(keep) for keep in self.keeps]]
        dtype = torch.promote_types(alone.dtype, torch.float)
        strength = alone.detach().to(dtype).sigmoid().sum(dim=0)  # [M]
        factor = ogm_factors(strength, self.alpha)
        labels = [f'factor_{m}' for m in self.names]
        scalars = dict(zip(labels, factor, strict=True))
        return self._sums.add(strength, step.ranks), scalars

    def after_backward(self) -> None:
        """Multiply the gradients of each modality by its factor."""
        strength = self._sums.take()
        if strength is not None:
            factor = ogm_factors(strength, self.alpha)
            # All processes add the same noise, or else they part:
            self._sums.ranks.share_generators(strength.device)
            self._modulation.multiply(factor, self.noise)

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f'alpha={self.alpha}, noise={self.noise}, '
            f'parameters={self.parameter_names}'
        )
