"""Ablation of a modality by its mean."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd.graph import check_features, modalities
from pyg_ckd.kernels.sparse import Uniform


class AblateModality(BaseTransform):
    r"""Removes what a modality tells about the items.

    The features of an ablated modality are replaced by their mean over the
    items, :math:`\mathbf{x}_i \leftarrow \frac{1}{|\mathcal{I}|} \sum_j
    \mathbf{x}_j`, and each nearest-neighbour graph of it by a
    :class:`~pyg_ckd.kernels.Uniform` one: items that look all alike have no
    nearest neighbours. The input is not changed.

    Args:
        *dropped (str): The modalities to ablate.

    Raises:
        ValueError: If the graph has no such modality.

    Example:
        >>> import torch
        >>> data = HeteroData()
        >>> data['item'].x_text = torch.tensor([[1.0], [3.0]])
        >>> AblateModality('text')(data)['item'].x_text.tolist()
        [[2.0], [2.0]]
    """

    def __init__(self, *dropped: str) -> None:
        self.dropped = dropped

    def forward(self, data: HeteroData) -> HeteroData:
        """Ablate the modalities of ``data``."""
        data = check_features(data)
        known = modalities(data)
        for modality in self.dropped:
            if modality not in known:
                raise ValueError(
                    f"'{self.__class__.__name__}' got the modality "
                    f"'{modality}', but the items have {known}"
                )
        return ablated(data, self.dropped)

    def __repr__(self) -> str:
        names = ', '.join(repr(name) for name in self.dropped)
        return f'{self.__class__.__name__}({names})'


def ablated(data: HeteroData, dropped: Sequence[str]) -> HeteroData:
    """Return a graph without what some modalities tell.

    Args:
        data: The user-item graph, as :func:`~pyg_ckd.graph.check` returns it.
        dropped: The modalities to ablate, which it has.
    """
    data = copy.copy(data)
    for modality in dropped:
        x = data['item'][f'x_{modality}']
        data['item'][f'x_{modality}'] = x.mean(0, keepdim=True).expand_as(x)
    if 'graphs' in data:
        size = data['item'].num_nodes
        data.graphs = {
            name: Uniform(size) if name[1] in dropped else graph
            for name, graph in data.graphs.items()
        }
    return data
