"""Embeddings from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.nn.models.backbone import Backbone


class FixedEmbeddings(Backbone):
    r"""A recommender of given embeddings, with nothing to train.

    It brings embeddings from a file or another tool under the protocol of
    :func:`~pyg_ckd.ranking.evaluate` and its relatives.

    Args:
        user (Tensor): User embeddings of shape ``[num_users, d]``.
        item (Tensor): Item embeddings of shape ``[num_items, d]``.

    Shapes:
        - **output:** the two embeddings as they are

    Example:
        >>> FixedEmbeddings(torch.rand(8, 4), torch.rand(5, 4))
        FixedEmbeddings(8, 5, dim=4)
    """

    user: Tensor
    item: Tensor

    def __init__(self, user: Tensor, item: Tensor) -> None:
        super().__init__(len(user), len(item), {}, dim=user.size(1))
        self.register_buffer('user', user)
        self.register_buffer('item', item)

    @classmethod
    def ensemble(
        cls, pairs: Sequence[tuple[Tensor, Tensor]]
    ) -> FixedEmbeddings:
        r"""Return the recommender that adds the scores of several.

        Args:
            pairs: User and item embeddings of each, of any width.

        Example:
            >>> pairs = [(torch.rand(8, d), torch.rand(5, d)) for d in (4, 6)]
            >>> FixedEmbeddings.ensemble(pairs)
            FixedEmbeddings(8, 5, dim=10)
        """
        users, items = zip(*pairs, strict=True)
        return cls(torch.cat(users, dim=1), torch.cat(items, dim=1))

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and of all items."""
        return self.user, self.item

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f'{self.num_users}, {self.num_items}, dim={self.dim}'
