from statistics import fmean, pstdev

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from pyg_ckd.transforms import ItemKNN, NoisyModality


def graph(x, lack=()):
    data = HeteroData()
    data['item'].x_text = x
    data['item'].x_image = torch.randn(len(x), 2)
    if lack:
        data['item'].has_text = torch.ones(len(x), dtype=torch.bool)
        data['item'].has_text[list(lack)] = False
    return data


@given(
    num_items=st.integers(1, 12),
    scale=st.floats(0, 10),
    seed=st.integers(0, 99),
    draw=st.data(),
)
@settings(max_examples=40, deadline=None)
def test_formula(num_items, scale, seed, draw):
    ids = st.integers(0, num_items - 1)
    lack = draw.draw(st.sets(ids, max_size=num_items - 1))
    x = torch.randn(num_items, 3, dtype=torch.double) * torch.tensor([1, 9, 0])
    result = NoisyModality('text', scale, seed)(graph(x, lack))
    assert result['item'].x_text.dtype == torch.double
    result = result['item'].x_text.tolist()
    noise = torch.randn(
        num_items, 3, generator=torch.Generator().manual_seed(seed)
    ).tolist()
    has = [i for i in range(num_items) if i not in lack]
    for d, column in enumerate(x.t().tolist()):
        spread = pstdev([column[i] for i in has])
        expected = {i: column[i] + scale * spread * noise[i][d] for i in has}
        mean = fmean(expected.values())
        for i in range(num_items):
            value = expected.get(i, mean)
            assert result[i][d] == pytest.approx(value, abs=1e-9)


def test_distribution():
    size = torch.tensor([0.1, 1.0, 50.0])
    x = torch.randn(20_000, 3) * size + 5
    noise = NoisyModality('text', 2.0)(graph(x))['item'].x_text - x
    noise = noise / (2 * size)
    torch.testing.assert_close(noise.mean(dim=0), torch.zeros(3), **close(0.03))
    torch.testing.assert_close(noise.std(dim=0), torch.ones(3), **close(0.03))
    within = (noise.abs() < 1).float().mean()
    assert within == pytest.approx(0.6827, abs=0.01)  # of a normal
    correlation = torch.corrcoef(torch.cat([noise, x], dim=1).t())
    torch.testing.assert_close(correlation, torch.eye(6), **close(0.05))


def close(tolerance):
    return {'atol': tolerance, 'rtol': 0}


def test_scale_and_seed():
    data = graph(torch.randn(9, 4, dtype=torch.double), lack=[2])
    x = data['item'].x_text

    def noise(scale, seed=0):
        return (NoisyModality('text', scale, seed)(data)['item'].x_text - x)[3:]

    assert torch.equal(noise(0), torch.zeros(6, 4))
    torch.testing.assert_close(noise(3), 3 * noise(1))
    assert torch.equal(noise(1, seed=5), noise(1, seed=5))
    assert (noise(1, seed=5) != noise(1, seed=6)).all()


@pytest.mark.parametrize('dtype', [torch.half, torch.float, torch.double])
def test_dtype(dtype):
    x = torch.randn(9, 4).to(dtype)
    assert NoisyModality('text', 1.0)(graph(x))['item'].x_text.dtype == dtype


def test_input_is_untouched():
    data = graph(torch.randn(9, 4), lack=[2])
    before = data.clone()
    state = torch.get_rng_state()
    result = NoisyModality('text', 1.0)(data)
    assert torch.equal(torch.get_rng_state(), state)
    for key in ('x_text', 'has_text', 'x_image'):
        assert torch.equal(data['item'][key], before['item'][key])
    assert result['item'].has_text is data['item'].has_text
    assert result['item'].x_image is data['item'].x_image


def test_graph_exists_already():
    data = ItemKNN(k=2)(graph(torch.randn(5, 4)))
    with pytest.raises(ValueError, match=r"'NoisyModality'.*'text'.*before"):
        NoisyModality('text', 1.0)(data)


@pytest.mark.parametrize('scale', [-0.1, float('inf'), float('nan')])
def test_scale_error(scale):
    message = rf"'scale'.*'NoisyModality' \(got {scale}\)"
    with pytest.raises(ValueError, match=message):
        NoisyModality('text', scale)


def test_unknown_modality():
    with pytest.raises(ValueError, match=r"'NoisyModality'.*'sound'.*text"):
        NoisyModality('sound', 1.0)(graph(torch.randn(5, 4)))


def test_repr():
    assert repr(NoisyModality('text', 0.5, 7)) == (
        "NoisyModality('text', scale=0.5, seed=7)"
    )
