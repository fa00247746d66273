"""TikTok, as MMSSL and others have it."""

from __future__ import annotations

import os
import os.path as osp
import warnings
from collections.abc import Callable
from typing import Any

from torch_geometric.data import HeteroData

from pyg_ckd.datasets.formats.feature_files import FEATURES
from pyg_ckd.datasets.lattice_folder import LATTICEFolder
from pyg_ckd.datasets.raw.limits import Limits

_MODALITIES = ('audio', 'image', 'text')
_USERS, _ITEMS = 9_319, 6_710


class TikTok(LATTICEFolder):
    r"""Users and short videos of TikTok, as prepared for `"Multi-Modal
    Self-Supervised Learning for Recommendation"
    <https://arxiv.org/abs/2302.10632>`_.

    It is a folder of :class:`LATTICEFolder`, and the graph the same, with three
    modalities: ``image`` and ``audio`` of 128 features, ``text`` of 768. The
    files ``train.json``, ``val.json``, ``test.json`` and
    ``<modality>_feat.npy`` are put into ``root/tiktok`` by hand; `MMSSL
    <https://github.com/HKUDS/MMSSL>`_ links them. The matrices beside them,
    such as ``train_mat`` or ``trnMat.pkl``, are pickles, which may run any
    code: they are never read.

    MMSSL also links other versions. Other numbers of users or items than the
    published ones are warned of, as figures on them do not compare.

    The terms of the data are not stated, and the page that gave it out is
    closed: cite MMSSL, and do not pass it on.

    Args:
        root (str or PathLike): The directory that holds the folder.
        name (str, optional): The name of the folder. (default: ``'tiktok'``)
        core (int, optional): As in :class:`LATTICEFolder`.
        transform (callable, optional): As in :class:`LATTICEFolder`.
        pre_transform (callable, optional): As in :class:`LATTICEFolder`.
        processed_root (str or PathLike, optional): As in
            :class:`LATTICEFolder`.
        force_reload (bool, optional): As in :class:`LATTICEFolder`.
        limits (Limits, optional): As in :class:`LATTICEFolder`.
            (default: ``Limits()``)

    Raises:
        FileNotFoundError: If a split or a modality is missing.
        ValueError: As in :class:`LATTICEFolder`.

    Example:
        >>> data = TikTok('datasets')[0]  # doctest: +SKIP
        >>> data['item'].x_audio.shape  # doctest: +SKIP
        torch.Size([6710, 128])

    **STATS:**

    .. list-table::
        :widths: 40 15 15 15
        :header-rows: 1

        * - Name
          - #users
          - #items
          - #interactions
        * - tiktok
          - 9,319
          - 6,710
          - 59,541

    MMSSL counts so; of Amazon Baby it counts training and validation without
    test.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        name: str = 'tiktok',
        core: int | None = None,
        transform: Callable[[HeteroData], Any] | None = None,
        pre_transform: Callable[[HeteroData], Any] | None = None,
        processed_root: str | os.PathLike[str] | None = None,
        force_reload: bool = False,
        limits: Limits = Limits(),
    ) -> None:
        super().__init__(
            root,
            name,
            core,
            transform,
            pre_transform,
            processed_root,
            force_reload,
            limits,
        )

    @property
    def raw_file_names(self) -> list[str]:
        needed = [f'{modality}{FEATURES}' for modality in _MODALITIES]
        return list(dict.fromkeys([*super().raw_file_names, *needed]))

    def download(self) -> None:
        missing = [
            name
            for name in self.raw_file_names
            if not osp.exists(osp.join(self.raw_dir, name))
        ]
        raise FileNotFoundError(
            f"'{self.raw_dir}' lacks {', '.join(map(repr, missing))}; download "
            f'the folder that MMSSL links (https://github.com/HKUDS/MMSSL). '
            f"Its matrices, such as 'train_mat', are pickles, which may run "
            f'any code and are not read: where there is nothing else, write '
            f'the lists of each user as JSON yourself'
        )

    def build(self) -> HeteroData:
        data = super().build()
        found = data['user'].num_nodes, data['item'].num_nodes
        if found != (_USERS, _ITEMS):
            warnings.warn(
                f"'{self.raw_dir}' has {found[0]:,} users and {found[1]:,} "
                f'items, the published data {_USERS:,} and {_ITEMS:,}; figures '
                f'on it do not compare with published ones',
                stacklevel=2,
            )
        return data
