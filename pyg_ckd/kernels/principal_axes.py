"""The directions in which rows vary most."""

from __future__ import annotations

import torch
from torch import Tensor


def principal_axes(x: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    r"""Return the mean of rows and the directions of their largest variance.

    These are the eigenvectors of the covariance, or, where there are fewer
    rows than features, those of the products of rows brought to features.
    Either is found exactly and in double precision.

    Of each direction the first entry of largest magnitude is positive. What
    rounding has left of a constant is no variance: such directions are not
    returned.

    Args:
        x: Features of shape ``[N, num_features]``, also with no row.
        dim: How many directions to return at most.

    Returns:
        The mean ``[num_features]``, variances ``[d]`` in descending order, of
        which none is zero, and directions of unit length as columns,
        ``[num_features, d]``, all in double precision. Fewer than ``dim`` are
        returned if the rows vary in fewer.

    Example:
        >>> mean, variance, axes = principal_axes(
        ...     torch.tensor([[1.0, 0.0], [3.0, 0.0]]), dim=2
        ... )
        >>> mean.tolist(), variance.tolist(), axes.tolist()
        ([2.0, 0.0], [1.0], [[1.0], [0.0]])
    """
    num_rows, num_features = max(len(x), 1), x.size(1)
    # An entry is known to the precision that it is stored in:
    noise = max(
        torch.finfo(torch.result_type(x, 1.0)).eps ** 2,
        torch.finfo(torch.double).eps * min(num_rows, num_features),
    )
    x = x.double()
    mean = x.sum(dim=0) / num_rows
    least = noise * x.square().sum()
    x = x - mean
    if num_rows < num_features:
        square, u = _largest(x @ x.t(), dim, least)
        # Orthogonal but for rounding, which this removes:
        axes = torch.linalg.qr(x.t() @ (u / square.sqrt())).Q
    else:
        square, axes = _largest(x.t() @ x, dim, least)
    size = axes.abs()
    first = (size >= (1 - 1e-6) * size.amax(dim=0)).int().argmax(dim=0)
    sign = axes.gather(0, first.unsqueeze(0)).sign()
    return mean, square / num_rows, sign * axes


def _largest(product: Tensor, dim: int, least: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest eigenvalues above a bound, and their vectors."""
    value, vector = torch.linalg.eigh(product)
    value, vector = value.flip(0)[:dim], vector.flip(1)[:, :dim]
    return value[value > least], vector[:, value > least]
