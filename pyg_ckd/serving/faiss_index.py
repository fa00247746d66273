"""The best items without looking at all of them."""

from __future__ import annotations

import math
import os
from importlib import import_module
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_ckd.datasets.files import open_atomic


class FaissIndex:
    r"""An approximate index of items, by `faiss <https://github.com/
    facebookresearch/faiss>`_; needs the extra ``faiss``.

    Items are put into :math:`4 \sqrt{|\mathcal{I}|}` cells around centres, and
    the ``probe`` cells whose centres have the largest products with a user
    are searched. Of a hundred thousand items and more it is faster than
    looking at all of them, and misses some: measure what by
    :meth:`recall`.

    Args:
        item_emb (Tensor): Item embeddings, ``[num_items, d]``.
        probe (int, optional): The number of cells to search.
            (default: :obj:`32`)
        seed (int, optional): The seed of the centres. (default: :obj:`0`)

    Raises:
        ImportError: If ``faiss`` is missing.
        ValueError: If ``probe`` is not positive.
    """

    def __init__(
        self, item_emb: Tensor, probe: int = 32, seed: int = 0
    ) -> None:
        faiss = _faiss()
        if probe < 1:
            raise ValueError(f"'probe' needs to be positive (got {probe})")
        items = _rows(item_emb)
        num_items, dim = items.shape
        cells = max(1, min(round(4 * math.sqrt(num_items)), num_items // 39))
        centres = faiss.IndexFlatIP(dim)
        self._faiss = faiss.IndexIVFFlat(
            centres, dim, cells, faiss.METRIC_INNER_PRODUCT
        )
        self._faiss.cp.seed = seed
        self._faiss.train(items)
        self._faiss.add(items)
        self.num_items = num_items
        self.probe = probe

    def best(
        self, user_emb: Tensor, k: int, known: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the best items that are found.

        Args:
            user_emb: Embeddings of users, ``[N, d]``.
            k: The length of the lists.
            known: Sorted keys ``row * num_items + item`` of what is left out.

        Returns:
            Items and scores, each of shape ``[N, k]``, best first: -1 and
            minus infinity where none is left among those searched.
        """
        row = known // self.num_items
        most = int(torch.bincount(row, minlength=1).max())
        length = min(k + most, self.num_items)
        search = _faiss().SearchParametersIVF(nprobe=self.probe)
        score, item = map(
            torch.from_numpy,
            self._faiss.search(_rows(user_emb), length, params=search),
        )
        here = torch.arange(len(item)).unsqueeze(1) * self.num_items + item
        out = torch.isin(here, known) | (item < 0)
        item = item.masked_fill(out, -1)
        score = score.masked_fill(out, -torch.inf)
        first = out.long().argsort(dim=1, stable=True)[:, :k]
        pair = item.gather(1, first), score.gather(1, first)
        rest = (0, k - first.size(1))
        return F.pad(pair[0], rest, value=-1), F.pad(
            pair[1], rest, value=-torch.inf
        )

    def recall(self, user_emb: Tensor, item_emb: Tensor, k: int = 10) -> float:
        """Return which share of the exact best items is found.

        Args:
            user_emb: Embeddings of some users, ``[N, d]``.
            item_emb: The item embeddings.
            k: The length of the lists.
        """
        none = torch.empty(0, dtype=torch.long)
        found, _ = self.best(user_emb, k, none)
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
            file.write(_faiss().serialize_index(self._faiss).tobytes())


def _rows(emb: Tensor) -> np.ndarray:
    """Return embeddings as faiss takes them."""
    return np.ascontiguousarray(
        emb.to_dense().float().numpy(), dtype=np.float32
    )


def _faiss() -> Any:
    try:
        return import_module('faiss')
    except ImportError as error:
        raise ImportError(
            "An approximate index needs 'faiss'; `pip install 'pyg_ckd[faiss]'`"
        ) from error
