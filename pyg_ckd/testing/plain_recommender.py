"""A recommender that knows nothing of this library."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.graph import modalities


class PlainRecommender(nn.Module):
    """A module that is no :class:`~pyg_ckd.nn.Recommender`.

    A small perceptron fuses the modalities of an item, so that no view is a
    sum of blocks.

    Args:
        data (HeteroData): The user-item graph.
        dim (int, optional): The size of an embedding. (default: :obj:`4`)

    Example:
        >>> from pyg_ckd.testing import fake_graph
        >>> data = fake_graph()
        >>> user_emb, item_emb = PlainRecommender(data)(data)
        >>> user_emb.shape, item_emb.shape
        (torch.Size([12, 4]), torch.Size([9, 4]))
    """

    def __init__(self, data: HeteroData, dim: int = 4) -> None:
        super().__init__()
        self.names = modalities(data)
        size = sum(data['item'][f'x_{m}'].size(1) for m in self.names)
        self.user = nn.Embedding(data['user'].num_nodes, dim)
        self.item = nn.Sequential(
            nn.Linear(size, 2 * dim), nn.Tanh(), nn.Linear(2 * dim, dim)
        )

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and of all items."""
        x = torch.cat([data['item'][f'x_{m}'] for m in self.names], dim=-1)
        item: Tensor = self.item(x)
        return self.user.weight, item
