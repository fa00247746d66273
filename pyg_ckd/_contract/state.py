"""What a graph holds at a moment."""

from __future__ import annotations

import hashlib
import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd._contract.graphs import named_graphs
from pyg_ckd.kernels.sparse import Graph


class State:
    """Tells whether a graph has changed.

    Each tensor is known by its identity and by the number of times it has been
    written to, without keeping it alive; the content of arrays, which do not
    count, is hashed. What is written through ``Tensor.data`` or by
    another library passes unnoticed.

    Args:
        data (HeteroData): The graph. It is not kept alive.

    Example:
        >>> data = HeteroData()
        >>> data['item'].x_text = torch.zeros(3, 2)
        >>> before = State(data)
        >>> before == State(data)
        True
        >>> data['item'].x_text[0] = 1.0
        >>> before == State(data)
        False
    """

    def __init__(self, data: HeteroData) -> None:
        self._tensors: list[weakref.ref[Any]] = []
        self._others: list[object] = []  # kept, so that no id is used again
        self._marks: list[Any] = [torch.get_default_dtype(), data.metadata()]
        for store in data.stores:
            for name, value in store.items():
                self._marks.append((name, self._mark(value)))
            self._marks.append('')
        for key, graph in named_graphs(data).items():
            self._marks.append((key, self._mark(graph)))
            if isinstance(graph, Graph):
                self._marks.append(self._mark(graph.adj_t))
                self._marks.append(self._mark(graph.adj))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, State):
            return NotImplemented
        return self._marks == other._marks and all(
            ref() is not None for ref in self._tensors + other._tensors
        )

    def _mark(self, value: Any) -> tuple[Any, ...]:
        if isinstance(value, Tensor):
            self._tensors.append(weakref.ref(value))
            return (
                id(value),
                # Those made in inference mode do not count, so that they
                # never equal themselves:
                object() if value.is_inference() else value._version,
                value.shape,
                value.dtype,
                value.device,
                value.data_ptr() if value.layout == torch.strided else None,
            )
        if isinstance(value, np.ndarray):
            self._tensors.append(weakref.ref(value))
            digest = hashlib.sha256(value.tobytes()).hexdigest()
            return id(value), value.shape, value.dtype.str, digest
        self._others.append(value)
        return (id(value),)
