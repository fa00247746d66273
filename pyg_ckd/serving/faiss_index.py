"""The best items without looking at all of them."""

from __future__ import annotations

import math
import os
from importlib import import_module
from typing import Any

from torch import Tensor
from torch_geometric.nn.pool.knn import KNNIndex

from pyg_ckd.datasets.raw.files import open_atomic
from pyg_ckd.kernels.arguments import check_whole


class FaissIndex(KNNIndex):
    r"""PyG's index of nearest neighbours, with items in cells, by `faiss
    <https://github.com/facebookresearch/faiss>`_; needs the extra ``faiss``.

    Items are put into :math:`4 \sqrt{|\mathcal{I}|}` cells around centres, and
    the ``probe`` cells whose centres have the largest products with a user
    are searched. It is for large catalogues, finds 2,048 items at most, and
    misses some: measure what by :meth:`recall`. Unlike
    :class:`~torch_geometric.nn.pool.ApproxMIPSKNNIndex` it keeps the
    embeddings as they are, so that scores are exact.

    Args:
        item_emb (Tensor): Item embeddings, ``[num_items, d]``.
        probe (int, optional): The number of cells to search.
            (default: :obj:`32`)

    Raises:
        ImportError: If ``faiss`` is missing.
        ValueError: If ``probe`` is not positive.
    """

    def __init__(self, item_emb: Tensor, probe: int = 32) -> None:
        _faiss()
        check_whole('FaissIndex', probe=probe)
        self.probe = int(probe)  # as faiss refuses numbers of NumPy
        self.num_items = len(item_emb)
        super().__init__(emb=item_emb.to_dense().float().contiguous())

    def _create_index(self, channels: int) -> Any:
        faiss = _faiss()
        most = self.num_items // 39  # as many items a cell faiss asks for
        cells = max(1, min(round(4 * math.sqrt(self.num_items)), most))
        centres = faiss.IndexFlatIP(channels)
        index = faiss.IndexIVFFlat(
            centres, channels, cells, faiss.METRIC_INNER_PRODUCT
        )
        index.nprobe = self.probe
        return index

    def recall(self, user_emb: Tensor, item_emb: Tensor, k: int = 10) -> float:
        """Return which share of the exact best items is found.

        Args:
            user_emb: Embeddings of some users, ``[N, d]``.
            item_emb: The item embeddings.
            k: The length of the lists.
        """
        found = self.search(user_emb.float(), k).index
        hits = 0
        for user, items in zip(
            user_emb.split(256), found.split(256), strict=True
        ):
            exact = (user @ item_emb.t()).topk(items.size(1)).indices
            match = items.unsqueeze(2) == exact.unsqueeze(1)
            hits += int(match.any(dim=2).sum())
        return hits / found.numel()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a file that any program with faiss can read."""
        with open_atomic(path) as file:
            file.write(_faiss().serialize_index(self.index).tobytes())


def _faiss() -> Any:
    try:
        return import_module('faiss')
    except ImportError as error:
        raise ImportError(
            "An approximate index needs 'faiss'; `pip install 'pyg_ckd[faiss]'`"
        ) from error
