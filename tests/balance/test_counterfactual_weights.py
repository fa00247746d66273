import pytest
import torch

from pyg_ckd.balance import (
    CounterfactualWeights,
    effects,
    modality_weights,
)


@pytest.mark.parametrize('num_modalities', [2, 3])
@pytest.mark.parametrize('effect', ['individual', 'average'])
@pytest.mark.parametrize('reference', ['student', 'teacher'])
def test_weights(reference, effect, num_modalities):
    full = torch.randn(9)
    without, alone, taught = torch.randn(3, 9, num_modalities)
    weights = CounterfactualWeights(reference, effect)
    progress = weights.progress(full, without, alone, taught)
    compared = alone if reference == 'student' else taught
    expected = effects(full, without, compared, effect)
    assert torch.equal(progress, expected)
    result = weights(full, without, alone, taught)
    assert torch.equal(result, modality_weights(expected))
    torch.testing.assert_close(
        result.sum(dim=1), torch.full((9,), float(num_modalities))
    )


def test_defaults_follow_the_published_code():
    """Triple by triple, relative to the student's own view."""
    full = torch.tensor([3.0, 1.0])
    without = torch.tensor([[1.0, 2.0], [0.0, 0.5]])
    alone = torch.tensor([[2.0, 4.0], [1.0, 1.0]])
    taught = torch.randn(2, 2)
    result = CounterfactualWeights()(full, without, alone, taught)
    c_image, c_text = torch.tensor([[1.0, 1.0], [0.25, 0.5]])
    w_text = 1 - (c_text - c_image) / (c_text + c_image)
    expected = torch.stack([2 - w_text, w_text], dim=1)
    torch.testing.assert_close(result, expected)


def test_no_gradient():
    full = torch.randn(5, requires_grad=True)
    without, alone, taught = torch.randn(3, 5, 2, requires_grad=True)
    result = CounterfactualWeights()(full, without, alone, taught)
    assert not result.requires_grad


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'reference': 'self'}, r"'reference' .*'student', .*\(got 'self'\)"),
        ({'effect': 'total'}, r"'effect' .*'average'.*\(got 'total'\)"),
    ],
    ids=str,
)
def test_errors(kwargs, message):
    with pytest.raises(ValueError, match=message):
        CounterfactualWeights(**kwargs)


def test_repr():
    assert repr(CounterfactualWeights('teacher', 'average')) == (
        "CounterfactualWeights(reference='teacher', effect='average')"
    )
