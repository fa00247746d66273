"""Training that begins where an earlier one has ended."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd._contract.interactions import LABELS
from pyg_ckd.graph import RATES, feature_scales
from pyg_ckd.nn.door import Foreign, as_recommender, module_of
from pyg_ckd.nn.recommender import Recommender
from pyg_ckd.serving._carry_over import Learned, Rows, carry_over
from pyg_ckd.serving._load import features_of, load, weights_of
from pyg_ckd.serving._names import Names, names_of
from pyg_ckd.serving._plain_model import plain_model
from pyg_ckd.serving._rows import Side, sides_by_size, sides_of
from pyg_ckd.serving.served import Served

#: Of the scale: how far features may move without a word.
MOVED = 0.1


def warm_start(
    model: nn.Module, data: HeteroData, folder: str | os.PathLike[str]
) -> tuple[int, int]:
    """Give a new model what a saved one has learned of users and items.

    The data may have further users, items and interactions, and lack others.
    Users and items are the same if they have the same name; where there are no
    names, the same number, in the files if that is known. A new item begins
    with the mean of the ten items that are most like it in content, and a new
    user where :meth:`~pyg_ckd.serving.Served.fold_in` would put her.

    An earlier model has learned from interactions that a split which is drawn
    anew may hold out, and a split by time, too, if it holds out more than came
    since. A warning says how many.

    Args:
        model: The new model, of the class and the settings of then, made for
            the new data.
        data: The new data.
        folder: The saved model.

    Returns:
        How many users and how many items were known.

    Raises:
        FileNotFoundError: If there is no saved model.
        ValueError: If the model is of another class or differs in more than
            users and items, or nobody is known.
    """
    served = load(folder)
    state = weights_of(Path(folder))
    recommender = as_recommender(model)
    if isinstance(recommender, Foreign):
        sides = sides_by_size(
            recommender.module, state, served.users.size, served.items.size
        )
        _tell_sides(recommender.name, sides)
    else:
        sides = sides_of(recommender)
    rows = Rows(
        _former(data, 'user', served.users), _former(data, 'item', served.items)
    )
    known = [int((row >= 0).sum()) for row in rows]
    if not all(known):
        raise ValueError(
            f'Of the users and items of the data, {known[0]} and {known[1]} '
            f"are known to the model that was saved in '{folder}': it is one "
            f'of another shop'
        )
    _check_alike(served, recommender, data)
    _warn_of_moved(served, Path(folder), data, rows.item)
    _warn_of_leaks(served, data, rows)
    rows.user[torch.isin(rows.user, served.untrained)] = -1
    user_emb, item_emb = served.embeddings()
    learned = Learned(state, user_emb, item_emb, served.trained_keys())
    carry_over(learned, module_of(recommender), data, rows, sides)
    return known[0], known[1]


def _tell_sides(name: str, sides: Mapping[str, Side]) -> None:
    """Say what was taken for tables, as nobody but the user can tell."""
    told = '; '.join(
        f'of {side}s {", ".join(map(repr, keys))}'
        for side in ('user', 'item', 'node')
        if (keys := [key for key, own in sides.items() if own == side])
    )
    warnings.warn(
        f"'{name}' is not of this library. By their numbers of rows, these of "
        f'its tensors are taken for tables, whose rows follow users and items: '
        f'{told or "none"}; all others are taken over as they are',
        stacklevel=3,
    )


def _check_alike(
    served: Served, recommender: Recommender, data: HeteroData
) -> None:
    """Refuse another class, and say so if features have another form."""
    then, now = served.about.get('class'), plain_model(recommender)['class']
    if then != now:
        raise ValueError(
            f"A '{then}' was saved, so that a '{now}' cannot go on from it"
        )
    before = served.about['scales']
    for m, scale in feature_scales(data).items():
        if m in before and not before[m] / 3 <= scale <= before[m] * 3:
            warnings.warn(
                f"Features of '{m}' have the scale {scale:.3g}, those that the "
                f'saved model has learned from {before[m]:.3g}: bring them to '
                f'the same form',
                stacklevel=3,
            )


def _warn_of_moved(
    served: Served, folder: Path, data: HeteroData, former: Tensor
) -> None:
    """Say so if items that were known have other features now.

    So it is with principal components of a shop that has grown, whose axes are
    others, at the same scale.
    """
    place = torch.full((served.items.size,), -1)
    known = (former >= 0).nonzero()[:, 0]
    place[former[known]] = known
    for m, (item, then) in features_of(folder).items():
        here, scale = place[item] >= 0, served.about['scales'][m]
        x = data['item'].get(f'x_{m}')
        if x is None or x.size(1) != then.size(1):
            continue
        if not here.any() or scale == 0:
            continue
        now = x[place[item[here]].to(x.device)].float().cpu()
        moved = float((now - then[here]).norm(dim=1).median()) / scale
        if not moved <= MOVED:
            warnings.warn(
                f"Features of '{m}' are not those of then: items that the "
                f'saved model knows have moved by {moved:.0%} of the scale, in '
                f'the median. Map them as then, such as by the `as_in` of a '
                f'transform and the data of then',
                stacklevel=3,
            )


def _warn_of_leaks(served: Served, data: HeteroData, rows: Rows) -> None:
    """Say so if the earlier model knew what is held out now."""
    pairs = [
        data[RATES][name]
        for name in LABELS.values()
        if data[RATES].get(name) is not None
    ]
    if not pairs:
        return
    user, item = torch.cat(pairs, dim=1).unique(dim=1).cpu()
    before = rows.user[user] * served.items.size + rows.item[item]
    there = (rows.user[user] >= 0) & (rows.item[item] >= 0)
    number = int(torch.isin(before[there], served.known).sum())
    if number:
        warnings.warn(
            f'{number} of the {len(user)} interactions that are held out now '
            f'were in the data of the earlier model, which may have learned '
            f'them: validation and test are too good. Hold out only what came '
            f'since, such as by a split of your own',
            stacklevel=3,
        )


def _former(data: HeteroData, node: str, names: Names) -> Tensor:
    """Return the former row of each user or item, -1 for new ones."""
    now = names_of(data, node)
    # A model of before data sets were renumbered has the numbers of the files:
    by_file = names.names is None and 'name' not in data[node]
    if (now is None) != (names.names is None) and not by_file:
        raise ValueError(
            f'Names of {node}s are needed both in the data and in the saved '
            f'model, or in neither, to tell who is who'
        )
    found = now if now is not None else range(data[node].num_nodes)
    return torch.tensor([names.row(x) if x in names else -1 for x in found])
