"""The base of data sets that are read from files."""

from __future__ import annotations

import hashlib
import json
import os
import os.path as osp
import re
import sys
from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from filelock import FileLock
from torch_geometric.data import HeteroData

from pyg_ckd.datasets.raw.digests import Digests
from pyg_ckd.datasets.raw.files import (
    is_of_system,
    make_writable,
    open_atomic,
)
from pyg_ckd.datasets.raw.single_graph import SingleGraph
from pyg_ckd.datasets.raw.told import is_told
from pyg_ckd.kernels import Graph, Uniform

#: Of what is kept on disk, to be raised when its form changes.
FORMAT = 6
#: Windows replaces no file that is mapped.
_MAPS = sys.platform != 'win32'


class GraphDataset(SingleGraph):
    r"""A single user-item graph that is built from files and kept on disk.

    Results are kept in one folder for each content of the raw files, each of
    the ``settings`` and each ``pre_transform``, so that none is ever taken for
    another. They are written to a temporary file that is then renamed, and
    loaded without unpickling. Of two processes that need the same result, one
    waits for the other. Tensors are mapped to memory: processes share them, the
    system reads them when they are needed and may let go of them in between,
    and what is written to them stays in the process.

    A subclass implements :meth:`build` and the properties ``raw_paths``,
    ``settings`` and ``processed_parent``.

    Args:
        root (str or PathLike): The directory of the data.
        transform (callable, optional): Applied to the graph at every access.
            (default: :obj:`None`)
        pre_transform (callable, optional): Applied to the graph before it is
            saved. Its ``repr`` has to name all its arguments: that is how a
            saved result is found again. A plain function, which has no such
            ``repr``, is applied anew every time. (default: :obj:`None`)
        force_reload (bool, optional): Whether to ignore what has been saved.
            (default: :obj:`False`)
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Callable[[HeteroData], Any] | None = None,
        pre_transform: Callable[[HeteroData], Any] | None = None,
        force_reload: bool = False,
    ) -> None:
        unknown = not is_told((pre_transform, self.settings))
        super().__init__(
            os.fspath(root),
            transform,
            pre_transform,
            force_reload=force_reload or unknown,
        )
        # PyG would have forgotten it, had it been set before:
        self.data = self._saved
        del self._saved

    @abstractmethod
    def build(self) -> HeteroData:
        """Return the graph, from the raw files."""

    @property
    @abstractmethod
    def settings(self) -> Any:
        """What the graph depends on beside its files, told by its ``repr``."""

    @property
    @abstractmethod
    def processed_parent(self) -> str:
        """The folder that holds all results."""

    @cached_property
    def _digests(self) -> Digests:
        return Digests(self.processed_parent)

    @cached_property
    def processed_dir(self) -> str:
        files = [(osp.basename(p), self._digests.of(p)) for p in self.raw_paths]
        state = repr((FORMAT, self.settings, files, self.pre_transform))
        text = re.sub(' at 0x[0-9a-fA-F]+', '', state)
        key = hashlib.sha256(text.encode()).hexdigest()[:12]
        return osp.join(self.processed_parent, key)

    @property
    def processed_file_names(self) -> str:
        return 'data.pt'

    def _download(self) -> None:
        # PyG would create a missing `raw_dir`.
        if not all(map(osp.exists, self.raw_paths)):
            self.download()

    def _process(self) -> None:
        # PyG would also save `pre_transform`, which `processed_dir` encodes.
        path = self.processed_paths[0]
        if osp.exists(path) and not self.force_reload:
            self._saved = _load(path, mmap=_MAPS)
            self._digests.save()
            return
        make_writable(self.processed_parent)
        with FileLock(f'{self.processed_dir}.lock'):
            if self.force_reload or not osp.exists(path):
                self.process()
            # Another process saves that of another plain function in the same
            # place, as soon as the lock is released.
            self._saved = _load(path, mmap=_MAPS and not self.force_reload)
        self._digests.save()

    def process(self) -> None:
        data = self.build()
        if self.pre_transform is not None:
            data = self.pre_transform(data)
        store, names = _without_names(data.to_dict())
        with open_atomic(self.processed_paths[0]) as file:
            # `self.save` would copy the features twice:
            torch.save((store, names, data.__class__), file)


def _load(path: str, mmap: bool) -> HeteroData:
    try:
        # Without `weights_only`, as in `self.load`, any code would be executed:
        with torch.serialization.safe_globals([Graph, Uniform]):
            store, names, data_cls = torch.load(
                path, weights_only=True, mmap=mmap
            )
        for (key, name), text in names.items():
            store[key][name] = json.loads(text)
        return data_cls.from_dict(store)
    except Exception as error:  # PyTorch raises many kinds on a damaged file.
        if is_of_system(error):
            raise
        raise ValueError(
            f"'{path}' is not a whole file of a graph of tensors; delete it or "
            f"pass 'force_reload=True', and keep other objects out of what "
            f"'pre_transform' returns"
        ) from error


def _without_names(
    store: dict[Any, Any],
) -> tuple[dict[Any, Any], dict[tuple[Any, str], str]]:
    """Return a graph without lists of strings, and these in JSON.

    One by one, a million names take ten times as long to load.
    """
    names = {
        (key, name): json.dumps(value)
        for key, values in store.items()
        if isinstance(values, dict)
        for name, value in values.items()
        if type(value) is list and all(type(x) is str for x in value)
    }
    rest = dict(store)
    for key, name in names:
        rest[key] = {**rest[key], name: None}  # It keeps its place.
    return rest, names
