"""Datasets in the folder format of LATTICE."""

from __future__ import annotations

import os
import os.path as osp
from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.formats.feature_files import (
    FEATURES,
    count_items,
    feature_files,
    read_features,
)
from pyg_ckd.datasets.formats.lattice import read_lattice
from pyg_ckd.datasets.graph_dataset import GraphDataset
from pyg_ckd.datasets.raw.graph_of_splits import graph_of_splits
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.renumbered import renumbered
from pyg_ckd.datasets.raw.row_numbers import check_highest
from pyg_ckd.kernels.arguments import check_whole

_VERSION = 2  # Of the processed files, to be raised when their content changes.


class LATTICEFolder(GraphDataset):
    r"""A dataset in the folder format of `"Mining Latent Structures for
    Multimedia Recommendation" <https://arxiv.org/abs/2104.09036>`_.

    MICRO, MMSSL and the authors of Counterfactual Knowledge Distillation use it
    as well. The folder ``root/name`` is read in place. It holds the splits
    ``<core>-core/train.json``, ``val.json`` and ``test.json``, or as MMSSL has
    them without a folder of their own, each a JSON object from users to lists
    of items, such as ``{"0": [4, 2], "1": []}``; and any number of feature
    matrices ``<modality>_feat.npy``, a row an item. Users and items are counted
    from 0. A user may be missing in a split. The graph has

    - ``data['item'].x_<modality>`` of shape ``[num_items, num_features]``;
    - ``data['user', 'rates', 'item'].edge_index``, the interactions of
      training, users of the files ascending and items in the order of their
      list, and its reverse ``data['item', 'rated_by', 'user'].edge_index``;
    - ``.val_edge_label_index`` and ``.test_edge_label_index`` of
      ``data['user', 'rates', 'item']``, in the same order;
    - ``data['user'].original_id`` and ``data['item'].original_id``, the numbers
      in the files.

    Users and items get new numbers at random, the same at each reading, since
    numbers may give the test set away, see :func:`~pyg_ckd.datasets.audit`.
    User 7 of the files is ``data['user'].original_id.argsort()[7]``. Whatever
    names users and items to people, and :func:`to_lattice`, has the numbers of
    the files.

    There are as many items as rows of features, or without features one more
    than the highest item. There is one user more than the highest user.

    Results are kept below ``processed_root/name/processed``, in one folder for
    each state of the raw files, each core and each ``pre_transform``. These
    folders can be deleted at any time.

    Args:
        root (str or PathLike): The directory that holds the folder.
        name (str): The name of the folder.
        core (int, optional): The number in the name of the folder of splits.
            LATTICE calls its split of cold items 0-core. By default the splits
            are those in the folder itself, or else in ``5-core``.
            (default: :obj:`None`)
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
            interactions, and how large a file of JSON may be. (default:
            ``Limits()``)

    Raises:
        FileNotFoundError: If a split is missing.
        PermissionError: If ``processed_root`` cannot be written.
        ValueError: If ``core`` is no whole number, a file is malformed or does
            not fit the others, a split is empty, or a user and an item are
            paired twice.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as root:
        ...     folder = Path(root, 'tiny', '5-core')
        ...     folder.mkdir(parents=True)
        ...     _ = (folder / 'train.json').write_text('{"1": [2], "0": [1]}')
        ...     _ = (folder / 'val.json').write_text('{"0": [2]}')
        ...     _ = (folder / 'test.json').write_text('{"0": [], "1": [0]}')
        ...     data = LATTICEFolder(root, 'tiny')[0]
        >>> user, item = data['user', 'rates', 'item'].edge_index
        >>> data['user'].original_id[user], data['item'].original_id[item]
        (tensor([0, 1]), tensor([1, 2]))
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        name: str,
        core: int | None = None,
        transform: Callable[[HeteroData], Any] | None = None,
        pre_transform: Callable[[HeteroData], Any] | None = None,
        processed_root: str | os.PathLike[str] | None = None,
        force_reload: bool = False,
        limits: Limits = Limits(),
    ) -> None:
        if core is not None:
            check_whole(self.__class__.__name__, 0, core=core)
        self.name = name
        self.limits = limits
        self.core = core
        self.processed_root = osp.expanduser(processed_root or root)
        super().__init__(root, transform, pre_transform, force_reload)

    @property
    def settings(self) -> tuple[int, int | None]:
        return _VERSION, self.core

    @property
    def raw_dir(self) -> str:
        return osp.join(self.root, self.name)

    @property
    def processed_parent(self) -> str:
        return osp.join(self.processed_root, self.name, 'processed')

    @property
    def split_files(self) -> list[str]:
        """The names of the files of training, validation and test."""
        names = ['train.json', 'val.json', 'test.json']
        core = self.core
        if core is None:
            if osp.isfile(osp.join(self.raw_dir, names[0])):
                return names
            core = 5
        return [osp.join(f'{core}-core', name) for name in names]

    @property
    def raw_file_names(self) -> list[str]:
        return [*self.split_files, *feature_files(self.raw_dir)]

    def download(self) -> None:
        train, val, test = self.split_files
        raise FileNotFoundError(
            f"'{self.raw_dir}' needs to hold the splits '{train}', '{val}' and "
            f"'{test}', and the features '<modality>{FEATURES}'. Download the "
            f'processed data of LATTICE (https://github.com/CRIPAC-DIG/LATTICE)'
            f", choose another 'core', or write these files yourself"
        )

    def build(self) -> HeteroData:
        split_paths, feature_paths = self.raw_paths[:3], self.raw_paths[3:]
        features = read_features(feature_paths)
        if features:
            limit = count_items(feature_paths, features)
            expected = (
                f'an integer counted from 0 and less than {limit}, the number '
                f"of rows in '{osp.basename(feature_paths[0])}'; write one row "
                f'for each item in all features'
            )
        else:
            limit = 2**63
            expected = 'a 64-bit integer counted from 0'
        splits = read_lattice(split_paths, limit, expected, self.limits)
        pairs = [
            [(user, item) for user in sorted(split) for item in split[user]]
            for split in splits
        ]
        user, item = torch.tensor(list(chain(*pairs))).t()
        where, highest_user = f"'{self.raw_dir}'", max(chain(*splits))
        check_highest(where, 'user', highest_user, len(item), self.limits)
        check_highest(where, 'item', int(item.max()), len(item), self.limits)
        sizes = torch.tensor([len(part) for part in pairs])
        data = graph_of_splits(
            user=user,
            item=item,
            label=torch.arange(3).repeat_interleave(sizes),
            num_users=highest_user + 1,
            num_items=limit if features else int(item.max()) + 1,
            features=features,
        )
        return renumbered(data)

    def __repr__(self) -> str:
        return f'{self.name}()'
