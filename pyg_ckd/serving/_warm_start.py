"""Training that begins where an earlier one has ended."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.nn.door import Foreign, as_recommender, module_of
from pyg_ckd.serving._carry_over import Learned, Rows, carry_over
from pyg_ckd.serving._load import load, weights_of
from pyg_ckd.serving._names import Names, named
from pyg_ckd.serving._rows import sides_by_size, sides_of


def warm_start(
    model: nn.Module, data: HeteroData, folder: str | os.PathLike[str]
) -> tuple[int, int]:
    """Give a new model what a saved one has learned of users and items.

    The data may have further users, items and interactions, and lack others.
    Users and items are the same if they have the same name; where there are no
    names, the same number. A new item begins with the mean of the ten items
    that are most like it in content, and a new user where
    :meth:`~pyg_ckd.serving.Served.fold_in` would put her.

    Args:
        model: The new model, of the class and the settings of then, made for
            the new data.
        data: The new data.
        folder: The saved model.

    Returns:
        How many users and how many items were known.

    Raises:
        FileNotFoundError: If there is no saved model.
        ValueError: If the model differs in more than users and items, or
            nobody is known.
    """
    served = load(folder)
    state = weights_of(Path(folder))
    recommender = as_recommender(model)
    if isinstance(recommender, Foreign):
        sides = sides_by_size(
            state, served.users.size, served.items.size, recommender.name
        )
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
    user_emb, item_emb = served.embeddings()
    learned = Learned(state, user_emb, item_emb, served.known)
    carry_over(learned, module_of(recommender), data, rows, sides)
    return known[0], known[1]


def _former(data: HeteroData, node: str, names: Names) -> Tensor:
    """Return the former row of each user or item, -1 for new ones."""
    now = named(data[node].get('name'))
    if (now is None) != (names.names is None):
        raise ValueError(
            f'Names of {node}s are needed both in the data and in the saved '
            f'model, or in neither, to tell who is who'
        )
    found = now if now is not None else range(data[node].num_nodes)
    return torch.tensor([names.row(x) if x in names else -1 for x in found])
