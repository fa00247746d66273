import math
from typing import Any

import pytest
import torch
from torch import nn

from pyg_ckd.balance import OGMGE
from pyg_ckd.balance.modulation import Modulation
from pyg_ckd.balance.ogm_ge import ogm_factors
from pyg_ckd.nn import BPRMF, VBPR, as_recommender
from pyg_ckd.testing import PlainRecommender, fake_graph
from pyg_ckd.testing.balance_suite import BalanceSuite, EncoderRecommender

NAMES = {'image': ['encoder_image'], 'text': ['encoder_text']}


class TestOGMGE(BalanceSuite):
    balance = OGMGE
    foreign = lambda: OGMGE(parameters=NAMES)  # noqa: E731


def naive_factors(strength: list[float], alpha: float) -> list[float]:
    factors = []
    for m, value in enumerate(strength):
        others = [other for n, other in enumerate(strength) if n != m]
        ratio = value / (sum(others) / len(others))
        factors.append(1 - math.tanh(alpha * ratio) if ratio > 1 else 1.0)
    return factors


@pytest.mark.parametrize('strength', [[3.0, 1.0], [1.0, 1.0], [2.0, 7.0, 3.0]])
def test_factors(strength):
    torch.testing.assert_close(
        ogm_factors(torch.tensor(strength), alpha=0.3),
        torch.tensor(naive_factors(strength, alpha=0.3)),
    )


def test_the_weaker_modality_is_left_alone():
    factors = ogm_factors(torch.tensor([1.0, 2.0]), alpha=0.3)
    assert factors[0] == 1
    assert factors[1] < 1


@pytest.mark.parametrize('num_modalities', [2, 3])
def test_step(num_modalities):
    """Gradients without a balance, multiplied one modality at a time."""
    suite = TestOGMGE()
    balance, model, data = suite.attached('vbpr', num_modalities)
    balance.alpha, balance.noise = 0.5, False
    batch = suite.batch()
    _, grads = suite.step(balance, model, data, batch)

    user, pos, neg = batch
    strength = []
    for m in balance.names:
        item = model.projection[m](data['item'][f'x_{m}'])
        total = 0.0
        for u, i, j in zip(user, pos, neg, strict=True):
            margin = model.user.weight[u] @ (
                model.item.weight[i] - model.item.weight[j]
            ) + model.preference[m][u] @ (item[i] - item[j])
            total += margin.sigmoid().item()
        strength.append(total)
    factors = naive_factors(strength, alpha=0.5)
    assert min(factors) < 1

    balance.after_backward = lambda: None
    _, plain = suite.step(balance, model, data, batch)
    for name, grad in plain.items():
        for m, factor in zip(balance.names, factors, strict=True):
            if m in name.split('.'):
                grad = factor * grad
        torch.testing.assert_close(grads[name], grad)


def test_batches_of_one_step(assert_parts_equal_whole):
    """Two batches before a step are like one of both."""
    suite = TestOGMGE()
    balance, model, data = suite.attached('vbpr')
    balance.alpha, balance.noise = 2.0, False
    assert_parts_equal_whole(suite, balance, model, data)


def test_a_step_without_gradients():
    suite = TestOGMGE()
    balance, model, data = suite.attached('vbpr')
    suite.step(balance, model, data, suite.batch())
    before = model.preference['text'].grad.clone()
    balance.after_backward()
    assert torch.equal(model.preference['text'].grad, before)


def test_noise():
    """It has the spread of the gradients before, and no mean."""
    x = nn.Parameter(torch.zeros(200, 500))
    x.grad = 3 * torch.randn(200, 500) + 1
    plain = x.grad.clone()
    single, without = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(2))
    single.grad = torch.tensor([2.0])
    modulation = Modulation({'text': [x, single, without]})
    modulation.multiply(torch.tensor([0.25]), noise=True)

    noise = x.grad - plain / 4
    torch.testing.assert_close(
        noise.mean(), torch.tensor(0.0), rtol=0, atol=0.05
    )
    torch.testing.assert_close(noise.std(), plain.std(), rtol=0.01, atol=0)
    correlation = torch.corrcoef(
        torch.stack([noise.flatten(), plain.flatten()])
    )
    assert correlation[0, 1].abs() < 0.02
    assert single.grad == 0.5
    assert without.grad is None


def test_noise_can_be_left_out():
    x = nn.Parameter(torch.zeros(3))
    x.grad = torch.tensor([1.0, 2.0, 3.0])
    Modulation({'text': [x]}).multiply(torch.tensor([0.5]))
    assert x.grad.tolist() == [0.5, 1.0, 1.5]


# Which parameters ############################################################


def modulation(model: nn.Module, names: Any = None) -> Modulation:
    names = OGMGE(parameters=names).parameter_names
    return Modulation.of(as_recommender(model), fake_graph(), names, 'OGMGE')


def test_own_parameters():
    model = VBPR.from_data(fake_graph(), dim=4)
    found = modulation(model).parameters
    assert {m: {id(p) for p in own} for m, own in found.items()} == {
        m: {
            id(model.preference[m]),
            id(model.projection[m].weight),
            id(model.projection[m].bias),
        }
        for m in ('image', 'text')
    }


def test_named_parameters():
    model = EncoderRecommender(fake_graph())
    names = {'image': ['encoder_image.bias'], 'text': ['encoder_text']}
    found = modulation(model, names).parameters
    assert [id(p) for p in found['image']] == [id(model.encoder_image.bias)]
    assert [id(p) for p in found['text']] == [
        id(p) for p in model.encoder_text.parameters()
    ]


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        (
            None,
            r"none of 'image'.*parameters=\{'image': \[\.\.\.\], 'text': .*"
            r"\['user', 'encoder_image', 'encoder_text', 'joint'\]",
        ),
        (['user'], r"'parameters'.*dictionary.*\(got \['user'\]\)"),
        ('user', r"'parameters'.*dictionary.*\(got 'user'\)"),
        (NAMES | {'text': 3}, r"list of names for 'text'.*\(got 3\)"),
        ({'text': ['user']}, r"each of \['image', 'text'\] \(got \['text'\]"),
        (NAMES | {'audio': ['user']}, "got .*'audio'"),
        (NAMES | {'text': 'user'}, r"list of names for 'text'.*\(got 'user'\)"),
        (NAMES | {'text': ['enc']}, "'enc' for 'text'.*'encoder_text.weight'"),
        (NAMES | {'text': []}, "none of 'text'"),
        (
            NAMES | {'text': ['encoder_text', 'encoder_image.bias']},
            r"'encoder_image.bias'.*'image' and 'text'[^']*'OGMGE' cannot tell "
            r'by which factor to multiply its gradient\. Leave out those that',
        ),
    ],
)
def test_parameters_error(names, message):
    model = EncoderRecommender(fake_graph())
    with pytest.raises(ValueError, match=message):
        modulation(model, names)


def test_shared_parameters_error():
    """A layer that serves two modalities belongs to neither."""
    model = VBPR.from_data(fake_graph(), dim=4)
    model.projection['text'] = model.projection['image']
    with pytest.raises(ValueError, match=r"projection.*'image' and 'text'"):
        modulation(model)


def test_entries_of_other_modules():
    """Dictionaries that are keyed by the modality are found anywhere."""
    model = EncoderRecommender(fake_graph())
    model.heads = nn.ModuleDict({m: nn.Linear(4, 4) for m in NAMES})
    found = modulation(model).parameters
    assert [id(p) for p in found['text']] == [
        id(p) for p in model.heads['text'].parameters()
    ]


def test_frozen_parameters_error():
    model = VBPR.from_data(fake_graph(), dim=4)
    for parameter in model.modality_parameters('text'):
        parameter.requires_grad_(False)
    with pytest.raises(ValueError, match="none of 'text' that are trained"):
        modulation(model)


def test_blind_model_error():
    data = fake_graph()
    model = BPRMF.from_data(data, dim=4)
    with pytest.raises(ValueError, match='do not change'):
        OGMGE().attach(model, data)


def test_joint_model_error():
    """A module whose modalities share all layers is refused."""
    data = fake_graph()
    with pytest.raises(ValueError, match=r"Plain.* has none of 'image'"):
        OGMGE().attach(as_recommender(PlainRecommender(data)), data)


@pytest.mark.parametrize('alpha', [-0.1, math.nan])
def test_alpha_error(alpha):
    with pytest.raises(ValueError, match=f"'alpha'.*got {alpha}"):
        OGMGE(alpha=alpha)
