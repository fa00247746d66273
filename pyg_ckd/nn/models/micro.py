"""MICRO: learned item graphs, and a contrast that brings them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset

from pyg_ckd.nn.models.latent_graph import (
    LatentGraph,
    inverse_sqrt,
    row_sums,
)
from pyg_ckd.views import Keep, Views


class MICRO(LatentGraph):
    r"""MICRO, with a learned item graph for each modality.

    From the `"Latent Structure Mining with Contrastive Modality Fusion for
    Multimedia Recommendation" <https://arxiv.org/abs/2111.00678>`_ paper:

    .. math::
        \mathbf{A}_m &= (1 - \lambda) \, \mathbf{D}_m^{-1/2} \mathbf{K}_m
        \mathbf{D}_m^{-1/2} + \lambda \mathbf{S}_m, \quad \mathbf{H}_m =
        \mathbf{A}_m \mathbf{E}_{\mathcal{I}}

        \mathbf{H} &= \sum_m \alpha_m \mathbf{H}_m, \quad \alpha =
        \mathrm{softmax}_m(q(\mathbf{H}_m))

        [\mathbf{U} \| \mathbf{I}] &= \mathrm{LightGCN}([\mathbf{E}_{
        \mathcal{U}} \| \mathbf{E}_{\mathcal{I}}])

        s(u, i) &= \langle \mathbf{u}_u, \mathbf{i}_i + \mathbf{h}_i /
        \|\mathbf{h}_i\| \rangle

    :math:`\mathbf{S}_m` is the nearest-neighbour graph of the raw features
    (:class:`~pyg_ckd.transforms.ItemKNN`), :math:`\mathbf{K}_m` that of
    projected features (:class:`~pyg_ckd.nn.LatentStructure`),
    :math:`\mathbf{D}_m` holds the row sums of :math:`\mathbf{K}_m`, and
    :math:`q` has one hidden layer and is shared by all modalities.
    ``pre_transform`` makes LightGCN propagate, as published code does, over
    :math:`\mathbf{D}^{-1} (\mathbf{A} + \mathbf{1})`, a mean over neighbours
    and the node itself.

    The loss gets a contrast of each modality with the fusion,

    .. math::
        -\frac{\beta}{N} \sum_m \sum_i \log \frac{e^{\cos(\mathbf{h}_{mi},
        \mathbf{h}_i) / \tau}}{\sum_j e^{\cos(\mathbf{h}_{mi}, \mathbf{h}_j)
        / \tau} + \sum_{j \neq i} e^{\cos(\mathbf{h}_{mi}, \mathbf{h}_{mj}) /
        \tau}}

    over the :math:`N` different preferred items of a batch, at a cost of
    :math:`O(N^2 d)`. Published code goes over all items in each step, block by
    block.

    In training, neighbours in :math:`\mathbf{K}_m` are looked up once an
    epoch; in evaluation they follow the current parameters. In published code
    all steps of an epoch but the first take the learned graphs as constants,
    so that projections get a gradient once an epoch; here they get one in
    each step. It also looks neighbours up in a dense matrix and fine-tunes
    the raw features; here similarities are held block by block, and features
    are frozen unless ``train_features`` is set.

    The graphs of an ablated modality become uniform: each item has the mean
    of :math:`\mathbf{E}_{\mathcal{I}}` as :math:`\mathbf{h}_{mi}`. It takes
    part in the fusion, but in no contrast, which would pull all items to one.

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        in_channels (dict[str, int]): The number of features of each modality.
        dim (int, optional): The size of an embedding. (default: :obj:`64`)
        num_layers (int, optional): The number of LightGCN layers.
            (default: :obj:`2`)
        num_item_layers (int, optional): How often :math:`\mathbf{A}_m` is
            applied. (default: :obj:`1`)
        k (int, optional): The number of neighbours in :math:`\mathbf{K}_m`,
            the item itself included. (default: :obj:`10`)
        original_weight (float, optional): The weight :math:`\lambda` of the
            graphs :math:`\mathbf{S}_m`. (default: :obj:`0.9`)
        contrastive_weight (float, optional): The weight :math:`\beta` of the
            contrast. (default: :obj:`0.03`)
        tau (float, optional): Its temperature :math:`\tau`.
            (default: :obj:`0.5`)
        train_features (bool, optional): Whether to fine-tune the features,
            see :class:`~pyg_ckd.nn.Backbone`; :math:`\mathbf{S}_m` stays.
            (default: :obj:`False`)

    Raises:
        ValueError: If there is no modality, or an argument is out of range.

    Shapes:
        - **output:** user embeddings :math:`(|\mathcal{U}|, d)` and item
          embeddings :math:`(|\mathcal{I}|, d)`

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> data = MICRO.pre_transform(data)
        >>> user_emb, item_emb = MICRO.from_data(data, dim=4)(data)
        >>> user_emb.shape, item_emb.shape
        (torch.Size([20, 4]), torch.Size([10, 4]))
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int],
        dim: int = 64,
        num_layers: int = 2,
        num_item_layers: int = 1,
        k: int = 10,
        original_weight: float = 0.9,
        contrastive_weight: float = 0.03,
        tau: float = 0.5,
        train_features: bool = False,
    ) -> None:
        super().__init__(
            num_users,
            num_items,
            in_channels,
            dim,
            num_layers,
            num_item_layers,
            k,
            original_weight,
            train_features,
        )
        self.check_number('at least 0', contrastive_weight=contrastive_weight)
        self.check_number('positive', tau=tau)
        if tau < 0.02:  # exponentials would overflow
            raise ValueError(
                f"'tau' needs to be at least 0.02 in "
                f"'{self.__class__.__name__}' (got {tau})"
            )
        self.contrastive_weight = contrastive_weight
        self.tau = tau
        self.query = nn.Sequential(
            nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1, bias=False)
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        super().reset_parameters()
        reset(self.query)

    def views(self, data: HeteroData, keeps: Sequence[Keep]) -> Views:
        """Return several views that share all but the fusion."""
        user, item = self.user_item(data)
        names = [m for m in self.in_channels if any(m in k for k in keeps)]
        branches = self._branches(data, names)
        scores = {m: self.query(h) for m, h in branches.items()}
        mean = self.item.weight.mean(dim=0, keepdim=True)  # [1, d]
        mean_score = self.query(mean)

        fused = []
        for keep in keeps:
            pairs = [
                (branches[m], scores[m])
                if m in keep and m in branches
                else (mean, mean_score)
                for m in self.in_channels
            ]
            score = torch.broadcast_tensors(*(score for _, score in pairs))
            weight = torch.cat(score, dim=-1).softmax(dim=-1)  # [num_items, M]
            fused.append(
                sum(
                    w * h
                    for w, (h, _) in zip(
                        weight.split(1, dim=-1), pairs, strict=True
                    )
                )
            )
        first = {f'item_{m}': h for m, h in branches.items() if m in keeps[0]}
        return Views(
            user=[user],
            item=[item + F.normalize(h) for h in fused],
            keep=torch.eye(len(keeps), device=item.device),
            aux={'fused': fused[0].expand_as(item), **first},
        )

    def regularization(
        self,
        data: HeteroData,
        keep: Keep,
        views: Views,
        user: Tensor,
        pos: Tensor,
        neg: Tensor,
    ) -> Tensor | float:
        """Return the contrastive loss of each modality and the fusion."""
        item = pos.unique()
        rows = {
            name: F.normalize(F.embedding(item, h))
            for name, h in views.aux.items()
        }
        fused = rows.pop('fused')
        loss = sum(_contrast(x, fused, self.tau) for x in rows.values())
        return self.contrastive_weight * loss

    def _branches(
        self, data: HeteroData, names: Sequence[str]
    ) -> dict[str, Tensor]:
        """Return what the item graphs make of the items."""
        branches = {}
        graphs = self.graphs(data, names)
        for m, (graph, edges, weight) in graphs.items():
            scale = inverse_sqrt(row_sums(edges, weight))
            h = self.item.weight
            for _ in range(self.num_item_layers):
                learned = scale * edges.aggregate(weight, scale * h)
                original = graph.propagate(h)
                h = (
                    1 - self.original_weight
                ) * learned + self.original_weight * original
            branches[m] = h
        return branches

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f'{super().extra_repr()}, '
            f'contrastive_weight={self.contrastive_weight}, tau={self.tau}'
        )


def _contrast(x: Tensor, y: Tensor, tau: float) -> Tensor:
    """Return InfoNCE of unit vectors, with negatives from both sides."""
    between = (x / tau) @ y.t()  # [N, N]
    within = (x / tau) @ x.t()
    with torch.no_grad():
        within.fill_diagonal_(-torch.inf)  # no vector is its own negative
    total = between.exp().sum(dim=-1) + within.exp().sum(dim=-1)
    return (total.log() - (x * y).sum(dim=-1) / tau).mean()
