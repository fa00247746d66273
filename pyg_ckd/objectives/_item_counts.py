"""How often items are in training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.utils import coalesce

from pyg_ckd.graph import RATES
from pyg_ckd.kernels.units import UNIT, as_units


class ItemCounts:
    """How often items are in training, counted once for each graph.

    A pair counts once however often it is repeated, and with its largest
    weight, as it is drawn.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 1, 2
        >>> data['user', 'rates', 'item'].edge_index = torch.tensor(
        ...     [[0, 0], [1, 1]]
        ... )
        >>> ItemCounts()(data)
        tensor([0., 1.], dtype=torch.float64)
    """

    def __init__(self) -> None:
        self._known: list[Any] = []
        # So that no other tensor gets their ids:
        self._held: list[Any] = []
        self._count = torch.empty(0)

    def __call__(self, data: HeteroData) -> Tensor:
        """Return the interactions of each item, ``float64`` ``[num_items]``.

        Args:
            data: The user-item graph.
        """
        edges, weight = data[RATES].edge_index, data[RATES].get('edge_weight')
        versions = [edges._version, None if weight is None else weight._version]
        held = [edges, weight]
        now = [*map(id, held), *versions]
        if now != self._known:
            self._count = _counted(edges, weight, data['item'].num_nodes)
            self._held, self._known = held, now
        return self._count

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Copy none of what it knows."""
        return type(self), ()


def _counted(edges: Tensor, weight: Tensor | None, size: int) -> Tensor:
    # Whole numbers have the same sum in any order, on any device:
    units = as_units(edges.new_ones(()) if weight is None else weight)
    units = units.expand(edges.size(1))
    (_, item), largest = coalesce(edges, units, reduce='max')
    total = largest.new_zeros(size).index_add(0, item, largest)
    return total.double() / UNIT
