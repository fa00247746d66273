"""A split that others have published."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from pyg_ckd.datasets.formats.split_files import read_split, split_state
from pyg_ckd.datasets.raw.interactions import Interactions
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.splits.split import Split


@dataclass(frozen=True)
class PublishedSplit(Split):
    r"""A split that was published, or made elsewhere.

    It is a folder of MMRec or LATTICE with its id mappings, or a table (CSV,
    TSV or Parquet) of the columns ``user``, ``item`` and ``split``, which is
    ``train``, ``validation`` or ``test``. Each interaction has to be in it
    once.

    Args:
        path: The folder or table.
        limits: The most bytes of a line, and what a table unpacks to.
            (default: ``Limits()``)

    Raises:
        FileNotFoundError: If there is no such path, or files are missing.
        ValueError: If a file is malformed, or the split does not have the same
            interactions.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> interactions = Interactions.from_ids(['ann'] * 3, ['a', 'b', 'c'])
        >>> with tempfile.TemporaryDirectory() as root:
        ...     path = Path(root, 'split.csv')
        ...     _ = path.write_text(
        ...         'user,item,split\n'
        ...         'ann,b,train\n'
        ...         'ann,c,validation\n'
        ...         'ann,a,test\n'
        ...     )
        ...     PublishedSplit(path)(interactions)
        tensor([2, 0, 1])
    """

    path: str | os.PathLike[str]
    limits: Limits = field(default=Limits(), repr=False, compare=False)

    def __post_init__(self) -> None:
        path = os.path.expanduser(os.fspath(self.path))
        if not os.path.exists(path):
            raise FileNotFoundError(f"There is no split '{path}'")
        object.__setattr__(self, 'path', path)

    @property
    def state(self) -> Any:
        return split_state(self.path)

    def label(self, interactions: Interactions) -> Tensor:
        return read_split(self.path, interactions, self.limits)
