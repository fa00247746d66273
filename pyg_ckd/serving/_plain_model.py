"""Recommenders as plain values: a class and its arguments."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch

import pyg_ckd.nn as library
from pyg_ckd.nn import Recommender
from pyg_ckd.nn.door import Foreign


def plain_model(recommender: Recommender) -> dict[str, Any]:
    """Return the class and the arguments of a recommender.

    Arguments are :obj:`None` for a class that is not of this library, as
    nobody but its author can make it anew, and for one that is made of
    embeddings or has graphs of its own.

    Args:
        recommender: The recommender.

    Example:
        >>> from pyg_ckd.nn import VBPR
        >>> plain_model(VBPR(8, 5, {'text': 12}, dim=4))['arguments']
        {'num_users': 8, 'num_items': 5, 'in_channels': {'text': 12}, 'dim': 4}
    """
    if isinstance(recommender, Foreign):
        cls: type = type(recommender.module)
    else:
        cls = type(recommender)
    if vars(library).get(cls.__name__) is not cls:
        name = f'{cls.__module__}.{cls.__qualname__}'
        return {'class': name, 'arguments': None}
    if vars(recommender).keys() & {'adjacency', 'neighbors', 'companions'}:
        return {'class': cls.__name__, 'arguments': None}
    names = list(signature(cls).parameters)
    values = {name: getattr(recommender, name) for name in names}
    if any(isinstance(value, torch.Tensor) for value in values.values()):
        return {'class': cls.__name__, 'arguments': None}
    arguments = {
        name: plain_model(value) if isinstance(value, Recommender) else value
        for name, value in values.items()
    }
    return {'class': cls.__name__, 'arguments': arguments}


def model_of(plain: Any) -> Recommender:
    """Return a recommender without weights, by its class and arguments.

    Its parameters are on the device ``meta``: they take no memory, whatever
    sizes a file asks for. No other classes are made than those of
    :mod:`pyg_ckd.nn`.

    Args:
        plain: What :func:`plain_model` returned.

    Raises:
        ValueError: If it is of another form, the class is not one of this
            library, or the arguments are not its own.
    """
    if (
        not isinstance(plain, Mapping)
        or set(plain) != {'class', 'arguments'}
        or not isinstance(plain['class'], str)
    ):
        raise ValueError(f"it needs a 'class' and 'arguments' (got {plain!r})")
    name, arguments = plain['class'], plain['arguments']
    if arguments is None:
        raise ValueError(
            f"'{name}' cannot be made by its name: pass a module of that "
            f'class, made as it was when it was saved'
        )
    cls = vars(library).get(name)
    if not (isinstance(cls, type) and issubclass(cls, Recommender)):
        raise ValueError(f"pyg_ckd.nn has no recommender '{name}'")
    if not isinstance(arguments, Mapping):
        raise ValueError(f"the arguments of '{name}' are no names and values")
    made = {
        key: model_of(value) if key == 'recommender' else value
        for key, value in arguments.items()
    }
    try:
        with torch.device('meta'):
            return cls(**made)
    except ValueError:
        raise
    except Exception as error:  # whatever broken arguments lead to
        raise ValueError(
            f"'{name}' cannot be made of {dict(arguments)} "
            f'({type(error).__name__}: {error})'
        ) from error
