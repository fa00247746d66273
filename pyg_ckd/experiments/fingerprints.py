"""What tells the data of an experiment from others."""

from __future__ import annotations

import hashlib

from torch_geometric.data import HeteroData

from pyg_ckd.graph import RATES, interaction_keys, modalities
from pyg_ckd.train.digests import attributes, digest


def fingerprint(data: HeteroData) -> str:
    """Return a hash of all that training, validation and test depend on.

    Training interactions count in any order. So does all else that the graph
    holds and backbones may read: tensors, arrays, lists, texts and numbers,
    but not the graphs that transforms add.

    Args:
        data: The user-item graph.

    Returns:
        16 hexadecimal digits.
    """
    whole = hashlib.sha256(digest(data).encode())
    whole.update(repr(modalities(data)).encode())
    for _, content in attributes(data):
        whole.update(content)
    return whole.hexdigest()[:16]


def splits(data: HeteroData) -> str:
    """Return a hash of the interactions of all splits.

    Args:
        data: The user-item graph.
    """
    whole = hashlib.sha256(interaction_keys(data).cpu().numpy().tobytes())
    for name in ('val_edge_label_index', 'test_edge_label_index'):
        if name in data[RATES]:
            held_out = data[RATES][name].cpu().contiguous()
            whole.update(name.encode() + held_out.numpy().tobytes())
    return whole.hexdigest()[:16]
