"""Feature matrices ``<modality>_feat.npy``, as MMRec and LATTICE keep them."""

from __future__ import annotations

import os
import os.path as osp
from collections.abc import Sequence
from typing import IO, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import ModuleDict, ParameterDict
from torch_geometric.data import HeteroData

from pyg_ckd.graph import modalities

FEATURES = '_feat.npy'


def feature_files(folder: str) -> list[str]:
    """Return the names of the feature files in a folder, sorted by modality."""
    if not osp.isdir(folder):
        return []
    names = [name for name in os.listdir(folder) if name.endswith(FEATURES)]
    return sorted(names, key=lambda name: name.removesuffix(FEATURES))


def read_features(paths: Sequence[str]) -> dict[str, Tensor]:
    """Return the matrix of each file, of shape ``[num_items, num_features]``.

    Args:
        paths: Files ``<modality>_feat.npy``.

    Raises:
        ValueError: If a file is not a complete, finite matrix of floating
            point numbers, or its modality cannot name an attribute.
    """
    return {_modality(path): _read(path) for path in paths}


def count_items(folder: str, features: dict[str, Tensor]) -> int:
    """Return the number of items, on which all features have to agree."""
    (first, num_items), *others = ((m, len(x)) for m, x in features.items())
    for other, num_rows in others:
        if num_rows != num_items:
            raise ValueError(
                f"'{folder}': '{first}{FEATURES}' has {num_items} rows, but "
                f"'{other}{FEATURES}' has {num_rows}; write one row for each "
                f'item in both'
            )
    return num_items


def load_floats(
    path: str, shape: Sequence[str], file: IO[bytes] | None = None
) -> NDArray[np.float32]:
    """Return the array in a ``.npy`` file, as ``float32``.

    Args:
        path: The file.
        shape: The names of its dimensions, such as ``['num_features']``.
        file: The file once it is open, such as one in an archive.
            (default: ``None``)

    Raises:
        ValueError: If the file does not hold a complete array of floating point
            numbers with as many dimensions.
    """
    mmap_mode: Literal['r'] | None = 'r' if file is None else None
    try:
        array = np.load(file or path, mmap_mode, allow_pickle=False)
    except Exception as error:  # NumPy raises many kinds on a corrupt file.
        raise ValueError(
            f"'{path}' is not a complete '.npy' file of numbers ({error}); "
            f'write it anew by `numpy.save`'
        ) from error
    if not isinstance(array, np.ndarray) or array.ndim != len(shape):
        raise ValueError(
            f"'{path}' needs to hold one array of shape [{', '.join(shape)}] "
            f'(got {getattr(array, "shape", "an archive")})'
        )
    if array.dtype.type not in (np.float16, np.float32, np.float64):
        raise ValueError(
            f"'{path}' holds '{array.dtype}', expected 'float16', 'float32' or "
            f"'float64'; convert it by `array.astype('float32')`"
        )
    with np.errstate(over='ignore'):  # To infinity, which callers refuse.
        return np.array(array, dtype=np.float32, order='C')


def write_features(data: HeteroData, folder: str) -> None:
    """Write the features of each modality into a folder, as ``float32``."""
    for modality in modalities(data):
        x = data['item'][f'x_{modality}'].detach().cpu().to(torch.float32)
        np.save(osp.join(folder, f'{modality}{FEATURES}'), x.numpy())


def check_modality(name: str) -> str | None:
    """Return why a name cannot be that of a modality, or ``None``."""
    # PyTorch keeps one module or parameter a modality, under its name:
    if hasattr(ModuleDict(), name) or hasattr(ParameterDict(), name):
        return 'is reserved by PyTorch'
    return None if name.isidentifier() else 'is not an identifier'


def _modality(path: str) -> str:
    name = osp.basename(path).removesuffix(FEATURES)
    reason = check_modality(name)
    if reason:
        raise ValueError(
            f"'{path}': the modality '{name}' {reason}; rename the file"
        )
    return name


def _read(path: str) -> Tensor:
    x = load_floats(path, ['num_items', 'num_features'])
    is_finite = np.isfinite(x).all(axis=1)
    if not is_finite.all():
        raise ValueError(
            f"'{path}', row {is_finite.argmin()} (counted from 0, as itemID): "
            f"not finite as 'float32'; replace missing values, e.g. by the "
            f'mean of the other rows'
        )
    return torch.from_numpy(x)
