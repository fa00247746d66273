import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import HeteroData
from torch_geometric.transforms import Compose

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.graph import RATES
from pyg_ckd.transforms import ItemKNN, MissingModality

PATTERNS = ['random', 'tail']


def graph(num_items=20, lack=(), counts=None):
    """A graph whose items have as many interactions as ``counts`` says."""
    data = HeteroData()
    data['item'].num_nodes = num_items
    data['item'].x_image = torch.randn(num_items, 2)
    data['item'].x_text = torch.randn(num_items, 3)
    if lack:
        data['item'].has_text = torch.ones(num_items, dtype=torch.bool)
        data['item'].has_text[list(lack)] = False
    counts = [1] * num_items if counts is None else counts
    item = [i for i, count in enumerate(counts) for _ in range(count)]
    item = torch.tensor(item, dtype=torch.long)
    item = item[torch.randperm(len(item))]
    data[RATES].edge_index = torch.stack([torch.arange(len(item)), item])
    return data


def lost(data, rate, pattern='random', seed=0, modality='text'):
    """The items without a modality after the transform."""
    result = MissingModality(modality, rate, pattern, seed)(data)
    has = result['item'][f'has_{modality}'].tolist()
    return {i for i, h in enumerate(has) if not h}


@st.composite
def cases(draw):
    num_items = draw(st.integers(1, 25))
    ids = st.integers(0, num_items - 1)
    lack = draw(st.sets(ids, max_size=num_items - 1))
    counts = st.lists(st.integers(0, 3), min_size=num_items, max_size=num_items)
    data = graph(num_items, lack, draw(counts))
    return data, lack, draw(st.sampled_from(PATTERNS)), draw(st.integers(0, 99))


@given(cases(), st.floats(0, 1, exclude_max=True))
@settings(max_examples=60, deadline=None)
def test_number_and_means(case, rate):
    data, lack, pattern, seed = case
    result = MissingModality('text', rate, pattern, seed)(data)['item']
    x, before = result.x_text.tolist(), data['item'].x_text.tolist()
    present = [i for i in range(len(x)) if result.has_text[i]]
    taken = set(range(len(x))) - set(present) - lack
    had = len(x) - len(lack)
    assert len(taken) == min(round(rate * had), had - 1)
    assert not lack & set(present)

    columns = zip(*(before[i] for i in present), strict=True)
    mean = [sum(column) / len(present) for column in columns]
    for i, row in enumerate(x):
        if i in present:
            assert row == before[i]
        else:
            assert row == pytest.approx(mean, abs=1e-6)


@given(cases(), st.floats(0, 0.99), st.floats(0, 0.99))
@settings(max_examples=40, deadline=None)
def test_nested(case, rate, other):
    data, _, pattern, seed = case
    low, high = sorted([rate, other])
    assert lost(data, low, pattern, seed) <= lost(data, high, pattern, seed)


@given(cases(), st.floats(0, 0.99))
@settings(max_examples=40, deadline=None)
def test_tail_first(case, rate):
    data, lack, _, seed = case
    items = data[RATES].edge_index[1].tolist()
    taken = lost(data, rate, 'tail', seed) - lack
    kept = set(range(data['item'].num_nodes)) - lack - taken
    most = max((items.count(i) for i in taken), default=0)
    assert most <= min(items.count(i) for i in kept)


def test_rate_of_a_hundred():
    for percent in range(100):
        assert len(lost(graph(100), percent / 100)) == percent


@pytest.mark.parametrize('pattern', PATTERNS)
def test_equal_chances(pattern):
    # Item 0 has interactions, all others have none, so are ties:
    data = graph(10, counts=[3] + [0] * 9)
    times = torch.zeros(10)
    for seed in range(1000):
        times[list(lost(data, 0.3, pattern, seed))] += 1
    if pattern == 'tail':
        assert times[0] == 0
        times = times[1:]
    # Three of ten are 300 times each, +- 14; three of nine 333 times, +- 15:
    expected = torch.full_like(times, 3000 / len(times))
    torch.testing.assert_close(times, expected, atol=60, rtol=0)


@pytest.mark.parametrize('pattern', PATTERNS)
def test_seed(pattern):
    data = graph(40)
    assert lost(data, 0.5, pattern, 1) == lost(data, 0.5, pattern, 1)
    assert lost(data, 0.5, pattern, 1) != lost(data, 0.5, pattern, 2)
    image = lost(data, 0.5, pattern, 1, modality='image')
    assert image == lost(data, 0.5, pattern, 1)


def test_order_of_losses_does_not_depend_on_others():
    evens = set(range(0, 40, 2))
    data, other = graph(40), graph(40, lack=evens)
    order = []
    for number in range(1, 40):
        order += lost(data, number / 40) - lost(data, (number - 1) / 40)
    assert len(order) == 39  # one at a time
    odd = [i for i in order if i not in evens]
    for number in range(1, 20):
        assert lost(other, number / 20) - evens == set(odd[:number])


def test_input_is_untouched():
    data = graph(lack=[3])
    before = data.clone()
    state = torch.get_rng_state()
    result = MissingModality('text', 0.5, 'tail')(data)
    assert torch.equal(torch.get_rng_state(), state)
    for key in ('x_text', 'has_text', 'x_image'):
        assert torch.equal(data['item'][key], before['item'][key])
    assert 'has_image' not in result['item']
    assert result['item'].x_image is data['item'].x_image
    assert 'has_text' not in graph()['item']


def test_one_item_keeps_it():
    data = graph(3)
    result = MissingModality('text', 0.99)(data)['item']
    assert result.has_text.sum() == 1
    kept = data['item'].x_text[result.has_text]
    assert torch.equal(result.x_text, kept.expand(3, 3))


def test_graphs_are_built_afterwards():
    data = FakeMultimodal(
        num_users=20,
        num_items=30,
        pre_transform=Compose([MissingModality('text', 0.4), ItemKNN(k=3)]),
    )[0]
    x, has = data['item'].x_text, data['item'].has_text
    assert int((~has).sum()) == 12
    alone = HeteroData()
    alone['item'].x_text = x
    knn = ItemKNN(k=3)
    result, expected = knn.of(data, 'text'), knn.of(knn(alone), 'text')
    # Those of what is left:
    assert torch.equal(result.adj_t.to_dense(), expected.adj_t.to_dense())


def test_graph_exists_already():
    data = ItemKNN(k=3)(graph())
    message = r"'MissingModality'.*'text'.*ItemKNN\(k=3, .*Put it before"
    with pytest.raises(ValueError, match=message):
        MissingModality('text', 0.3)(data)
    data.graphs = {k: g for k, g in data.graphs.items() if k[1] != 'text'}
    assert len(lost(data, 0.3)) == 6  # the graph of images does not matter


@pytest.mark.parametrize('rate', [-0.1, 1, 1.5, float('nan')])
def test_rate_error(rate):
    message = rf"'rate'.*'MissingModality' \(got {rate}\)"
    with pytest.raises(ValueError, match=message):
        MissingModality('text', rate)


def test_pattern_error():
    message = r"'pattern'.*'MissingModality' \(got 'head'\)"
    with pytest.raises(ValueError, match=message):
        MissingModality('text', 0.3, 'head')


def test_unknown_modality():
    message = r"'MissingModality'.*'sound'.*\['image', 'text'\]"
    with pytest.raises(ValueError, match=message):
        MissingModality('sound', 0.3)(graph())


def test_no_item_has_it():
    message = "'MissingModality' found no item that has 'text'"
    with pytest.raises(ValueError, match=message):
        MissingModality('text', 0.3)(graph(lack=range(20)))


def test_repr():
    assert repr(MissingModality('text', 0.3, 'tail', 7)) == (
        "MissingModality('text', rate=0.3, pattern='tail', seed=7)"
    )
