"""The best items of some users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.graph import RATES, check, owned_keys
from pyg_ckd.kernels.arguments import check_whole
from pyg_ckd.kernels.best_items import best_items
from pyg_ckd.nn.door import as_recommender, default_view, matched
from pyg_ckd.nn.evaluating import evaluating
from pyg_ckd.ranking._ids import candidate_ids, user_ids
from pyg_ckd.ranking._rank import embeddings
from pyg_ckd.views import Keep


def recommend(
    model: nn.Module,
    data: HeteroData,
    user: int | Sequence[int] | np.ndarray | Tensor,
    k: int = 10,
    *,
    candidates: Sequence[Any] | np.ndarray | Tensor | None = None,
    exclude_known: bool = True,
    view: Keep | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the best items of some users, those they have left out.

    Args:
        model: Any recommender with ``user_emb, item_emb = model(data)``.
        data: The user-item graph.
        user: The id of a user, or those of several in any order: a list, a
            NumPy array or a tensor of any integer type, of length ``N``. One
            id is as a list of one.
        k: How many items to return for each.
        candidates: Ids of the only items that may be returned: one list for
            all users, or a list for each, of shape ``[N, C]`` and filled up
            with -1. All items by default.
        exclude_known: Whether items that a user has are left out, those held
            out for validation and test included. (:func:`rank` leaves out
            those of training alone.)
        view: The modalities to keep; all by default.

    Returns:
        Item ids and scores, each of shape ``[N, k]``, best first, ties by
        lower item id. A place that a user has no item left for has the item
        -1 and the score minus infinity.

    Raises:
        ValueError: If a user or a candidate does not exist, an argument is
            out of range, or the model's embeddings are not finite.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import Popularity
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> item, score = recommend(Popularity.from_data(data), data, 7, k=3)
        >>> item.shape, score.shape
        (torch.Size([1, 3]), torch.Size([1, 3]))
    """
    data = check(data)
    keep = default_view(model, data) if view is None else view
    model = as_recommender(model)
    data = matched(data, model)
    num_users, num_items = data['user'].num_nodes, data['item'].num_nodes
    device = data[RATES].edge_index.device
    users = user_ids(user, num_users, device)
    check_whole('recommend', k=k)
    if candidates is not None:
        candidates = candidate_ids(candidates, num_items, device, len(users))
    known = owned_keys(data)
    with evaluating(model):
        ((user_emb, item_emb),) = embeddings(model, data, [keep])
        return best_items(
            user_emb,
            item_emb,
            users,
            k,
            known=known if exclude_known else known[:0],
            candidates=candidates,
        )
