"""All that is known of a graph, as plain values."""

from __future__ import annotations

from typing import Any

from torch_geometric.data import HeteroData

from pyg_ckd.datasets._audit import audit
from pyg_ckd.datasets._describe import statistics
from pyg_ckd.datasets._description.degrees import Degrees
from pyg_ckd.datasets._description.lift import Lift, common_users
from pyg_ckd.datasets._description.modality import K, Modality
from pyg_ckd.graph import check_features, modalities


def description(data: HeteroData) -> dict[str, Any]:
    """Return what the page of a graph shows in figures, for JSON.

    Args:
        data: A user-item graph.

    Returns:
        The statistics, and

        - ``leaks``: what gives the test set away, in a sentence each;
        - ``degrees``: how unequal interactions of training are, of users and
          of items;
        - ``neighbors``: for each modality how much more often than by chance
          nearest neighbours share their users, ``None`` where there is nothing
          to compare; how many items have features that another has to the bit,
          and how many only zeros.

    Example:
        >>> from pyg_ckd.datasets import FakeMultimodal
        >>> found = description(FakeMultimodal()[0])
        >>> found['degrees']['user']['gini'], found['neighbors']['text']['k']
        (0.0, 5)
    """
    data = check_features(data)
    numbers = statistics(data)
    users = common_users(data)
    return {
        **numbers,
        'leaks': audit(data).leaks if numbers['training'] else [],
        'degrees': {
            'user': Degrees.of(users.items)._asdict(),
            'item': Degrees.of(users.degree)._asdict(),
        },
        'neighbors': {
            name: _plain(Modality.of(data, name, users))
            for name in modalities(data)
        },
    }


def _plain(modality: Modality) -> dict[str, Any]:
    lift = modality.lift
    return {
        'k': K,
        'lift': None if lift is None else _interval(lift.found),
        'at_random': None if lift is None else _interval(lift.at_random),
        'sampled': 0 if lift is None else lift.sampled,
        'equal': modality.num_equal,
        'groups_of_equal': len(modality.equal),
        'largest_group_of_equal': max(map(len, modality.equal), default=0),
        'zeros': modality.num_zero,
    }


def _interval(lift: Lift) -> dict[str, float]:
    return lift._asdict()
