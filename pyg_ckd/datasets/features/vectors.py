"""Feature vectors of items."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyg_ckd.datasets.features.item_files import ItemFiles
from pyg_ckd.datasets.formats.feature_files import (
    first_bad,
    load_floats,
    problem_with,
)
from pyg_ckd.datasets.raw.limits import Limits


def read_vectors(
    path: str | os.PathLike[str],
    items: Sequence[str],
    ids: Sequence[str] = (),
    limits: Limits = Limits(),
) -> tuple[Tensor, Tensor]:
    """Return the vectors of items, from one ``.npy`` file each.

    Args:
        path: A folder or zip archive of files ``<item>.npy``.
        items: The items to look for.
        ids: All items that there are, if it is known; a file of none of them
            is warned of, see :meth:`ItemFiles.compare_ids`.
        limits: The most bytes of a file, and of an archive, unpacked.
            (default: ``Limits()``)

    Returns:
        The vectors, ``float32`` of shape ``[len(items), num_features]``, with
        zeros for items that have none; and which items have one.

    Raises:
        FileNotFoundError: If there is no such folder or archive.
        ValueError: If a file is not a vector of finite floating point numbers
            or larger than the limits, or two have different lengths.
    """
    files = ItemFiles(path, {'.npy'}, limits)
    files.compare_ids(items, ids)
    has = [item in files for item in items]
    known = [item for item in items if item in files]
    vectors = [_read_vector(files, item) for item in known]
    width = len(vectors[0]) if vectors else 0
    for item, vector in zip(known, vectors, strict=True):
        if len(vector) != width:
            raise ValueError(
                f"'{files.where(item)}' has {len(vector)} numbers, but "
                f"'{files.where(known[0])}' has {width}; all vectors of a "
                f'modality need the same length'
            )
    x = np.zeros((len(items), width), dtype=np.float32)
    if vectors:
        x[has] = vectors
    return torch.from_numpy(x), torch.tensor(has)


def read_rows(
    path: str, ids: Sequence[str], items: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Return the vectors of items, from a ``.npy`` matrix of all.

    Args:
        path: The file.
        ids: The item of each row. The first of two rows of an item counts.
        items: The items to look for.

    Returns:
        As :func:`read_vectors`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a matrix of floating point numbers with a
            row for each of ``ids``, or not finite in the row of one of
            ``items``.
    """
    matrix = load_floats(path, ['num_items', 'num_features'])
    if len(matrix) != len(ids):
        raise ValueError(
            f"'{path}' has {len(matrix)} rows, expected {len(ids)}: one for "
            f"each row of 'items'"
        )
    row_of: dict[str, int] = {}
    for row, item in enumerate(ids):
        row_of.setdefault(item, row)
    x = np.zeros((len(items), matrix.shape[1]), dtype=np.float32)
    for i, item in enumerate(items):
        if item in row_of:
            x[i] = matrix[row_of[item]]
            if first_bad(x[[i]]) is not None:
                remedy = (
                    "remove that row here and in 'items', or replace its "
                    'missing values'
                )
                raise ValueError(
                    f"'{path}', row {row_of[item]} (counted from 0), of item "
                    f"'{item}': {problem_with(x[i], remedy)}"
                )
    return torch.from_numpy(x), torch.tensor([i in row_of for i in items])


def is_matrix(path: str) -> bool:
    """Return whether vectors are in one matrix, by the name of the file.

    Example:
        >>> is_matrix('audio.npy'), is_matrix('audio.zip')
        (True, False)
    """
    return path.lower().endswith('.npy')


def _read_vector(files: ItemFiles, item: str) -> NDArray[np.float32]:
    path, file = files.where(item), io.BytesIO(files.read(item))
    vector = load_floats(path, ['num_features'], file)
    if first_bad(vector[None]) is not None:
        remedy = 'remove it, or replace its missing values'
        raise ValueError(f"'{path}': {problem_with(vector, remedy)}")
    return vector
