"""What a user-item ``HeteroData`` holds: its modalities and its fingerprint."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

RATES = ('user', 'rates', 'item')
RATED_BY = ('item', 'rated_by', 'user')


def modalities(data: HeteroData) -> list[str]:
    """Return the modalities of the items: the names behind ``x_``.

    Args:
        data: A user-item graph.

    Example:
        >>> data = HeteroData()
        >>> data['item'].x_text = torch.randn(3, 8)
        >>> modalities(data)
        ['text']
    """
    return [key[2:] for key in data['item'] if key.startswith('x_')]


def interaction_keys(data: HeteroData) -> Tensor:
    """Return the sorted keys ``user * num_items + item`` of training.

    Args:
        data: A user-item graph.

    Returns:
        Integers of shape ``[num_train]``, for look-ups by
        :func:`torch.searchsorted`.
    """
    user, item = data[RATES].edge_index
    return torch.sort(user * data['item'].num_nodes + item).values


def fingerprint(data: HeteroData) -> str:
    """Return a hash of all that a teacher learns from.

    Two graphs with the same sizes, training interactions (in any order) and
    item features have the same fingerprint.

    Args:
        data: A user-item graph.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    digest.update(f'{data["user"].num_nodes},{data["item"].num_nodes}'.encode())
    digest.update(interaction_keys(data).cpu().numpy().tobytes())
    for modality in sorted(modalities(data)):
        x = data['item'][f'x_{modality}']
        digest.update(f'{modality}{tuple(x.shape)}'.encode())
        raw = x.detach().cpu().contiguous().view(torch.uint8)
        digest.update(raw.numpy().tobytes())
    return digest.hexdigest()
