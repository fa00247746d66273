"""The interactions of each split of a graph."""

from __future__ import annotations

import warnings

from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.graph import RATES, check


def splits_of(data: HeteroData) -> dict[str, Tensor]:
    """Return the interactions of each split, none of them empty.

    They are for formats without weights and cold items, which warnings say.
    """
    splits = {}
    for split, key in (
        ('train', 'edge_index'),
        ('val', 'val_edge_label_index'),
        ('test', 'test_edge_label_index'),
    ):
        pairs = data[RATES].get(key)
        if pairs is None or 0 in pairs.shape:
            raise ValueError(
                f"'data[{RATES}].{key}' is missing or empty; split the "
                f'interactions into training, validation and test first'
            )
        splits[split] = key
    rates = check(data)[RATES]
    if 'edge_weight' in rates:
        warnings.warn(
            'The format has no weights of interactions: whoever reads the '
            "files trains on all alike. Leave out those of 'edge_weight' below "
            '1 first, if that is not wanted',
            stacklevel=3,
        )
    if 'cold' in data['item']:
        warnings.warn(
            "The format does not tell cold items, data['item'].cold: whoever "
            'reads the files draws negatives among them, if it keeps them',
            stacklevel=3,
        )
    return {split: rates[key].cpu() for split, key in splits.items()}
