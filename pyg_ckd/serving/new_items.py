"""Items that nobody has bought yet."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.graph import (
    RATED_BY,
    RATES,
    check,
    interaction_keys,
    modalities,
)
from pyg_ckd.nn.door import as_recommender, default_view, matched
from pyg_ckd.nn.evaluating import evaluating
from pyg_ckd.nn.recommender import Recommender
from pyg_ckd.serving._carry_over import Learned, Rows, carry_over
from pyg_ckd.serving._names import listed
from pyg_ckd.serving._plain_model import model_of, plain_model
from pyg_ckd.serving._rows import resized, sides_of
from pyg_ckd.views import full

#: So many times as long as the longest known features are too long.
FAR = 3


def with_new_items(
    model: nn.Module,
    data: HeteroData,
    features: Mapping[str, Any],
    names: Sequence[str | int] | None = None,
    titles: Sequence[str] | None = None,
    *,
    has: Mapping[str, Any] | None = None,
) -> tuple[Recommender, HeteroData]:
    """Return a model and a graph that have further items, sold to nobody yet.

    What a model has learned of an item itself, its ID, is unknown for a new
    one, and starts as the mean of the ten items that are most like it in
    content. All else follows from its features, as for any item: projections,
    and neighbours in item graphs. Items that were there keep what the model
    has learned of them.

    Save both by :func:`save`, and the new items are recommended with the
    others. What the library does not know of items, attributes of your own, is
    left out of the new graph, with a warning.

    Args:
        model: A trained recommender of this library, or a task.
        data: The data it was trained on.
        features: For each modality of the data the features of the new items,
            ``[num_new, num_features]``, brought into the same form as those of
            the others, such as by
            :meth:`StandardizeModality.as_in
            <pyg_ckd.transforms.StandardizeModality.as_in>`.
        names: What the new items are called, if the others have names. Where
            they have numbers, the new ones get the next.
        titles: What people call them, if the others have titles.
        has: For modalities that some new items lack which of them have it,
            Booleans ``[num_new]``. The others get the mean of all items that
            have it, whatever their features are. All have all by default.

    Returns:
        A new model, in evaluation mode, and a new graph with its item graphs.

    Raises:
        ValueError: If the model is of another library, has graphs of its own or
            was trained in one view, a modality is missing, or features,
            names or masks do not fit.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> from pyg_ckd.nn import VBPR
        >>> from pyg_ckd.ranking import recommend
        >>> data = FakeMultimodal(num_users=20, num_items=30)[0]
        >>> model = VBPR.from_data(data, dim=4)
        >>> image, text = data['item'].x_image[:2], data['item'].x_text[:2]
        >>> model, data = with_new_items(
        ...     model, data, {'image': image, 'text': text})
        >>> item, _ = recommend(model, data, 7, candidates=[30, 31])
        >>> sorted(item[0, :2].tolist())
        [30, 31]
    """
    data = check(data)
    recommender = as_recommender(model)
    grown = _with_items(
        data, features, has or {}, {'name': names, 'title': titles}
    )
    num_new = grown['item'].num_nodes - data['item'].num_nodes
    plain = plain_model(recommender)
    if plain['arguments'] is None:
        raise ValueError(
            f"'{recommender.name}' is not made by its arguments alone, as "
            f'models of this library are: make it anew for the new graph, and '
            f'train it with fit(..., warm_start=folder)'
        )
    if default_view(model, data) != full(modalities(data)):
        raise ValueError(
            f"'{recommender.name}' was trained in one view alone: train it on "
            f'data that has no other modalities, so that new items need none'
        )
    bigger = model_of(resized(plain, num_items=grown['item'].num_nodes))
    state = recommender.state_dict()
    like = next(iter(state.values()), torch.empty(0))
    bigger.to_empty(device=like.device)
    if like.is_floating_point():
        bigger.to(like.dtype)
    for transform in (
        recommender.pre_transform,
        recommender.adjacency,
        recommender.neighbors,
    ):
        grown = grown if transform is None else transform(grown)
    with evaluating(recommender):
        moved = matched(data, recommender)
        user_emb, item_emb = recommender(moved)
    row = torch.arange(grown['item'].num_nodes)
    row[-num_new:] = -1
    carry_over(
        Learned(
            state,
            user_emb.cpu(),
            item_emb.cpu(),
            interaction_keys(data).unique_consecutive().cpu(),
        ),
        bigger,
        grown,
        Rows(torch.arange(grown['user'].num_nodes), row),
        sides_of(recommender),
    )
    return bigger.eval(), grown


def _with_items(
    data: HeteroData,
    features: Mapping[str, Any],
    has: Mapping[str, Any],
    texts: Mapping[str, Sequence[str | int] | None],
) -> HeteroData:
    """Return a graph with further items, and without item graphs."""
    wanted = modalities(data)
    if set(features) != set(wanted) or not wanted:
        raise ValueError(
            f"'features' needs those of the modalities {wanted} for new items "
            f'(got {sorted(features)})'
        )
    item = data['item']
    x = {m: torch.as_tensor(features[m]).to(item[f'x_{m}']) for m in wanted}
    num_new = len(x[wanted[0]])
    if num_new == 0 or any(
        x[m].shape != (num_new, item[f'x_{m}'].size(1)) for m in wanted
    ):
        sizes = {m: item[f'x_{m}'].size(1) for m in wanted}
        shapes = {m: list(x[m].shape) for m in wanted}
        raise ValueError(
            f"'features' needs one row for each new item, of the widths "
            f'{sizes} (got the shapes {shapes})'
        )
    grown = HeteroData()
    grown['user'].update(data['user'].to_dict())
    grown['item'].num_nodes = item.num_nodes + num_new
    for kind, given in texts.items():
        new = [] if given is None else list(listed(given))
        known, number = item.get(kind), len(new)
        if number != (0 if known is None else num_new):
            raise ValueError(
                f"'{kind}s' needs a {kind} for each of {num_new} new items if "
                f'the others have {kind}s, and none otherwise (got {number})'
            )
        if known is not None:
            grown['item'][kind] = [*known, *new]
    if 'original_id' in item:
        known = item.original_id
        new = known.max() + 1 + torch.arange(num_new, device=known.device)
        grown['item'].original_id = torch.cat([known, new])
    if 'cold' in item:
        grown['item'].cold = torch.cat([item.cold, item.cold.new_ones(num_new)])
    _check_each_once(grown['item'].get('name'))
    masks = _masks(data, has, num_new)
    for m in wanted:
        known_x, new_x = item[f'x_{m}'], x[m]
        if m in masks:
            known_has, new_has = masks[m]
            mean = known_x[known_has].sum(dim=0) / known_has.sum().clamp(min=1)
            new_x = torch.where(new_has.unsqueeze(1), new_x, mean)
            grown['item'][f'has_{m}'] = torch.cat([known_has, new_has])
        _warn_if_far(m, known_x, new_x)
        grown['item'][f'x_{m}'] = torch.cat([known_x, new_x])
    lost = sorted(set(item.keys()) - set(grown['item'].keys()))
    if lost:
        warnings.warn(
            f'What new items have in place of {lost} is not known: the new '
            f'graph goes without',
            stacklevel=3,
        )
    for edge_type in (RATES, RATED_BY):
        if edge_type in data.edge_types:
            grown[edge_type].update(data[edge_type].to_dict())
    return check(grown)


def _check_each_once(names: Sequence[str | int] | None) -> None:
    if names is not None and len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise ValueError(f"'names': two items would have the name {twice!r}")


def _warn_if_far(modality: str, known: Tensor, new: Tensor) -> None:
    """Say so if new features are far beyond those that were learned from."""
    most = torch.linalg.vector_norm(known, dim=1).max()
    length = torch.linalg.vector_norm(new, dim=1)
    if bool((length > FAR * most).any()):
        warnings.warn(
            f"Features of '{modality}' of new item {int(length.argmax())} are "
            f'{float(length.max() / most):.0f} times as long as any that the '
            f'model has learned from: its scores mean little. Are they in the '
            f'same form, such as standardised by StandardizeModality.as_in? '
            f'If so, bound them',
            stacklevel=4,
        )


def _masks(
    data: HeteroData, has: Mapping[str, Any], num_new: int
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return which known, and which new items have a modality.

    Only modalities that some item may lack have masks.
    """
    item, names = data['item'], modalities(data)
    if not has.keys() <= set(names):
        raise ValueError(
            f"'has' needs to be of the modalities {names} (got {sorted(has)})"
        )
    masks = {}
    for m in names:
        known, new = item.get(f'has_{m}'), has.get(m)
        if known is None and new is None:
            continue
        on = item[f'x_{m}'].device
        every = torch.ones(item.num_nodes, dtype=torch.bool, device=on)
        known = every if known is None else known
        new = every.new_ones(num_new) if new is None else torch.as_tensor(new)
        if new.dtype != torch.bool or new.shape != (num_new,):
            raise ValueError(
                f"'has' needs {num_new} Booleans for '{m}', one for each new "
                f'item (got {new.dtype} of the shape {list(new.shape)})'
            )
        masks[m] = known, new.to(on)
    return masks
