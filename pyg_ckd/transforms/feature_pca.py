"""Features brought to few dimensions."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd import graph
from pyg_ckd.kernels.arguments import check_whole
from pyg_ckd.kernels.principal_axes import principal_axes
from pyg_ckd.transforms.missing_modality import observed


class FeaturePCA(BaseTransform):
    r"""Brings features to their principal components, of which there are few.

    .. math::
        \mathbf{x}_i \leftarrow \mathbf{V}_d^{\top}
        (\mathbf{x}_i - \boldsymbol{\mu}), \quad \text{whitened} \quad
        \mathbf{x}_i \leftarrow \mathbf{\Lambda}_d^{-1/2} \mathbf{V}_d^{\top}
        (\mathbf{x}_i - \boldsymbol{\mu})

    with the mean :math:`\boldsymbol{\mu}` of the items that have the modality,
    the :math:`d` largest eigenvalues :math:`\mathbf{\Lambda}_d` of their
    (population) covariance and its eigenvectors :math:`\mathbf{V}_d`. Of all
    linear maps to :math:`d` dimensions it loses the least variance. Items that
    lack the modality, by ``data['item'].has_<modality>``, get the mean, which
    is zero.

    Whitened features all have unit variance, so that small directions count
    as much as large ones; the others keep the distances between items, as far
    as :math:`d` dimensions can. Wide features are most of what a small backbone
    costs, in time and in memory, so that few dimensions make its steps faster.

    The map is exact, computed in double precision by the smaller of the two
    products of the features. Of each column of :math:`\mathbf{V}_d` the first
    entry of largest magnitude is positive. For 4,096 features of 7,000 items it
    takes a minute or two on one core: let a data set keep the result, as its
    ``pre_transform``.

    It comes before transforms that build graphs from features, such as
    :class:`~pyg_ckd.transforms.ItemKNN`. The input is not changed. Items that
    come later are mapped alike by :meth:`as_in`.

    Args:
        dim (int): The number of dimensions :math:`d`.
        whiten (bool, optional): If set to :obj:`True`, all dimensions get unit
            variance. (default: :obj:`False`)
        modalities (list[str], optional): The modalities to reduce; all by
            default. (default: :obj:`None`)

    Raises:
        ValueError: If ``dim`` is not positive, if the graph has no such
            modality, if no item has it, if its features vary in fewer than
            ``dim`` directions, or if its item-item graph exists already.

    Example:
        >>> data = HeteroData()
        >>> data['item'].x_text = torch.tensor([[0.0, 1.0], [6.0, 9.0]])
        >>> FeaturePCA(dim=1)(data)['item'].x_text.tolist()
        [[-5.0], [5.0]]
        >>> FeaturePCA(dim=1, whiten=True)(data)['item'].x_text.tolist()
        [[-1.0], [1.0]]
    """

    def __init__(
        self,
        dim: int,
        whiten: bool = False,
        modalities: Sequence[str] | None = None,
    ) -> None:
        check_whole(self.__class__.__name__, dim=dim)
        self.dim = dim
        self.whiten = whiten
        self.modalities = None if modalities is None else list(modalities)

    def forward(self, data: HeteroData) -> HeteroData:
        """Reduce the modalities of ``data``."""
        data = copy.copy(graph.check_features(data))
        for modality in self._of(graph.modalities(data)):
            x, has = observed(self, data, modality)
            mean, weight = self._map(x[has], modality)
            reduced = _mapped(x, mean, weight)
            reduced[~has] = 0
            data['item'][f'x_{modality}'] = reduced
        return data

    def as_in(
        self, data: HeteroData, features: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Reduce features of other items by the map of ``data``.

        The map is computed anew.

        Args:
            data: The data before it was reduced.
            features: For each modality the features of other items,
                ``[num_new, num_features]``.

        Returns:
            The same modalities, ``[num_new, dim]``, those that are not reduced
            unchanged.

        Raises:
            ValueError: If ``data`` has no such modality, or of another width,
                or is reduced already.

        Example:
            >>> data = HeteroData()
            >>> data['item'].x_text = torch.tensor([[0.0, 1.0], [6.0, 9.0]])
            >>> new = {'text': torch.tensor([[3.0, 5.0], [9.0, 13.0]])}
            >>> FeaturePCA(dim=1).as_in(data, new)['text'].tolist()
            [[0.0], [10.0]]
        """
        data = graph.check_features(data)
        reduced = {}
        for modality, x in features.items():
            known, has = observed(self, data, modality)
            x = torch.as_tensor(x).to(known)
            if x.dim() != 2 or x.size(1) != known.size(1):
                raise ValueError(
                    f"'features' has the shape {list(x.shape)} for "
                    f"'{modality}', expected [num_new, {known.size(1)}] as in "
                    f'the data'
                )
            if modality not in self._of([modality]):
                reduced[modality] = x
                continue
            if self._is_reduced(known[has]):
                raise ValueError(
                    f"'data' has reduced features of '{modality}': pass the "
                    f'data before it was reduced'
                )
            reduced[modality] = _mapped(x, *self._map(known[has], modality))
        return reduced

    def _of(self, known: Sequence[str]) -> Sequence[str]:
        """Return the modalities to reduce."""
        return known if self.modalities is None else self.modalities

    def _map(self, x: Tensor, modality: str) -> tuple[Tensor, Tensor]:
        """Return the mean and the map, ``[num_features, dim]``, or raise."""
        mean, variance, axes = principal_axes(x, self.dim)
        rank = len(variance)
        if rank < self.dim:
            rows, width = x.shape
            raise ValueError(
                f"'{self.__class__.__name__}' cannot bring '{modality}' to "
                f'{self.dim} dimensions: its {width} features vary in '
                f'{rank} directions among the {rows} items that have it. '
                + (
                    f"Set 'dim' to at most {rank}, or name the others in "
                    f"'modalities'"
                    if rank
                    else 'All these items have the same features: name the '
                    "others in 'modalities'"
                )
            )
        return mean, axes / variance.sqrt() if self.whiten else axes

    def _is_reduced(self, x: Tensor) -> bool:
        """Return whether features look like what this transform returns."""
        if x.size(1) != self.dim or len(x) < 2:
            return False
        x = x.double()
        mean = x.mean(dim=0)
        covariance = (x - mean).t() @ (x - mean) / len(x)
        variance = covariance.diagonal()
        scale = variance.amax()
        ordered = bool((variance.diff() <= 1e-3 * scale).all())
        if self.whiten:
            variance = torch.ones_like(variance)
        off = (covariance - variance.diag()).abs().amax()
        centred = bool((mean.square() <= 1e-6 * scale).all())
        return ordered and centred and bool(off <= 1e-3 * scale)

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.dim}, whiten={self.whiten}, '
            f'modalities={self.modalities})'
        )


def _mapped(x: Tensor, mean: Tensor, weight: Tensor) -> Tensor:
    """Return features of ``dim`` columns, in the dtype that they had."""
    return ((x.double() - mean) @ weight).to(x)
