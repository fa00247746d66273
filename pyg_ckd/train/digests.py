"""What tells the data of a training from others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.graph import RATED_BY, RATES, fingerprint, modalities

_PLAIN = (np.ndarray, np.generic, list, tuple, str, int, float)


def digest(data: HeteroData) -> str:
    """Return a hash of what all training depends on, validation included.

    Args:
        data: The user-item graph.
    """
    whole = hashlib.sha256(fingerprint(data).encode())
    held_out = data[RATES].get('val_edge_label_index')
    if held_out is not None:
        whole.update(held_out.cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()


def digest_of_all(data: HeteroData) -> str:
    """Return a hash of :func:`digest` and what else a model may read.

    Args:
        data: The user-item graph.
    """
    whole = hashlib.sha256(digest(data).encode())
    for name, content in attributes(data):
        if not name.split()[-1].startswith('test_'):
            whole.update(content)
    return whole.hexdigest()


def attributes(data: HeteroData) -> Iterator[tuple[str, bytes]]:
    """Yield what :func:`digest` leaves out, by name and in its order.

    That are all tensors, arrays, lists, texts and numbers; not those of which
    :func:`digest` is, numbers of nodes, and what else there is, such as the
    graphs that transforms add.

    Args:
        data: The user-item graph.

    Example:
        >>> data = HeteroData()
        >>> data['item'].price = np.array([3])
        >>> [name for name, _ in attributes(data)]
        ['item price']
    """
    known: set[tuple[Any, str]] = {('item', f'x_{m}') for m in modalities(data)}
    known |= {(RATES, 'edge_index'), (RATED_BY, 'edge_index')}
    known |= {(RATES, 'val_edge_label_index')}
    found = {
        f'{store._key} {name}': value
        for store in data.stores
        for name, value in store.items()
        if name != 'num_nodes' and (store._key, name) not in known
    }
    for name, value in sorted(found.items()):
        if isinstance(value, Tensor):
            yield from _of_tensor(name, value)
        elif isinstance(value, _PLAIN):
            yield name, f'{name} '.encode() + b' '.join(_of_plain(value))


def _of_tensor(name: str, value: Tensor) -> Iterator[tuple[str, bytes]]:
    if value.layout is not torch.strided:
        entries = value.to_sparse_coo().coalesce()
        shape = tuple(value.shape)
        yield from _of_tensor(f'{name} indices {shape}', entries.indices())
        yield from _of_tensor(f'{name} values', entries.values())
        return
    raw = value.detach().cpu().reshape(-1).contiguous().view(torch.uint8)
    head = f'{name} {value.dtype} {tuple(value.shape)}'.encode()
    yield name, head + raw.numpy().tobytes()


def _of_plain(value: Any) -> Iterator[bytes]:
    """Yield the content of a value, of lists of any depth."""
    if isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
        yield f'{value.dtype} {value.shape}'.encode() + value.tobytes()
    elif isinstance(value, np.ndarray | list | tuple):
        yield f'[{len(value)}'.encode()
        for each in value:
            yield from _of_plain(each)
    elif isinstance(value, Tensor):
        yield from (content for _, content in _of_tensor('', value))
    else:
        yield repr(value).encode(errors='replace')
