"""The part of the contract about the weights of training interactions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd._contract.arrays import as_tensor, first, kind
from pyg_ckd._contract.interactions import RATES


def edge_weight(data: HeteroData, num_edges: int) -> dict[str, Tensor]:
    """Return the weights of interactions as the library uses them, or raise.

    Args:
        data: A user-item graph.
        num_edges: The number of training interactions.

    Returns:
        Floats of shape ``[num_edges]`` by the name of the attribute, nothing if
        there are none.
    """
    value = data[RATES].get('edge_weight')
    if value is None:
        return {}
    where = f'data[{RATES}].edge_weight'
    wanted = f'expected a number in (0, 1] for each of {num_edges} interactions'
    given = as_tensor(value)
    if given is None or given.layout != torch.strided or given.is_complex():
        raise ValueError(
            f'{where} is a {kind(value)}, {wanted}, in a tensor or an array'
        )
    if given.shape != (num_edges,):
        raise ValueError(
            f'{where} has the shape {list(given.shape)}, {wanted}, of shape '
            f'[{num_edges}]'
        )
    weight = given.to(torch.get_default_dtype())
    bad = ~((weight > 0) & (weight <= 1))
    if bad.any():
        column = first(bad)
        raise ValueError(
            f'{where} is {given[column].item():.6g} in column {column}, '
            f'{wanted}; divide weights by the largest, and leave out '
            f'interactions that should not count'
        )
    return {'edge_weight': weight}
