"""Data sets by the names that experiments know them by."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform, Compose

from pyg_ckd.datasets import FakeMultimodal, open_dataset

#: Synthetic data sets; `fake3` has three modalities, each weaker than the last.
FAKES: dict[str, dict[str, Any]] = {
    'fake': {},
    'fake3': {
        'taste': {'text': 1.0, 'image': 0.7, 'audio': 0.5},
        'noise': {'text': 0.25, 'image': 0.5, 'audio': 1.0},
    },
}


def opener(
    name: str,
    root: str | os.PathLike[str] = 'datasets',
    processed_root: str | os.PathLike[str] | None = None,
    before: BaseTransform | None = None,
) -> Callable[[BaseTransform | None], HeteroData]:
    """Return what opens a data set, as an experiment needs it.

    Args:
        name: ``"fake"``, ``"fake3"``, or what
            :func:`~pyg_ckd.datasets.open_dataset` finds below ``root``.
        root: The directory that holds the data set.
        processed_root: Where to keep what is processed.
        before: A transform that comes before those of backbones, such as one
            that changes features.

    Example:
        >>> opener('fake')(None)['user'].num_nodes
        1000
    """

    def open_with(transform: BaseTransform | None) -> HeteroData:
        steps = [step for step in (before, transform) if step is not None]
        pre_transform = Compose(steps) if steps else None
        if name in FAKES:
            return FakeMultimodal(**FAKES[name], pre_transform=pre_transform)[0]
        return open_dataset(
            root,
            name,
            pre_transform=pre_transform,
            processed_root=processed_root,
        )[0]

    return open_with
