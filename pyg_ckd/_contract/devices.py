"""The part of the contract about devices."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd._contract.graphs import named_graphs
from pyg_ckd._contract.interactions import LABELS, RATED_BY, RATES
from pyg_ckd.kernels.sparse import Graph


def check_devices(data: HeteroData) -> None:
    """Raise unless all tensors are on one device.

    Args:
        data: A user-item graph.
    """
    where, device = '', None
    for name, tensor in _tensors(data):
        if device is None:
            where, device = name, tensor.device
        elif tensor.device != device:
            raise ValueError(
                f'{name} is on {tensor.device}, but {where} is on {device}; '
                f"move the graph: data = data.to('{device}')"
            )


def _tensors(data: HeteroData) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors that are read, with their places."""
    for relation in (RATES, RATED_BY):
        if relation in data.edge_types:
            for name in ('edge_index', 'edge_weight', *LABELS.values()):
                value = data[relation].get(name)
                if isinstance(value, Tensor):
                    yield f'data[{relation}].{name}', value
    for name, value in data['item'].items():
        is_read = name == 'cold' or name.startswith(('x_', 'has_'))
        if is_read and isinstance(value, Tensor):
            yield f"data['item'].{name}", value
    for key, graph in named_graphs(data).items():
        if isinstance(graph, Graph):
            yield f'data.graphs[{key!r}]', graph.adj_t
            yield f'data.graphs[{key!r}]', graph.adj
