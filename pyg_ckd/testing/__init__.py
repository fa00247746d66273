"""Fakes and inherited test suites, for our tests and for yours.

A backbone's test is a class with one attribute or two:

.. code-block:: python

    class TestMyModel(RecommenderSuite):
        model = MyModel
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

# Failed assertions of the suites show their values, as those of tests do:
pytest.register_assert_rewrite(
    *(
        f'{__name__}.{name}_suite'
        for name in ('balance', 'invariance', 'life_cycle', 'objective', 'view')
    )
)

from .fake_graph import fake_graph  # noqa: E402
from .gradients import assert_same_with_gradients, gradients  # noqa: E402
from .naive import (  # noqa: E402
    dense_adjacency,
    dense_item_graph,
    dense_light_gcn,
    symmetric,
)
from .objective_suite import (  # noqa: E402
    ObjectiveSuite,
    batch_of,
    step_of,
)
from .plain_recommender import PlainRecommender  # noqa: E402
from .recommender_suite import RecommenderSuite  # noqa: E402
from .same_noise import same_noise  # noqa: E402
from .train_steps import step_loss, train_steps  # noqa: E402

if TYPE_CHECKING:
    from .balance_suite import (
        BalanceSuite,
        EncoderRecommender,
        assert_same,
    )

__all__ = [
    'BalanceSuite',
    'EncoderRecommender',
    'ObjectiveSuite',
    'PlainRecommender',
    'RecommenderSuite',
    'assert_same',
    'assert_same_with_gradients',
    'batch_of',
    'dense_adjacency',
    'dense_item_graph',
    'dense_light_gcn',
    'fake_graph',
    'gradients',
    'same_noise',
    'step_loss',
    'step_of',
    'symmetric',
    'train_steps',
]


def __getattr__(name: str) -> Any:
    # What needs PyTorch Lightning is loaded when it is asked for:
    if name in ('BalanceSuite', 'EncoderRecommender', 'assert_same'):
        return getattr(import_module(f'{__name__}.balance_suite'), name)
    raise AttributeError(f"module '{__name__}' has no attribute {name!r}")
