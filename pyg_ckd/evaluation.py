"""Full-ranking evaluation and top-k recommendation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.metrics import (
    LinkPredHitRatio,
    LinkPredMAP,
    LinkPredMRR,
    LinkPredNDCG,
    LinkPredPrecision,
    LinkPredRecall,
)
from torch_geometric.metrics.link_pred import LinkPredMetric, LinkPredMetricData

from pyg_ckd.data import RATES, interaction_keys, modalities
from pyg_ckd.topk import stable_topk
from pyg_ckd.views import Keep, Views, distinct_views, full, view_name, views

Protocol = Literal['standard', 'ckd', 'mmrec']
Split = Literal['val', 'test']

METRICS: dict[str, type[LinkPredMetric]] = {
    'recall': LinkPredRecall,
    'precision': LinkPredPrecision,
    'ndcg': LinkPredNDCG,
    'map': LinkPredMAP,
    'mrr': LinkPredMRR,
    'hit_ratio': LinkPredHitRatio,
}


class FoundHitsNDCG(LinkPredMetric):
    r"""NDCG as the code of LATTICE, MICRO and CKD computes it.

    Its ideal ranking holds only the hits that are in the list, not all that
    the user has, so that a user with one of two items found can still reach
    1. It is higher than NDCG, and there to compare with published tables.

    Args:
        k (int): The length of the list that is judged.
        max_k (int): The length of the list that hits are looked for in.
    """

    weighted = False

    def __init__(self, k: int, max_k: int) -> None:
        super().__init__(k)
        self.max_k = max_k

    def _compute(self, data: LinkPredMetricData) -> Tensor:
        hit = data.pred_rel_mat[:, : self.max_k].float()
        place = torch.arange(hit.size(1), device=hit.device)
        discount = 1 / torch.log2(place + 2.0)
        ideal = hit.sort(dim=1, descending=True).values
        dcg = (hit * discount)[:, : self.k].sum(dim=1)
        ideal_dcg = (ideal * discount)[:, : self.k].sum(dim=1)
        return torch.where(ideal_dcg > 0, dcg / ideal_dcg, 0.0)


def evaluate(
    model: nn.Module,
    data: HeteroData,
    split: Split = 'test',
    ks: Sequence[int] = (10, 20),
    *,
    metrics: Iterable[str] = tuple(METRICS),
    view: Keep | None = None,
    protocol: Protocol = 'standard',
    block_size: int = 1024,
) -> dict[str, float]:
    r"""Rank all items for all users and return mean metrics.

    Items of a user's training are left out of her ranking, validation items
    are not, at test either. Users without a held-out item are skipped. Recall
    is the share of a user's held-out items in her top :math:`K`. Equal scores
    are ordered by lower item id.

    Protocols differ in published code:

    - ``"standard"``: NDCG with the ideal ranking of all held-out items;
    - ``"ckd"``: NDCG of CKD's authors (:class:`FoundHitsNDCG`), higher, and
      for comparison with their tables only;
    - ``"mmrec"``: as ``"standard"``, but without the users that have no
      training interaction, and rounded to four decimals.

    Args:
        model: Any recommender with ``user_emb, item_emb = model(data)``.
            Embeddings may be sparse (COO) tensors.
        data: The user-item graph.
        split: ``"val"`` or ``"test"``.
        ks: The list lengths :math:`K`.
        metrics: Some of ``recall``, ``precision``, ``ndcg``, ``map``, ``mrr``
            and ``hit_ratio``.
        view: The modalities to keep; all by default.
        protocol: See above.
        block_size: The number of users whose scores are held at once.

    Returns:
        Means over users by name, such as ``recall@20``.

    Raises:
        ValueError: If an argument is unknown or out of range, the split is
            empty, or the model's embeddings are not finite.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import VBPR
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> result = evaluate(VBPR.from_data(data), data, ks=(5,))
        >>> sorted(result)[:3]
        ['hit_ratio@5', 'map@5', 'mrr@5']
    """
    result = evaluate_users(
        model,
        data,
        split,
        ks,
        metrics=metrics,
        view=view,
        protocol=protocol,
        block_size=block_size,
    )
    return _means(result, protocol)


def evaluate_users(
    model: nn.Module,
    data: HeteroData,
    split: Split = 'test',
    ks: Sequence[int] = (10, 20),
    *,
    metrics: Iterable[str] = tuple(METRICS),
    view: Keep | None = None,
    protocol: Protocol = 'standard',
    block_size: int = 1024,
) -> dict[str, Tensor]:
    """Return the metrics of each user, for paired tests and breakdowns.

    Arguments are those of :func:`evaluate`.

    Returns:
        Values of shape ``[num_evaluated_users]`` by name, such as
        ``recall@20``, and the ids of these users as ``user``.
    """
    keep = full(modalities(data)) if view is None else view
    with evaluation(model):
        embedding = views(model, data, [keep]).embedding()
        return _ranked(
            *embedding, data, split, ks, metrics, protocol, block_size
        )


def evaluate_hits(
    model: nn.Module,
    data: HeteroData,
    split: Split = 'test',
    k: int = 20,
    *,
    view: Keep | None = None,
    block_size: int = 1024,
) -> dict[str, Tensor]:
    """Return which held-out interactions are found, for breakdowns by item.

    Args:
        model: See :func:`evaluate`.
        data: See :func:`evaluate`.
        split: ``"val"`` or ``"test"``.
        k: The length of the list in which they are looked for.
        view: The modalities to keep; all by default.
        block_size: The number of users whose scores are held at once.

    Returns:
        The interactions as ``user`` and ``item``, sorted by both, and one for
        those whose item is among the ``k`` best of the user, else zero, as
        ``hit@k``; each of shape ``[num_held_out]``.

    Raises:
        ValueError: If an argument is unknown or out of range, or the split is
            empty.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import VBPR
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> hits = evaluate_hits(VBPR.from_data(data), data, k=10)
        >>> hits['hit@10'].unique()
        tensor([1.])
    """
    _check_k(k, data['item'].num_nodes)
    keep = full(modalities(data)) if view is None else view
    label = _held_out(data, split, 'standard')
    with evaluation(model):
        embedding = views(model, data, [keep]).embedding()
        hits = [
            (item[row] == of_row.unsqueeze(1)).any(dim=1)
            for item, row, of_row in _rankings(
                *embedding, data, label, k, block_size
            )
        ]
    user, item = label
    return {'user': user, 'item': item, f'hit@{k}': torch.cat(hits).float()}


def evaluate_views(
    model: nn.Module,
    data: HeteroData,
    split: Split = 'test',
    ks: Sequence[int] = (10, 20),
    *,
    metrics: Iterable[str] = tuple(METRICS),
    keeps: Sequence[Keep] | None = None,
    protocol: Protocol = 'standard',
    block_size: int = 1024,
) -> dict[str, dict[str, float]]:
    """Evaluate several views of a model in one pass through it.

    Args:
        model: See :func:`evaluate`.
        data: See :func:`evaluate`.
        split: See :func:`evaluate`.
        ks: See :func:`evaluate`.
        metrics: See :func:`evaluate`.
        keeps: The views, each a set of modalities; by default the full one,
            each modality alone and all but each.
        protocol: See :func:`evaluate`.
        block_size: See :func:`evaluate`.

    Returns:
        The result of :func:`evaluate` for each view, by its name, such as
        ``full`` and ``only(text)``.
    """
    metrics = tuple(metrics)
    names = modalities(data)
    keeps = distinct_views(names) if keeps is None else keeps
    with evaluation(model):
        several: Views = views(model, data, keeps)
        return {
            view_name(keep, names): _means(
                _ranked(
                    *several.embedding(place),
                    data,
                    split,
                    ks,
                    metrics,
                    protocol,
                    block_size,
                ),
                protocol,
            )
            for place, keep in enumerate(keeps)
        }


def recommend(
    model: nn.Module,
    data: HeteroData,
    user: Tensor,
    k: int = 10,
    *,
    view: Keep | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the best items of some users, those of training left out.

    Args:
        model: Any recommender with ``user_emb, item_emb = model(data)``.
        data: The user-item graph.
        user: Ids of users, of shape ``[N]``.
        k: How many items to return for each.
        view: The modalities to keep; all by default.

    Returns:
        Item ids and scores, each of shape ``[N, k]``, best first. Places that
        a user has no item left for have the score minus infinity.

    Raises:
        ValueError: If a user does not exist, or there are fewer than ``k``
            items.
    """
    num_users, num_items = data['user'].num_nodes, data['item'].num_nodes
    if user.numel() and not 0 <= int(user.min()) <= int(user.max()) < num_users:
        raise ValueError(
            f"'user' needs ids from 0 to {num_users - 1} "
            f'(got {int(user.min())} to {int(user.max())})'
        )
    _check_k(k, num_items)
    keep = full(modalities(data)) if view is None else view
    with evaluation(model):
        user_emb, item_emb = views(model, data, [keep]).embedding()
        user = user.to(user_emb.device)
        score = _scores(user_emb, _columns(item_emb), user)
    _mask_known(score, user, interaction_keys(data))
    score, item = stable_topk(score, k)
    return item, score


def _ranked(
    user_emb: Tensor,
    item_emb: Tensor,
    data: HeteroData,
    split: Split,
    ks: Sequence[int],
    metrics: Iterable[str],
    protocol: Protocol,
    block_size: int,
) -> dict[str, Tensor]:
    num_items = item_emb.size(0)
    measures = _measures(ks, tuple(metrics), protocol, num_items)
    label = _held_out(data, split, protocol)
    blocks: dict[str, list[Tensor]] = {name: [] for name in measures}
    for item, row, of_row in _rankings(
        user_emb, item_emb, data, label, max(ks), block_size
    ):
        ranking = LinkPredMetricData(
            pred_index_mat=item, edge_label_index=(row, of_row)
        )
        for name, measure in measures.items():
            blocks[name].append(measure.to(item.device)._compute(ranking))
    result = {name: torch.cat(block) for name, block in blocks.items()}
    return {'user': label[0].unique(), **result}


def _rankings(
    user_emb: Tensor,
    item_emb: Tensor,
    data: HeteroData,
    label: tuple[Tensor, Tensor],
    k: int,
    block_size: int,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield rankings of blocks of users, and the held-out items of these.

    They are the best items of the users that have any held-out item, of shape
    ``[block, k]``, and pairs of a row in it and a held-out item of that user.
    """
    if block_size < 1:
        raise ValueError(
            f"'block_size' needs to be positive (got {block_size})"
        )
    if not (_is_finite(user_emb) and _is_finite(item_emb)):
        raise ValueError(
            'The embeddings of the model are not finite: training diverged. '
            'Lower the learning rate'
        )

    items, known = _columns(item_emb), interaction_keys(data)
    label_user, label_item = label  # by user
    for user in label_user.unique().split(block_size):
        score = _scores(user_emb, items, user)  # [block, num_items]
        _mask_known(score, user, known)
        score, item = stable_topk(score, k)
        # A place that no item is left for is no hit; no label has this id:
        item[score == -torch.inf] = len(item_emb)
        start = int(torch.searchsorted(label_user, user[0]))
        end = int(torch.searchsorted(label_user, user[-1], right=True))
        row = torch.searchsorted(user, label_user[start:end])
        yield item, row, label_item[start:end]


def _check_k(k: int, num_items: int) -> None:
    if not 1 <= k <= num_items:
        raise ValueError(f"'k' needs to be from 1 to {num_items} (got {k})")


def _columns(item_emb: Tensor) -> Tensor:
    """Return the transpose, ready for several products if it is sparse."""
    return item_emb.t().coalesce() if item_emb.is_sparse else item_emb.t()


def _scores(user_emb: Tensor, items: Tensor, user: Tensor) -> Tensor:
    """Return the scores of users for all items, dense, ``[N, num_items]``."""
    return (user_emb.index_select(0, user) @ items).to_dense()


def _is_finite(emb: Tensor) -> bool:
    entries = emb.coalesce().values() if emb.is_sparse else emb
    return bool(entries.isfinite().all())


def _measures(
    ks: Sequence[int],
    metrics: Sequence[str],
    protocol: Protocol,
    num_items: int,
) -> dict[str, LinkPredMetric]:
    if not ks:
        raise ValueError("'ks' needs at least one list length (got none)")
    for k in ks:
        if not 1 <= k <= num_items:
            raise ValueError(f"'ks' needs to be in 1..{num_items} (got {k})")
    for name in metrics:
        if name not in METRICS:
            raise ValueError(f"'metrics' knows {list(METRICS)} (got '{name}')")
    if protocol not in ('standard', 'ckd', 'mmrec'):
        raise ValueError(
            f"'protocol' needs to be 'standard', 'ckd' or 'mmrec' "
            f"(got '{protocol}')"
        )
    measures = {f'{name}@{k}': METRICS[name](k) for name in metrics for k in ks}
    if protocol == 'ckd' and 'ndcg' in metrics:
        for k in ks:
            measures[f'ndcg@{k}'] = FoundHitsNDCG(k, max(ks))
    return measures


def _held_out(
    data: HeteroData, split: Split, protocol: Protocol
) -> tuple[Tensor, Tensor]:
    """Return the held-out users and items, each pair once, by user."""
    if split not in ('val', 'test'):
        raise ValueError(f"'split' needs to be 'val' or 'test' (got '{split}')")
    user, item = data[RATES][f'{split}_edge_label_index']
    if protocol == 'mmrec':
        trained = torch.isin(user, data[RATES].edge_index[0])
        user, item = user[trained], item[trained]
    if user.numel() == 0:
        raise ValueError(f"The split '{split}' holds no interactions")
    num_items = data['item'].num_nodes
    key = torch.unique(user * num_items + item)
    return key // num_items, key % num_items


def _mask_known(score: Tensor, user: Tensor, known: Tensor) -> None:
    """Set the scores of training items to minus infinity, in place."""
    num_items = score.size(1)
    start = torch.searchsorted(known, user * num_items)
    count = torch.searchsorted(known, (user + 1) * num_items) - start
    row = torch.repeat_interleave(count)
    offset = torch.arange(len(row), device=row.device)
    offset = offset - (count.cumsum(0) - count)[row]
    score[row, known[start[row] + offset] % num_items] = -torch.inf


def _means(result: dict[str, Tensor], protocol: Protocol) -> dict[str, float]:
    means = {
        name: float(value.double().mean())
        for name, value in result.items()
        if name != 'user'
    }
    if protocol == 'mmrec':
        means = {name: round(value, 4) for name, value in means.items()}
    return means


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Switch a model to evaluation, without gradients, and back."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True
