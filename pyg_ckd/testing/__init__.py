"""Fakes and inherited test suites, for our tests and for yours.

A backbone's test is a class with one attribute or two:

.. code-block:: python

    class TestMyModel(RecommenderSuite):
        model = MyModel

They need pytest, which ``pip install 'pyg_ckd[testing]'`` brings.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

try:
    import pytest
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "'pyg_ckd.testing' needs pytest; run `pip install 'pyg_ckd[testing]'`",
        name='pytest',
    ) from error

# Failed assertions of the suites show their values, as those of tests do:
pytest.register_assert_rewrite(
    f'{__name__}.balance_case',
    *(
        f'{__name__}.{name}_suite'
        for name in ('balance', 'invariance', 'life_cycle', 'objective', 'view')
    ),
)

from ._fake_graph import fake_graph  # noqa: E402
from ._gradients import assert_same_with_gradients, gradients  # noqa: E402
from ._same_noise import same_noise  # noqa: E402
from ._train_steps import step_loss, train_steps  # noqa: E402
from .encoder_recommender import EncoderRecommender  # noqa: E402
from .naive import (  # noqa: E402
    dense_adjacency,
    dense_item_graph,
    dense_light_gcn,
    symmetric,
)
from .objective_suite import ObjectiveSuite  # noqa: E402
from .plain_recommender import PlainRecommender  # noqa: E402
from .recommender_suite import RecommenderSuite  # noqa: E402
from .steps import batch_of, step_of  # noqa: E402

if TYPE_CHECKING:
    from .balance_suite import BalanceSuite, assert_same

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


if not TYPE_CHECKING:  # as in `pyg_ckd`

    def __getattr__(name: str) -> Any:
        # What needs PyTorch Lightning is loaded when it is asked for:
        if name in ('BalanceSuite', 'assert_same'):
            return getattr(import_module(f'{__name__}.balance_suite'), name)
        raise AttributeError(f"module '{__name__}' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
