"""Which rows of a model's tensors are those of users, and which of items."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn

from pyg_ckd.nn.recommender import Recommender
from pyg_ckd.serving._plain_model import model_of, plain_model

#: Layers of these have weights, but for embeddings no tables.
LIBRARIES = ('torch', 'torch_geometric')
#: `node` stands for users above items.
Side = Literal['user', 'item', 'node']


def resized(plain: Mapping[str, Any], **sizes: int) -> dict[str, Any]:
    """Return a plain model with other numbers of users or items.

    Args:
        plain: What :func:`plain_model` returned.
        **sizes: ``num_users`` and ``num_items``.
    """
    changed = copy.deepcopy(dict(plain))
    arguments = changed['arguments'] or {}
    for name, value in arguments.items():
        if name == 'recommender':
            arguments[name] = resized(value, **sizes)
        else:
            arguments[name] = sizes.get(name, value)
    return changed


def sides_of(recommender: Recommender) -> dict[str, Side]:
    """Return which tensors of a model have a row for each user or item.

    They are those whose number of rows changes with the number of users, or
    of items, in a model of the same class and arguments.

    Args:
        recommender: A recommender of this library.

    Returns:
        ``'user'``, ``'item'``, or ``'node'`` for users above items, by the
        names of its state.

    Raises:
        ValueError: If the model is of another library.

    Example:
        >>> from pyg_ckd.nn import VBPR
        >>> sides_of(VBPR(8, 8, {'text': 8}, dim=8))['preference.text']
        'user'
    """
    plain = plain_model(recommender)
    before = _lengths(model_of(plain).state_dict())
    grows = {}
    for name in ('num_users', 'num_items'):
        more = resized(plain, **{name: _size(plain, name) + 1})
        after = _lengths(model_of(more).state_dict())
        grows[name] = {key for key in before if after[key] != before[key]}
    users, items = grows['num_users'], grows['num_items']
    found: dict[str, Side] = dict.fromkeys(users - items, 'user')
    found |= dict.fromkeys(items - users, 'item')
    found |= dict.fromkeys(items & users, 'node')
    return {key: found[key] for key in before if key in found}


def sides_by_size(
    module: nn.Module,
    state: Mapping[str, Tensor],
    num_users: int,
    num_items: int,
) -> dict[str, Side]:
    """Return which tables have as many rows as there are users or items.

    It is for models of other libraries, whose arguments are not known. Tables
    are embeddings, and what belongs to no layer of torch or PyG.

    Args:
        module: The model.
        state: Its tensors as they were saved.
        num_users: The number of users then.
        num_items: The number of items then.

    Raises:
        ValueError: If there are as many users as items.
    """
    if num_users == num_items:
        name = module.__class__.__name__
        raise ValueError(
            f"'{name}' is not of this library, and there are as many users as "
            f'items, so that nobody can tell which of its tensors are whose'
        )
    side_of: dict[int, Side] = {
        num_users: 'user',
        num_items: 'item',
        num_users + num_items: 'node',
    }
    layers = dict(module.named_modules())
    found: dict[str, Side] = {}
    for key, value in state.items():
        owner = layers[key.rpartition('.')[0]]
        is_table = (
            isinstance(
                owner, nn.Embedding | nn.ParameterDict | nn.ParameterList
            )
            or type(owner).__module__.split('.')[0] not in LIBRARIES
        )
        if is_table and value.dim() and len(value) in side_of:
            found[key] = side_of[len(value)]
    return found


def _size(plain: Mapping[str, Any], name: str) -> int:
    arguments = plain['arguments']
    if arguments is None:
        raise ValueError(f"'{plain['class']}' is no class of this library")
    if name in arguments:
        return int(arguments[name])
    return _size(arguments['recommender'], name)


def _lengths(state: Mapping[str, Tensor]) -> dict[str, int]:
    return {key: len(x) if x.dim() else 0 for key, x in state.items()}
