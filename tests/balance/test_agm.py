import copy
import math

import pytest
import torch

from pyg_ckd.balance import AGM
from pyg_ckd.balance.agm import modality_losses, relative_strength
from pyg_ckd.testing.balance_suite import BalanceSuite
from pyg_ckd.train.losses import compute_losses
from pyg_ckd.views import full, only, view, without

NAMES = {'image': ['encoder_image'], 'text': ['encoder_text']}


class TestAGM(BalanceSuite):
    balance = AGM
    foreign = lambda: AGM(parameters=NAMES)  # noqa: E731


def strength_of(full, without, alone):
    return relative_strength(modality_losses(full, without, alone).mean(dim=0))


def naive_strength(
    full: list[float], without: list[list[float]], alone: list[list[float]]
) -> list[float]:
    """Of one list for each modality."""
    scores = []
    for away, own in zip(without, alone, strict=True):
        losses = []
        for f, w, o in zip(full, away, own, strict=True):
            out = 0.5 * (f - w + o)
            losses.append(-math.log(max(1 / (1 + math.exp(-out)), 1e-8)))
        scores.append(sum(losses) / len(losses))
    num, mean = len(scores), sum(scores) / len(scores)
    return [math.exp(num / (num - 1) * (mean - score)) for score in scores]


@pytest.mark.parametrize('num_modalities', [2, 3, 4])
@pytest.mark.parametrize('scale', [1.0, 30.0])
def test_relative_strength(num_modalities, scale):
    full = scale * torch.randn(6, dtype=torch.double)
    without, alone = scale * torch.randn(
        2, 6, num_modalities, dtype=torch.double
    )
    expected = naive_strength(
        full.tolist(), without.t().tolist(), alone.t().tolist()
    )
    torch.testing.assert_close(
        strength_of(full, without, alone),
        torch.tensor(expected, dtype=torch.double),
    )


def test_two_modalities():
    """It is the quotient of the probabilities of the truth, geometric means."""
    full, without, alone = torch.zeros(5), torch.randn(5, 2), torch.randn(5, 2)
    out = (alone - without) / 2
    mean = out.sigmoid().log().mean(dim=0)
    torch.testing.assert_close(
        strength_of(full, without, alone),
        torch.stack([mean[0] - mean[1], mean[1] - mean[0]]).exp(),
    )


def test_hopeless_margins_are_finite():
    full, without = torch.zeros(1), torch.tensor([[1e6, -1e6]])
    assert strength_of(full, without, -without).isfinite().all()


@pytest.mark.parametrize('num_modalities', [2, 3])
@pytest.mark.parametrize('alpha', [0.0, 0.7])
def test_steps(alpha, num_modalities):
    """Three steps, each compared with the mean of those before."""
    suite = TestAGM()
    balance, model, data = suite.attached('freedom', num_modalities)
    balance.alpha = alpha
    names, before = balance.names, []
    for seed in range(3):
        batch = suite.batch()
        other, twin = copy.deepcopy((balance, model))
        other.after_backward = lambda: None
        _, plain = suite.step(other, twin, data, batch, seed)
        _, grads = suite.step(balance, model, data, batch, seed)

        margins = {}
        user, pos, neg = batch
        for keep in [full(names)] + [
            keep for m in names for keep in (only(m), without(names, m))
        ]:
            user_emb, item_emb = view(model, data, keep)
            margins[keep] = [
                (user_emb[u] @ (item_emb[i] - item_emb[j])).item()
                for u, i, j in zip(user, pos, neg, strict=True)
            ]
        strength = naive_strength(
            margins[full(names)],
            [margins[without(names, m)] for m in names],
            [margins[only(m)] for m in names],
        )
        factors = []
        for m, value in enumerate(strength):
            past = [each[m] for each in before] or [value]
            change = min(sum(past) / len(past) - value, 7)
            factors.append(math.exp(alpha * change))
        before.append(strength)
        assert (seed == 0 or alpha == 0) == all(f == 1 for f in factors)

        state = balance.state_dict()
        assert state['count'] == seed + 1
        torch.testing.assert_close(
            state['reference'],
            torch.tensor(before).mean(dim=0),
            rtol=1e-4,
            atol=1e-5,
        )
        for name, grad in plain.items():
            for m, factor in zip(names, factors, strict=True):
                if m in name.split('.'):
                    grad = factor * grad
            torch.testing.assert_close(grads[name], grad, rtol=1e-3, atol=1e-6)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.3 * torch.randn_like(parameter)


def test_a_modality_that_gets_ahead_is_slowed_down():
    """And one that falls behind is sped up."""
    suite = TestAGM()
    balance, model, data = suite.attached('vbpr')
    batch = suite.batch()
    suite.step(balance, model, data, batch)
    assert factors(balance, model, data, batch) == [1, 1]
    suite.step(balance, model, data, batch)

    user, pos, neg = batch
    with torch.no_grad():  # text tells the preferred item now
        data['item'].x_text.zero_()
        data['item'].x_text[:, 0] = torch.arange(50.0)
        model.projection['text'].weight.zero_()
        model.projection['text'].weight[0, 0] = 1.0
        model.preference['text'].zero_()
        model.preference['text'][:, 0] = 1.0
    batch = user, torch.maximum(pos, neg), torch.minimum(pos, neg)
    image, text = factors(balance, model, data, batch)
    assert text < 1 < image


def factors(balance, model, data, batch) -> list[float]:
    """Return what is logged."""
    keep = full(balance.names)
    losses = compute_losses(model, data, keep, None, balance, batch)
    return [float(losses.scalars[f'factor_{m}']) for m in balance.names]


def test_batches_of_one_step(assert_parts_equal_whole):
    """Two batches before a step are like one of both."""
    suite = TestAGM()
    balance, model, data = suite.attached('vbpr')
    suite.step(balance, model, data, suite.batch())  # a mean to compare with
    assert_parts_equal_whole(suite, balance, model, data)


def test_on_another_device():
    """In a loop of one's own, nobody else moves what is remembered."""
    balance, _, data = TestAGM().attached('vbpr')
    balance.begin(copy.copy(data).to('meta'))
    assert balance.reference.is_meta
    assert balance.count.is_meta


@pytest.mark.parametrize('alpha', [-0.1, math.nan])
def test_alpha_error(alpha):
    with pytest.raises(ValueError, match=f"'alpha'.*got {alpha}"):
        AGM(alpha=alpha)
