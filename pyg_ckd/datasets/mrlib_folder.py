"""Datasets in the folder format of MRLib."""

from __future__ import annotations

import os
import os.path as osp
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.formats.feature_files import (
    FEATURES,
    check_modality,
    count_items,
    feature_files,
    read_features,
)
from pyg_ckd.datasets.formats.mmrec import refuse
from pyg_ckd.datasets.formats.mrlib import read_mrlib, read_tensors
from pyg_ckd.datasets.graph_dataset import GraphDataset
from pyg_ckd.datasets.raw.graph_of_splits import graph_of_splits
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.renumbered import renumbered
from pyg_ckd.datasets.raw.row_numbers import check_highest

_VERSION = 1  # Of the processed files, to be raised when their content changes.
_TENSORS = '_feat.pt'


class MRLibFolder(GraphDataset):
    r"""A dataset in the folder format of `MRLib
    <https://github.com/Jinfeng-Xu/Multimodal-Recommendation-Library>`_.

    The folder ``root/name`` is read in place. It holds the interactions
    ``inter.csv``, a table whose header names the columns ``user_id``,
    ``item_id``, ``label`` (0: training, 1: validation, 2: test, as in MMRec,
    on which MRLib is built) and optionally ``rating`` and ``timestamp``; and
    any number of feature matrices ``<modality>_feat.npy``, or
    ``<modality>_feat.pt`` of a tensor, a row an item. The graph is that of
    :class:`MMRecFolder`, with new numbers and ``original_id`` as well.

    Args:
        root (str or PathLike): The directory that holds the folder.
        name (str): The name of the folder.
        transform (callable, optional): As in :class:`GraphDataset`.
        pre_transform (callable, optional): As in :class:`GraphDataset`.
        processed_root (str or PathLike, optional): The directory to save
            results in. (default: ``root``)
        force_reload (bool, optional): As in :class:`GraphDataset`.
        limits (Limits, optional): How far ids may be beyond the number of
            interactions, and how large lines and tensors may be. (default:
            ``Limits()``)

    Raises:
        FileNotFoundError: If there is no file ``root/name/inter.csv``.
        PermissionError: If ``processed_root`` cannot be written.
        ValueError: If a file is malformed or does not fit the others, a split
            is empty, or a user and an item are paired twice.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as root:
        ...     folder = Path(root, 'tiny')
        ...     folder.mkdir()
        ...     torch.save(torch.eye(2, 4), folder / 'audio_feat.pt')
        ...     _ = (folder / 'inter.csv').write_text(
        ...         'user_id,item_id,rating,label\n'
        ...         '0,1,5,0\n'
        ...         '0,0,4,1\n'
        ...         '1,1,5,2\n'
        ...     )
        ...     data = MRLibFolder(root, 'tiny')[0]
        >>> data['item'].x_audio.shape
        torch.Size([2, 4])
        >>> user, item = data['user', 'rates', 'item'].edge_index
        >>> data['user'].original_id[user], data['item'].original_id[item]
        (tensor([0]), tensor([1]))
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        name: str,
        transform: Callable[[HeteroData], Any] | None = None,
        pre_transform: Callable[[HeteroData], Any] | None = None,
        processed_root: str | os.PathLike[str] | None = None,
        force_reload: bool = False,
        limits: Limits = Limits(),
    ) -> None:
        self.name = name
        self.limits = limits
        self.processed_root = osp.expanduser(processed_root or root)
        super().__init__(root, transform, pre_transform, force_reload)

    @property
    def settings(self) -> int:
        return _VERSION

    @property
    def raw_dir(self) -> str:
        return osp.join(self.root, self.name)

    @property
    def processed_parent(self) -> str:
        return osp.join(self.processed_root, self.name, 'processed')

    @property
    def raw_file_names(self) -> list[str]:
        names = os.listdir(self.raw_dir) if osp.isdir(self.raw_dir) else []
        tensors = sorted(name for name in names if name.endswith(_TENSORS))
        return ['inter.csv', *feature_files(self.raw_dir), *tensors]

    def download(self) -> None:
        raise FileNotFoundError(
            f"'{self.raw_dir}' needs to hold the interactions 'inter.csv' and "
            f"the features '<modality>{FEATURES}'. Download the data that "
            f'MRLib links (https://github.com/Jinfeng-Xu/Multimodal-'
            f'Recommendation-Library), or write these files yourself'
        )

    def build(self) -> HeteroData:
        path, *feature_paths = self.raw_paths
        table = read_mrlib(path, self.limits)
        features = self._read_features(feature_paths)
        item = table['item_id']
        num = {}
        for name in ('user_id', 'item_id'):
            row = int(table[name].argmax())
            highest = int(table[name][row])
            where = f"'{path}', line {row + 2}"
            check_highest(where, name, highest, len(item), self.limits)
            num[name] = highest + 1
        if features:
            num['item_id'] = count_items(feature_paths, features)
            expected = (
                f'less than {num["item_id"]}, the number of rows in '
                f"'{osp.basename(feature_paths[0])}'; write one row for each "
                f'item in all features'
            )
            refuse(path, 'item_id', item, item >= num['item_id'], expected)
        columns = {name: torch.from_numpy(table[name]) for name in table}
        data = graph_of_splits(
            user=columns['user_id'],
            item=columns['item_id'],
            label=columns['label'],
            num_users=num['user_id'],
            num_items=num['item_id'],
            features=features,
            rating=columns.get('rating'),
            time=columns.get('timestamp'),
        )
        return renumbered(data)

    def _read_features(self, paths: list[str]) -> dict[str, Tensor]:
        """Return the matrix of each modality, in the order of the files."""
        features = read_features([p for p in paths if p.endswith(FEATURES)])
        tensors = read_tensors(
            [p for p in paths if p.endswith(_TENSORS)], self.limits
        )
        for modality in tensors:
            reason = check_modality(modality)
            if modality in features:
                reason = f"is in '{modality}{FEATURES}' as well"
            if reason:
                raise ValueError(
                    f"'{self.raw_dir}': the modality of "
                    f"'{modality}{_TENSORS}' {reason}; rename or remove the "
                    f'file'
                )
        return features | tensors

    def __repr__(self) -> str:
        return f'{self.name}()'
