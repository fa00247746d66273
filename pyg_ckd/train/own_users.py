"""Evaluation where each process has the embeddings of some users."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_ckd._ranking import Ranking
from pyg_ckd.graph import RATES
from pyg_ckd.kernels.best_items import best_items
from pyg_ckd.metrics import per_user
from pyg_ckd.nn.door import check_finite
from pyg_ckd.nn.row_shards import RowShards
from pyg_ckd.ranking._rank import Split, known_keys


def evaluate_own(
    users: RowShards,
    user_emb: Tensor,
    item_emb: Tensor,
    data: HeteroData,
    name: str,
    *,
    split: Split,
    ks: Sequence[int],
    metrics: Sequence[str],
) -> dict[str, float]:
    """Rank all items for the own users, and return means over all.

    It says what :func:`~pyg_ckd.ranking.evaluate` would of all embeddings.

    Args:
        users: How users are shared out among processes, all of which call it.
        user_emb: The embeddings of the own users.
        item_emb: The embeddings of all items.
        data: The whole user-item graph, which has been checked.
        name: What messages call the model.
        split: ``"val"`` or ``"test"``.
        ks: The list lengths.
        metrics: Those that are one number a user.

    Raises:
        ValueError: If an embedding is not finite.
    """
    check_finite(user_emb, item_emb, name)
    num_items = data['item'].num_nodes
    first, stop = users.own.start, users.own.stop
    held_out = data[RATES][f'{split}_edge_label_index']
    known = known_keys(data, exclude=True)
    label = (held_out[0] * num_items + held_out[1]).unique()
    label, known = (
        key[(first * num_items <= key) & (key < stop * num_items)]
        for key in (label, known)
    )
    user, row = (label // num_items).unique(return_inverse=True)
    item, _ = best_items(
        user_emb,
        item_emb,
        user - first,
        max(ks),
        known - first * num_items,
        block_size=1024,
    )
    nodes = {'user': users.num_rows, 'item': num_items}
    activity, popularity = (
        torch.bincount(ids, minlength=size)
        for ids, size in zip(
            data[RATES].edge_index, nodes.values(), strict=True
        )
    )
    ranking = Ranking(
        user=user,
        item=item,
        label=torch.stack([row, label % num_items]),
        num_items=num_items,
        popularity=popularity,
        activity=activity[user],
    )
    values = per_user(ranking, ks, metrics)
    del values['user']
    of_all = torch.stack(list(values.values())).double()  # [metrics, N]
    count = (~of_all.isnan()).sum(dim=1)
    sums = torch.stack([of_all.nansum(dim=1), count.double()])
    total, number = users.ranks.sum(sums).tolist()
    pairs = zip(values, total, number, strict=True)
    return {key: x / n if n else math.nan for key, x, n in pairs}
