"""Nearest neighbours of items by who interacted with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.graph import check, interaction_matrix
from pyg_ckd.kernels.topk import stable_topk
from pyg_ckd.nn.models.backbone import Backbone
from pyg_ckd.views import Keep, Views


class InteractionKNN(Backbone):
    r"""Recommends items with the users of what a user knows.

    The item-based neighbourhood method of "Item-based Collaborative Filtering
    Recommendation Algorithms" (Sarwar et al., WWW 2001) and "Item-based Top-N
    Recommendation Algorithms" (Deshpande and Karypis, TOIS 2004), the ItemKNN
    of RecBole and of `"Are We Really Making Much Progress?"
    <https://arxiv.org/abs/1907.06902>`_:

    .. math::
        \mathrm{sim}(i, j) &= \frac{\mathbf{r}_i^{\top} \mathbf{r}_j}{
        \|\mathbf{r}_i\| \|\mathbf{r}_j\| + h}

        s(u, i) &= \sum_{j \in \mathcal{N}_k(i) \cap \mathcal{I}_u}
        \mathrm{sim}(i, j)

    with the columns :math:`\mathbf{r}_i` of the training matrix
    :math:`\mathbf{R}`, the :math:`k` most similar other items
    :math:`\mathcal{N}_k(i)` (equal ones by lower id) and the training items
    :math:`\mathcal{I}_u` of a user. It has no parameters and looks at no
    features. Its embeddings are the sparse matrices :math:`\mathbf{R}` and
    the similarities; similarities are computed block by block.

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        in_channels (dict[str, int], optional): The number of features of each
            modality, not used. (default: :obj:`{}`)
        k (int, optional): The number of neighbours. (default: :obj:`100`)
        shrinkage (float, optional): The shrinkage :math:`h`, which trusts
            items with few users less. (default: :obj:`0.0`)

    Raises:
        ValueError: If ``k`` is not positive or ``shrinkage`` negative.

    Shapes:
        - **output:** user embeddings :math:`(|\mathcal{U}|, |\mathcal{I}|)`
          and item embeddings :math:`(|\mathcal{I}|, |\mathcal{I}|)`, sparse

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.ranking import recommend
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> model = InteractionKNN.from_data(data, k=5)
        >>> recommend(model, data, torch.tensor([7]), k=3)[0].shape
        torch.Size([1, 3])
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int] | None = None,
        k: int = 100,
        shrinkage: float = 0.0,
    ) -> None:
        super().__init__(num_users, num_items, in_channels or {}, dim=num_items)
        self.check_positive(k=k)
        self.check_number('at least 0', shrinkage=shrinkage)
        self.k = k
        self.shrinkage = shrinkage

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and of all items."""
        interactions = interaction_matrix(check(data))
        users = interactions.t().coalesce()  # [num_items, num_users]
        count = torch.bincount(users.indices()[0], minlength=self.num_items)
        count = count.clamp(min=1).to(users.dtype)
        items = torch.arange(self.num_items, device=count.device)
        edges, similarities = [], []
        for item in items.split(256):
            common = (users.index_select(0, item) @ interactions).to_dense()
            norms = (count[item].unsqueeze(1) * count).sqrt()
            similarity = common / (norms + self.shrinkage)  # [block, num_items]
            similarity[torch.arange(len(item)), item] = 0
            similarity, neighbor = stable_topk(
                similarity, min(self.k, self.num_items)
            )
            linked = similarity > 0  # [block, k]
            target = item.unsqueeze(1).expand_as(neighbor)
            edges.append(torch.stack([target[linked], neighbor[linked]]))
            similarities.append(similarity[linked])
        return interactions, torch.sparse_coo_tensor(
            torch.cat(edges, dim=1),
            torch.cat(similarities),
            (self.num_items, self.num_items),
            check_invariants=False,
        )

    def views(self, data: HeteroData, keeps: Sequence[Keep]) -> Views:
        """Return several views, which are all the same."""
        user, item = self(data)
        keep = torch.ones(len(keeps), 1, device=user.device)
        return Views([user], [item], keep)

    def extra_repr(self) -> str:
        """Return the settings."""
        return (
            f'{self.num_users}, {self.num_items}, {self.in_channels}, '
            f'k={self.k}, shrinkage={self.shrinkage}'
        )
