"""Datasets in the preprocessed folder format of MMRec."""

from __future__ import annotations

import hashlib
import os
import os.path as osp
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from typing import IO, Any, TypeAlias
from uuid import uuid4

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import ModuleDict, ParameterDict
from torch_geometric.data import HeteroData, InMemoryDataset

from pyg_ckd.data import RATED_BY, RATES

_Ids: TypeAlias = NDArray[np.int64]
_Mask: TypeAlias = NDArray[np.bool_]

_VERSION = 1  # Of the processed files, to be raised when their content changes.
_FEATURES = '_feat.npy'
_SPLITS = ('train', 'validation', 'test')  # In the order of `x_label`.
_REQUIRED = ('userID', 'itemID', 'x_label')
_DTYPES: dict[str, Any] = {
    **dict.fromkeys(_REQUIRED, np.int64),
    'rating': np.float32,
    'timestamp': np.int64,
}


class MMRecFolder(InMemoryDataset):
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
      ``data['user', 'rates', 'item']``.

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

    Raises:
        FileNotFoundError: If there is no file ``root/name/name.inter``.
        PermissionError: If ``processed_root`` cannot be written.
        ValueError: If a file is malformed or does not fit the others, a split
            is empty, or a user and an item are paired twice.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
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
        >>> data['user', 'rates', 'item'].edge_index
        tensor([[0],
                [1]])
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
    ) -> None:
        self.name = name
        self.processed_root = osp.expanduser(processed_root or root)
        # A memory address does not tell what a function computes:
        unknown = ' at 0x' in repr(pre_transform)
        super().__init__(
            os.fspath(root),
            transform,
            pre_transform,
            force_reload=force_reload or unknown,
        )
        # `self.load` would unpickle any object, and so execute any code:
        store, self.slices, data_cls = torch.load(
            self.processed_paths[0], weights_only=True
        )
        self.data = data_cls.from_dict(store)

    @property
    def raw_dir(self) -> str:
        return osp.join(self.root, self.name)

    @cached_property
    def processed_dir(self) -> str:
        stats = [os.stat(path) for path in self.raw_paths]
        state = (
            _VERSION,
            self.raw_file_names,
            [(stat.st_size, stat.st_mtime_ns) for stat in stats],
            re.sub(' at 0x[0-9a-fA-F]+', '', repr(self.pre_transform)),
        )
        key = hashlib.sha256(repr(state).encode()).hexdigest()[:12]
        return osp.join(self.processed_root, self.name, 'processed', key)

    @property
    def raw_file_names(self) -> list[str]:
        modalities = sorted(
            file.removesuffix(_FEATURES)
            for file in os.listdir(self.raw_dir)
            if file.endswith(_FEATURES)
        )
        return [f'{self.name}.inter', *(m + _FEATURES for m in modalities)]

    @property
    def processed_file_names(self) -> str:
        return 'data.pt'

    def _download(self) -> None:
        # PyG would create a missing `raw_dir`.
        if not osp.isfile(osp.join(self.raw_dir, f'{self.name}.inter')):
            self.download()

    def download(self) -> None:
        raise FileNotFoundError(
            f"'{self.raw_dir}' needs to hold the interactions "
            f"'{self.name}.inter' and the features '<modality>{_FEATURES}'. "
            f'Download the preprocessed data of MMRec '
            f'(https://github.com/enoche/MMRec), or write these files yourself'
        )

    def _process(self) -> None:
        # PyG would also save `pre_transform`, which `processed_dir` encodes.
        if self.force_reload or not osp.exists(self.processed_paths[0]):
            self.process()

    def process(self) -> None:
        inter_path, *feature_paths = self.raw_paths
        table = _read_interactions(inter_path)
        features = {_modality(p): _read_features(p) for p in feature_paths}
        user, item, label = (torch.from_numpy(table[n]) for n in _REQUIRED)

        data = HeteroData()
        data['user'].num_nodes = int(user.max()) + 1
        data['item'].num_nodes = _count_items(
            inter_path, table['itemID'], features
        )
        for modality, x in features.items():
            data['item'][f'x_{modality}'] = x

        pairs = torch.stack([user, item])
        train = label == 0
        rates = data[RATES]
        rates.edge_index = pairs[:, train]
        if 'rating' in table:
            rates.rating = torch.from_numpy(table['rating'])[train]
        if 'timestamp' in table:
            rates.time = torch.from_numpy(table['timestamp'])[train]
        rates.val_edge_label_index = pairs[:, label == 1]
        rates.test_edge_label_index = pairs[:, label == 2]
        data[RATED_BY].edge_index = rates.edge_index.flip([0])

        with _open_atomic(self.processed_paths[0]) as file:
            if self.pre_transform is not None:
                data = self.pre_transform(data)
            # `self.save` would copy the features twice:
            torch.save((data.to_dict(), None, data.__class__), file)

    def __repr__(self) -> str:
        return f'{self.name}()'


def _modality(path: str) -> str:
    name = osp.basename(path).removesuffix(_FEATURES)
    # PyTorch keeps one module or parameter a modality, under its name:
    taken = hasattr(ModuleDict(), name) or hasattr(ParameterDict(), name)
    if taken or not name.isidentifier():
        reason = 'is reserved by PyTorch' if taken else 'is not an identifier'
        raise ValueError(
            f"'{path}': the modality '{name}' {reason}; rename the file"
        )
    return name


def _read_interactions(path: str) -> dict[str, NDArray[Any]]:
    """Return the columns of an interaction file; row `i` is in line `i + 2`."""
    with open(path, encoding='utf-8-sig', errors='replace') as file:
        header, *rows = file.read().rstrip('\n').split('\n')
    names = header.split('\t')
    for name in _REQUIRED:
        if name not in names:
            raise ValueError(
                f"'{path}', line 1: column '{name}' is missing; start the file "
                f'with a tab-separated header of {", ".join(_REQUIRED)}'
            )
    if not rows:
        raise ValueError(
            f"'{path}' has no interactions below its header; write one in each "
            f'line'
        )
    for line, row in enumerate(rows, start=2):
        num_fields = row.count('\t') + 1
        if num_fields < len(names):
            raise ValueError(
                f"'{path}', line {line}: {num_fields} of {len(names)} fields; "
                f'separate them by tabs, as in the header'
            )

    table = {
        name: _read_column(path, rows, name, names.index(name))
        for name in _DTYPES
        if name in names
    }
    _check_interactions(path, *(table[name] for name in _REQUIRED))
    return table


def _read_column(
    path: str, rows: list[str], name: str, column: int
) -> NDArray[Any]:
    read = partial(
        np.loadtxt,
        dtype=_DTYPES[name],
        delimiter='\t',
        usecols=column,
        comments=None,
        ndmin=1,
    )
    try:
        return read(rows)
    except ValueError:
        for line, row in enumerate(rows, start=2):
            try:
                read([row])
            except ValueError:
                value = row.split('\t')[column]
                kind = 'a number' if name == 'rating' else 'a 64-bit integer'
                raise ValueError(
                    f"'{path}', line {line}: {name} is '{value}', expected "
                    f'{kind}'
                ) from None
        raise


def _check_interactions(path: str, user: _Ids, item: _Ids, label: _Ids) -> None:
    _refuse(path, 'userID', user, user < 0, 'an integer counted from 0')
    _refuse(path, 'itemID', item, item < 0, 'an integer counted from 0')
    expected = '0 (train), 1 (validation) or 2 (test)'
    _refuse(path, 'x_label', label, (label < 0) | (label > 2), expected)
    for value, split in enumerate(_SPLITS):
        if not (label == value).any():
            raise ValueError(
                f"'{path}' has no {split} interactions; set x_label to {value} "
                f'in at least one line'
            )

    order = np.lexsort((item, user))  # Stable: equal pairs stay in file order.
    same = (np.diff(user[order]) == 0) & (np.diff(item[order]) == 0)
    if same.any():
        row, twin = order[same.argmax() :][:2]
        raise ValueError(
            f"'{path}', lines {row + 2} and {twin + 2}: user {user[row]} and "
            f'item {item[row]} are paired twice ({_SPLITS[label[row]]} and '
            f'{_SPLITS[label[twin]]}); remove one of the two lines'
        )


def _refuse(
    path: str, name: str, values: _Ids, is_bad: _Mask, expected: str
) -> None:
    """Raise an error that names the first bad line, if there is one."""
    if is_bad.any():
        row = int(is_bad.argmax())
        raise ValueError(
            f"'{path}', line {row + 2}: {name} is {values[row]}, expected "
            f'{expected}'
        )


def _read_features(path: str) -> Tensor:
    try:
        array = np.load(path, mmap_mode='r', allow_pickle=False)
    except Exception as error:  # NumPy raises many kinds on a corrupt file.
        raise ValueError(
            f"'{path}' is not a complete '.npy' file of numbers ({error}); "
            f'write it anew by `numpy.save`'
        ) from error
    if not isinstance(array, np.ndarray) or array.ndim != 2:
        raise ValueError(
            f"'{path}' needs to hold one array of shape [num_items, "
            f'num_features] (got {getattr(array, "shape", "an archive")})'
        )
    if array.dtype.type not in (np.float16, np.float32, np.float64):
        raise ValueError(
            f"'{path}' holds '{array.dtype}', expected 'float16', 'float32' or "
            f"'float64'; convert it by `array.astype('float32')`"
        )
    with np.errstate(over='ignore'):  # To infinity, which is refused below.
        x = np.array(array, dtype=np.float32, order='C')
    is_finite = np.isfinite(x).all(axis=1)
    if not is_finite.all():
        raise ValueError(
            f"'{path}', row {is_finite.argmin()} (counted from 0, as itemID): "
            f"not finite as 'float32'; replace missing values, e.g. by the "
            f'mean of the other rows'
        )
    return torch.from_numpy(x)


def _count_items(path: str, item: _Ids, features: dict[str, Tensor]) -> int:
    """Return the number of items, on which all files have to agree."""
    if not features:
        return int(item.max()) + 1
    (first, num_items), *others = ((m, len(x)) for m, x in features.items())
    for other, num_rows in others:
        if num_rows != num_items:
            raise ValueError(
                f"'{osp.dirname(path)}': '{first}{_FEATURES}' has {num_items} "
                f"rows, but '{other}{_FEATURES}' has {num_rows}; write one row "
                f'for each item in both'
            )
    expected = (
        f"less than {num_items}, the number of rows in '{first}{_FEATURES}'; "
        f'write one row for each item in all features'
    )
    _refuse(path, 'itemID', item, item >= num_items, expected)
    return num_items


@contextmanager
def _open_atomic(path: str) -> Iterator[IO[bytes]]:
    """Open a temporary file that takes the place of `path` once complete."""
    folder = osp.dirname(path)
    with suppress(OSError):
        os.makedirs(folder, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(
            f"'{folder}' cannot be written; pass a directory that can be as "
            f"'processed_root'"
        )
    temporary = f'{path}.{uuid4().hex}'
    try:
        with open(temporary, 'xb') as file:
            yield file
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            os.remove(temporary)
