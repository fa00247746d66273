"""The contract of the graph: what ``check`` casts, refuses and remembers."""

import copy
import gc
import time
import weakref

import numpy as np
import pytest
import torch
import torch_geometric.transforms as T
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch_geometric.data import Data, HeteroData

from pyg_ckd.graph import RATED_BY, RATES, check
from pyg_ckd.kernels.sparse import Graph, Uniform, csr
from pyg_ckd.nn import BPRMF, VBPR, InteractionKNN
from pyg_ckd.ranking import evaluate
from pyg_ckd.transforms import ItemKNN, NormalizedAdjacency, normalized

VAL, TEST = 'val_edge_label_index', 'test_edge_label_index'
INTEGERS = ['int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32', 'int64']


def graph() -> HeteroData:
    """Return 3 users and 4 items with 5, 1 and 1 interactions."""
    data = HeteroData()
    data['user'].num_nodes = 3
    data['item'].num_nodes = 4
    data['item'].x_image = torch.arange(8.0).view(4, 2)
    data['item'].x_text = torch.arange(12.0).view(4, 3) - 5
    data['item'].has_text = torch.tensor([True, True, False, True])
    rates = data[RATES]
    rates.edge_index = torch.tensor([[2, 0, 1, 0, 2], [1, 3, 0, 1, 2]])
    rates[VAL] = torch.tensor([[0], [0]])
    rates[TEST] = torch.tensor([[1], [3]])
    data[RATED_BY].edge_index = rates.edge_index.flip([0])
    return data


def message(data, error=ValueError, **kwargs) -> str:
    with pytest.raises(error) as info:
        check(data, **kwargs)
    return str(info.value)


def test_a_sound_graph_is_returned_itself():
    data = graph()
    assert check(data, splits=('val', 'test')) is data
    assert check(data) is data
    del data[RATED_BY], data[RATES][VAL], data['item'].has_text
    assert check(data) is data
    data['item'].x_text = nn.Parameter(data['item'].x_text)
    assert check(data) is data


def test_repeated_interactions_are_allowed():
    data = graph()
    data[RATES].edge_index = data[RATES].edge_index.repeat(1, 2)
    data[RATED_BY].edge_index = data[RATES].edge_index.flip([0])[
        :, [4, *range(9)]
    ]
    assert check(data) is data


@pytest.mark.parametrize('other', [None, 3, Data(), [HeteroData()]])
def test_what_is_no_graph_is_refused(other):
    assert 'HeteroData' in message(other, TypeError)


# Nodes and edges


@pytest.mark.parametrize('node', ['user', 'item'])
@pytest.mark.parametrize(
    ('value', 'found'),
    [
        (None, 'missing'),
        (0, 'is 0'),
        (-2, 'is -2'),
        (2.0, '2.0'),
        (True, 'True'),
    ],
)
def test_num_nodes(node, value, found):
    data = graph()
    if value is None:
        del data[node].num_nodes
    else:
        data[node].num_nodes = value
    text = message(data)
    assert found in text
    assert f"data['{node}'].num_nodes = ..." in text


@pytest.mark.parametrize('number', [np.int64(4), torch.tensor(4)])
def test_num_nodes_of_other_integers(number):
    data = graph()
    data['item'].num_nodes = number
    assert type(check(data)['item'].num_nodes) is int


def test_missing_types_name_those_that_are_there():
    data = HeteroData()
    data['customer'].num_nodes = 3
    assert "data['user'] is missing" in message(data)
    assert "['customer']" in message(data)
    assert data.node_types == ['customer']  # not added by the check
    data = graph()
    data['user', 'buys', 'item'].edge_index = data[RATES].edge_index
    del data[RATES]
    text = message(data)
    assert "('user', 'buys', 'item')" in text
    assert f'data[{RATES}].edge_index is missing' in text
    assert RATES not in data.edge_types


def test_no_training_interactions():
    data = graph()
    data[RATES].edge_index = torch.empty(2, 0, dtype=torch.long)
    assert 'has no training interactions' in message(data)


# Ids


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(INTEGERS), st.booleans(), st.booleans())
def test_all_integers_give_the_same_graph(dtype, numpy, transposed):
    data, expected = graph(), graph()
    for relation, key in ((RATES, 'edge_index'), (RATES, VAL), (RATES, TEST)):
        ids = data[relation][key]
        if transposed:
            ids = ids.t().contiguous().t()
        ids = ids.to(getattr(torch, dtype))
        data[relation][key] = ids.numpy() if numpy else ids
    checked = check(data, splits=('val', 'test'))
    assert (checked is data) == (dtype == 'int64' and not numpy)
    for key in ('edge_index', VAL, TEST):
        assert checked[RATES][key].dtype == torch.int64
        assert torch.equal(checked[RATES][key], expected[RATES][key])


def test_ids_are_cast_before_any_product():
    """Ids of 8 bits, of more pairs than 8 bits can number."""
    data = HeteroData()
    data['user'].num_nodes, data['item'].num_nodes = 100, 100
    user, item = torch.arange(100), torch.arange(100).flip(0)
    data[RATES].edge_index = torch.stack([user, item]).to(torch.int8)
    data[RATES][VAL] = torch.stack([user, user]).to(torch.int8)
    assert check(data)[RATES].edge_index.tolist() == [
        user.tolist(),
        item.tolist(),
    ]


def test_ids_counted_from_1():
    """60 users, 40 items, and the item 40."""
    data = HeteroData()
    data['user'].num_nodes, data['item'].num_nodes = 60, 40
    data['item'].x_text = torch.randn(40, 2)
    user = torch.arange(120) % 60
    item = 1 + torch.arange(120) % 40
    data[RATES].edge_index = torch.stack([user, item])
    text = message(data)
    assert f'data[{RATES}].edge_index has the item 40 in column 39' in text
    assert 'the 40 items are 0 to 39' in text
    assert 'items look counted from 1: subtract 1' in text
    data[RATES].edge_index[1] -= 1
    assert check(data) is data


@pytest.mark.parametrize('key', ['edge_index', VAL, TEST])
@pytest.mark.parametrize(
    ('row', 'value', 'parts'),
    [
        (0, 3, ['the user 3 in column 0', '3 users are 0 to 2', 'at least 4']),
        (0, -1, ['the user -1 in column 0', 'users from 0']),
        (1, 2**40, [f'the item {2**40} in column 0', '4 items are 0 to 3']),
        (1, -5, ['the item -5 in column 0', 'items from 0']),
    ],
)
def test_ids_out_of_range(key, row, value, parts):
    data = graph()
    data[RATES].edge_index[:, 0] = 0
    data[RATES][key][row, 0] = value
    text = message(data)
    for part in [f'data[{RATES}].{key}', *parts]:
        assert part in text


def test_reversed_and_wide_ids_out_of_range():
    data = graph()
    data[RATED_BY].edge_index = data[RATES].edge_index
    data[RATES].edge_index = data[RATES].edge_index.clone()
    assert 'the user 3 in column 1' in message(data)
    assert f'data[{RATED_BY}].edge_index' in message(data)
    data = graph()
    ids = data[RATES].edge_index.numpy().astype(np.uint64)
    ids[1, 4] = 2**64 - 1
    data[RATES].edge_index = ids
    assert f'the item {2**64 - 1} in column 4' in message(data)


@pytest.mark.parametrize(
    ('ids', 'part'),
    [
        (torch.zeros(2, 3), 'dtype torch.float32'),
        (torch.zeros(2, 3, dtype=torch.bool), 'dtype torch.bool'),
        (np.zeros((2, 3)), 'dtype torch.float64'),
        (np.array([['a'], ['b']]), 'ndarray of <U1'),
        ([[0], [1]], 'is a list'),
        (torch.zeros(3, 2, dtype=torch.long), 'transpose it by .t()'),
        (torch.zeros(4, dtype=torch.long), 'the shape [4]'),
        (torch.zeros(1, 2, 3, dtype=torch.long), 'the shape [1, 2, 3]'),
        (torch.eye(2).long().to_sparse(), 'tensor'),
    ],
)
@pytest.mark.parametrize('key', ['edge_index', VAL])
def test_what_is_no_pair_of_ids(key, ids, part):
    data = graph()
    data[RATES][key] = ids
    text = message(data)
    assert f'data[{RATES}].{key}' in text
    assert part in text
    assert '[2, num_edges], users above items' in text


# Splits


@pytest.mark.parametrize('split', ['val', 'test'])
def test_held_out_and_known(split):
    data = graph()
    data[RATES][f'{split}_edge_label_index'] = torch.tensor([[1, 0], [1, 3]])
    text = message(data)
    for part in ['user 0 with item 3 in column 1', f"what '{split}' holds"]:
        assert part in text


@pytest.mark.parametrize('split', ['val', 'test'])
@pytest.mark.parametrize('empty', [True, False])
def test_required_splits(split, empty):
    data = graph()
    name = f'{split}_edge_label_index'
    if empty:
        data[RATES][name] = torch.empty(2, 0, dtype=torch.long)
    else:
        del data[RATES][name]
    assert check(data) is data
    text = message(data, splits=(split,))
    for part in [name, 'empty' if empty else 'missing', 'from_interactions']:
        assert part in text
    assert "'val' or 'test'" in message(data, splits=('train',))


def ten_by_ten() -> HeteroData:
    data = HeteroData()
    data['user'].num_nodes = data['item'].num_nodes = 10
    index = torch.arange(100)
    data[RATES].edge_index = torch.stack([index // 10, index % 10])[:, ::3]
    data[RATED_BY].edge_index = data[RATES].edge_index.flip([0])
    return data


def test_random_link_split_without_its_reverse_leaks():
    split = T.RandomLinkSplit(edge_types=RATES)
    train, _, _ = split(ten_by_ten())
    text = message(train)
    assert "without 'rev_edge_types'" in text
    fix = text.split('set ')[1]
    exec(fix, {'data': train})
    assert check(train) is train


def test_random_link_split_is_told_how_to_combine():
    data = ten_by_ten()
    split = T.RandomLinkSplit(edge_types=RATES, rev_edge_types=RATED_BY)
    train, _, _ = split(data)
    text = message(train, splits=('val',))
    assert 'T.RandomLinkSplit' in text
    code = text[text.index('train, val, test') :]
    names = {'data': data, 'T': T}
    exec(code, names)
    combined = check(names['data'], splits=('val', 'test'))
    pairs = [combined[RATES][k] for k in ('edge_index', VAL, TEST)]
    found = torch.cat(pairs, dim=1).t().tolist()
    assert sorted(found) == sorted(data[RATES].edge_index.t().tolist())


def test_reverse_has_to_be_the_reverse():
    data = graph()
    data[RATED_BY].edge_index = data[RATED_BY].edge_index[:, :-1]
    assert 'lacks the training interaction of user 2 with item 2' in message(
        data
    )
    data[RATED_BY].edge_index = torch.empty(2, 0, dtype=torch.long)
    assert 'lacks the training interaction of user 0' in message(data)
    data = graph()
    leak = data[RATES][TEST].flip([0])
    data[RATED_BY].edge_index = torch.cat([data[RATED_BY].edge_index, leak], 1)
    assert 'item 3 with user 1 in column 5, which is no' in message(data)


# Features


def test_x_is_refused():
    data = graph()
    data['item'].x = data['item'].x_text
    text = message(data)
    assert "data['item'].x " in text
    exec(text.split('rename it: ')[1], {'data': data})
    assert check(data) is data


@pytest.mark.parametrize(
    'dtype',
    [
        'float64',
        'float16',
        'bfloat16',
        'int8',
        'int64',
        'uint8',
        'uint16',
        'bool',
    ],
)
@pytest.mark.parametrize('default', [torch.float32, torch.float64])
def test_features_are_cast(dtype, default):
    data = graph()
    x = (torch.arange(8).view(4, 2) % 3).to(getattr(torch, dtype))
    data['item'].x_image = x
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        checked = check(data)
    finally:
        torch.set_default_dtype(before)
    assert checked['item'].x_image.dtype == default
    assert torch.equal(checked['item'].x_image, x.to(default))
    assert data['item'].x_image is x
    same = default == torch.float32
    assert (checked['item'].x_text is data['item'].x_text) == same


@pytest.mark.parametrize(
    'dtype', ['<f4', '>f4', '<f8', '>f8', 'f2', 'longdouble', 'i4', 'u8', '?']
)
def test_arrays_are_copied(dtype):
    data = graph()
    array = (np.arange(8).reshape(2, 4).T % 2).astype(dtype)
    data['item'].x_image = array
    checked = check(data)
    x = checked['item'].x_image
    assert (x.dtype, x.shape) == (torch.float32, (4, 2))
    assert x.tolist() == array.astype('f4').tolist()
    assert check(data) is checked
    array[0, 0] = 1
    assert x[0, 0] == 0
    assert check(data)['item'].x_image[0, 0] == 1


@pytest.mark.parametrize(
    ('x', 'parts'),
    [
        (torch.zeros(3, 2), ['shape [3, 2]', 'num_nodes = 3']),
        (torch.zeros(5, 2), ['shape [5, 2]', 'num_nodes = 5']),
        (torch.zeros(4), ['shape [4]', '.unsqueeze(1)']),
        (torch.zeros(4, 2, 2), ['shape [4, 2, 2]', '.flatten(1)']),
        (torch.zeros(4, 0), ['shape [4, 0]']),
        (np.zeros((5, 2)), ['shape [5, 2]']),
        (torch.eye(4).to_sparse(), ['torch.sparse_coo', '.to_dense()']),
        (torch.eye(4).to_sparse_csr(), ['torch.sparse_csr']),
        (torch.zeros(4, 2, dtype=torch.cfloat), ['torch.complex64']),
        (np.zeros((4, 2), complex), ['torch.complex128']),
        (np.full((4, 2), 'a'), ['ndarray of <U1']),
        (np.ma.masked_array(np.zeros((4, 2))), ['MaskedArray']),
        ([[0.0]] * 4, ['is a list']),
        ('words', ['is a str']),
    ],
)
def test_what_is_no_matrix_of_features(x, parts):
    data = graph()
    data['item'].x_text = x
    text = message(data)
    for part in ["data['item'].x_text", '[4, num_features]', *parts]:
        assert part in text


@pytest.mark.parametrize(
    ('value', 'fix'),
    [
        (float('nan'), 'has_text[2] = False'),
        (float('inf'), 'has_text[2] = False'),
        (float('-inf'), 'has_text[2] = False'),
        (1e20, 'divide'),
        (-3e19, 'divide'),
    ],
)
@pytest.mark.parametrize('dtype', ['float32', 'float64', 'bfloat16'])
def test_bad_values_are_named(value, fix, dtype):
    data = graph()
    data['item'].x_text = data['item'].x_text.to(getattr(torch, dtype))
    data['item'].x_text[2, 1] = value
    text = message(data)
    shown = f'{data["item"].x_text[2, 1].item():.6g}'
    assert f"data['item'].x_text has {shown} in row 2, column 1" in text
    assert fix in text


def test_values_that_only_the_cast_makes_infinite():
    data = graph()
    data['item'].x_image = data['item'].x_image.double()
    data['item'].x_image[1, 0] = 1e300
    assert 'x_image has 1e+300 in row 1, column 0' in message(data)
    data['item'].x_image = data['item'].x_image.numpy()
    assert 'x_image has 1e+300 in row 1, column 0' in message(data)


@settings(max_examples=50, deadline=None)
@given(st.floats(1e18, 3e19), st.integers(0, 3))
def test_features_whose_square_is_finite_pass(value, row):
    data = graph()
    data['item'].x_image = torch.zeros(4, 2)
    data['item'].x_image[row, 1] = value
    if data['item'].x_image.square().sum(1).isfinite().all():
        assert check(data) is data
    else:
        assert f'in row {row}, column 1' in message(data)


@pytest.mark.parametrize(
    'name', ['', 'a.b', '.', 'type', 'keys', 'training', 'train', 'items']
)
def test_names_that_no_module_can_have(name):
    data = graph()
    data['item'][f'x_{name}'] = torch.zeros(4, 1)
    text = message(data)
    assert f'the modality {name!r}' in text
    assert 'rename' in text
    new = text.rsplit("'x_", 1)[1].rstrip("'")
    nn.ModuleDict({new: nn.Linear(1, 1)})


@pytest.mark.parametrize('name', ['text', 'sound_track', 'x', '3d', 'Ton höhe'])
def test_names_that_modules_can_have(name):
    data = graph()
    data['item'][f'x_{name}'] = torch.zeros(4, 1)
    assert check(data) is data
    nn.ModuleDict({name: nn.Linear(1, 1)})


@pytest.mark.parametrize(
    ('mask', 'part'),
    [
        (torch.ones(4), 'torch.float32'),
        (torch.ones(4, dtype=torch.long), '.bool()'),
        (torch.ones(3, dtype=torch.bool), 'shape [3]'),
        (torch.ones(4, 1, dtype=torch.bool), 'shape [4, 1]'),
        ([True] * 4, 'is a list'),
    ],
)
def test_masks(mask, part):
    data = graph()
    data['item'].has_text = mask
    text = message(data)
    assert "data['item'].has_text" in text
    assert part in text
    data['item'].has_text = np.ones(4, bool)
    assert check(data)['item'].has_text.tolist() == [True] * 4


def test_a_mask_needs_features():
    data = graph()
    data['item'].has_sound = torch.ones(4, dtype=torch.bool)
    assert "data['item'].has_sound has no features" in message(data)


def test_one_device():
    data = graph()
    data['item'].x_text = data['item'].x_text.to('meta')
    text = message(data)
    assert "data['item'].x_text is on meta" in text
    assert "data.to('cpu')" in text


# Graphs of transforms


def matrix(size: int) -> torch.Tensor:
    index = torch.arange(size)
    return csr(index, index.flip(0), torch.ones(size), size)


def damaged(crow, col, size=4):
    return torch.sparse_csr_tensor(
        torch.tensor(crow),
        torch.tensor(col),
        torch.ones(len(col)),
        (size, size),
        check_invariants=False,
    )


def test_sound_graphs_pass():
    data = graph()
    data.graphs = {
        ('Adjacency()', None): normalized(data[RATES].edge_index, 3, 4),
        ('KNN()', 'text'): Graph(matrix(4), matrix(4)),
        ('KNN()', 'image'): Uniform(4),
    }
    assert check(data) is data
    data.graphs = {}
    assert check(data) is data


@pytest.mark.parametrize(
    ('key', 'value', 'part'),
    [
        (('A()', None), Graph(matrix(5), matrix(5)), '7 users and items'),
        (('A()', 'text'), Graph(matrix(7), matrix(7)), '4 items'),
        (('A()', 'text'), Graph(matrix(4), matrix(5)), 'shape [5, 5]'),
        (('A()', 'text'), Uniform(5), '4 items'),
        (('A()', 'text'), Graph(torch.eye(4), torch.eye(4)), 'torch.strided'),
        (('A()', 'text'), 'graph', 'is a str'),
        (
            ('A()', 'text'),
            Graph(matrix(4), damaged([0, 1, 2, 3, 4], [0, 1, 4, 0])),
            'the column 4 at position 2',
        ),
        (
            ('A()', 'text'),
            Graph(damaged([0, 3, 1, 3, 4], [0, 1, 2, 3]), matrix(4)),
            'decrease after row 1',
        ),
        (
            ('A()', 'text'),
            Graph(damaged([0, 1, 1, 1, 9], [0]), matrix(4)),
            'from 0 to 9',
        ),
    ],
)
def test_graphs_that_do_not_fit(key, value, part):
    data = graph()
    data.graphs = {key: value}
    text = message(data)
    assert 'A()' in text
    assert part in text


@pytest.mark.parametrize('graphs', [[], {'A()': Uniform(4)}, {(1, None): 1}])
def test_graphs_have_names(graphs):
    data = graph()
    data.graphs = graphs
    assert 'data.graphs' in message(data)


# Remembering


def cast_graph() -> HeteroData:
    data = graph()
    data['item'].x_text = data['item'].x_text.double()
    return data


def test_what_was_cast_is_remembered():
    data = cast_graph()
    checked = check(data)
    assert checked is not data
    assert check(checked) is checked
    assert check(data) is checked
    assert checked['item'].x_image is data['item'].x_image
    assert check(copy.copy(data)) is not checked


@pytest.mark.parametrize('make', [graph, cast_graph])
def test_changes_are_noticed(make):
    data = make()
    check(data)
    data['item'].x_text[3] = float('nan')
    assert 'row 3' in message(data)
    data['item'].x_text[3] = 0
    assert check(data)['item'].x_text[3].tolist() == [0] * 3
    data['item'].x_text = torch.zeros(5, 2)
    assert 'shape [5, 2]' in message(data)
    data['item'].x_text = torch.zeros(4, 2)
    check(data)
    data[RATES].edge_index[1, 2] = 9
    assert 'the item 9 in column 2' in message(data)
    data[RATES].edge_index[1, 2] = 0
    check(data)
    data['item'].num_nodes = 3
    message(data)
    data['item'].num_nodes = 4
    check(data)
    data.graphs = {}
    check(data)
    data.graphs['A()', 'text'] = Uniform(7)
    assert 'A()' in message(data)


def test_other_attributes_reach_the_copy():
    data = cast_graph()
    check(data)
    data['item'].name = ['a', 'b', 'c', 'd']
    assert check(data)['item'].name == ['a', 'b', 'c', 'd']


def test_a_changed_copy_is_made_anew():
    data = cast_graph()
    check(data)['item'].x_text[0] = float('nan')
    assert check(data)['item'].x_text.isfinite().all()


def test_nothing_is_kept_alive():
    data = cast_graph()
    kept = [weakref.ref(data), weakref.ref(check(data))]
    kept.append(weakref.ref(data['item'].x_text))
    del data
    gc.collect()
    assert [reference() for reference in kept] == [None] * 3


def test_an_id_that_is_used_again_is_no_graph_of_before():
    for _ in range(50):
        check(graph())
        data = graph()
        data['item'].x_text[0] = float('nan')
        message(data)
        del data


def test_what_is_cast_under_inference_mode_can_be_trained_on():
    data = cast_graph()
    with torch.inference_mode():
        checked = check(data)
    assert not checked['item'].x_text.is_inference()
    assert check(data) is checked


def test_it_takes_one_pass():
    data = graph()
    data['item'].num_nodes = 2000
    del data['item'].has_text
    x = torch.randn(2000, 4096)
    data['item'].x_text, data['item'].x_image = x, torch.zeros(2000, 1)

    def seconds(run):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        return min(times)

    one_pass = seconds(lambda: x.isfinite().all())
    assert seconds(lambda: check(copy.copy(data))) < 3 * one_pass
    check(data)
    assert seconds(lambda: check(data)) < one_pass / 5


def test_graph_of_other_interactions():
    """A leak: the graph was made before held-out interactions were taken."""
    data = graph()
    held_out = data[RATES].test_edge_label_index
    both = torch.cat([data[RATES].edge_index, held_out], dim=1)
    for edge_index in (both, both[:, 1:]):
        for self_loops in (False, True):
            data.graphs = {
                ('A()', None): normalized(
                    edge_index, 3, 4, add_self_loops=self_loops
                )
            }
            with pytest.raises(ValueError, match=r'other interactions.*again'):
                check(data)


def item_graph(*pairs):
    """Return the graph of some of 4 items that have users in common."""
    i, j = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).t()
    adj_t = csr(torch.cat([i, j]), torch.cat([j, i]), torch.ones(2 * len(i)), 4)
    return {('A()', None): Graph(adj_t, adj_t)}


def test_items_have_users_in_common():
    data = graph()
    data[RATES].edge_index = torch.tensor([[0, 0, 1, 1, 2], [0, 1, 1, 2, 3]])
    del data[RATED_BY], data[RATES][VAL], data[RATES][TEST]
    for pairs in ([], [(0, 1)], [(1, 2)], [(0, 1), (1, 2)]):
        data.graphs = item_graph(*pairs)
        assert check(data) is data
    for pairs in ([(0, 2)], [(1, 3)], [(2, 3)], [(0, 1), (1, 2), (0, 3)]):
        data.graphs = item_graph(*pairs)
        with pytest.raises(ValueError, match=r'other interactions.*again'):
            check(data)


def test_transforms_rely_on_the_contract():
    wide = HeteroData()
    wide['user'].num_nodes, wide['item'].num_nodes = 60_000, 50_000
    pairs = torch.tensor([[59_999, 3], [49_999, 7]])
    for dtype in (torch.int32, torch.int64):
        wide[RATES].edge_index = pairs.to(dtype)
        made = NormalizedAdjacency()(wide)
        ends = NormalizedAdjacency().of(made).edge_index
        assert [59_999, 109_999] in ends.t().tolist()
    for transform in (NormalizedAdjacency(), ItemKNN(k=2)):
        data = graph()
        data[RATES].edge_index = data[RATES].edge_index + 4
        data['item'].x_text[1, 0] = torch.nan
        with pytest.raises(ValueError, match=r'edge_index|x_text'):
            transform(data)


def test_models_rely_on_the_contract():
    data = graph()
    with pytest.raises(ValueError, match=r'\[3, d\].*\[7, '):
        evaluate(BPRMF(7, 5, dim=2), data, ks=[2])
    data['item'].x_text = np.zeros((4, 2))
    assert VBPR.from_data(data).in_channels['text'] == 2
    data[RATES].edge_index = data[RATES].edge_index + 400
    for model in (VBPR, InteractionKNN):
        with pytest.raises(ValueError, match='edge_index'):
            model.from_data(data)
    with pytest.raises(ValueError, match='edge_index'):
        InteractionKNN(3, 4)(data)
