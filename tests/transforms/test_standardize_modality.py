from statistics import fmean, pstdev

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import HeteroData
from torch_geometric.transforms import Compose

from pyg_ckd.transforms import (
    ItemKNN,
    MissingModality,
    NoisyModality,
    StandardizeModality,
)


def graph(lack=(), num_items=8):
    data = HeteroData()
    data['item'].x_text = 5 * torch.randn(num_items, 3) + 7
    data['item'].x_image = torch.randn(num_items, 2) - 1
    if lack:
        data['item'].has_text = torch.ones(num_items, dtype=torch.bool)
        data['item'].has_text[list(lack)] = False
    return data


@given(num_items=st.integers(1, 12), draw=st.data())
@settings(max_examples=40, deadline=None)
def test_formula(num_items, draw):
    ids = st.integers(0, num_items - 1)
    lack = draw.draw(st.sets(ids, max_size=num_items - 1))
    data = graph(lack, num_items)
    x = data['item'].x_text = data['item'].x_text.double()
    result = StandardizeModality('text')(data)['item'].x_text
    assert result.dtype == torch.double
    has = [i for i in range(num_items) if i not in lack]
    for d, column in enumerate(x.t().tolist()):
        seen = [column[i] for i in has]
        mean, spread = fmean(seen), pstdev(seen)
        for i in range(num_items):
            expected = 0.0
            if i in has and len(has) > 1:
                expected = (column[i] - mean) / spread
            assert float(result[i, d]) == pytest.approx(expected, abs=1e-6)


def test_mean_and_variance():
    x = StandardizeModality()(graph(num_items=500))['item']
    for result in (x.x_text, x.x_image):
        size = result.size(1)
        torch.testing.assert_close(
            result.mean(dim=0), torch.zeros(size), atol=1e-6, rtol=0
        )
        torch.testing.assert_close(
            result.std(dim=0, correction=0), torch.ones(size)
        )


@given(
    num_items=st.integers(1, 5000),
    value=st.floats(-(2.0**40), 2.0**40, width=32),
)
@settings(max_examples=60, deadline=None)
def test_constant(num_items, value):
    data = HeteroData()
    data['item'].x_text = torch.full((num_items, 3), value)
    result = StandardizeModality()(data)['item'].x_text
    assert torch.equal(result, torch.zeros(num_items, 3))


def test_size_and_offset_do_not_matter():
    data, other = graph(), graph()
    other['item'].x_text = 100 * data['item'].x_text - 3
    torch.testing.assert_close(
        StandardizeModality('text')(data)['item'].x_text,
        StandardizeModality('text')(other)['item'].x_text,
    )


def test_missing_items_are_neutral():
    data = graph(lack=[2, 5])
    data['item'].x_text[5] = torch.nan  # not looked at
    result = StandardizeModality('text')(data)['item'].x_text
    assert torch.equal(result[[2, 5]], torch.zeros(2, 3))
    assert result.isfinite().all()
    assert (result[[0, 1, 3, 4, 6, 7]] != 0).all()


def test_after_others():
    data = graph(num_items=40)
    before = [MissingModality('text', 0.5), NoisyModality('text', 1.0)]
    result = Compose([*before, StandardizeModality()])(data)['item']
    assert int(result.has_text.sum()) == 20
    x = result.x_text[result.has_text]
    torch.testing.assert_close(x.std(dim=0, correction=0), torch.ones(3))
    assert not result.x_text[~result.has_text].any()


def test_only_named_ones():
    data = graph()
    x_text = data['item'].x_text.clone()
    result = StandardizeModality('text')(data)['item']
    assert result.x_image is data['item'].x_image
    assert torch.equal(data['item'].x_text, x_text)  # the input is untouched
    both = StandardizeModality('image', 'text')(data)['item']
    default = StandardizeModality()(data)['item']
    for key in ('x_image', 'x_text'):
        assert torch.equal(both[key], default[key])
    assert torch.equal(both.x_text, result.x_text)
    assert 'has_text' not in both


@pytest.mark.parametrize('names', [(), ('text',)])
def test_graph_exists_already(names):
    data = ItemKNN(k=2)(graph())
    data.graphs = {k: g for k, g in data.graphs.items() if k[1] == 'text'}
    message = r"'StandardizeModality'.*'text'.*before"
    with pytest.raises(ValueError, match=message):
        StandardizeModality(*names)(data)
    StandardizeModality('image')(data)


def test_unknown_modality():
    message = r"'StandardizeModality'.*'sound'.*text"
    with pytest.raises(ValueError, match=message):
        StandardizeModality('text', 'sound')(graph())


def test_no_item_has_it():
    message = "'StandardizeModality' found no item that has 'text'"
    with pytest.raises(ValueError, match=message):
        StandardizeModality()(graph(lack=range(8)))


def test_repr():
    assert repr(StandardizeModality()) == 'StandardizeModality()'
    assert repr(StandardizeModality('a')) == "StandardizeModality('a')"


def test_other_items_in_the_same_units():
    """What is standardised with the others is so apart from them."""
    data = graph(lack=[2])
    new = {'text': torch.randn(3, 3), 'image': torch.randn(3, 2)}
    scaled = StandardizeModality('text').as_in(data, new)
    known = data['item'].x_text[data['item'].has_text]
    mean, std = known.mean(dim=0), known.std(dim=0, correction=0)
    torch.testing.assert_close(scaled['text'], (new['text'] - mean) / std)
    assert torch.equal(scaled['image'], new['image'])


def test_other_items_are_the_items_themselves():
    data = graph()
    x = {m: data['item'][f'x_{m}'] for m in ('text', 'image')}
    scale = StandardizeModality()
    together, apart = scale(data)['item'], scale.as_in(data, x)
    assert torch.equal(together.x_text, apart['text'])
    assert torch.equal(together.x_image, apart['image'])


def test_data_that_is_standardised_already():
    scale, data = StandardizeModality(), graph()
    data['item'].x_text[:, 0] = 7.0
    new = {'text': torch.randn(2, 3)}
    scale.as_in(data, new)
    with pytest.raises(ValueError, match="'text': pass the data before"):
        scale.as_in(scale(data), new)


@pytest.mark.parametrize(
    ('new', 'match'),
    [
        ({'sound': torch.ones(2, 2)}, "got the modality 'sound'"),
        ({'text': torch.ones(2, 2)}, r"shape \[2, 2\] for 'text', expected"),
        ({'text': torch.ones(3)}, r'expected \[num_new, 3\]'),
    ],
)
def test_other_items_that_do_not_fit(new, match):
    with pytest.raises(ValueError, match=match):
        StandardizeModality().as_in(graph(), new)
