"""Nearest neighbours of items by their features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.graph import check, interaction_matrix
from pyg_ckd.nn.models.backbone import Backbone
from pyg_ckd.transforms import nearest_neighbors
from pyg_ckd.views import Keep, Views


class FeatureKNN(Backbone):
    r"""Recommends items that look like what a user knows.

    :class:`InteractionKNN` with similarities of item features,

    .. math::
        s(u, i) = \sum_m \sum_{j \in \mathcal{N}_k^m(i) \cap \mathcal{I}_u}
        \max(0, \cos(\mathbf{x}_{im}, \mathbf{x}_{jm}))

    with the :math:`k` most similar other items :math:`\mathcal{N}_k^m(i)` in
    a modality (:class:`~pyg_ckd.transforms.ItemKNN`) and the training items
    :math:`\mathcal{I}_u` of a user; the content-based ItemKNN of `"Are We
    Really Making Much Progress?" <https://arxiv.org/abs/1907.06902>`_. It has
    no parameters. An ablated modality makes all items look alike, so that
    none has neighbours: it adds nothing.

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        in_channels (dict[str, int]): The number of features of each modality.
        k (int, optional): The number of neighbours in each modality.
            (default: :obj:`100`)

    Raises:
        ValueError: If ``k`` is not positive.

    Shapes:
        - **output:** user embeddings :math:`(|\mathcal{U}|, |\mathcal{I}|)`
          and item embeddings :math:`(|\mathcal{I}|, |\mathcal{I}|)`, sparse

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.ranking import recommend
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> model = FeatureKNN.from_data(data, k=5)
        >>> recommend(model, data, torch.tensor([7]), k=3)[0].shape
        torch.Size([1, 3])
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int],
        k: int = 100,
    ) -> None:
        super().__init__(num_users, num_items, in_channels, dim=num_items)
        self.check_positive(k=k)
        self.k = k

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and of all items."""
        user = interaction_matrix(check(data))
        similarities = [self._similarities(data, m) for m in self.in_channels]
        return user, self._sum(similarities, user.device)

    def views(self, data: HeteroData, keeps: Sequence[Keep]) -> Views:
        """Return several views that share the neighbours of each modality."""
        user = interaction_matrix(check(data))
        similarities = {
            m: self._similarities(data, m)
            for m in self.in_channels
            if any(m in keep for keep in keeps)
        }
        return Views(
            user=[user] * len(keeps),
            item=[
                self._sum(
                    [x for m, x in similarities.items() if m in keep],
                    user.device,
                )
                for keep in keeps
            ],
            keep=torch.eye(len(keeps), device=user.device),
        )

    def _similarities(self, data: HeteroData, modality: str) -> Tensor:
        """Return the similarities of neighbours, ``[num_items, num_items]``."""
        x = data['item'][f'x_{modality}']
        # Each item comes first among its neighbours:
        (neighbor, item), cosine = nearest_neighbors(x, self.k + 1)
        linked = (neighbor != item) & (cosine > 0) & (x != x[0]).any()
        return torch.sparse_coo_tensor(
            torch.stack([item, neighbor])[:, linked],
            cosine[linked].to(torch.get_default_dtype()),
            (self.num_items, self.num_items),
            check_invariants=False,
        )

    def _sum(
        self, similarities: Sequence[Tensor], device: torch.device
    ) -> Tensor:
        none = torch.sparse_coo_tensor(
            torch.empty(2, 0, dtype=torch.long, device=device),
            torch.empty(0, device=device),
            (self.num_items, self.num_items),
            check_invariants=False,
        )
        return sum(similarities, start=none).coalesce()

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f'{self.num_users}, {self.num_items}, {self.in_channels}, '
            f'k={self.k}'
        )
