"""From effective settings to what is trained."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch_geometric.data import HeteroData

from pyg_ckd.balance import Balance, Teacher
from pyg_ckd.experiments.backbones import Maker, is_ours
from pyg_ckd.experiments.method import BALANCES, OBJECTIVES, TAUGHT, is_off
from pyg_ckd.experiments.settings import PARTS
from pyg_ckd.nn import Backbone, Cosine
from pyg_ckd.objectives import Objective
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
    return Cosine(model) if objective['name'].startswith('Cosine') else model


def objective_of(settings: Mapping[str, Any] | None) -> Objective | None:
    """Return the objective of its name and arguments."""
    if settings is None:
        return None
    arguments = dict(settings)
    return OBJECTIVES[arguments.pop('name')](**arguments)


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
    for part, make in PARTS.items():
        if arguments.get(part) is not None:
            arguments[part] = make(**arguments[part])
    if name in TAUGHT:
        arguments['teachers'] = teachers
    return BALANCES[name](**arguments)
