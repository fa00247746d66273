"""The base of all data sets."""

from __future__ import annotations

from torch_geometric.data import HeteroData, InMemoryDataset


class SingleGraph(InMemoryDataset):
    """A data set of one graph, whose type is known to type checkers."""

    def __getitem__(self, idx: int) -> HeteroData:
        return super().__getitem__(idx)
