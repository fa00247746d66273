"""From effective settings to what is trained."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd.balance import Balance, Teacher
from pyg_ckd.experiments.backbones import Maker, is_ours, transform_of
from pyg_ckd.experiments.method import BALANCES, OBJECTIVES, TAUGHT, is_off
from pyg_ckd.experiments.settings import EXTRA, PARTS
from pyg_ckd.nn import Backbone, Cosine, ItemBias
from pyg_ckd.objectives import NLGCL, Objective
from pyg_ckd.transforms import (
    FeaturePCA,
    NormalizedAdjacency,
    StandardizeModality,
)
from pyg_ckd.views import Keep


def model_of(
    make: Maker, data: HeteroData, settings: Mapping[str, Any]
) -> nn.Module:
    """Return a new model, of cosines if the objective is.

    Args:
        make: The backbone.
        data: The graph.
        settings: Effective settings.
    """
    arguments = settings['model']
    if is_ours(make):
        assert isinstance(make, type) and issubclass(make, Backbone)
        model: nn.Module = make.from_data(data, **arguments)
    else:
        # A copy, as it may be the same module each time:
        model = copy.deepcopy(make(data, **arguments))
    objective = settings['objective'] or {'name': ''}
    if objective['name'].startswith('Cosine'):
        model = Cosine(model)
    if _extra(settings, 'item_bias'):
        return ItemBias(model, data['item'].num_nodes)
    return model


def objective_of(settings: Mapping[str, Any]) -> Objective | None:
    """Return the objective of its name and arguments, with NLGCL if it is on.

    Args:
        settings: Effective settings.

    Raises:
        ValueError: If NLGCL has no objective that it could be added to.
    """
    objective, weight = None, _extra(settings, 'nlgcl')
    if settings['objective'] is not None:
        arguments = dict(settings['objective'])
        objective = OBJECTIVES[arguments.pop('name')](**arguments)
    if not weight:
        return objective
    if objective is None:
        raise ValueError(
            "'nlgcl' cannot be added to the loss that a backbone brings: name "
            'an objective'
        )
    return NLGCL(objective, weight=weight)


def transforms_of(
    make: Maker, settings: Mapping[str, Any]
) -> list[BaseTransform]:
    """Return what brings data into the form that a run needs.

    Args:
        make: The backbone.
        settings: Effective settings, none of an ensemble.
    """
    transforms: list[BaseTransform | None] = []
    if _extra(settings, 'standardize'):
        transforms.append(StandardizeModality())
    if _extra(settings, 'components'):
        transforms.append(FeaturePCA(_extra(settings, 'components')))
    transforms.append(transform_of(make))
    if _extra(settings, 'nlgcl'):
        transforms.append(NormalizedAdjacency())
    return [each for each in transforms if each is not None]


def _extra(settings: Mapping[str, Any], name: str) -> Any:
    return settings.get('extra', {}).get(name, EXTRA[name])


def balance_of(
    settings: Mapping[str, Any] | None, teachers: Mapping[Keep, Teacher]
) -> Balance | None:
    """Return the balance of its name and arguments.

    Args:
        settings: Those of the balance; parts hold their own arguments. With
            those that switch it off there is none, lest it draws numbers.
        teachers: What it is taught by, if it is.
    """
    if settings is None or is_off(settings):
        return None
    arguments = dict(settings)
    name = arguments.pop('name')
    for part, (usual, *others) in PARTS.items():
        if arguments.get(part) is not None:
            own = dict(arguments[part])
            called = own.pop('name', usual.__name__)
            makers = {make.__name__: make for make in (usual, *others)}
            arguments[part] = makers[called](**own)
    if name in TAUGHT:
        arguments['teachers'] = teachers
    return BALANCES[name](**arguments)
