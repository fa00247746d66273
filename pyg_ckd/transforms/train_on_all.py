"""Training on all that is known."""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd.graph import RATED_BY, RATES, check, modalities, owned_keys


class TrainOnAll(BaseTransform):
    r"""Puts the interactions that are held out back into training.

    Settings and the number of epochs are chosen on validation; the model that
    a shop serves should know all that happened. It is trained anew for as many
    epochs, ``fit(task, max_epochs=chosen.best_epoch, eval_every=None)``.

    Ratings and times, which a graph knows for training alone, are left out.
    Weights stay: what is held out has the largest, 1; and an item is no longer
    cold (``data['item'].cold``) that was held out.
    It comes before transforms that build graphs from interactions, such as
    :class:`~pyg_ckd.transforms.CoOccurrence`. The input is not changed.

    Raises:
        ValueError: If such a graph exists already.

    Example:
        >>> from pyg_ckd import from_interactions
        >>> data = from_interactions(
        ...     ['ann', 'ann', 'bob'], ['tea', 'cup', 'tea'],
        ...     split=['train', 'test', 'train'])
        >>> TrainOnAll()(data)['user', 'rates', 'item'].edge_index
        tensor([[0, 0, 1],
                [0, 1, 1]])
    """

    def forward(self, data: HeteroData) -> HeteroData:
        """Put all interactions of ``data`` into training."""
        data = copy.copy(check(data))
        known = modalities(data)
        for maker, modality in data.graphs if 'graphs' in data else ():
            if modality not in known:
                raise ValueError(
                    f"'{self.__class__.__name__}' changes the interactions "
                    f'that {maker} has built a graph from. Put it before that '
                    f'transform'
                )
        rates, num_items = data[RATES], data['item'].num_nodes
        keys = owned_keys(data)
        weight = _weights(data, keys)
        for name in [*rates.keys()]:
            del rates[name]
        rates.edge_index = torch.stack([keys // num_items, keys % num_items])
        if weight is not None:
            rates.edge_weight = weight
        if 'cold' in data['item']:
            is_cold = data['item'].cold.clone()
            is_cold[rates.edge_index[1]] = False
            data['item'].cold = is_cold
        data.split = 'all for training'
        if RATED_BY in data.edge_types:
            data[RATED_BY].edge_index = rates.edge_index.flip(0)
        return check(data)


def _weights(data: HeteroData, keys: Tensor) -> Tensor | None:
    """Return the largest weight of each pair, ``None`` if all are alike.

    Args:
        data: The graph, before its interactions are put together.
        keys: The sorted keys ``user * num_items + item`` of all interactions.
    """
    rates = data[RATES]
    if 'edge_weight' not in rates:
        return None
    user, item = rates.edge_index
    place = torch.searchsorted(keys, user * data['item'].num_nodes + item)
    weight = rates.edge_weight.new_zeros(len(keys))
    weight = weight.scatter_reduce(0, place, rates.edge_weight, 'amax')
    return weight.masked_fill(weight == 0, 1)
