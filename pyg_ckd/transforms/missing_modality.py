"""Items that lose a modality."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd.graph import RATES, check_features, modalities
from pyg_ckd.kernels.arguments import as_seed, check_number
from pyg_ckd.kernels.edges import check_ids


class MissingModality(BaseTransform):
    r"""Takes a modality from a share of the items that have it.

    ``data['item'].has_<modality>`` tells afterwards which items still have
    it. All others get the mean of their features,

    .. math::
        \mathbf{x}_i \leftarrow \frac{1}{|\mathcal{H}|} \sum_{j \in
        \mathcal{H}} \mathbf{x}_j

    with :math:`\mathcal{H}` the items that still have the modality. The number
    of items that lose it is ``rate`` times the number that has it, rounded,
    and at least one item keeps it.

    Losses are nested: with one seed, the items that lose a modality at a low
    rate also lose it at a higher one. Two modalities that all items have are
    taken from the same items if the seeds are the same, and independently of
    each other if they differ.

    It comes before transforms that build graphs from features, such as
    :class:`~pyg_ckd.transforms.ItemKNN`: ``Compose([MissingModality('text',
    0.3), ItemKNN()])``. The input is not changed, and neither is the global
    state of random numbers.

    Args:
        modality (str): The modality to take.
        rate (float): The share of the items that lose it, in :math:`[0, 1)`.
        pattern (str, optional): Which items lose it. ``"random"``: any with
            equal chance; ``"tail"``: those with the fewest training
            interactions, equal ones in random order.
            (default: :obj:`"random"`)
        seed (int, optional): The seed. (default: :obj:`0`)

    Raises:
        ValueError: If an argument is out of its range, if no item has the
            modality, or if its item-item graph exists already.

    Example:
        >>> data = HeteroData()
        >>> data['item'].x_text = torch.tensor([[1.0], [3.0], [5.0]])
        >>> data['user', 'rates', 'item'].edge_index = torch.tensor(
        ...     [[0, 0, 1], [0, 2, 2]])
        >>> item = MissingModality('text', 0.3, 'tail')(data)['item']
        >>> item.x_text.tolist(), item.has_text.tolist()
        ([[1.0], [3.0], [5.0]], [True, False, True])
    """

    def __init__(
        self,
        modality: str,
        rate: float,
        pattern: Literal['random', 'tail'] = 'random',
        seed: int = 0,
    ) -> None:
        name = self.__class__.__name__
        check_number(name, 'in [0, 1)', rate=rate)
        if pattern not in ('random', 'tail'):
            raise ValueError(
                f"'pattern' needs to be 'random' or 'tail' in '{name}' "
                f"(got '{pattern}')"
            )
        self.modality = modality
        self.rate = rate
        self.pattern = pattern
        self.seed = as_seed(name, seed)

    def forward(self, data: HeteroData) -> HeteroData:
        """Take the modality from items of ``data``."""
        data = copy.copy(check_features(data))
        x, has = observed(self, data, self.modality)
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(has), generator=generator).to(has.device)
        if self.pattern == 'tail':
            item = data[RATES].edge_index[1:]
            check_ids(item, (len(has),))
            count = item[0].bincount(minlength=len(has))
            order = order[count[order].argsort(stable=True)]
        order = order[has[order]]
        num = min(round(self.rate * len(order)), len(order) - 1)

        has = has.clone()
        has[order[:num]] = False
        mean = x[has].mean(dim=0)
        data['item'][f'x_{self.modality}'] = torch.where(
            has.unsqueeze(1), x, mean
        )
        data['item'][f'has_{self.modality}'] = has
        return data

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}('{self.modality}', rate={self.rate}, "
            f"pattern='{self.pattern}', seed={self.seed})"
        )


def observed(
    transform: BaseTransform, data: HeteroData, modality: str
) -> tuple[Tensor, Tensor]:
    """Return the features of a modality, and which items have it.

    Args:
        transform: Who wants to change the features, for messages.
        data: The user-item graph.
        modality: The modality.

    Returns:
        Features of shape ``[num_items, num_features]`` and Booleans of shape
        ``[num_items]``.

    Raises:
        ValueError: If there is no such modality, if no item has it, or if an
            item-item graph was built from its features.
    """
    name = transform.__class__.__name__
    known = modalities(data)
    if modality not in known:
        raise ValueError(
            f"'{name}' got the modality '{modality}', but the items have "
            f'{known}'
        )
    for maker, of_modality in data.graphs if 'graphs' in data else ():
        if of_modality == modality:
            raise ValueError(
                f"'{name}' changes the features of '{modality}' that "
                f'{maker} has built a graph from. Put it before that transform'
            )
    x = data['item'][f'x_{modality}']
    has = data['item'].get(f'has_{modality}')
    if has is None:
        has = torch.ones(len(x), dtype=torch.bool, device=x.device)
    if not has.any():
        raise ValueError(f"'{name}' found no item that has '{modality}'")
    return x, has
