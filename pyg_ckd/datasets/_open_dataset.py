"""Datasets by their names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pyg_ckd.datasets.graph_dataset import GraphDataset
from pyg_ckd.datasets.lattice_folder import LATTICEFolder
from pyg_ckd.datasets.mmrec_folder import MMRecFolder


def open_dataset(
    root: str | os.PathLike[str], name: str, **kwargs: Any
) -> GraphDataset:
    r"""Open a dataset, whatever its format.

    The first of these that fits is opened:

    1. if ``core`` is given, the folder ``root/name``: :class:`LATTICEFolder`;
    2. such a folder that holds ``name.inter``: :class:`MMRecFolder`;
    3. one that holds ``<core>-core/train.json``, or ``train.json``:
       :class:`LATTICEFolder`;
    4. a category of Amazon: :class:`AmazonMultimodal`.

    Args:
        root (str or PathLike): The directory that holds the folder.
        name (str): The name of the folder, or of a category.
        **kwargs: Passed on, such as ``core``, ``transform``, ``pre_transform``
            and ``processed_root``.

    Raises:
        FileNotFoundError: If ``name`` is none of these.
        ValueError: If the folder holds several cores and no ``core`` is given,
            or the data is malformed.

    Example:
        >>> import tempfile
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.datasets import to_lattice
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> with tempfile.TemporaryDirectory() as root:
        ...     to_lattice(data, f'{root}/fake', core=9)
        ...     dataset = open_dataset(root, 'fake')
        >>> type(dataset).__name__, dataset.core
        ('LATTICEFolder', 9)
    """
    if 'core' in kwargs:
        return LATTICEFolder(root, name, **kwargs)
    folder = Path(root, name).expanduser()
    if (folder / f'{name}.inter').is_file():
        return MMRecFolder(root, name, **kwargs)

    cores = _cores(folder)
    if len(cores) > 1:
        raise ValueError(
            f"'{folder}' holds the splits of several cores; pass one of them "
            f"as 'core' ({', '.join(map(str, cores))})"
        )
    if cores:
        return LATTICEFolder(root, name, core=cores[0], **kwargs)
    if (folder / 'train.json').is_file():
        return LATTICEFolder(root, name, **kwargs)

    from pyg_ckd.datasets.amazon_multimodal import AmazonMultimodal
    from pyg_ckd.datasets.raw.recipe import Recipe

    categories = Recipe.categories()
    if name in categories:
        return AmazonMultimodal(root, name, **kwargs)
    raise FileNotFoundError(
        f"'{folder}' holds neither '{name}.inter' (the format of MMRec) nor "
        f"'<core>-core/train.json' or 'train.json' (that of LATTICE), and "
        f"'{name}' is no category of Amazon ({', '.join(categories)}); put the "
        f'data there, or choose another name'
    )


def _cores(folder: Path) -> list[int]:
    """Return the cores of which a folder of LATTICE holds splits, ascending."""
    names = [path.parent.name for path in folder.glob('*-core/train.json')]
    cores = [name.removesuffix('-core') for name in names]
    return sorted(int(core) for core in cores if core.isdecimal())
