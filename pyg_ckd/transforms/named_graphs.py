"""Graphs that are kept on ``data`` under the name of what made them."""

from __future__ import annotations

import copy

from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd.graph import check
from pyg_ckd.kernels.sparse import Graph, Uniform


def checked_without_graphs(data: HeteroData) -> HeteroData:
    """Return a checked copy of a user-item graph, with its graphs unchecked.

    They may be of other interactions, which the transform that makes them
    again mends.

    Args:
        data: The user-item graph.
    """
    graphs = data.graphs if 'graphs' in data else {}
    data = copy.copy(data)
    data.graphs = {}
    data = copy.copy(check(data))
    data.graphs = graphs
    return data


def add_graph(
    data: HeteroData,
    transform: BaseTransform,
    modality: str | None,
    graph: Graph | Uniform,
) -> HeteroData:
    """Keep a graph on ``data``, beside those that are there.

    Args:
        data: The user-item graph, changed in place.
        transform: What made the graph; its ``repr`` names all its settings.
        modality: The modality it was made of, if it was made of one.
        graph: The graph.
    """
    known = data.graphs if 'graphs' in data else {}
    data.graphs = {**known, (repr(transform), modality): graph}
    return data


def named_graph(
    data: HeteroData, transform: BaseTransform, modality: str | None
) -> Graph | Uniform:
    """Return the graph that a transform has added to ``data``.

    Args:
        data: The user-item graph.
        transform: What has made the graph.
        modality: The modality it was made of.

    Raises:
        ValueError: If there is none of that name; it names those there are.
    """
    known = data.graphs if 'graphs' in data else {}
    name = repr(transform), modality
    if name not in known:
        have = ', '.join(map(_title, known)) or 'no graphs'
        raise ValueError(
            f'{_title(name)} is not on this data, which has {have}. Add it '
            f'once, before training: data = {name[0]}(data)'
        )
    graph: Graph | Uniform = known[name]
    return graph


def _title(name: tuple[str, str | None]) -> str:
    transform, modality = name
    return transform if modality is None else f"{transform} of '{modality}'"
