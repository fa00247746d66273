"""From interactions with a split each to a user-item graph."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.graph import RATED_BY, RATES, check


def graph_of_splits(
    user: Tensor,
    item: Tensor,
    label: Tensor,
    num_users: int,
    num_items: int,
    features: Mapping[str, Tensor],
    present: Mapping[str, Tensor] | None = None,
    rating: Tensor | None = None,
    time: Tensor | None = None,
    weight: Tensor | None = None,
) -> HeteroData:
    """Return the user-item graph of split interactions.

    Ratings and weights are kept for training. Times are kept for all splits:
    what is held out has them in ``val_edge_label_time`` and
    ``test_edge_label_time``, for :func:`~pyg_ckd.datasets.audit`.

    Args:
        user: The user of each interaction.
        item: The item of each interaction.
        label: The split of each interaction: 0 for training, 1 for validation,
            2 for test, others for none.
        num_users: The number of users.
        num_items: The number of items.
        features: For each modality, a matrix ``[num_items, num_features]``.
        present: For modalities that some items lack, which items have them,
            Booleans ``[num_items]``. (default: ``None``)
        rating: The rating of each interaction. (default: ``None``)
        time: The time of each interaction, in seconds. (default: ``None``)
        weight: The weight of each interaction, in (0, 1]. Where all of training
            are 1 they are left out. (default: ``None``)

    Raises:
        ValueError: If the graph breaks its contract, see
            :func:`~pyg_ckd.graph.check`.

    Example:
        >>> user, item = torch.tensor([[0, 0, 0, 1], [0, 1, 2, 2]])
        >>> data = graph_of_splits(
        ...     user, item, torch.tensor([0, 1, 2, 0]), 2, 3,
        ...     features={'text': torch.eye(3)},
        ... )
        >>> data['user', 'rates', 'item'].edge_index
        tensor([[0, 1],
                [0, 2]])
    """
    data = HeteroData()
    data['user'].num_nodes = num_users
    data['item'].num_nodes = num_items
    for modality, x in features.items():
        data['item'][f'x_{modality}'] = x
    for modality, mask in (present or {}).items():
        data['item'][f'has_{modality}'] = mask

    pairs = torch.stack([user, item])
    train = label == 0
    rates = data[RATES]
    rates.edge_index = pairs[:, train]
    if rating is not None:
        rates.rating = rating[train]
    if time is not None:
        rates.time = time[train]
    if weight is not None and (weight[train] < 1).any():
        rates.edge_weight = weight[train]
    for split, value in (('val', 1), ('test', 2)):
        rates[f'{split}_edge_label_index'] = pairs[:, label == value]
        if time is not None:
            rates[f'{split}_edge_label_time'] = time[label == value]
    data[RATED_BY].edge_index = rates.edge_index.flip([0])
    return check(data)
