"""Contrast between neighbouring layers of the user-item graph."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.kernels.arguments import check_number, check_whole
from pyg_ckd.kernels.precise import precise
from pyg_ckd.kernels.sparse import Graph
from pyg_ckd.nn.functional import unit
from pyg_ckd.objectives.bpr import BPR
from pyg_ckd.objectives.objective import Objective
from pyg_ckd.objectives.step import Step
from pyg_ckd.transforms import NormalizedAdjacency


@dataclass(frozen=True)
class NLGCL(Objective):
    r"""Another objective, and contrast between neighbouring graph layers.

    From the `"NLGCL: Naturally Existing Neighbor Layers Graph Contrastive
    Learning for Recommendation" <https://arxiv.org/abs/2507.07522>`_ paper.
    What a layer of the graph makes of an item is close to the users it was
    made of, and the other way round. Over the pairs :math:`(u, i)` of a batch,
    with its users :math:`\mathcal{U}_B` and preferred items
    :math:`\mathcal{I}_B`,

    .. math::
        \mathcal{L}_{\mathrm{objective}} - \lambda \sum_{(u, i)} \sum_{l=1}^{L}
        \left( \alpha \log \frac{\exp(\cos(\mathbf{e}_i^{(l)},
        \mathbf{e}_u^{(l-1)}) / \tau)}{\sum_{v \in \mathcal{U}_B}
        \exp(\cos(\mathbf{e}_i^{(l)}, \mathbf{e}_v^{(l-1)}) / \tau)} +
        (1 - \alpha) \log \frac{\exp(\cos(\mathbf{e}_u^{(l)},
        \mathbf{e}_i^{(l-1)}) / \tau)}{\sum_{j \in \mathcal{I}_B}
        \exp(\cos(\mathbf{e}_u^{(l)}, \mathbf{e}_j^{(l-1)}) / \tau)} \right)

    .. math::
        \mathbf{E}^{(l)} = \mathbf{D}^{-1/2} \mathbf{A} \mathbf{D}^{-1/2} \,
        \mathbf{E}^{(l-1)}

    The paper takes the layers of a graph model from within. Here
    :math:`\mathbf{E}^{(0)}` are the embeddings that the model returns for the
    trained view, whatever it is, and further layers propagate them, which is
    our adaptation. Each user and each item of a batch counts once in a sum,
    however often it occurs, so that nobody is her own negative; the paper's
    code counts repetitions. Other neighbours of a node that the batch happens
    to have are negatives, as they are there. The sum over the batch, instead
    of a mean, is the paper's, too: the weight belongs to a batch size.

    .. note::
        Like any objective it takes the place of a loss that the model brings,
        such as that of :class:`~pyg_ckd.nn.BM3`. It cannot be added to that
        one, which objectives do not see.

    Args:
        objective (Objective, optional): What it is added to.
            (default: :obj:`BPR()`)
        weight (float, optional): The weight :math:`\lambda`.
            (default: :obj:`1e-5`)
        tau (float, optional): The temperature :math:`\tau`.
            (default: :obj:`0.2`)
        alpha (float, optional): The share :math:`\alpha` of contrast between
            users. (default: :obj:`0.5`)
        num_layers (int, optional): The number of layers :math:`L`.
            (default: :obj:`1`)

    Raises:
        TypeError: If ``objective`` is none.
        ValueError: If ``weight`` is negative or not finite, ``tau`` or
            ``num_layers`` is not positive, or ``alpha`` is not between 0 and
            1; in training, if the data lacks the graph of
            :class:`~pyg_ckd.transforms.NormalizedAdjacency`.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import VBPR
        >>> from pyg_ckd.train import Recommendation, fit
        >>> data = FakeMultimodal(num_users=20, num_items=30)[0]
        >>> data = NormalizedAdjacency()(data)
        >>> model = VBPR.from_data(data, dim=4)
        >>> task = Recommendation(model, data, NLGCL(weight=1e-4))
        >>> task = fit(task, max_epochs=1, progress=False)
    """

    objective: Objective = field(default_factory=BPR)
    weight: float = 1e-5
    tau: float = 0.2
    alpha: float = 0.5
    num_layers: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.objective, Objective):
            raise TypeError(
                f"'objective' needs to be an object of the class Objective, "
                f"such as BPR(), in 'NLGCL' (got {self.objective!r})"
            )
        check_number('NLGCL', 'at least 0', weight=self.weight)
        check_number('NLGCL', 'positive', tau=self.tau)
        check_number('NLGCL', 'in [0, 1]', alpha=self.alpha)
        check_whole('NLGCL', num_layers=self.num_layers)

    def loss(self, step: Step) -> Tensor:
        """Return the loss of the trained view."""
        graph = _graph(step.data)
        user, item, _ = step.batch
        num_users = step.data['user'].num_nodes
        # Each node once, and where in the batch it stands:
        users, of_user = user.unique(return_inverse=True)  # [U], [B]
        items, of_item = item.unique(return_inverse=True)  # [I], [B]
        nodes = torch.cat([users, num_users + items])
        x = precise(torch.cat(step.views.embedding()))  # [num_nodes, d]
        contrast = x.new_zeros(())
        with torch.autocast(x.device.type, enabled=False):
            before = unit(x[nodes]).tensor_split([len(users)])
            for _ in range(self.num_layers):
                x = graph.propagate(x)
                after = unit(x[nodes]).tensor_split([len(users)])
                z = after[1] @ before[0].t() / self.tau  # [I, U]
                contrast = contrast + self.alpha * _nce(z, of_item, of_user)
                z = after[0] @ before[1].t() / self.tau  # [U, I]
                contrast += (1 - self.alpha) * _nce(z, of_user, of_item)
                before = after
        return self.objective.loss(step) + self.weight * contrast


def _nce(z: Tensor, anchor: Tensor, positive: Tensor) -> Tensor:
    """Return the sum over pairs of a row and a column, each of ``[B]``."""
    return (z.logsumexp(dim=1)[anchor] - z[anchor, positive]).sum()


def _graph(data: HeteroData) -> Graph:
    try:
        return NormalizedAdjacency().of(data)
    except ValueError as error:
        raise ValueError(f"'NLGCL' needs a graph: {error}") from None
