"""Features of zero mean and unit variance."""

from __future__ import annotations

import copy

import torch
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd.graph import check_features, modalities
from pyg_ckd.transforms.missing_modality import observed


class StandardizeModality(BaseTransform):
    r"""Brings each feature to zero mean and unit variance.

    .. math::
        \mathbf{x}_i \leftarrow (\mathbf{x}_i - \boldsymbol{\mu}) \oslash
        \boldsymbol{\sigma}

    with means :math:`\boldsymbol{\mu}` and (population) standard deviations
    :math:`\boldsymbol{\sigma}` over the items that have the modality. Items
    that lack it, by ``data['item'].has_<modality>``, get the mean, which is
    zero; so does everyone where a feature is constant.

    Gradients grow with features, so that features of different size are one
    cause of imbalance between modalities. Standardisation removes it, which
    makes it the simple baseline for other remedies.

    It comes before transforms that build graphs from features, such as
    :class:`~pyg_ckd.transforms.ItemKNN`. The input is not changed.

    Args:
        *names (str): The modalities to standardise; all by default.

    Raises:
        ValueError: If the graph has no such modality, if no item has it, or
            if its item-item graph exists already.

    Example:
        >>> data = HeteroData()
        >>> data['item'].x_text = torch.tensor([[1.0, 7.0], [3.0, 7.0]])
        >>> StandardizeModality()(data)['item'].x_text.tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
    """

    def __init__(self, *names: str) -> None:
        self.names = names

    def forward(self, data: HeteroData) -> HeteroData:
        """Standardise the modalities of ``data``."""
        data = copy.copy(check_features(data))
        for modality in self.names or modalities(data):
            x, has = observed(self, data, modality)
            std, mean = torch.std_mean(x[has], dim=0, correction=0)
            varies = has.unsqueeze(1) & (std > 0)  # [num_items, num_features]
            data['item'][f'x_{modality}'] = torch.where(
                varies, (x - mean) / std, 0.0
            )
        return data

    def __repr__(self) -> str:
        names = ', '.join(repr(name) for name in self.names)
        return f'{self.__class__.__name__}({names})'
