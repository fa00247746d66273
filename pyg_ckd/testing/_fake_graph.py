"""A tiny user-item graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch_geometric.data import HeteroData

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.graph import RATED_BY, RATES

NAMES = ('image', 'text', 'audio')


def fake_graph(
    num_modalities: int = 2,
    num_users: int = 12,
    num_items: int = 9,
    num_interactions: int = 6,
    num_channels: int = 5,
    lonely: bool = False,
    seed: int = 0,
    pre_transform: Callable[[Any], Any] | None = None,
) -> HeteroData:
    """Return a tiny graph in which all modalities matter alike.

    Args:
        num_modalities: The number of modalities, named ``image``, ``text``,
            ``audio``.
        num_users: The number of users.
        num_items: The number of items.
        num_interactions: The number of interactions of each user; two of them
            are for validation and test.
        num_channels: The number of features of each modality.
        lonely: Whether to take all training interactions from the last user
            and the last item.
        seed: The seed.
        pre_transform: As in PyG.

    Example:
        >>> data = fake_graph(num_modalities=1)
        >>> data['item'].x_image.shape
        torch.Size([9, 5])
    """
    names = NAMES[:num_modalities]
    data = FakeMultimodal(
        num_users=num_users,
        num_items=num_items,
        num_interactions=num_interactions,
        taste=dict.fromkeys(names, 1.0),
        noise=dict.fromkeys(names, 1.0),
        num_channels=num_channels,
        seed=seed,
    )[0]
    if lonely:
        user, item = edge_index = data[RATES].edge_index
        kept = (user < num_users - 1) & (item < num_items - 1)
        data[RATES].edge_index = edge_index[:, kept]
        data[RATED_BY].edge_index = edge_index[:, kept].flip(0)
    return data if pre_transform is None else pre_transform(data)
