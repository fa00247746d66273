from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from pyg_ckd.datasets import FakeMultimodal, MMRecFolder
from pyg_ckd.datasets._describe import describe, statistics
from pyg_ckd.graph import RATES, feature_scales
from pyg_ckd.testing import fake_graph


def graph(
    num_users: int, num_items: int, splits: list[set[tuple[int, int]]]
) -> HeteroData:
    """Return a graph of up to three splits."""
    data = HeteroData()
    data['user'].num_nodes = num_users
    data['item'].num_nodes = num_items
    keys = ('edge_index', 'val_edge_label_index', 'test_edge_label_index')
    for key, pairs in zip(keys, splits, strict=False):
        index = torch.tensor(sorted(pairs), dtype=torch.long)
        data[RATES][key] = index.reshape(-1, 2).t()
    return data


def naive(
    num_users: int, num_items: int, splits: list[set[tuple[int, int]]]
) -> dict[str, object]:
    pairs = [*chain(*splits)]
    of_users = [sum(u == user for u, _ in pairs) for user in range(num_users)]
    of_items = [sum(i == item for _, i in pairs) for item in range(num_items)]
    trained_users = {user for user, _ in splits[0]}
    trained_items = {item for _, item in splits[0]}
    sizes = [*map(len, splits), 0, 0]
    return {
        'users': num_users,
        'items': num_items,
        'interactions': len(pairs),
        'density': len(pairs) / (num_users * num_items),
        'interactions_per_user': sum(of_users) / num_users,
        'core': min(of_users + of_items),
        'training': sizes[0],
        'validation': sizes[1],
        'test': sizes[2],
        'cold_users': num_users - len(trained_users),
        'cold_items': num_items - len(trained_items),
        'modalities': {},
    }


@st.composite
def sizes_and_splits(draw):
    num_users = draw(st.integers(1, 6))
    num_items = draw(st.integers(1, 6))
    pair = st.tuples(
        st.integers(0, num_users - 1), st.integers(0, num_items - 1)
    )
    pairs = sorted(draw(st.sets(pair)))
    labels = draw(
        st.lists(st.integers(0, 2), min_size=len(pairs), max_size=len(pairs))
    )
    splits = [
        {p for p, other in zip(pairs, labels, strict=True) if other == label}
        for label in range(3)
    ]
    return num_users, num_items, splits[: draw(st.integers(1, 3))]


@settings(max_examples=100, deadline=None)
@given(sizes_and_splits())
def test_statistics(args):
    numbers = statistics(graph(*args))
    assert numbers == naive(*args)
    assert {type(x) for x in numbers.values()} == {int, float, dict}


def test_statistics_of_modalities():
    data = graph(2, 4, [{(0, 1)}])
    data['item'].x_image = torch.rand(4, 5)
    data['item'].x_text = torch.rand(4, 3)
    data['item'].has_text = torch.tensor([True, False, True, True])
    scale = feature_scales(data)
    assert statistics(data)['modalities'] == {
        'image': {'dimension': 5, 'scale': scale['image'], 'missing': 0.0},
        'text': {'dimension': 3, 'scale': scale['text'], 'missing': 0.25},
    }


def test_statistics_of_nothing():
    data = graph(0, 0, [set()])
    data['item'].x_text = torch.rand(0, 3)
    data['item'].has_text = torch.ones(0, dtype=torch.bool)
    numbers = statistics(data)
    assert numbers.pop('modalities') == {
        'text': {'dimension': 3, 'scale': 0, 'missing': 0}
    }
    assert set(numbers.values()) == {0}


def test_statistics_leaves_the_graph_as_it_is():
    data = graph(2, 3, [{(0, 1)}])
    before = str(data)
    statistics(data)
    assert str(data) == before


def test_describe(capsys):
    data = FakeMultimodal(num_users=1500, num_items=40, num_interactions=10)[0]
    data['item'].has_text = torch.arange(40) > 4
    assert describe(data, title='made up') is None
    title, *rows = capsys.readouterr().out.splitlines()
    assert title.strip() == 'made up'
    cells = [' '.join(row.split()) for row in rows]
    numbers = statistics(data)
    assert cells == [
        'users 1,500',
        'items 40',
        'interactions 15,000',
        'density 25.000%',
        'interactions per user 10.00',
        f'core {numbers["core"]}',
        'training 12,000',
        'validation 1,500',
        'test 1,500',
        f'cold users {numbers["cold_users"]}',
        f'cold items {numbers["cold_items"]}',
        'image 32 features, scale 8.11, 0.0% missing',
        'text 32 features, scale 5.95, 12.5% missing',
    ]


@pytest.mark.parametrize('factor', [1, 100])
def test_describe_scales_that_differ(factor, capsys):
    data = FakeMultimodal(num_users=20, num_items=10)[0]
    data['item'].x_image = data['item'].x_image * factor
    describe(data)
    *rows, last = capsys.readouterr().out.splitlines()
    assert len(rows) == (12 if factor == 1 else 14)
    assert last.strip().startswith(
        'text ' if factor == 1 else 'Features differ in'
    )
    assert ('StandardizeModality' in last) == (factor == 100)
    assert ('Features differ' in str(statistics(data))) == (factor == 100)


@pytest.mark.parametrize('title', ['[red]a[/red]', '[/]', ':smile:'])
def test_describe_prints_titles_as_they_are(capsys, title):
    describe(graph(2, 3, [{(0, 1)}]), title)
    assert capsys.readouterr().out.splitlines()[0].strip() == title


def test_describe_without_title(capsys):
    describe(graph(2, 3, [{(0, 1)}]))
    assert capsys.readouterr().out.split()[:2] == ['users', '2']


def test_statistics_of_amazon_baby(tmp_path, shared):
    root = shared / 'data'
    if not (root / 'baby').is_dir():
        pytest.skip("needs the folder 'baby' in 'shared/data'")
    data = MMRecFolder(root, 'baby', processed_root=tmp_path)[0]
    numbers = statistics(data)
    assert numbers == {
        'users': 19_445,
        'items': 7_050,
        'interactions': 160_792,
        'density': pytest.approx(0.00117, abs=5e-6),
        'interactions_per_user': pytest.approx(8.27, abs=5e-3),
        'core': 5,
        'training': 118_551,
        'validation': 20_559,
        'test': 21_682,
        'cold_users': 0,
        'cold_items': 3,
        'modalities': {
            'image': {
                'dimension': 128,
                'scale': pytest.approx(0.977, abs=5e-4),
                'missing': 0.0,
            },
            'text': {
                'dimension': 128,
                'scale': pytest.approx(0.994, abs=5e-4),
                'missing': 0.0,
            },
        },
    }


def test_arrays():
    """A graph may hold arrays in place of tensors."""
    data = fake_graph()
    data['item'].has_text = torch.arange(9) > 2
    wanted = statistics(data)
    data['item'].has_text = data['item'].has_text.numpy()
    assert statistics(data) == wanted
    assert wanted['modalities']['text']['missing'] == 3 / 9
