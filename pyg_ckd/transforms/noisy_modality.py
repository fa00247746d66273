"""Items whose features are blurred."""

from __future__ import annotations

import copy

import torch
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd.graph import check_features
from pyg_ckd.kernels.arguments import as_seed, check_number
from pyg_ckd.transforms.missing_modality import observed


class NoisyModality(BaseTransform):
    r"""Adds Gaussian noise to the features of a modality.

    Noise is measured in standard deviations of each feature,

    .. math::
        \mathbf{x}_i \leftarrow \mathbf{x}_i + s \, \boldsymbol{\sigma} \odot
        \boldsymbol{\varepsilon}_i, \qquad \boldsymbol{\varepsilon}_i \sim
        \mathcal{N}(\mathbf{0}, \mathbf{I})

    with :math:`\boldsymbol{\sigma}` the (population) standard deviations over
    the items that have the modality. Items that lack it, by
    ``data['item'].has_<modality>``, get the mean of those that have it, noise
    included. With one seed, the noise of two scales differs in size only.
    Modalities with the same number of features get the same
    :math:`\boldsymbol{\varepsilon}` unless their seeds differ.

    It comes before transforms that build graphs from features, such as
    :class:`~pyg_ckd.transforms.ItemKNN`. The input is not changed, and neither
    is the global state of random numbers.

    Args:
        modality (str): The modality to blur.
        scale (float): The size of the noise, :math:`s \geq 0`.
        seed (int, optional): The seed. (default: :obj:`0`)

    Raises:
        ValueError: If ``scale`` is negative or not finite, if ``seed`` is no
            whole number from 0 on, if no item has the modality, or if its
            item-item graph exists already.

    Example:
        >>> data = HeteroData()
        >>> data['item'].x_text = torch.tensor([[1.0, 7.0], [3.0, 7.0]])
        >>> x = NoisyModality('text', scale=0.5)(data)['item'].x_text
        >>> (x != data['item'].x_text).tolist()  # a constant stays one
        [[True, False], [True, False]]
    """

    def __init__(self, modality: str, scale: float, seed: int = 0) -> None:
        name = self.__class__.__name__
        check_number(name, 'at least 0', scale=scale)
        self.modality = modality
        self.scale = scale
        self.seed = as_seed(name, seed)

    def forward(self, data: HeteroData) -> HeteroData:
        """Blur the modality of ``data``."""
        data = copy.copy(check_features(data))
        x, has = observed(self, data, self.modality)
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(x.shape, generator=generator).to(x)
        x = x + self.scale * x[has].std(dim=0, correction=0) * noise
        data['item'][f'x_{self.modality}'] = torch.where(
            has.unsqueeze(1), x, x[has].mean(dim=0)
        )
        return data

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}('{self.modality}', "
            f'scale={self.scale}, seed={self.seed})'
        )
