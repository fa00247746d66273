import math
from collections import Counter

import pytest
import torch

from pyg_ckd.balance import ModalityDropout
from pyg_ckd.nn import BM3, VBPR
from pyg_ckd.testing import fake_graph
from pyg_ckd.testing.balance_suite import BalanceSuite
from pyg_ckd.views import full, only


class TestModalityDropout(BalanceSuite):
    balance = lambda: ModalityDropout(p=0.5)  # noqa: E731


def attached(balance: ModalityDropout, num: int = 2) -> ModalityDropout:
    data = fake_graph(num)
    balance.attach(VBPR.from_data(data, dim=4), data)
    return balance


def shares(
    balance: ModalityDropout, names: list[str], num: int = 4000
) -> dict[frozenset[str], float]:
    drawn = Counter(balance.trained_view(full(names)) for _ in range(num))
    return {keep: count / num for keep, count in drawn.items()}


def test_shares():
    """Two coins; where both would go, one of them stays."""
    p, q = 0.4, 0.7
    balance = attached(ModalityDropout({'image': p, 'text': q}))
    result = shares(balance, ['image', 'text'])
    assert result == pytest.approx(
        {
            full(['image', 'text']): (1 - p) * (1 - q),
            only('image'): (1 - p) * q + p * q / 2,
            only('text'): p * (1 - q) + p * q / 2,
        },
        abs=0.03,
    )


def test_three_modalities():
    names = ['image', 'text', 'audio']
    result = shares(attached(ModalityDropout(0.5), 3), names)
    assert len(result) == 7
    assert result[full(names)] == pytest.approx(1 / 8, abs=0.03)
    for m in names:
        assert result[only(m)] == pytest.approx(1 / 8 + 1 / 24, abs=0.03)


def test_those_not_named_stay():
    result = shares(attached(ModalityDropout({'text': 0.5})), ['image', 'text'])
    assert set(result) == {full(['image', 'text']), only('image')}


def test_none_is_dropped():
    result = shares(attached(ModalityDropout(0.0)), ['image', 'text'])
    assert result == {full(['image', 'text']): 1.0}


def test_part_of_a_view():
    """What the task does not train stays out."""
    balance = attached(ModalityDropout(0.5), 3)
    result = shares(balance, ['image', 'audio'])
    assert set(result) == {
        full(['image', 'audio']),
        only('image'),
        only('audio'),
    }


def test_a_model_with_features_in_its_loss_alone():
    """Scores of BM3 do not depend on features, what it learns does."""
    suite = TestModalityDropout()
    data, batch = suite.data(), suite.batch()
    balance, model = ModalityDropout(0.5), BM3.from_data(data, dim=4)
    balance.attach(model, data)
    seen = {}
    for _ in range(20):
        keep = balance.trained_view(full(['image', 'text']))
        views = model.eval().views(data, [keep])
        seen[keep] = float(model.loss(data, keep, views, *batch).detach())
    assert len(set(seen.values())) == len(seen) == 3


def test_the_trained_view_is_the_one_that_was_drawn():
    suite = TestModalityDropout()
    balance, model, data = suite.attached('vbpr')
    batch, seen = suite.batch(), set()
    for seed in range(20):
        _, grads = suite.step(balance, model, data, batch, seed)
        torch.manual_seed(seed)
        keep = balance.trained_view(full(['image', 'text']))
        seen.add(keep)
        for m in ('image', 'text'):
            grad = grads[f'recommender.projection.{m}.weight']
            assert bool(grad.any()) == (m in keep)
    assert len(seen) == 3


class Backwards(frozenset):
    """A set that another process might iterate like this."""

    def __iter__(self):
        return reversed(list(super().__iter__()))


def test_draws_do_not_depend_on_the_order_of_a_set():
    """It differs between processes, and must not decide which one goes."""
    balance = attached(ModalityDropout(0.5), 3)
    keep = full(['image', 'text', 'audio'])
    assert list(Backwards(keep)) == list(keep)[::-1]
    draws = []
    for same in (keep, Backwards(keep)):
        torch.manual_seed(0)
        draws.append([balance.trained_view(same) for _ in range(10)])
    assert draws[0] == draws[1]
    assert len(set(draws[0])) > 3


def test_repr():
    """The same settings look the same."""
    one, other = {'image': 0.1, 'text': 0.5}, {'text': 0.5, 'image': 0.1}
    assert repr(ModalityDropout(one)) == repr(ModalityDropout(other))


@pytest.mark.parametrize('p', [-0.1, 1.0, math.nan, {'text': 1.5}])
def test_p_error(p):
    with pytest.raises(ValueError, match=r"'p' needs.*below 1"):
        ModalityDropout(p)


def test_unknown_modality_error():
    with pytest.raises(ValueError, match=r"'audio', but .*\['image', 'text'\]"):
        attached(ModalityDropout({'audio': 0.5}))
