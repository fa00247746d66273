"""The part of the contract about items that nothing is learned of."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd._contract.arrays import as_tensor, first, kind


def cold(
    data: HeteroData, num_items: int, train_item: Tensor
) -> dict[str, Tensor]:
    """Return which items are cold as the library uses it, or raise.

    Args:
        data: A user-item graph.
        num_items: The number of items.
        train_item: The item of each training interaction.

    Returns:
        Booleans of shape ``[num_items]`` by the name of the attribute, nothing
        if it is missing.
    """
    value = data['item'].get('cold')
    if value is None:
        return {}
    where = "data['item'].cold"
    is_cold = as_tensor(value)
    if (
        is_cold is None
        or is_cold.dtype != torch.bool
        or is_cold.shape != (num_items,)
    ):
        found = kind(value)
        if is_cold is not None:
            found = f'{is_cold.dtype} of the shape {list(is_cold.shape)}'
        raise ValueError(
            f'{where} is {found}, expected Booleans of shape [{num_items}]: '
            f'whether an item is left out of what negatives are drawn from'
        )
    trained = is_cold.to(train_item.device)[train_item]
    if trained.any():
        column = first(trained)
        raise ValueError(
            f'{where} is True for item {int(train_item[column])}, which has a '
            f'training interaction in column {column}; set it to False'
        )
    return {'cold': is_cold}
