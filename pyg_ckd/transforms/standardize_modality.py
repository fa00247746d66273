"""Features of zero mean and unit variance."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor
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
    :class:`~pyg_ckd.transforms.ItemKNN`. The input is not changed. Items that
    come later are brought to the same units by :meth:`as_in`.

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
            scaled = _scaled(x, x[has])
            scaled[~has] = 0
            data['item'][f'x_{modality}'] = scaled
        return data

    def as_in(
        self, data: HeteroData, features: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Standardise features of other items by the means and deviations of
        ``data``.

        Args:
            data: The data before it was standardised.
            features: For each modality the features of other items,
                ``[num_new, num_features]``.

        Returns:
            The same modalities, those that are not standardised unchanged.

        Raises:
            ValueError: If ``data`` has no such modality, or of another width,
                or is standardised already.

        Example:
            >>> data = HeteroData()
            >>> data['item'].x_text = torch.tensor([[1.0, 7.0], [3.0, 7.0]])
            >>> new = {'text': torch.tensor([[4.0, 7.0]])}
            >>> StandardizeModality().as_in(data, new)['text'].tolist()
            [[2.0, 0.0]]
        """
        data = check_features(data)
        scaled = {}
        for modality, x in features.items():
            known, has = observed(self, data, modality)
            x = torch.as_tensor(x).to(known)
            if x.dim() != 2 or x.size(1) != known.size(1):
                raise ValueError(
                    f"'features' has the shape {list(x.shape)} for "
                    f"'{modality}', expected [num_new, {known.size(1)}] as in "
                    f'the data'
                )
            if self.names and modality not in self.names:
                scaled[modality] = x
                continue
            if _is_scaled(known[has]):
                raise ValueError(
                    f"'data' has standardised features of '{modality}': pass "
                    f'the data before it was standardised'
                )
            scaled[modality] = _scaled(x, known[has])
        return scaled

    def __repr__(self) -> str:
        names = ', '.join(repr(name) for name in self.names)
        return f'{self.__class__.__name__}({names})'


def _scaled(x: Tensor, like: Tensor) -> Tensor:
    """Return features by means and deviations of others, constant ones as 0."""
    std, mean = torch.std_mean(like, dim=0, correction=0)  # [num_features]
    return torch.where(std > 0, (x - mean) / std, 0.0)


def _is_scaled(x: Tensor) -> bool:
    """Return whether features are standardised, but for constant ones."""
    std, mean = torch.std_mean(x, dim=0, correction=0)
    varies = std > 0
    if len(x) < 2 or not bool(varies.any()):
        return False
    off = torch.maximum(mean.abs(), (std - 1).abs())[varies]
    return bool((off < 1e-3).all())
