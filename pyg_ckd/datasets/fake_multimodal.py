"""A synthetic data set with planted tastes and planted imbalance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.raw.single_graph import SingleGraph

#: By default text matters twice as much as the image, and is less noisy.
TASTE = {'image': 0.5, 'text': 1.0}
NOISE = {'image': 1.0, 'text': 0.25}


class FakeMultimodal(SingleGraph):
    r"""A made-up shop in which each modality tells about one side of taste.

    Each item has for each modality :math:`m` a hidden vector
    :math:`\mathbf{z}_{im}`, and each user a taste :math:`\mathbf{t}_{um}`, all
    standard normal of size :math:`r`. A user picks her items by the highest

    .. math::
        s \sum_m \frac{a_m}{\sqrt{r}} \langle \mathbf{t}_{um},
        \mathbf{z}_{im} \rangle + b \, p_i + g_{ui}

    with popularity :math:`p_i \sim \mathcal{N}(0, 1)` and :math:`g_{ui}` of
    the standard Gumbel distribution. The features of a modality show its side
    of the items, mixed and blurred:

    .. math::
        \mathbf{x}_{im} = \mathbf{M}_m \mathbf{z}_{im} / \sqrt{r} + \sigma_m
        \boldsymbol{\varepsilon}_{im}

    The sides are independent, so that each modality is informative beyond the
    others. One with large :math:`a_m` and small :math:`\sigma_m` is strong and
    quick to learn; trained jointly, it leaves the others behind. Interactions
    of a user are split at random: a tenth (at least one) each for validation
    and test.

    Args:
        num_users (int, optional): The number of users.
            (default: :obj:`1000`)
        num_items (int, optional): The number of items. (default: :obj:`500`)
        num_interactions (int, optional): The number of interactions of each
            user. (default: :obj:`12`)
        taste (dict[str, float], optional): How much each modality matters,
            :math:`a_m`. It names the modalities.
            (default: :obj:`{'image': 0.5, 'text': 1.0}`)
        noise (dict[str, float], optional): How blurred the features of each
            modality are, :math:`\sigma_m`.
            (default: :obj:`{'image': 1.0, 'text': 0.25}`)
        num_channels (int, optional): The number of features of each modality.
            (default: :obj:`32`)
        rank (int, optional): The size :math:`r` of tastes.
            (default: :obj:`8`)
        popularity (float, optional): How much popularity matters, :math:`b`.
            (default: :obj:`0.5`)
        scale (float, optional): How much tastes matter beside chance,
            :math:`s`. (default: :obj:`3.0`)
        seed (int, optional): The seed. (default: :obj:`0`)
        transform (callable, optional): As in PyG.
        pre_transform (callable, optional): As in PyG.

    Raises:
        ValueError: If a number is out of range, or ``taste`` and ``noise``
            name different modalities.

    Example:
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> data['item'].x_text.shape
        torch.Size([10, 32])
    """

    def __init__(
        self,
        num_users: int = 1000,
        num_items: int = 500,
        num_interactions: int = 12,
        taste: Mapping[str, float] = TASTE,
        noise: Mapping[str, float] = NOISE,
        num_channels: int = 32,
        rank: int = 8,
        popularity: float = 0.5,
        scale: float = 3.0,
        seed: int = 0,
        transform: Callable[[Any], Any] | None = None,
        pre_transform: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(None, transform)
        if set(taste) != set(noise):
            raise ValueError(
                f"'taste' and 'noise' need the same modalities "
                f'(got {sorted(taste)} and {sorted(noise)})'
            )
        for name, value, least in (
            ('num_users', num_users, 1),
            ('num_channels', num_channels, 1),
            ('rank', rank, 1),
            *((f'noise[{m!r}]', noise[m], 0) for m in noise),
        ):
            if value < least:
                raise ValueError(
                    f"'{name}' needs to be at least {least} in "
                    f"'{self.__class__.__name__}' (got {value})"
                )
        num_interactions = min(num_interactions, num_items - 1)
        if num_interactions < 3:
            raise ValueError(
                f'A user needs at least 3 interactions, one for each split, '
                f"and one item more in '{self.__class__.__name__}' (got "
                f'num_items={num_items}, num_interactions={num_interactions})'
            )
        random = torch.Generator().manual_seed(seed)

        def normal(*size: int) -> Tensor:
            return torch.randn(size, generator=random)

        data = HeteroData()
        data['user'].num_nodes = num_users
        data['item'].num_nodes = num_items
        score = popularity * normal(num_items) + torch.zeros(num_users, 1)
        for m in taste:
            side, liked = normal(num_items, rank), normal(num_users, rank)
            score += scale * taste[m] * (liked @ side.t()) / rank**0.5
            mix = normal(rank, num_channels) / rank**0.5
            data['item'][f'x_{m}'] = side @ mix + noise[m] * normal(
                num_items, num_channels
            )
        uniform = torch.rand(score.shape, generator=random)
        score -= (-uniform.clamp(1e-9, 1 - 1e-7).log()).log()

        # Columns of a user's picks are in random order, then cut in three:
        item = score.topk(num_interactions).indices
        order = torch.rand(item.shape, generator=random).argsort(dim=1)
        item = item.gather(1, order)  # [num_users, num_interactions]
        held_out = max(1, num_interactions // 10)
        rates = data['user', 'rates', 'item']
        rates.edge_index = _pairs(item[:, : -2 * held_out])
        rates.val_edge_label_index = _pairs(item[:, -2 * held_out : -held_out])
        rates.test_edge_label_index = _pairs(item[:, -held_out:])
        data['item', 'rated_by', 'user'].edge_index = rates.edge_index.flip(0)

        if pre_transform is not None:
            data = pre_transform(data)
        self.data, self.slices = self.collate([data])


def _pairs(item: Tensor) -> Tensor:
    """Return the pairs (user, item) of a table with a row a user."""
    user = torch.arange(item.size(0)).unsqueeze(1).expand_as(item)
    return torch.stack([user.flatten(), item.flatten()])
