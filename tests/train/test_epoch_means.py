import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pyg_ckd.train.epoch_means import EpochMeans


class Calls(TorchDispatchMode):
    """Counts operators."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_means():
    """Each is a mean over triples, also of scalars that come later."""
    steps = [
        ({'loss': torch.randn(()), 'base': torch.randn(())}, 3),
        ({'base': torch.randn(()), 'loss': torch.randn(())}, 5),
        ({'loss': torch.randn(()), 'more': torch.randn(()).double()}, 2),
    ]
    means = EpochMeans()
    for scalars, size in steps:
        means.add(scalars, size)
    values = means.values()
    assert list(values) == ['loss', 'base', 'more']
    for name, value in values.items():
        total = sum(s[name].item() * n for s, n in steps if name in s)
        assert value == pytest.approx(total / 10)
    means.check_finite('VBPR', 1)
    assert EpochMeans.of(means.state()).values() == values


def test_sums_are_of_double_precision():
    means = EpochMeans()
    for value in (1e8, 1.0, -1e8):
        means.add({'loss': torch.tensor(value)}, size=1)
    assert means.values() == {'loss': 1 / 3}


def test_first_step_that_is_not_finite():
    means = EpochMeans()
    for a, b in [(0, 0), (0, math.inf), (math.nan, math.nan), (0, 0)]:
        means.add({'a': torch.tensor(a), 'b': torch.tensor(b)}, size=2)
    assert means.first_not_finite() == (1, 'b')
    with pytest.raises(ValueError, match="in epoch 7, step 2, 'b' became NaN"):
        means.check_finite('VBPR', 7)


def test_scalars_are_not_kept_with_their_gradients():
    x = torch.ones((), requires_grad=True)
    means = EpochMeans()
    means.add({'loss': 2 * x}, size=1)
    assert not means.state()['sums']['loss'].requires_grad


def test_ten_scalars_take_as_many_operators_as_one():
    counts = []
    for num in (1, 10):
        means = EpochMeans()
        scalars = {str(i): torch.zeros(()) for i in range(num)}
        means.add(scalars, size=1)
        with Calls() as calls:
            means.add({k: x.double() for k, x in scalars.items()}, size=1)
        counts.append(calls.count - 2 * num)  # double, detach
    # A view of each in two vectors:
    assert counts[1] == counts[0]
