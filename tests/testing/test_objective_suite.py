"""The suite finds what is wrong with an objective, and with itself."""

from dataclasses import dataclass, field

import pytest
import torch
import torch.nn.functional as F

from pyg_ckd.objectives import Objective
from pyg_ckd.testing import ObjectiveSuite, RecommenderSuite


@dataclass(frozen=True)
class Margin(Objective):
    """The example of the base class."""

    size: float = 1.0

    def loss(self, step):
        margin = step.margin[:, 0]
        dtype = torch.promote_types(margin.dtype, torch.float)
        return (self.size - margin.to(dtype)).relu().mean()


class TestMargin(ObjectiveSuite):
    objective = Margin(10.0)


class LowPrecision(Margin):
    """Its loss is as narrow as what it is computed from."""

    def loss(self, step):
        user, pos, _ = step.triples.embedding()
        return -F.logsigmoid(user @ pos.t()).mean()


class LastView(Margin):
    """It trains the last view instead of the first."""

    def loss(self, step):
        return -F.logsigmoid(step.margin[:, -1].float()).mean()


class Counts(Margin):
    """Later items are worth more."""

    def loss(self, step):
        return super().loss(step) + 0.1 * step.batch[1].float().mean()


class Rising(Margin):
    """It prefers what users do not."""

    def loss(self, step):
        return step.margin[:, 0].float().sigmoid().mean()


class Plain(Objective):
    """It is no dataclass."""

    loss = Margin.loss
    size = 1.0


@dataclass(frozen=True)
class HiddenSetting(Margin):
    """Its repr does not say all."""

    other: float = field(default=0.0, repr=False)


def fails(objective, test, *args):
    """Return what a test of the suite says of an objective, if it fails."""
    case = ObjectiveSuite()
    case.objective = objective
    try:
        getattr(case, f'test_{test}')(*args)
    except Exception as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ('objective', 'test'),
    [
        (LowPrecision(10.0), 'autocast'),
        (LastView(10.0), 'trains_the_first_view'),
        (Counts(10.0), 'renumbering'),
        (Rising(10.0), 'falls_when_a_preferred_item_rises'),
        (Plain(), 'copies_and_equality'),
        (HiddenSetting(10.0, 1.0), 'copies_and_equality'),
    ],
)
def test_what_is_wrong_is_found(objective, test):
    assert fails(objective, test) is not None
    assert fails(Margin(10.0), test) is None


def test_repr_error():
    message = fails(Plain(), 'copies_and_equality')
    assert "'Plain' has no repr that makes it again" in message


def test_forgotten_attribute():
    """One error, where the class is made, instead of one in each test."""
    with pytest.raises(TypeError, match=r"'TestA'.* 'objective = BPR\(\)'"):
        type('TestA', (ObjectiveSuite,), {})
    with pytest.raises(TypeError, match=r"'TestB'.* 'model = VBPR'"):
        type('TestB', (RecommenderSuite,), {})
    further = type('FurtherSuite', (ObjectiveSuite,), {})  # not collected
    type('TestC', (further,), {'objective': Margin()})
