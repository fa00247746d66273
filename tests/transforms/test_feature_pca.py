import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import HeteroData
from torch_geometric.transforms import Compose

from pyg_ckd.nn import Whitening
from pyg_ckd.transforms import (
    FeaturePCA,
    ItemKNN,
    MissingModality,
    StandardizeModality,
)


def graph(lack=(), num_items=12, width=5):
    """Correlated features far from zero, and narrow ones."""
    data = HeteroData()
    mixed = torch.randn(num_items, width) @ torch.randn(width, width)
    data['item'].x_text = 3 * mixed + 7
    data['item'].x_image = torch.randn(num_items, 3) - 1
    if lack:
        data['item'].has_text = torch.ones(num_items, dtype=torch.bool)
        data['item'].has_text[list(lack)] = False
    return data


def by_svd(x, dim, whiten):
    """Principal components by NumPy's singular value decomposition."""
    x = x.double().numpy()
    u, s, vh = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    place = np.abs(vh[:dim]).argmax(axis=1)
    sign = np.sign(vh[np.arange(dim), place])
    scale = np.full(dim, len(x) ** 0.5) if whiten else s[:dim]
    return torch.from_numpy(u[:, :dim] * sign * scale)


@given(
    num_items=st.integers(4, 30),
    width=st.integers(1, 30),
    whiten=st.booleans(),
    draw=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_against_numpy(num_items, width, whiten, draw):
    """Of more items than features, and of fewer."""
    ids = st.integers(0, num_items - 1)
    lack = draw.draw(st.sets(ids, max_size=num_items - 2))
    dim = draw.draw(st.integers(1, min(width, num_items - len(lack) - 1)))
    torch.manual_seed(draw.draw(st.integers(0, 2**31)))
    data = graph(lack, num_items, width)
    x = data['item'].x_text = torch.randn(num_items, width).double() + 5
    result = FeaturePCA(dim, whiten, ['text'])(data)['item'].x_text
    has = [i for i in range(num_items) if i not in lack]
    assert result.dtype == torch.double
    torch.testing.assert_close(
        result[has], by_svd(x[has], dim, whiten), rtol=1e-6, atol=1e-6
    )
    assert not result[list(lack)].any()


@pytest.mark.parametrize('whiten', [False, True])
def test_against_sklearn(whiten):
    decomposition = pytest.importorskip('sklearn.decomposition')
    x = graph(num_items=40)['item'].x_text.double()
    data = HeteroData()
    data['item'].x_text = x
    result = FeaturePCA(3, whiten)(data)['item'].x_text
    expected = decomposition.PCA(3, whiten=whiten).fit_transform(x.numpy())
    if whiten:  # by N - 1 items there, by N here
        expected = expected * (40 / 39) ** 0.5
    torch.testing.assert_close(
        result.abs(), torch.from_numpy(expected).abs(), rtol=1e-6, atol=1e-6
    )


def test_variance():
    data = graph(num_items=400)
    plain = FeaturePCA(3)(data)['item'].x_text
    white = FeaturePCA(3, whiten=True)(data)['item'].x_text
    for x in (plain, white):
        assert x.dtype == torch.float and x.shape == (400, 3)
        torch.testing.assert_close(
            x.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0
        )
    covariance = plain.t().cov(correction=0)
    variance = covariance.diagonal()
    assert (variance.diff() < 0).all()
    torch.testing.assert_close(
        covariance, variance.diag(), atol=1e-3, rtol=1e-4
    )
    torch.testing.assert_close(
        white.t().cov(correction=0), torch.eye(3), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(plain / variance.sqrt(), white)


def test_same_whitening_as_of_models():
    data = graph(num_items=40)
    x = data['item'].x_text
    whitening = Whitening(5, dim=3)
    whitening.fit(x)
    result = FeaturePCA(3, whiten=True)(data)['item'].x_text
    torch.testing.assert_close(
        result, 3**0.5 * whitening(x), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize('num_items', [6, 40])  # fewer than features, more
def test_all_dimensions_keep_all_distances(num_items):
    data = graph(num_items=num_items, width=8)
    dim = min(num_items - 1, 8)
    x = data['item'].x_text = data['item'].x_text.double()
    result = FeaturePCA(dim, modalities=['text'])(data)['item'].x_text
    torch.testing.assert_close(
        (result[:, None] - result).norm(dim=-1), (x[:, None] - x).norm(dim=-1)
    )


def test_sign_does_not_depend_on_order_or_ties():
    """Of entries of one magnitude the first is positive."""
    line = torch.tensor([[1.0, -1.0, 1.0]]) / 3**0.5
    place = torch.randn(20, 1)
    for order in (torch.arange(20), torch.randperm(20)):
        data = HeteroData()
        data['item'].x_text = place[order] @ line
        x = FeaturePCA(1)(data)['item'].x_text
        torch.testing.assert_close(x, place[order] - place.mean())


def test_missing_items_are_neutral():
    data = graph(lack=[2, 5])
    expected = FeaturePCA(2)(data)['item'].x_text
    data['item'].x_text[5] = 1e4  # not looked at
    result = FeaturePCA(2)(data)['item']
    assert torch.equal(result.x_text, expected)
    assert torch.equal(result.x_text[[2, 5]], torch.zeros(2, 2))
    assert result.has_text.tolist() == data['item'].has_text.tolist()


def test_after_and_before_others():
    data = graph(num_items=40)
    steps = [MissingModality('text', 0.5), StandardizeModality()]
    result = Compose([*steps, FeaturePCA(2), ItemKNN(k=3)])(data)
    assert result['item'].x_text.shape == (40, 2)
    assert not result['item'].x_text[~result['item'].has_text].any()
    assert len(result.graphs) == 2


def test_only_named_ones():
    data = graph()
    x_text = data['item'].x_text.clone()
    result = FeaturePCA(4, modalities=['text'])(data)['item']
    assert result.x_image is data['item'].x_image
    assert torch.equal(data['item'].x_text, x_text)  # the input is untouched
    both = FeaturePCA(2)(data)['item']
    assert both.x_text.size(1) == both.x_image.size(1) == 2
    torch.testing.assert_close(both.x_text, result.x_text[:, :2])


def test_too_narrow():
    message = "'image' to 4 dimensions: its 3 features vary in 3 directions"
    with pytest.raises(ValueError, match=message):
        FeaturePCA(4)(graph())


@pytest.mark.parametrize('num_items', [4, 12])
def test_too_few_directions(num_items):
    data = graph(num_items=num_items, width=2)
    x = data['item'].x_text
    data['item'].x_text = torch.cat([x, x.sum(dim=1, keepdim=True), 0 * x], 1)
    FeaturePCA(2)(data)
    message = "its 5 features vary in 2 directions.*'dim' to at most 2"
    with pytest.raises(ValueError, match=message):
        FeaturePCA(3)(data)


@pytest.mark.parametrize('value', [0.0, 0.1, -(2.0**40)])
@pytest.mark.parametrize('num_items', [1, 2, 30])
def test_constant(num_items, value):
    data = graph(num_items=num_items)
    data['item'].x_text = torch.full((num_items, 5), value)
    message = 'in 0 directions.*have the same features'
    with pytest.raises(ValueError, match=message):
        FeaturePCA(1, modalities=['text'])(data)


def test_other_errors():
    with pytest.raises(ValueError, match=r"'dim' needs.*'FeaturePCA' \(got 0"):
        FeaturePCA(0)
    with pytest.raises(ValueError, match=r"'FeaturePCA' got .*'sound'"):
        FeaturePCA(2, modalities=['sound'])(graph())
    with pytest.raises(ValueError, match="found no item that has 'text'"):
        FeaturePCA(2)(graph(lack=range(12)))
    with pytest.raises(ValueError, match=r"'FeaturePCA' changes.*'text'"):
        FeaturePCA(2, modalities=['text'])(ItemKNN(k=2)(graph()))


def test_repr():
    assert repr(FeaturePCA(2)) == 'FeaturePCA(2, whiten=False, modalities=None)'
    expected = "FeaturePCA(2, whiten=True, modalities=['a'])"
    assert repr(FeaturePCA(2, True, ('a',))) == expected


@pytest.mark.parametrize('whiten', [False, True])
def test_other_items_by_the_same_map(whiten):
    """What is reduced with the others is so apart from them."""
    data, pca = graph(lack=[2]), FeaturePCA(2, whiten, ['text'])
    x = {m: data['item'][f'x_{m}'] for m in ('text', 'image')}
    together, apart = pca(data)['item'], pca.as_in(data, x)
    has = data['item'].has_text
    assert torch.equal(together.x_text[has], apart['text'][has])
    assert torch.equal(apart['image'], x['image'])
    one = pca.as_in(data, {'text': x['text'][3:4].numpy()})['text']
    torch.testing.assert_close(one, together.x_text[3:4])
    assert pca.as_in(data, {'text': x['text'][:0]})['text'].shape == (0, 2)


@pytest.mark.parametrize('whiten', [False, True])
def test_data_that_is_reduced_already(whiten):
    pca, data = FeaturePCA(3, whiten), graph(num_items=50)
    new = {'image': torch.randn(2, 3)}  # as wide as what it is reduced to
    pca.as_in(data, new)
    with pytest.raises(ValueError, match="'image': pass the data before"):
        pca.as_in(pca(data), new)


@pytest.mark.parametrize(
    ('new', 'match'),
    [
        ({'sound': torch.ones(2, 2)}, "got the modality 'sound'"),
        ({'text': torch.ones(2, 2)}, r"shape \[2, 2\] for 'text', expected"),
        ({'text': torch.ones(5)}, r'expected \[num_new, 5\]'),
    ],
)
def test_other_items_that_do_not_fit(new, match):
    with pytest.raises(ValueError, match=match):
        FeaturePCA(2).as_in(graph(), new)
