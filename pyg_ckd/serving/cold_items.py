"""How well are items recommended that nobody has bought yet?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.raw.renumbered import rows_of
from pyg_ckd.graph import RATED_BY, RATES, check, modalities
from pyg_ckd.kernels.arguments import as_seed, is_number
from pyg_ckd.ranking import evaluate
from pyg_ckd.serving.new_items import with_new_items

LABELS = ('val_edge_label_index', 'test_edge_label_index')


@dataclass(frozen=True, eq=False)
class ColdItems:
    """A data set whose items are held out in part, with all who have them.

    A model is trained on what is left, ``cold.warm``, meets the others by
    their features alone, and is judged by the users who have them.

    Args:
        warm (HeteroData): The graph without the cold items; item graphs have
            to be added anew.
        features (dict[str, Tensor]): The features of the cold items by
            modality, ``[num_cold, num_features]``.
        item (Tensor): Their ids in the whole data, ``[num_cold]``.
        has (dict[str, Tensor]): Which of them have a modality, for modalities
            that some items lack, ``[num_cold]``.
        test (Tensor): Users, and the places in ``item`` of what they have,
            ``[2, num_pairs]``; users who have no other item are left out.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import VBPR
        >>> data = FakeMultimodal(num_users=50, num_items=40)[0]
        >>> cold = ColdItems.of(data, share=0.25)
        >>> cold
        ColdItems(10 of 40 items)
        >>> model = VBPR.from_data(cold.warm, dim=4)
        >>> sorted(cold.evaluate(model, ks=(5,)))[:2]
        ['hit_ratio@5', 'map@5']
    """

    warm: HeteroData
    features: Mapping[str, Tensor]
    has: Mapping[str, Tensor]
    item: Tensor
    test: Tensor

    @classmethod
    def of(
        cls, data: HeteroData, share: float = 0.2, seed: int = 0
    ) -> ColdItems:
        """Hold out items at random.

        Args:
            data: The whole data.
            share: The share of the items.
            seed: The seed by which they are drawn.

        Raises:
            ValueError: If ``share`` is not between 0 and 1, ``seed`` is no
                whole number from 0 on, or the items have no modality.
        """
        seed = as_seed(cls.__name__, seed)
        data = check(data)
        if not is_number(share) or not 0 < share < 1:
            raise ValueError(f"'share' needs to be in (0, 1) (got {share!r})")
        if not modalities(data):
            raise ValueError('Items without features cannot be told apart')
        num_items = data['item'].num_nodes
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(num_items, generator=generator)
        cold = order[: max(1, math.floor(share * num_items))].sort().values
        place = torch.full((num_items,), -1)
        place[cold] = torch.arange(len(cold))
        warm = _without(data, cold)
        pairs = [data[RATES].get(name) for name in LABELS]
        pairs.append(_to_predict(data))
        every = torch.cat([p for p in pairs if p is not None], dim=1)
        user, item = every.unique(dim=1)
        trained = torch.zeros(data['user'].num_nodes, dtype=torch.bool)
        trained[warm[RATES].edge_index[0]] = True
        kept = (place[item] >= 0) & trained[user]
        return cls(
            warm,
            {m: data['item'][f'x_{m}'][cold] for m in modalities(data)},
            {
                m: data['item'][f'has_{m}'][cold]
                for m in modalities(data)
                if f'has_{m}' in data['item']
            },
            cold,
            torch.stack([user[kept], place[item[kept]]]),
        )

    def evaluate(
        self,
        model: nn.Module,
        ks: Sequence[int] = (20,),
        *,
        warm: HeteroData | None = None,
        among_all: bool = False,
    ) -> dict[str, float]:
        """Return how well a model recommends the cold items.

        Args:
            model: A model of this library that was trained on ``warm``.
            ks: The lengths of lists.
            warm: ``self.warm`` as the model was trained on it, such as with
                item graphs.
            among_all: Whether lists hold all items; only the cold ones by
                default, as on a shelf of novelties.

        Raises:
            ValueError: See :func:`with_new_items`.
        """
        data = self.warm if warm is None else warm
        names = [f'cold {place}' for place in range(len(self.item))]
        bigger, grown = with_new_items(
            model,
            data,
            self.features,
            names if 'name' in data['item'] else None,
            names if 'title' in data['item'] else None,
            has=self.has,
        )
        first = data['item'].num_nodes
        user, place = self.test
        grown[RATES].test_edge_label_index = torch.stack([user, place + first])
        candidates = None
        if not among_all:
            candidates = torch.arange(first, first + len(self.item))
        return evaluate(
            bigger, grown, split='test', ks=ks, candidates=candidates
        )

    def __repr__(self) -> str:
        num_cold = len(self.item)
        num_items = num_cold + self.warm['item'].num_nodes
        return f'ColdItems({num_cold} of {num_items} items)'


def _to_predict(data: HeteroData) -> Tensor:
    """Return the training interactions of the largest weight."""
    pairs: Tensor = data[RATES].edge_index
    weight = data[RATES].get('edge_weight')
    return pairs if weight is None else pairs[:, weight == weight.max()]


def _without(data: HeteroData, cold: Tensor) -> HeteroData:
    """Return a graph without some items, and without item graphs."""
    num_items = data['item'].num_nodes
    kept = torch.ones(num_items, dtype=torch.bool)
    kept[cold] = False
    number = kept.cumsum(0) - 1
    warm = HeteroData()
    for node in ('user', 'item'):
        for name, value in data[node].items():
            warm[node][name] = value
    warm['item'].num_nodes = int(kept.sum())
    rows = kept.nonzero().flatten()
    for name, value in data['item'].items():
        if name != 'num_nodes':
            warm['item'][name] = rows_of(value, rows, num_items)
    if 'edge_weight' in data[RATES]:
        is_warm = kept[data[RATES].edge_index[1]]
        warm[RATES].edge_weight = data[RATES].edge_weight[is_warm]
    for name in ('edge_index', *LABELS):
        pairs = data[RATES].get(name)
        if pairs is not None:
            user, item = pairs[:, kept[pairs[1]]]
            warm[RATES][name] = torch.stack([user, number[item]])
    if RATED_BY in data.edge_types:
        warm[RATED_BY].edge_index = warm[RATES].edge_index.flip(0)
    return check(warm)
