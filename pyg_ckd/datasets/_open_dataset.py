"""Datasets by their names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pyg_ckd.datasets.formats.recbole import is_recbole
from pyg_ckd.datasets.graph_dataset import GraphDataset
from pyg_ckd.datasets.lattice_folder import LATTICEFolder
from pyg_ckd.datasets.mmrec_folder import MMRecFolder
from pyg_ckd.datasets.mrlib_folder import MRLibFolder
from pyg_ckd.datasets.recbole_folder import RecBoleFolder


def open_dataset(
    root: str | os.PathLike[str], name: str, **kwargs: Any
) -> GraphDataset:
    r"""Open a dataset, whatever its format.

    The first of these that fits is opened:

    1. if ``core`` is given, the folder ``root/name``: :class:`LATTICEFolder`;
    2. such a folder that holds ``name.inter``: :class:`RecBoleFolder` if each
       column has a type, such as ``user_id:token``, and otherwise
       :class:`MMRecFolder`;
    3. one that holds ``name.train.inter``: :class:`RecBoleFolder`;
    4. one that holds ``<core>-core/train.json``, or ``train.json``:
       :class:`LATTICEFolder`;
    5. one that holds ``inter.csv``: :class:`MRLibFolder`;
    6. a category below a folder ``AmazonReviews2023`` or ``Amazon2018``, such
       as ``'AmazonReviews2023/Video_Games'``: that class;
    7. a category of Amazon in 2014: :class:`AmazonMultimodal`.

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
    inter = folder / f'{name}.inter'
    if inter.is_file() and not is_recbole(inter):
        return MMRecFolder(root, name, **kwargs)
    if inter.is_file() or (folder / f'{name}.train.inter').is_file():
        return RecBoleFolder(root, name, **kwargs)

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
    if (folder / 'inter.csv').is_file():
        return MRLibFolder(root, name, **kwargs)

    from pyg_ckd.datasets.amazon_2018 import Amazon2018
    from pyg_ckd.datasets.amazon_multimodal import AmazonMultimodal
    from pyg_ckd.datasets.amazon_reviews_2023 import AmazonReviews2023
    from pyg_ckd.datasets.raw.recipe import Recipe

    for release in (AmazonReviews2023, Amazon2018):
        if folder.parent.name == release.__name__:
            return release(folder.parent.parent, folder.name, **kwargs)

    categories = Recipe.categories()
    if name in categories:
        return AmazonMultimodal(root, name, **kwargs)
    raise FileNotFoundError(
        f"'{folder}' holds neither '{name}.inter' (the format of MMRec, or of "
        f"RecBole) nor '<core>-core/train.json' or 'train.json' (that of "
        f"LATTICE) nor 'inter.csv' (that of MRLib), and '{name}' is no "
        f'category of Amazon ({", ".join(categories)}); put the data there, or '
        f'choose another name'
    )


def _cores(folder: Path) -> list[int]:
    """Return the cores of which a folder of LATTICE holds splits, ascending."""
    names = [path.parent.name for path in folder.glob('*-core/train.json')]
    cores = [name.removesuffix('-core') for name in names]
    return sorted(int(core) for core in cores if core.isdecimal())
