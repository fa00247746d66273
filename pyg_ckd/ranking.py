"""Rankings of all items: for evaluation and for recommendation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd._ranking import Ranking
from pyg_ckd.graph import RATES, check, interaction_keys, modalities
from pyg_ckd.kernels.best_items import best_items
from pyg_ckd.metrics import (
    METRICS,
    Protocol,
    check_metrics,
    hits,
    means,
    per_user,
)
from pyg_ckd.nn.door import as_recommender, check_finite
from pyg_ckd.views import Keep, distinct_views, full, view_name

Split = Literal['val', 'test']


def rank(
    model: nn.Module,
    data: HeteroData,
    split: Split = 'test',
    k: int = 20,
    *,
    view: Keep | None = None,
    candidates: Sequence[int] | np.ndarray | Tensor | None = None,
    exclude_known: bool = True,
    block_size: int = 1024,
) -> Ranking:
    r"""Return the best items of all users with a held-out item.

    Items of a user's training are left out of her list, validation items are
    not, at test either. Equal scores are ordered by lower item id.

    All metrics of :mod:`pyg_ckd.metrics` read the ranking, so that a model
    which is judged in several ways is ranked once.

    Args:
        model: Any recommender with ``user_emb, item_emb = model(data)``.
            Embeddings may be sparse (COO) tensors.
        data: The user-item graph.
        split: ``"val"`` or ``"test"``.
        k: The length of the lists. Places that no item is left for are
            filled with -1.
        view: The modalities to keep; all by default.
        candidates: Ids of the only items that may be listed; all by default.
            Held-out items that are not among them count as not found.
        exclude_known: Whether items of a user's training are left out.
        block_size: The number of users whose scores are held at once.

    Raises:
        ValueError: If an argument is unknown or out of range, the split is
            empty, the graph is not one that can be ranked, or the model's
            embeddings are not finite.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.metrics import recall
        >>> from pyg_ckd.nn import VBPR
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> ranking = rank(VBPR.from_data(data), data, k=5)
        >>> ranking
        Ranking(20 users, 10 items, k=5)
        >>> recall(ranking, k=5).shape
        torch.Size([20])
    """
    _check_split(split)
    data = check(data, splits=(split,))
    keep = full(modalities(data)) if view is None else view
    rankings = _rankings(
        model, data, split, k, [keep], candidates, exclude_known, block_size
    )
    return rankings[0]


def rank_views(
    model: nn.Module,
    data: HeteroData,
    split: Split = 'test',
    k: int = 20,
    keeps: Sequence[Keep] | None = None,
    *,
    candidates: Sequence[int] | np.ndarray | Tensor | None = None,
    exclude_known: bool = True,
    block_size: int = 1024,
) -> dict[str, Ranking]:
    """Return a ranking in each of several views, in one pass of the model.

    Args:
        model: See :func:`rank`.
        data: See :func:`rank`.
        split: See :func:`rank`.
        k: See :func:`rank`.
        keeps: The views, each a set of modalities; by default the full one,
            each modality alone and all but each.
        candidates: See :func:`rank`.
        exclude_known: See :func:`rank`.
        block_size: See :func:`rank`.

    Returns:
        The result of :func:`rank` for each view, by its name, such as
        ``full`` and ``only(text)``.

    Raises:
        ValueError: See :func:`rank`.
    """
    _check_split(split)
    data = check(data, splits=(split,))
    names = modalities(data)
    keeps = distinct_views(names) if keeps is None else keeps
    rankings = _rankings(
        model, data, split, k, keeps, candidates, exclude_known, block_size
    )
    labels = [view_name(keep, names) for keep in keeps]
    return dict(zip(labels, rankings, strict=True))


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
    """Return the best items of some users, those of training left out.

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
        exclude_known: Whether items of a user's training are left out.
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
    data = check(data, splits=())
    num_users, num_items = data['user'].num_nodes, data['item'].num_nodes
    device = data[RATES].edge_index.device
    users = _ids('user', user, device)
    _check_shape('user', users, (0, 1))
    _check_range('user', users, 0, num_users)
    users = users.reshape(-1)
    _check_positive(k=k)
    if candidates is not None:
        candidates = _candidates(candidates, num_items, device, len(users))
    keep = full(modalities(data)) if view is None else view
    with evaluating(model):
        ((user_emb, item_emb),) = embeddings(model, data, [keep])
        return best_items(
            user_emb,
            item_emb,
            users,
            k,
            known=_known(data, exclude_known),
            candidates=candidates,
        )


def evaluate(
    model: nn.Module,
    data: HeteroData,
    split: Split = 'test',
    ks: Sequence[int] = (10, 20),
    *,
    metrics: Iterable[str] = tuple(METRICS),
    view: Keep | None = None,
    protocol: Protocol = 'standard',
    candidates: Sequence[int] | np.ndarray | Tensor | None = None,
    block_size: int = 1024,
) -> dict[str, float]:
    r"""Rank all items for all users and return mean metrics.

    Items of a user's training are left out of her ranking, validation items
    are not, at test either. Users without a held-out item are skipped. Recall
    is the share of a user's held-out items in her top :math:`K`. Equal scores
    are ordered by lower item id.

    Protocols differ in published code:

    - ``"standard"``: NDCG with the ideal ranking of all held-out items;
    - ``"ckd"``: NDCG of CKD's authors
      (:func:`~pyg_ckd.metrics.found_hits_ndcg`), higher, and for comparison
      with their tables only;
    - ``"mmrec"``: as ``"standard"``, but without the users that have no
      training interaction, and rounded to four decimals.

    Args:
        model: Any recommender with ``user_emb, item_emb = model(data)``.
            Embeddings may be sparse (COO) tensors.
        data: The user-item graph.
        split: ``"val"`` or ``"test"``.
        ks: The list lengths :math:`K`.
        metrics: Some of ``recall``, ``precision``, ``ndcg``, ``map``, ``mrr``
            and ``hit_ratio``, which are the default, and of ``coverage``,
            ``novelty``, ``gini`` and ``popularity``, which look beyond
            accuracy.
        view: The modalities to keep; all by default.
        protocol: See above.
        candidates: Ids of the only items that may be listed; all by default.
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
    metrics = check_metrics(ks, metrics, protocol)
    ranking = rank(
        model,
        data,
        split,
        max(ks),
        view=view,
        candidates=candidates,
        block_size=block_size,
    )
    return means(ranking, ks, metrics, protocol)


def evaluate_users(
    model: nn.Module,
    data: HeteroData,
    split: Split = 'test',
    ks: Sequence[int] = (10, 20),
    *,
    metrics: Iterable[str] = tuple(METRICS),
    view: Keep | None = None,
    protocol: Protocol = 'standard',
    candidates: Sequence[int] | np.ndarray | Tensor | None = None,
    block_size: int = 1024,
) -> dict[str, Tensor]:
    """Return the metrics of each user, for paired tests and breakdowns.

    Arguments are those of :func:`evaluate`; ``coverage`` and ``gini`` are not
    numbers of a user.

    Returns:
        Values of shape ``[num_evaluated_users]`` by name, such as
        ``recall@20``, and the ids of these users as ``user``.
    """
    metrics = check_metrics(ks, metrics, protocol)
    ranking = rank(
        model,
        data,
        split,
        max(ks),
        view=view,
        candidates=candidates,
        block_size=block_size,
    )
    return per_user(ranking, ks, metrics, protocol)


def evaluate_views(
    model: nn.Module,
    data: HeteroData,
    split: Split = 'test',
    ks: Sequence[int] = (10, 20),
    *,
    metrics: Iterable[str] = tuple(METRICS),
    keeps: Sequence[Keep] | None = None,
    protocol: Protocol = 'standard',
    candidates: Sequence[int] | np.ndarray | Tensor | None = None,
    block_size: int = 1024,
) -> dict[str, dict[str, float]]:
    """Evaluate several views of a model in one pass through it.

    Arguments are those of :func:`evaluate`, but for ``keeps`` in place of
    ``view``: the views, each a set of modalities; by default the full one,
    each modality alone and all but each.

    Returns:
        The result of :func:`evaluate` for each view, by its name, such as
        ``full`` and ``only(text)``.
    """
    metrics = check_metrics(ks, metrics, protocol)
    rankings = rank_views(
        model,
        data,
        split,
        max(ks),
        keeps,
        candidates=candidates,
        block_size=block_size,
    )
    return {
        name: means(ranking, ks, metrics, protocol)
        for name, ranking in rankings.items()
    }


def evaluate_hits(
    model: nn.Module,
    data: HeteroData,
    split: Split = 'test',
    k: int = 20,
    *,
    view: Keep | None = None,
    candidates: Sequence[int] | np.ndarray | Tensor | None = None,
    block_size: int = 1024,
) -> dict[str, Tensor]:
    """Return which held-out interactions are found, for breakdowns by item.

    Arguments are those of :func:`rank`.

    Returns:
        The interactions as ``user`` and ``item``, sorted by both, and one for
        those whose item is among the ``k`` best of the user, else zero, as
        ``hit@k``; each of shape ``[num_held_out]``.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import VBPR
        >>> data = FakeMultimodal(num_users=20, num_items=10)[0]
        >>> found = evaluate_hits(VBPR.from_data(data), data, k=10)
        >>> found['hit@10'].unique()
        tensor([1.])
    """
    ranking = rank(
        model,
        data,
        split,
        k,
        view=view,
        candidates=candidates,
        block_size=block_size,
    )
    return hits(ranking)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Switch a module to evaluation, without gradients, and back.

    Args:
        module: The module. Each part of it is in its own mode afterwards.
    """
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part in training:
            part.training = True


def embeddings(
    model: nn.Module, data: HeteroData, keeps: Sequence[Keep]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the embeddings of several views, in one pass of the model.

    Use it inside :func:`evaluating`.

    Args:
        model: Any recommender with ``user_emb, item_emb = model(data)``.
        data: The user-item graph, as :func:`~pyg_ckd.graph.check` returns it.
        keeps: The views, each a set of modalities to keep.

    Raises:
        ValueError: If a view keeps what the items do not have, model and
            graph are on different devices, or embeddings are not finite.
    """
    names = modalities(data)
    for name in full(m for keep in keeps for m in keep) - full(names):
        raise ValueError(
            f"A view keeps the modality '{name}', but the items have {names}"
        )
    _check_device(model, data)
    kind = model.__class__.__name__
    views = as_recommender(model).views(data, keeps)
    for place, keep in enumerate(keeps):
        user_emb, item_emb = views.embedding(place)
        view = view_name(keep, names)
        check_finite(user_emb, item_emb, f'{kind} in the view {view}')
        yield user_emb, item_emb


def _rankings(
    model: nn.Module,
    data: HeteroData,
    split: Split,
    k: int,
    keeps: Sequence[Keep],
    candidates: Sequence[int] | np.ndarray | Tensor | None,
    exclude_known: bool,
    block_size: int,
) -> list[Ranking]:
    """Return a ranking in each view, of a graph that has been checked."""
    _check_positive(k=k, block_size=block_size)
    num_users, num_items = data['user'].num_nodes, data['item'].num_nodes
    known_user, known_item = data[RATES].edge_index
    if candidates is not None:
        candidates = _candidates(candidates, num_items, known_item.device)
    label_user, label_item = _held_out(data, split)
    user, row = label_user.unique(return_inverse=True)
    activity = torch.bincount(known_user, minlength=num_users)[user]
    popularity = torch.bincount(known_item, minlength=num_items)
    known = _known(data, exclude_known)
    with evaluating(model):
        return [
            Ranking(
                user=user,
                item=best_items(
                    *embedding, user, k, known, candidates, block_size
                )[0],
                label=torch.stack([row, label_item]),
                num_items=num_items,
                popularity=popularity,
                activity=activity,
            )
            for embedding in embeddings(model, data, keeps)
        ]


def _held_out(data: HeteroData, split: Split) -> tuple[Tensor, Tensor]:
    """Return the held-out users and items, each pair once, by user."""
    user, item = data[RATES][f'{split}_edge_label_index']
    num_items = data['item'].num_nodes
    key = torch.unique(user * num_items + item)
    return key // num_items, key % num_items


def _known(data: HeteroData, exclude: bool) -> Tensor:
    """Return the keys of what is not recommended, each once."""
    keys = interaction_keys(data)
    return torch.unique_consecutive(keys) if exclude else keys[:0]


def _candidates(
    candidates: Any,
    num_items: int,
    device: torch.device,
    num_users: int | None = None,
) -> Tensor:
    """Return ids of candidates, ``[C]`` (ascending) or ``[num_users, C]``."""
    ids = _ids('candidates', candidates, device)
    _check_shape('candidates', ids, (1,) if num_users is None else (1, 2))
    if ids.dim() == 1:
        if ids.numel() == 0:
            raise ValueError("'candidates' needs at least one item (got none)")
        _check_range('candidates', ids, 0, num_items)
        return ids.unique()
    if len(ids) != num_users:
        raise ValueError(
            f"'candidates' needs one list for each of {num_users} users, or "
            f'a single one for all (got {len(ids)} lists)'
        )
    _check_range('candidates', ids, -1, num_items)
    return ids


def _ids(name: str, value: Any, device: torch.device) -> Tensor:
    """Return ids as int64, whatever they come as."""
    if not isinstance(value, Tensor):
        try:
            array = np.asarray(value)
        except ValueError:
            raise ValueError(
                f"'{name}' needs lists of one length: fill them up with -1"
            ) from None
        if array.size and array.dtype.kind not in 'iu':
            raise ValueError(
                f"'{name}' needs integer ids (got {type(value).__name__} of "
                f'{array.dtype})'
            )
        return torch.from_numpy(array.astype(np.int64)).to(device)
    if value.numel() and (
        value.is_floating_point()
        or value.is_complex()
        or value.dtype == torch.bool
    ):
        raise ValueError(f"'{name}' needs integer ids (got {value.dtype})")
    return value.detach().to(device, torch.long)


def _check_shape(name: str, ids: Tensor, dims: tuple[int, ...]) -> None:
    if ids.dim() not in dims:
        wanted = ' or '.join(f'{dim}-D' for dim in dims)
        raise ValueError(
            f"'{name}' needs to be {wanted} (got shape {list(ids.shape)})"
        )


def _check_range(name: str, ids: Tensor, low: int, size: int) -> None:
    if ids.numel() and not low <= int(ids.min()) <= int(ids.max()) < size:
        raise ValueError(
            f"'{name}' needs ids from {low} to {size - 1} "
            f'(got {int(ids.min())} to {int(ids.max())})'
        )


def _check_positive(**arguments: int) -> None:
    for name, value in arguments.items():
        if value < 1:
            raise ValueError(f"'{name}' needs to be positive (got {value})")


def _check_split(split: Split) -> None:
    if split not in ('val', 'test'):
        raise ValueError(f"'split' needs to be 'val' or 'test' (got '{split}')")


def _check_device(model: nn.Module, data: HeteroData) -> None:
    of_data = data[RATES].edge_index.device
    tensors = chain(model.parameters(), model.buffers())
    of_model = {tensor.device for tensor in tensors}
    if of_model and of_data not in of_model:
        device = sorted(map(str, of_model))[0]
        raise ValueError(
            f"The model is on '{device}', the graph on '{of_data}': move one "
            f"of them, as by data.to('{device}')"
        )
