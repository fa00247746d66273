"""A synthetic data set with planted tastes and planted imbalance."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.raw.single_graph import SingleGraph
from pyg_ckd.kernels.arguments import as_seed, check_number, check_whole

#: By default text matters twice as much as the image, and is less noisy.
TASTE = {'image': 0.5, 'text': 1.0}
NOISE = {'image': 1.0, 'text': 0.25}
#: A user who does not look at all items sees so many for each that she picks.
SEEN = 5
#: The items that users of a block see together. Another number, another shop.
BLOCK = 2_000_000

Side = tuple[float, Tensor, Tensor]  # a weight, tastes of users, items


class FakeMultimodal(SingleGraph):
    r"""A made-up shop in which each modality tells about one side of taste.

    Each item has for each modality :math:`m` a hidden vector
    :math:`\mathbf{z}_{im}`, and each user a taste :math:`\mathbf{t}_{um}`, all
    standard normal of size :math:`r`. A user picks her items by the highest

    .. math::
        s \sum_m \frac{a_m}{\sqrt{r}} \langle \mathbf{t}_{um},
        \mathbf{z}_{im} \rangle + b \, p_i + g_{ui}

    with popularity :math:`p_i \sim \mathcal{N}(0, 1)` and :math:`g_{ui}` of
    the standard Gumbel distribution. This is a choice among all items in
    proportion to :math:`\exp` of the rest, so that :math:`b` is the standard
    deviation of a log-normal popularity. The features of a modality show its
    side of the items, mixed and blurred:

    .. math::
        \mathbf{x}_{im} = \mathbf{M}_m \mathbf{z}_{im} / \sqrt{r} + \sigma_m
        \boldsymbol{\varepsilon}_{im}

    With ``activity`` the numbers of interactions of users are log-normal, too:
    a few do much of what is done. A user then does not look at all items, but
    at five for each that she picks, drawn by popularity, and at three drawn
    without; those that she sees several times count once, and if too few are
    left she picks fewer. Time and memory are linear in interactions.

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
        activity (float, optional): How much users differ in their number of
            interactions: the standard deviation of its logarithm, with
            ``num_interactions`` on average and at least 3. Training splits of
            Amazon Baby and Last.fm have about 0.5, and 0.9 to 1.1 for items.
            If it is :obj:`None`, users have the same number and look at all
            items. (default: :obj:`None`)
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
        activity: float | None = None,
        transform: Callable[[Any], Any] | None = None,
        pre_transform: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(None, transform)
        if set(taste) != set(noise):
            raise ValueError(
                f"'taste' and 'noise' need the same modalities "
                f'(got {sorted(taste)} and {sorted(noise)})'
            )
        check_whole(
            self.__class__.__name__,
            num_users=num_users,
            num_items=num_items,
            num_interactions=num_interactions,
            num_channels=num_channels,
            rank=rank,
        )
        check_number(
            self.__class__.__name__,
            'at least 0',
            popularity=popularity,
            scale=scale,
            activity=0 if activity is None else activity,
            **{f'noise[{m!r}]': noise[m] for m in noise},
        )
        check_number(
            self.__class__.__name__,
            'any',
            **{f'taste[{m!r}]': taste[m] for m in taste},
        )
        seed = as_seed(self.__class__.__name__, seed)
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
        popular = popularity * normal(num_items)
        sides: list[Side] = []
        for m in taste:
            side, liked = normal(num_items, rank), normal(num_users, rank)
            sides.append((scale * taste[m], liked, side))
            mix = normal(rank, num_channels) / rank**0.5
            data['item'][f'x_{m}'] = side @ mix + noise[m] * normal(
                num_items, num_channels
            )
        if activity is None:
            train, val, test = _among_all(
                popular, sides, num_users, num_interactions, random
            )
        else:
            count = _log_normal(num_users, num_interactions, activity, random)
            count = count.clamp(3, num_items - 1)
            train, val, test = _among_seen(popular, sides, count, random)
        rates = data['user', 'rates', 'item']
        rates.edge_index = train
        rates.val_edge_label_index, rates.test_edge_label_index = val, test
        data['item', 'rated_by', 'user'].edge_index = train.flip(0)

        if pre_transform is not None:
            data = pre_transform(data)
        self.data, self.slices = self.collate([data])


def _among_all(
    popular: Tensor,
    sides: list[Side],
    num_users: int,
    num: int,
    random: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Let each user pick so many of all items, and split what she picks."""
    score = popular + torch.zeros(num_users, 1)
    for weight, liked, side in sides:
        score += weight * (liked @ side.t()) / side.size(1) ** 0.5
    score += _gumbel(score.shape, random)

    # Columns of a user's picks are in random order, then cut in three:
    item = score.topk(num).indices
    order = torch.rand(item.shape, generator=random).argsort(dim=1)
    item = item.gather(1, order)  # [num_users, num]
    held_out = max(1, num // 10)
    train, val = item[:, : -2 * held_out], item[:, -2 * held_out : -held_out]
    return _pairs(train), _pairs(val), _pairs(item[:, -held_out:])


def _among_seen(
    popular: Tensor,
    sides: list[Side],
    count: Tensor,
    random: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Let users pick ``count`` of the items they see, block by block."""
    limits = popular.double().softmax(0).cumsum(0)
    seen = SEEN * count + 3
    block = seen.cumsum(0) // BLOCK
    parts = []
    for users in torch.arange(len(count)).split(
        block.unique_consecutive(return_counts=True)[1].tolist()
    ):
        user, item = _seen(users, seen[users], limits, random)
        score = _gumbel(user.shape, random)
        for weight, liked, side in sides:
            alike = (liked[user] * side[item]).sum(dim=1)
            score += weight * alike / side.size(1) ** 0.5
        best = _place(user, -score) < count[user]
        user, item = user[best], item[best]

        # What a user picks is put in random order, then cut in three:
        place = _place(user, torch.rand(user.shape, generator=random))
        picked = torch.bincount(user - users[0])[user - users[0]]
        held_out = (picked // 10).clamp(min=1)
        pair = torch.stack([user, item])
        is_test, is_val = place < held_out, place < 2 * held_out
        parts.append(
            (pair[:, ~is_val], pair[:, is_val & ~is_test], pair[:, is_test])
        )
    train, val, test = (
        torch.cat(split, dim=1) for split in zip(*parts, strict=True)
    )
    return train, val, test


def _seen(
    users: Tensor, seen: Tensor, limits: Tensor, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw the items that users see, each once, in the order of users."""
    num_items = len(limits)
    user = users.repeat_interleave(seen)
    share = torch.rand(user.shape, generator=random, dtype=torch.double)
    item = torch.searchsorted(limits, share * limits[-1], right=True)
    # The last three are neighbours by number, lest a user sees fewer than 3:
    last = seen.cumsum(0) - 1
    first = torch.randint(num_items, users.shape, generator=random)
    for step in range(3):
        item[last - step] = first + step
    item %= num_items
    key = (user * num_items + item).sort().values.unique_consecutive()
    return key // num_items, key % num_items


def _place(user: Tensor, value: Tensor) -> Tensor:
    """Return how many values of the same user are lower; users are sorted."""
    low, high = value.aminmax()
    share = (value.double() - low) / (high - low + 1)  # in [0, 1)
    order = (user + share).argsort()
    count = user.unique_consecutive(return_counts=True)[1]
    start = (count.cumsum(0) - count).repeat_interleave(count)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order)) - start
    return place


def _log_normal(
    size: int, mean: float, deviation: float, random: torch.Generator
) -> Tensor:
    """Return whole numbers whose logarithms are about normal."""
    exponent = deviation * torch.randn(size, generator=random)
    shift = math.log(mean) - deviation**2 / 2
    return (exponent + shift).exp().round().long()


def _gumbel(size: torch.Size, random: torch.Generator) -> Tensor:
    uniform = torch.rand(size, generator=random)
    return -(-uniform.clamp(1e-9, 1 - 1e-7).log()).log()


def _pairs(item: Tensor) -> Tensor:
    """Return the pairs (user, item) of a table with a row a user."""
    user = torch.arange(item.size(0)).unsqueeze(1).expand_as(item)
    return torch.stack([user.flatten(), item.flatten()])
