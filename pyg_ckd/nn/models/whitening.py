"""Features made uncorrelated and equally spread, in few dimensions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyg_ckd.kernels.arguments import check_whole
from pyg_ckd.kernels.principal_axes import principal_axes


class Whitening(nn.Module):
    r"""Whitens features along the directions in which they vary most.

    With the mean :math:`\boldsymbol{\mu}` of :math:`N` rows and the singular
    value decomposition :math:`\mathbf{X} - \mathbf{1} \boldsymbol{\mu}^{\top}
    = \mathbf{U} \mathbf{\Sigma} \mathbf{V}^{\top}`,

    .. math::
        \mathbf{z} = \sqrt{N / d} \, \mathbf{\Sigma}_d^{-1}
        \mathbf{V}_d^{\top} (\mathbf{x} - \boldsymbol{\mu})

    of the :math:`d` largest singular values, so that the rows that were
    fitted become those of :math:`\sqrt{N / d} \, \mathbf{U}_d`. Of each column
    of :math:`\mathbf{V}` the first entry of largest magnitude is positive. What
    has no variance is left zero: dimensions beyond the rank, and all of them
    before :meth:`fit`. Nothing is learned; the map is kept in buffers. But for
    the factor :math:`1 / \sqrt{d}`, rows become what
    :class:`~pyg_ckd.transforms.FeaturePCA` makes of them with ``whiten=True``.

    Args:
        in_channels (int): The number of features.
        dim (int): The number of dimensions :math:`d`.

    Raises:
        ValueError: If a size is not positive.

    Shapes:
        - **input:** features :math:`(N, F)`
        - **output:** whitened features :math:`(N, d)`

    Example:
        >>> whitening = Whitening(2, dim=1)
        >>> x = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
        >>> whitening.fit(x)
        >>> whitening(x)
        tensor([[-1.],
                [ 1.]])
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, in_channels: int, dim: int) -> None:
        super().__init__()
        check_whole(self.__class__.__name__, in_channels=in_channels, dim=dim)
        self.register_buffer('weight', torch.zeros(dim, in_channels))
        self.register_buffer('bias', torch.zeros(dim))

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Take the map from features.

        Args:
            x: Features of shape ``[N, num_features]``.
        """
        dim = len(self.weight)
        mean, variance, axes = principal_axes(x, dim)
        weight = (axes / (dim * variance).sqrt()).t()  # [d or fewer, F]
        self.weight.zero_()
        self.bias.zero_()
        self.weight[: len(weight)] = weight
        self.bias[: len(weight)] = -weight @ mean

    def forward(self, x: Tensor) -> Tensor:
        """Return whitened features."""
        return F.linear(x, self.weight, self.bias)

    def __repr__(self) -> str:
        dim, in_channels = self.weight.shape
        return f'{self.__class__.__name__}({in_channels}, dim={dim})'
