"""The folder format of LATTICE."""

from __future__ import annotations

import json
import os
import os.path as osp
import re
from collections.abc import Sequence
from itertools import chain
from reprlib import repr as shorten
from typing import Any, TypeAlias

from torch_geometric.data import HeteroData

from pyg_ckd.datasets.formats.feature_files import write_features
from pyg_ckd.datasets.formats.json_records import unique
from pyg_ckd.datasets.formats.splits_of import splits_of
from pyg_ckd.datasets.raw.files import new_folder
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.regular_file import read_regular
from pyg_ckd.datasets.raw.renumbered import restored

#: The items of each user.
Split: TypeAlias = dict[int, list[int]]

_USER = re.compile('0|[1-9][0-9]{0,17}')  # Any 18 digits fit 64 bits.


def to_lattice(
    data: HeteroData, folder: str | os.PathLike[str], core: int = 5
) -> None:
    r"""Write a user-item graph as a folder of LATTICE.

    It then holds ``<core>-core/train.json``, ``val.json`` and ``test.json``,
    each a JSON object from all users, ascending, to their items in the order of
    the graph; and a file ``<modality>_feat.npy`` of ``float32`` for each
    modality. :class:`LATTICEFolder` reads the same graph from it, with
    interactions sorted by user, and numbers of its own.

    Users and items have the numbers ``original_id`` where the graph has those,
    and features are in that order, so that a folder which is read and written
    holds the same as before. Otherwise they have the numbers of the graph.

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
        ValueError: If the graph has no interactions of a split, or
            ``original_id`` leaves gaps.
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
    data = restored(data)
    splits = splits_of(data)
    with new_folder(folder) as (path, _):
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
        write_features(data, path)


def read_lattice(
    paths: Sequence[str],
    limit: int,
    expected: str,
    limits: Limits = Limits(),
) -> list[Split]:
    """Return the items of each user in each split.

    Args:
        paths: The files of training, validation and test.
        limit: What all items are less than.
        expected: What an item has to be, for messages.
        limits: ``file`` is the most bytes of a file. (default: ``Limits()``)

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file is no regular one, too large, malformed or empty,
            or a user and an item are paired twice.
    """
    splits = [_read_split(path, limit, expected, limits) for path in paths]
    _refuse_twins(paths, splits)
    return splits


def _read_split(path: str, limit: int, expected: str, limits: Limits) -> Split:
    """Return the items of each user, all less than ``limit``."""
    split = {}
    for key, items in _read_object(path, limits).items():
        if not _USER.fullmatch(key):
            raise ValueError(
                f"'{path}': user {shorten(key)} is not an integer counted from "
                f"0; write users as '0', '1', '2' and so on"
            )
        if not isinstance(items, list):
            raise ValueError(
                f"'{path}', user '{key}': expected a list of items, such as "
                f'[4, 2] (got {shorten(items)})'
            )
        for position, item in enumerate(items):
            if type(item) is not int or not 0 <= item < limit:
                raise ValueError(
                    f"'{path}', user '{key}', position {position} (counted "
                    f'from 0): item is {shorten(item)}, expected {expected}'
                )
        split[int(key)] = items
    if not any(split.values()):
        raise ValueError(
            f"'{path}' has no interactions; list an item of at least one user"
        )
    return split


def _read_object(path: str, limits: Limits) -> dict[str, Any]:
    text = read_regular(path, limits)
    try:
        content = json.loads(text.decode('utf-8-sig'), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"'{path}' is not valid JSON in UTF-8 ({error}); write it anew by "
            f'`json.dump`'
        ) from error
    if not isinstance(content, dict):
        raise ValueError(
            f"'{path}' needs to hold a JSON object from users to lists of "
            f'items, such as {{"0": [4, 2]}} (got {shorten(content)})'
        )
    return content


def _refuse_twins(paths: Sequence[str], splits: Sequence[Split]) -> None:
    for user in sorted(set(chain(*splits))):
        seen: dict[int, tuple[str, int]] = {}
        for path, split in zip(paths, splits, strict=True):
            for position, item in enumerate(split.get(user, [])):
                if item in seen:
                    first_path, first = seen[item]
                    raise ValueError(
                        f"'{first_path}', user '{user}', position {first} and "
                        f"'{path}', position {position} (counted from 0): item "
                        f'{item} is there twice; remove one of the two'
                    )
                seen[item] = path, position
