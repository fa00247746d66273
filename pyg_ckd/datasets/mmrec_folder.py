"""Datasets in the preprocessed folder format of MMRec."""

from __future__ import annotations

import os
import os.path as osp
from collections.abc import Callable
from typing import Any

import torch
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.formats.feature_files import (
    FEATURES,
    count_items,
    feature_files,
    read_features,
)
from pyg_ckd.datasets.formats.mmrec import read_mmrec, refuse
from pyg_ckd.datasets.graph_dataset import GraphDataset
from pyg_ckd.datasets.raw.graph_of_splits import graph_of_splits
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.renumbered import renumbered
from pyg_ckd.datasets.raw.row_numbers import check_highest

_VERSION = 3  # Of the processed files, to be raised when their content changes.


class MMRecFolder(GraphDataset):
    r"""A dataset in the preprocessed folder format of `"MMRec: Simplifying
    Multimodal Recommendation" <https://arxiv.org/abs/2302.03497>`_.

    The folder ``root/name`` is read in place. It holds the interactions
    ``name.inter``, a tab-separated table whose header names the columns
    ``userID``, ``itemID``, ``x_label`` (0: train, 1: validation, 2: test) and
    optionally ``rating`` and ``timestamp``, in any order; and any number of
    feature matrices ``<modality>_feat.npy``, a row an item. The graph has

    - ``data['item'].x_<modality>`` of shape ``[num_items, num_features]``;
    - ``data['user', 'rates', 'item'].edge_index``, the interactions of
      training in the order of the file, with ``.rating`` and ``.time`` where
      known, and its reverse ``data['item', 'rated_by', 'user'].edge_index``;
    - ``.val_edge_label_index`` and ``.test_edge_label_index`` of
      ``data['user', 'rates', 'item']``;
    - ``data['user'].original_id`` and ``data['item'].original_id``, the numbers
      in the files.

    Users and items get new numbers at random, the same at each reading, since
    those of MMRec give the test set away, see
    :func:`~pyg_ckd.datasets.audit`. User 7 of the files is
    ``data['user'].original_id.argsort()[7]``. Whatever names users and items
    to people, and :func:`to_mmrec`, has the numbers of the files.

    Results are kept below ``processed_root/name/processed``, in one folder for
    each state of the raw files and each ``pre_transform``. These folders can be
    deleted at any time.

    Args:
        root (str or PathLike): The directory that holds the folder.
        name (str): The name of the folder.
        transform (callable, optional): Applied to the graph at every access.
            (default: :obj:`None`)
        pre_transform (callable, optional): Applied to the graph before it is
            saved. Its ``repr`` has to name all its arguments: that is how a
            saved result is found again. A plain function, which has no such
            ``repr``, is applied anew every time. (default: :obj:`None`)
        processed_root (str or PathLike, optional): The directory to save
            results in. (default: ``root``)
        force_reload (bool, optional): Whether to ignore what has been saved.
            (default: :obj:`False`)
        limits (Limits, optional): How far ids may be beyond the number of
            interactions, and how large lines may be. (default: ``Limits()``)

    Raises:
        FileNotFoundError: If there is no file ``root/name/name.inter``.
        PermissionError: If ``processed_root`` cannot be written.
        ValueError: If a file is malformed or does not fit the others, a split
            is empty, or a user and an item are paired twice.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as root:
        ...     folder = Path(root, 'tiny')
        ...     folder.mkdir()
        ...     np.save(folder / 'text_feat.npy', np.eye(2, 4))
        ...     _ = (folder / 'tiny.inter').write_text(
        ...         'userID\titemID\tx_label\n'
        ...         '0\t1\t0\n'
        ...         '0\t0\t1\n'
        ...         '1\t1\t2\n'
        ...     )
        ...     data = MMRecFolder(root, 'tiny')[0]
        >>> user, item = data['user', 'rates', 'item'].edge_index
        >>> data['user'].original_id[user], data['item'].original_id[item]
        (tensor([0]), tensor([1]))
        >>> data['item'].x_text.shape
        torch.Size([2, 4])
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
        return [f'{self.name}.inter', *feature_files(self.raw_dir)]

    def download(self) -> None:
        raise FileNotFoundError(
            f"'{self.raw_dir}' needs to hold the interactions "
            f"'{self.name}.inter' and the features '<modality>{FEATURES}'. "
            f'Download the preprocessed data of MMRec '
            f'(https://github.com/enoche/MMRec), or write these files yourself'
        )

    def build(self) -> HeteroData:
        path, *feature_paths = self.raw_paths
        table = read_mmrec(path, self.limits)
        features = read_features(feature_paths)
        item = table['itemID']
        for name in ('userID', 'itemID'):
            row = int(table[name].argmax())
            where = f"'{path}', line {row + 2}"
            highest = int(table[name][row])
            check_highest(where, name, highest, len(item), self.limits)
        if features:
            num_items = count_items(feature_paths, features)
            expected = (
                f'less than {num_items}, the number of rows in '
                f"'{osp.basename(feature_paths[0])}'; write one row for each "
                f'item in all features'
            )
            refuse(path, 'itemID', item, item >= num_items, expected)
        else:
            num_items = int(item.max()) + 1
        columns = {name: torch.from_numpy(table[name]) for name in table}
        data = graph_of_splits(
            user=columns['userID'],
            item=columns['itemID'],
            label=columns['x_label'],
            num_users=int(table['userID'].max()) + 1,
            num_items=num_items,
            features=features,
            rating=columns.get('rating'),
            time=columns.get('timestamp'),
        )
        return renumbered(data)

    def __repr__(self) -> str:
        return f'{self.name}()'
