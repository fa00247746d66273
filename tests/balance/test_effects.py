import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_ckd.balance import effects, modality_weights


def naive_effects(full, without, reference, average=False):
    """The formula in the docstring, one number at a time."""
    num_triples, num_modalities = len(full), len(without[0])
    result = []
    for b in range(num_triples):
        row = []
        for m in range(num_modalities):
            batch = range(num_triples) if average else [b]
            change = sum(full[n] - without[n][m] for n in batch) / len(batch)
            divisor = sum(reference[n][m] for n in batch) / len(batch)
            if change == 0 and divisor == 0:
                quotient = 1.0
            elif divisor == 0:
                quotient = math.copysign(math.inf, change)
            else:
                quotient = change / divisor
            row.append(min(max(quotient, 1e-8), 10.0))
        result.append(row)
    return result


def naive_weights(progress):
    lag = [1 / c for c in progress]
    return [len(lag) * x / sum(lag) for x in lag]


@pytest.mark.parametrize('average', [False, True])
@pytest.mark.parametrize('num_modalities', [2, 3, 4])
def test_effects(num_modalities, average):
    full = torch.randn(50, dtype=torch.double)
    without = torch.randn(50, num_modalities, dtype=torch.double)
    reference = torch.randn(50, num_modalities, dtype=torch.double)
    result = effects(
        full, without, reference, 'average' if average else 'individual'
    )
    expected = torch.tensor(
        naive_effects(
            full.tolist(), without.tolist(), reference.tolist(), average
        )
    )
    torch.testing.assert_close(result, expected.to(result.dtype))
    if average:  # one number for the whole batch
        assert torch.equal(result, result[:1].expand_as(result))
    else:  # both bounds are reached
        assert result.min() == pytest.approx(1e-8)
        assert result.max() == 10


@pytest.mark.parametrize('effect', ['individual', 'average'])
def test_effects_of_one_triple(effect):
    full, without = torch.tensor([3.0]), torch.tensor([[2.0, 1.0, 2.5]])
    reference = torch.tensor([[4.0, 2.5, 2.0]])
    torch.testing.assert_close(
        effects(full, without, reference, effect),
        torch.tensor([[0.25, 0.8, 0.25]]),
    )


def test_individual_is_the_default():
    full, without, reference = torch.randn(3, 5, 1).unbind()
    assert torch.equal(
        effects(full[:, 0], without, reference),
        effects(full[:, 0], without, reference, 'individual'),
    )


@pytest.mark.parametrize('effect', ['individual', 'average'])
@pytest.mark.parametrize(
    ('full', 'without', 'reference', 'expected'),
    [
        (2.0, 2.0, 0.0, 1.0),  # no effect where none is possible
        (2.0, 2.0, 1.0, 1e-8),  # no effect where one is possible
        (2.0, 2.0, -1.0, 1e-8),
        (2.0, 1.0, 0.0, 10.0),  # an effect that was not expected
        (1.0, 2.0, 0.0, 1e-8),
        (2.0, 1.0, -1.0, 1e-8),  # the wrong sign
        (1.0, 2.0, 1.0, 1e-8),
        (1.0, 2.0, -1.0, 1.0),  # both negative
        (2.0, 1.0, 1e-30, 10.0),
        (2.0, 1.0, 1e30, 1e-8),
        (3e38, -3e38, 1.0, 10.0),  # overflows
        (-3e38, 3e38, 1.0, 1e-8),
    ],
)
def test_special_cases(full, without, reference, expected, effect):
    progress = effects(
        torch.full((4,), full),
        torch.full((4, 2), without),
        torch.full((4, 2), reference),
        effect,
    )
    torch.testing.assert_close(progress, torch.full((4, 2), expected))
    torch.testing.assert_close(modality_weights(progress), torch.ones(4, 2))


@pytest.mark.parametrize(('full', 'expected'), [(1.0, 10.0), (-1.0, 1e-8)])
def test_the_sign_of_zero_does_not_matter(full, expected):
    progress = effects(
        torch.tensor([full]), torch.zeros(1, 2), torch.tensor([[0.0, -0.0]])
    )
    torch.testing.assert_close(progress, torch.full((1, 2), expected))


@st.composite
def margins(draw):
    """Margins of any finite size, many of them equal."""
    num_triples = draw(st.integers(1, 4))
    num_modalities = draw(st.integers(1, 4))
    margin = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-45, 3e38, -3e38])
    margin |= st.floats(width=32, allow_nan=False, allow_infinity=False)

    def table(num_columns):
        row = st.lists(margin, min_size=num_columns, max_size=num_columns)
        return torch.tensor(
            draw(st.lists(row, min_size=num_triples, max_size=num_triples))
        )

    return table(1)[:, 0], table(num_modalities), table(num_modalities)


@pytest.mark.parametrize('effect', ['individual', 'average'])
@settings(max_examples=200, deadline=None)
@given(margins())
def test_no_finite_margins_give_nan(effect, margins):
    progress = effects(*margins, effect)
    assert progress.shape == margins[1].shape
    assert (progress >= 1e-8).all()
    assert (progress <= 10).all()
    weight = modality_weights(progress)
    assert (weight >= 0).all()
    torch.testing.assert_close(
        weight.sum(dim=1), torch.full((len(weight),), float(weight.size(1)))
    )


@pytest.mark.parametrize('dtype', [torch.half, torch.bfloat16])
def test_half_precision(dtype):
    """As in mixed-precision training, where 1e-8 rounds to zero."""
    full = torch.tensor([1.0, 2.0], dtype=dtype)
    without = torch.tensor([[2.0, 0.5], [3.0, 3.0]], dtype=dtype)
    reference = torch.tensor([[2.0, 0.5], [3.0, 3.0]], dtype=dtype)
    progress = effects(full, without, reference)
    weight = modality_weights(progress).float()
    expected = torch.tensor([[2.0, 0.0], [1.0, 1.0]])
    torch.testing.assert_close(weight, expected)


def test_unknown_effect():
    with pytest.raises(ValueError, match=r"'effect'.*\(got 'total'\)"):
        effects(torch.ones(1), torch.ones(1, 2), torch.ones(1, 2), 'total')


@pytest.mark.parametrize('effect', ['individual', 'average'])
def test_no_gradient(effect):
    full = torch.randn(5, requires_grad=True)
    without, reference = torch.randn(2, 5, 3, requires_grad=True)
    progress = effects(full, without, reference, effect)
    assert not progress.requires_grad
    assert not modality_weights(progress).requires_grad


def test_weights_of_two_modalities():
    """The rule in CKD's published code."""
    progress = torch.rand(100, 2, dtype=torch.double) * 10
    progress[:3] = torch.tensor([[1e-8, 10], [1e-8, 1e-8], [10, 10]])
    text, image = progress.t()
    weight_text = 1 - (text - image) / (text + image)
    expected = torch.stack([weight_text, 2 - weight_text], dim=1)
    torch.testing.assert_close(modality_weights(progress), expected)


@pytest.mark.parametrize('num_modalities', [1, 2, 3, 4])
def test_weights_of_many_modalities(num_modalities):
    progress = torch.rand(20, num_modalities) * 10 + 1e-8
    weight = modality_weights(progress)
    expected = [naive_weights(row) for row in progress.tolist()]
    torch.testing.assert_close(weight, torch.tensor(expected))
    torch.testing.assert_close(
        weight.sum(dim=1), torch.full((20,), float(num_modalities))
    )
    # The one that lags most gets the most:
    assert torch.equal(weight.argsort(dim=1), progress.argsort(1).flip(1))
    # A whole batch, or one triple:
    torch.testing.assert_close(modality_weights(progress[0]), weight[0])
