"""Ablation of a modality by its mean."""

from __future__ import annotations

import torch
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd.data import modalities
from pyg_ckd.sparse import csr


class AblateModality(BaseTransform):
    r"""Removes what a modality tells about the items.

    The features of an ablated modality are replaced by their mean over the
    items, :math:`\mathbf{x}_i \leftarrow \frac{1}{|\mathcal{I}|} \sum_j
    \mathbf{x}_j`, and its item-item graph ``('item', <modality>, 'item')``,
    where there is one, by a graph without edges: items that look all alike
    have no nearest neighbours. The input is not changed.

    Args:
        *dropped (str): The modalities to ablate.

    Raises:
        ValueError: If the graph has no such modality.

    Example:
        >>> data = HeteroData()
        >>> data['item'].x_text = torch.tensor([[1.0], [3.0]])
        >>> AblateModality('text')(data)['item'].x_text.tolist()
        [[2.0], [2.0]]
    """

    def __init__(self, *dropped: str) -> None:
        self.dropped = dropped

    def forward(self, data: HeteroData) -> HeteroData:
        """Ablate the modalities of ``data``."""
        known = modalities(data)
        for modality in self.dropped:
            if modality not in known:
                raise ValueError(
                    f"'{self.__class__.__name__}' got the modality "
                    f"'{modality}', but the items have {known}"
                )
            x = data['item'][f'x_{modality}']
            data['item'][f'x_{modality}'] = x.mean(0, keepdim=True).expand_as(x)

            relation = ('item', modality, 'item')
            if relation in data.edge_types:
                graph = data[relation]
                graph.edge_index = graph.edge_index[:, :0]
                if 'edge_weight' in graph:
                    graph.edge_weight = graph.edge_weight[:0]
                if 'adj_t' in graph:
                    graph.adj_t = graph.adj = _without_edges(graph.adj_t)
        return data

    def __repr__(self) -> str:
        names = ', '.join(repr(name) for name in self.dropped)
        return f'{self.__class__.__name__}({names})'


def _without_edges(adj: torch.Tensor) -> torch.Tensor:
    none = adj.col_indices()[:0]
    return csr(none, none, adj.values()[:0], adj.size(0))
