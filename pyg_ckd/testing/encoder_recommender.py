"""A recommender that is not ours."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.graph import modalities


class EncoderRecommender(nn.Module):
    """A recommender that is not ours, with an encoder for each modality.

    What the encoders make of an item goes through a joint layer, so that no
    view is a sum of blocks. Parameters of a modality are named after it,
    ``encoder_text``.

    Args:
        data (HeteroData): The user-item graph.
    """

    def __init__(self, data: HeteroData) -> None:
        super().__init__()
        self.names = modalities(data)
        self.user = nn.Embedding(data['user'].num_nodes, 4)
        for m in self.names:
            size = data['item'][f'x_{m}'].size(1)
            self.add_module(f'encoder_{m}', nn.Linear(size, 4))
        self.joint = nn.Linear(4, 4)

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and of all items."""
        hidden = torch.zeros(())
        for m in self.names:
            encoder = self.get_submodule(f'encoder_{m}')
            hidden = hidden + encoder(data['item'][f'x_{m}'])
        item: Tensor = self.joint(torch.tanh(hidden))
        return self.user.weight, item
