import copy

import pytest
import torch

from pyg_ckd.nn import Whitening


def fitted(x, dim):
    whitening = Whitening(x.size(1), dim)
    whitening.fit(x)
    return whitening


def features(num_rows=30, num_features=6):
    """Correlated, of different spread, and far from zero."""
    x = torch.randn(num_rows, num_features) * torch.arange(1, num_features + 1)
    return x @ torch.randn(num_features, num_features) + 50


@pytest.mark.parametrize('dim', [1, 4, 6])
def test_singular_vectors(dim):
    """Rows are those of U, but for the sign that V decides."""
    x = features()
    result = fitted(x, dim)(x)
    u, _, vh = torch.linalg.svd((x - x.mean(dim=0)).double(), False)
    for j in range(dim):
        place = max(range(6), key=lambda f: abs(vh[j, f]))
        expected = u[:, j] * (30 / dim) ** 0.5 * vh[j, place].sign()
        torch.testing.assert_close(
            result[:, j], expected.float(), rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize('dim', [1, 4, 6])
def test_white(dim):
    x = features()
    result = fitted(x, dim)(x)
    torch.testing.assert_close(
        result.mean(dim=0), torch.zeros(dim), rtol=0, atol=1e-4
    )
    covariance = result.t() @ result / 30
    torch.testing.assert_close(
        covariance, torch.eye(dim) / dim, rtol=1e-3, atol=1e-4
    )


def test_more_dimensions_than_there_is_variance():
    x = features(30, 3)
    x = torch.cat([x, x.sum(dim=1, keepdim=True)], dim=1)  # of rank 3
    result = fitted(x, 7)(x)
    assert result.shape == (30, 7)
    assert result[:, 3:].eq(0).all()
    expected = fitted(x, 3)(x) * (3 / 7) ** 0.5
    torch.testing.assert_close(result[:, :3], expected, rtol=1e-3, atol=1e-4)
    few = x[:2]  # two rows differ in one direction
    result = fitted(few, 7)(few)
    assert result[:, 1:].eq(0).all()
    torch.testing.assert_close(
        result[:, 0].abs(), torch.full((2,), 7**-0.5), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize('value', [0.0, 0.1, 1e6])
@pytest.mark.parametrize('num_rows', [0, 1, 30])
def test_no_variance(num_rows, value):
    x = torch.full((num_rows, 5), value)
    whitening = fitted(x, 4)
    assert whitening(x).eq(0).all()
    assert whitening(torch.randn(3, 5)).eq(0).all()


def test_little_variance_far_from_zero():
    x = 1000 + torch.rand(30, 3)
    result = fitted(x, 3)(x)
    covariance = result.t() @ result / 30
    torch.testing.assert_close(
        covariance, torch.eye(3) / 3, rtol=0.01, atol=0.01
    )


def test_order_and_units_do_not_matter():
    x = features()
    expected = fitted(x, 4)(x)
    order = torch.randperm(30)
    torch.testing.assert_close(
        fitted(x[order], 4)(x), expected, rtol=1e-3, atol=1e-4
    )
    torch.testing.assert_close(
        fitted(1000 * x, 4)(1000 * x), expected, rtol=1e-3, atol=1e-4
    )


def test_a_fit_replaces_the_one_before():
    x = features()
    whitening = fitted(features(), 8)
    whitening.fit(x[:3])
    torch.testing.assert_close(
        whitening.state_dict(), fitted(x[:3], 8).state_dict()
    )


def test_nothing_is_fitted_at_first():
    whitening = Whitening(5, dim=3)
    assert whitening(torch.randn(4, 5)).eq(0).all()
    assert list(whitening.parameters()) == []
    assert repr(whitening) == 'Whitening(5, dim=3)'


def test_state_dict_and_copies():
    x = features()
    whitening = fitted(x, 4)
    other = Whitening(6, 4)
    other.load_state_dict(whitening.state_dict())
    for same in (other, copy.deepcopy(whitening)):
        assert torch.equal(same(x), whitening(x))
    torch.testing.assert_close(
        whitening.double()(x.double()).float(), other(x), rtol=1e-3, atol=1e-3
    )
