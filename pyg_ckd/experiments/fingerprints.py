"""What tells the data of an experiment from others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.graph import RATED_BY, RATES, interaction_keys, modalities
from pyg_ckd.train.validation import digest


def fingerprint(data: HeteroData) -> str:
    """Return a hash of all that training, validation and test depend on.

    Training interactions count in any order. So does each other tensor of the
    graph, which backbones may read, but not the graphs that transforms add.

    Args:
        data: The user-item graph.

    Returns:
        16 hexadecimal digits.
    """
    whole = hashlib.sha256(digest(data).encode())
    whole.update(repr(modalities(data)).encode())
    for name, value in sorted(_others(data), key=lambda pair: pair[0]):
        whole.update(f'{name} {value.dtype} {tuple(value.shape)}'.encode())
        raw = value.detach().cpu().reshape(-1).contiguous().view(torch.uint8)
        whole.update(raw.numpy().tobytes())
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


def _others(data: HeteroData) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors that `digest` leaves out."""
    known: set[tuple[Any, str]] = {('item', f'x_{m}') for m in modalities(data)}
    known |= {(RATES, 'edge_index'), (RATED_BY, 'edge_index')}
    known |= {(RATES, 'val_edge_label_index')}
    for store in data.stores:
        for name, value in store.items():
            if not isinstance(value, Tensor) or (store._key, name) in known:
                continue
            where = f'{store._key} {name}'
            if value.layout is torch.strided:
                yield where, value
            else:
                entries = value.to_sparse_coo().coalesce()
                yield f'{where} indices {tuple(value.shape)}', entries.indices()
                yield f'{where} values', entries.values()
