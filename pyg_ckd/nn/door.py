"""The one door for recommenders that are not ours."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from pyg_ckd.graph import RATES, modalities
from pyg_ckd.nn.evaluating import evaluating
from pyg_ckd.nn.recommender import Recommender
from pyg_ckd.views import Keep, full


class Trained(nn.Module):
    """What trains a recommender, and stands for it once that is done.

    Args:
        recommender (Recommender): The recommender.
        keep (frozenset[str]): The view it was trained in.
    """

    recommender: Recommender
    keep: Keep


class Foreign(Recommender):
    r"""A module that is not ours, behind the interface of a recommender.

    Of the module nothing is used but ``user_emb, item_emb = module(data)``,
    whose output is checked, and two refinements that it may declare: an
    :class:`~torch.nn.ParameterDict` named ``preference`` with a table of users
    for each modality, and one named ``offset`` with what it has learned to add
    to the features of each item. Views ablate these along with the features,
    as they do with those of any :class:`~pyg_ckd.nn.Recommender` inside.

    Args:
        module (torch.nn.Module): The module.

    Raises:
        TypeError: If it does not take the graph as its only argument.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        forward = signature(module.forward)
        try:
            forward.bind(None)
        except TypeError:
            raise TypeError(
                f"'{self.name}' is called as model(data), with the HeteroData "
                f'alone, and its forward takes {forward}; put it into a module '
                f'whose forward(data) returns (user_emb, item_emb)'
            ) from None

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and of all items."""
        # A copy, lest what it adds to the graph is taken for a modality:
        out = self.module(copy.copy(data))
        return checked_embeddings(out, data, self.name)

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.module.__class__.__name__

    def tables(self, modality: str) -> Sequence[nn.Parameter]:
        """Return the parameters that are ablated along with a modality."""
        inner = [
            table
            for module in self.module.modules()
            if isinstance(module, Recommender)
            for table in module.tables(modality)
        ]
        own = [
            child[modality]
            for name, child in self.module._modules.items()
            if name in ('preference', 'offset')
            and isinstance(child, nn.ParameterDict)
            and modality in child
            and isinstance(child[modality], nn.Parameter)
            and child[modality].dim() == 2
        ]
        return [*inner, *own]

    def __repr__(self) -> str:
        return repr(self.module)


def as_recommender(module: nn.Module) -> Recommender:
    """Return a module as a recommender.

    Every entry of the library brings modules through this door, so that all
    behind it is a :class:`~pyg_ckd.nn.Recommender`. One that is already is
    returned as it is.

    Args:
        module: Any module with ``user_emb, item_emb = module(data)``.

    Raises:
        TypeError: If it is no module.

    Example:
        >>> from pyg_ckd.nn import VBPR
        >>> model = VBPR(8, 5, {'text': 12}, dim=4)
        >>> as_recommender(model) is model
        True
        >>> as_recommender(nn.Linear(2, 3))
        Linear(in_features=2, out_features=3, bias=True)
    """
    if isinstance(module, Recommender):
        return module
    if isinstance(module, Trained):
        return module.recommender
    if not isinstance(module, nn.Module):
        given = module if isinstance(module, type) else type(module)
        raise TypeError(
            f'A recommender needs to be a torch.nn.Module that returns '
            f'(user_emb, item_emb) (got {given.__name__}'
            f'{", the class itself" if given is module else ""})'
        )
    return Foreign(module)


def module_of(recommender: Recommender) -> nn.Module:
    """Return what :func:`as_recommender` was given."""
    if isinstance(recommender, Foreign):
        return recommender.module
    return recommender


def checked_embeddings(
    out: Any, data: HeteroData, name: str
) -> tuple[Tensor, Tensor]:
    """Return what a recommender has returned, if it is what is wanted.

    Args:
        out: What it returned.
        data: The user-item graph.
        name: The name of the recommender.

    Raises:
        ValueError: If it is anything but two floating tensors of shapes
            ``[num_users, d]`` and ``[num_items, d]``.
    """
    num_users, num_items = data['user'].num_nodes, data['item'].num_nodes
    wanted = (
        f"'{name}' needs to return (user_emb, item_emb), floating tensors of "
        f'the shapes [{num_users}, d] and [{num_items}, d]'
    )
    if not isinstance(out, tuple | list) or len(out) != 2:
        raise ValueError(f'{wanted}; it returned {_described(out)}')
    user, item = out
    if not all(
        isinstance(emb, Tensor) and emb.dim() == 2 and emb.is_floating_point()
        for emb in (user, item)
    ):
        raise ValueError(f'{wanted}; it returned {_described(out)}')
    sizes = user.size(0), item.size(0)
    if sizes != (num_users, num_items):
        hint = ''
        if sizes == (num_items, num_users):
            hint = ': items come before users, swap them'
        elif sizes[0] == sizes[1] == num_users + num_items:
            hint = (
                ': both hold all nodes, split them by '
                'out.split([num_users, num_items])'
            )
        raise ValueError(f'{wanted}; it returned {_described(out)}{hint}')
    if user.size(1) != item.size(1):
        raise ValueError(
            f'{wanted}, with one d for both; it returned {_described(out)}'
        )
    dtype = torch.promote_types(user.dtype, item.dtype)
    return user.to(dtype), item.to(dtype)


def default_view(model: nn.Module, data: HeteroData) -> Keep:
    """Return the view that a model stands for: all, or what it was trained in.

    Args:
        model: A recommender, or a task.
        data: The user-item graph.
    """
    if isinstance(model, Trained):
        return model.keep
    return full(modalities(data))


def matched(data: HeteroData, module: nn.Module) -> HeteroData:
    """Return a graph on the device and in the precision of a module.

    The precision is that of the parameters that are trained, where there are
    some. If they are of several, features that are of one of them stay so.

    Args:
        data: The user-item graph, returned as it is if both fit.
        module: The module.
    """
    state = [*module.parameters(), *module.buffers()]
    floating = [tensor for tensor in state if tensor.is_floating_point()]
    trained = [tensor for tensor in floating if tensor.requires_grad]
    if not floating:
        return data
    dtypes = [tensor.dtype for tensor in trained or floating]
    names = modalities(data)
    x_dtype = data['item'][f'x_{names[0]}'].dtype if names else dtypes[0]
    dtype = x_dtype if x_dtype in dtypes else dtypes[0]
    device = floating[0].device
    if data[RATES].edge_index.device == device and x_dtype == dtype:
        return data

    def move(x: Any) -> Any:
        if x.is_floating_point():
            return x.to(device=device, dtype=dtype)
        return x.to(device=device)

    return copy.copy(data).apply(move)


def check_output(recommender: Recommender, data: HeteroData) -> None:
    """Refuse a recommender whose output is not what is wanted.

    It is run once, in evaluation mode and without gradients.

    Args:
        recommender: The recommender.
        data: The user-item graph.

    Raises:
        ValueError: If the output is anything but finite embeddings of all
            users and items.
    """
    data = matched(data, recommender)
    with evaluating(recommender):
        out = recommender(data)
    name = recommender.name
    check_finite(*checked_embeddings(out, data, name), name)


def check_finite(user: Tensor, item: Tensor, name: str) -> None:
    """Refuse embeddings that hold NaN or infinity.

    Args:
        user: User embeddings, ``[num_users, d]``.
        item: Item embeddings, ``[num_items, d]``.
        name: The name of the recommender.

    Raises:
        ValueError: If an entry is not finite; it names the first row.
    """
    for side, emb in (('user', user), ('item', item)):
        entries = emb.coalesce().values() if emb.is_sparse else emb
        if not entries.isfinite().all():
            bad = (~emb.to_dense().isfinite()).any(dim=1).nonzero()[0]
            raise ValueError(
                f"The {side} embeddings of '{name}' are not finite, first in "
                f'row {int(bad)}: training diverged, or the model computes '
                f'NaN or infinity. Lower the learning rate, or look at the '
                f'model'
            )


def _described(out: Any) -> str:
    if isinstance(out, Tensor):
        return f'one tensor of shape {list(out.shape)} and {out.dtype}'
    if isinstance(out, dict):
        return f'a dict with the keys {list(out)}'
    if isinstance(out, tuple | list):
        inside = ', '.join(
            f'{list(x.shape)} of {x.dtype}'
            if isinstance(x, Tensor)
            else type(x).__name__
            for x in out
        )
        return f'{type(out).__name__} ({inside})'
    return f'{type(out).__name__}'


__all__ = [
    'Foreign',
    'Trained',
    'as_recommender',
    'check_finite',
    'check_output',
    'checked_embeddings',
    'default_view',
    'matched',
    'module_of',
]
