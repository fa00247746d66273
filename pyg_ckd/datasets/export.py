"""Export of user-item graphs to the formats of other tools."""

from __future__ import annotations

import json
import os
import os.path as osp
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.feature_files import FEATURES
from pyg_ckd.datasets.files import not_written
from pyg_ckd.graph import RATES, check, modalities


def to_mmrec(data: HeteroData, folder: str | os.PathLike[str]) -> None:
    r"""Write a user-item graph as a folder of MMRec.

    A folder ``baby`` then holds ``baby.inter``, a tab-separated table of
    ``userID``, ``itemID`` and ``x_label`` (first training, 0, then validation,
    1, then test, 2, each in the order of the graph); and a file
    ``<modality>_feat.npy`` of ``float32`` for each modality.
    :class:`MMRecFolder` reads the same graph from it.

    The format has no place for which items lack a modality
    (``has_<modality>``), nor for trailing users without any interaction, or
    trailing items if there are no features. Ratings and times, which the graph
    knows for training only, are left out.

    Args:
        data (HeteroData): A user-item graph.
        folder (str or PathLike): The folder to create, of which nothing is
            there until all is written. Its name becomes that of the data.

    Raises:
        FileExistsError: If ``folder`` exists and is not an empty folder.
        ValueError: If the graph has no interactions of a split.
        OSError: If writing fails, such as on a full disk.

    Example:
        >>> import tempfile
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> with tempfile.TemporaryDirectory() as root:
        ...     to_mmrec(data, f'{root}/fake')
        ...     sorted(os.listdir(f'{root}/fake'))
        ['fake.inter', 'image_feat.npy', 'text_feat.npy']
    """
    parts = [
        np.column_stack([*pairs.numpy(), np.full(pairs.size(1), label)])
        for label, pairs in enumerate(_splits(data).values())
    ]
    with _new_folder(folder) as (path, name):
        np.savetxt(
            osp.join(path, f'{name}.inter'),
            np.concatenate(parts),
            fmt='%d',
            delimiter='\t',
            header='userID\titemID\tx_label',
            comments='',
        )
        _save_features(data, path)


def to_lattice(
    data: HeteroData, folder: str | os.PathLike[str], core: int = 5
) -> None:
    r"""Write a user-item graph as a folder of LATTICE.

    It then holds ``<core>-core/train.json``, ``val.json`` and ``test.json``,
    each a JSON object from all users, ascending, to their items in the order of
    the graph; and a file ``<modality>_feat.npy`` of ``float32`` for each
    modality. :class:`LATTICEFolder` reads the same graph from it, with
    interactions sorted by user.

    The format has no place for ratings, for times, for which items lack a
    modality (``has_<modality>``), nor for trailing items without any
    interaction if there are no features.

    Args:
        data (HeteroData): A user-item graph.
        folder (str or PathLike): The folder to create, of which nothing is
            there until all is written.
        core (int, optional): The number in the name of the folder of splits.
            (default: :obj:`5`)

    Raises:
        FileExistsError: If ``folder`` exists and is not an empty folder.
        ValueError: If the graph has no interactions of a split.
        OSError: If writing fails, such as on a full disk.

    Example:
        >>> import tempfile
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> with tempfile.TemporaryDirectory() as root:
        ...     to_lattice(data, f'{root}/fake')
        ...     sorted(os.listdir(f'{root}/fake'))
        ...     sorted(os.listdir(f'{root}/fake/5-core'))
        ['5-core', 'image_feat.npy', 'text_feat.npy']
        ['test.json', 'train.json', 'val.json']
    """
    splits = _splits(data)
    with _new_folder(folder) as (path, _):
        os.mkdir(osp.join(path, f'{core}-core'))
        for split, pairs in splits.items():
            items: dict[int, list[int]] = {
                user: [] for user in range(data['user'].num_nodes)
            }
            for user, item in pairs.t().tolist():
                items[user].append(item)
            with open(
                osp.join(path, f'{core}-core', f'{split}.json'), 'w'
            ) as f:
                json.dump(items, f)  # Which makes the keys strings.
        _save_features(data, path)


def _splits(data: HeteroData) -> dict[str, Tensor]:
    """Return the interactions of each split, none of them empty."""
    splits = {}
    for split, key in (
        ('train', 'edge_index'),
        ('val', 'val_edge_label_index'),
        ('test', 'test_edge_label_index'),
    ):
        pairs = data[RATES].get(key)
        if pairs is None or pairs.numel() == 0:
            raise ValueError(
                f"'data[{RATES}].{key}' is missing or empty; split the "
                f'interactions into training, validation and test first'
            )
        splits[split] = key
    rates = check(data)[RATES]
    return {split: rates[key].cpu() for split, key in splits.items()}


def _save_features(data: HeteroData, folder: str) -> None:
    for modality in modalities(data):
        x = data['item'][f'x_{modality}'].detach().cpu().to(torch.float32)
        np.save(osp.join(folder, f'{modality}{FEATURES}'), x.numpy())


@contextmanager
def _new_folder(folder: str | os.PathLike[str]) -> Iterator[tuple[str, str]]:
    """Open a temporary folder that takes the place of ``folder`` at the end.

    Returns the path of the temporary folder and the name of ``folder``.
    """
    folder = osp.abspath(osp.expanduser(folder))
    if osp.lexists(folder) and not (osp.isdir(folder) and _is_empty(folder)):
        raise FileExistsError(
            f"'{folder}' is there already; remove it, or write to another "
            f'folder'
        )
    temporary = f'{folder}.{uuid4().hex}'
    try:
        os.makedirs(temporary)
        yield temporary, osp.basename(folder)
        os.rename(temporary, folder)
    except OSError as error:
        raise not_written(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_empty(folder: str) -> bool:
    return not os.listdir(folder)
