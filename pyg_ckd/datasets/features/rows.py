"""Features by item, put in the order of the items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pyg_ckd.datasets.raw.ids import Ids


def features_of(
    features: Any, ids: Ids, num_items: int | None
) -> tuple[dict[str, Any], int | None]:
    """Return features in the order of the items, and the number of items.

    Args:
        features: For each modality a matrix, a table or a mapping.
        ids: The items of interactions.
        num_items: The number of items, if it is known.

    Returns:
        For each modality a matrix, and the number of items, if it is known
        now.

    Raises:
        ValueError: If the order of rows is not known, or one is missing.
    """
    if features is None:
        return {}, num_items
    if not isinstance(features, Mapping) or isinstance(features, pd.DataFrame):
        raise ValueError(
            f"'features' needs to be a mapping from modalities to features "
            f'(got a {type(features).__name__}); name the modality: '
            f"features={{'text': ...}}"
        )
    out = {}
    for name, value in features.items():
        if isinstance(value, pd.DataFrame | Mapping):
            if ids.names is None and num_items is None:
                num_items = len(value)
            out[name] = rows(name, value, ids.names or range(num_items or 0))
            continue
        if ids.names is not None:
            raise ValueError(
                f'features[{name!r}] does not say which row belongs to which '
                f"item, but 'items' are names; pass a DataFrame indexed by "
                f'name, or a mapping from names to vectors'
            )
        if num_items is None and np.ndim(value) > 0:
            num_items = len(value)
        out[name] = np.array(value) if isinstance(value, list) else value
    return out, num_items


def rows(name: str, value: Any, items: Sequence[Any]) -> Any:
    """Return the features of items, one row each.

    Args:
        name: The modality, for messages.
        value: A table indexed by item, or a mapping from items to vectors.
        items: The items.

    Raises:
        ValueError: If an item has none, a table names one twice, or vectors
            have different lengths.

    Example:
        >>> rows('text', {'tea': [1.0], 'cup': [2.0]}, ['cup', 'tea'])
        array([[2.],
               [1.]])
    """
    where = f'features[{name!r}]'
    known = value.index if isinstance(value, pd.DataFrame) else value
    for item in items:
        if item not in known:
            raise ValueError(
                f'{where} has no row for the item {item!r}; add it, or leave '
                f'out the interactions of this item'
            )
    if isinstance(value, pd.DataFrame):
        if value.index.has_duplicates:
            item = value.index[value.index.duplicated()][0]
            raise ValueError(
                f'{where} has several rows for the item {item!r}; leave all '
                f'but one out'
            )
        for label, dtype in value.dtypes.items():
            if not pd.api.types.is_numeric_dtype(dtype):
                raise ValueError(
                    f'{where} has the column {label!r} of {dtype}, expected '
                    f'numbers; leave it out, and index the table by item'
                )
        return value.loc[list(items)].to_numpy(dtype=np.float64)
    vectors = [_vector(value[item]) for item in items]
    for item, vector in zip(items, vectors, strict=True):
        if vector.dtype.kind in 'USO':
            raise ValueError(
                f'{where} holds text or objects for the item {item!r}, '
                f'expected numbers; encode it first, such as by '
                f'pyg_ckd.datasets.TextEncoder, or use Catalogue'
            )
        if vector.ndim != 1 or vector.shape != vectors[0].shape:
            raise ValueError(
                f'{where} has the shape {list(vector.shape)} for the item '
                f'{item!r} and {list(vectors[0].shape)} for {items[0]!r}; all '
                f'need to be vectors of the same length'
            )
    return np.stack(vectors)


def _vector(value: Any) -> Any:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        if value.dtype == torch.bfloat16:  # NumPy does not know it
            value = value.float()
        return value.numpy()
    return np.asarray(value)
