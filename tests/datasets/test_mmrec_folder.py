import os
import pickle
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform, Compose

from pyg_ckd.datasets import MMRecFolder
from pyg_ckd.datasets.formats.mmrec import read_mmrec
from pyg_ckd.datasets.raw.limits import Limits
from pyg_ckd.datasets.raw.renumbered import restored
from pyg_ckd.graph import RATED_BY, RATES
from pyg_ckd.transforms import ItemKNN, NormalizedAdjacency

INTER = (
    'userID\titemID\trating\ttimestamp\tx_label\n'
    '2\t1\t4.5\t100\t0\n'
    '0\t0\t1.0\t200\t1\n'
    '1\t2\t2.0\t300\t2\n'
    '0\t2\t3.0\t400\t0\n'
)
IDS_ONLY = 'userID\titemID\tx_label\n0\t0\t0\n0\t1\t1\n1\t0\t2\n'


def write(root: Path, inter: str = INTER, **features: object) -> Path:
    """Write the folder `root/tiny`; features are arrays or bytes."""
    folder = root / 'tiny'
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'tiny.inter').write_text(inter)
    for modality, x in features.items():
        path = folder / f'{modality}_feat.npy'
        if isinstance(x, bytes):
            path.write_bytes(x)
        else:
            np.save(path, x, allow_pickle=True)
    return folder


def error_of(root: Path) -> str:
    with pytest.raises(ValueError) as info:
        MMRecFolder(root, 'tiny')
    assert not list(root.rglob('data.pt*')), 'left a trace of a bad folder'
    return str(info.value)


class Scale(BaseTransform):
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def forward(self, data: HeteroData) -> HeteroData:
        data['item'].x_text = data['item'].x_text * self.factor
        return data

    def __repr__(self) -> str:
        return f'Scale({self.factor})'


class Interrupt(BaseTransform):
    def forward(self, data: HeteroData) -> HeteroData:
        raise KeyboardInterrupt

    def __repr__(self) -> str:
        return 'None'  # Shares its processed file with no transform at all.


def test_mmrec_folder(tmp_path):
    image, text = np.random.rand(3, 4), np.random.rand(3, 2)
    write(tmp_path, text=text, image=image)

    dataset = MMRecFolder(tmp_path, 'tiny')
    assert str(dataset) == 'tiny()'
    assert len(dataset) == 1

    data = dataset[0]
    data.validate()
    for node in ('user', 'item'):  # they are in another order in the graph
        assert data[node].original_id.sort().values.tolist() == [0, 1, 2]
    data = restored(data)
    data.validate()
    assert data.node_types == ['user', 'item']
    assert data.edge_types == [RATES, RATED_BY]
    assert data['user'].num_nodes == data['item'].num_nodes == 3
    assert list(data['item'].keys()) == ['num_nodes', 'x_image', 'x_text']
    for x, expected in [
        (data['item'].x_image, image),
        (data['item'].x_text, text),
    ]:
        assert x.dtype == torch.float32
        assert x.is_contiguous()
        assert x.tolist() == expected.astype(np.float32).tolist()

    rates = data[RATES]
    assert rates.edge_index.dtype == torch.long
    assert rates.edge_index.is_contiguous()
    assert rates.edge_index.tolist() == [[2, 0], [1, 2]]
    assert rates.rating.dtype == torch.float32
    assert rates.rating.tolist() == [4.5, 3.0]
    assert rates.time.dtype == torch.long
    assert rates.time.tolist() == [100, 400]
    assert rates.val_edge_label_index.tolist() == [[0], [0]]
    assert rates.test_edge_label_index.tolist() == [[1], [2]]
    assert data[RATED_BY].edge_index.tolist() == [[1, 2], [2, 0]]


def test_mmrec_folder_with_ids_only(tmp_path):
    write(tmp_path, IDS_ONLY)
    data = restored(MMRecFolder(str(tmp_path), 'tiny')[0])
    assert data['user'].num_nodes == data['item'].num_nodes == 2
    assert list(data['item'].keys()) == ['num_nodes']
    assert 'rating' not in data[RATES]
    assert 'time' not in data[RATES]


def test_mmrec_folder_counts_items_by_features(tmp_path):
    write(tmp_path, IDS_ONLY, text=np.ones((5, 1)))
    assert MMRecFolder(tmp_path, 'tiny')[0]['item'].num_nodes == 5


@pytest.mark.parametrize('end', ['', '\n', '\n\n'])
@pytest.mark.parametrize('encode', ['bom', 'crlf', 'latin-1'])
def test_mmrec_folder_reads_what_tools_write(tmp_path, encode, end):
    folder = write(tmp_path)
    lines = ['userID\tname\titemID\tx_label', '0\té#1\t0\t0', '0\té\t1\t1']
    text = '\n'.join([*lines, '1\té\t0\t2']) + end
    raw = {
        'bom': text.encode('utf-8-sig'),
        'crlf': text.replace('\n', '\r\n').encode(),
        'latin-1': text.encode('latin-1'),
    }[encode]
    (folder / 'tiny.inter').write_bytes(raw)
    rates = restored(MMRecFolder(tmp_path, 'tiny')[0])[RATES]
    assert rates.edge_index.tolist() == [[0], [0]]
    assert rates.test_edge_label_index.tolist() == [[1], [0]]


@pytest.mark.parametrize('dtype', ['<f2', '>f4', '<f8'])
@pytest.mark.parametrize('order', ['C', 'F'])
def test_mmrec_folder_converts_features(tmp_path, dtype, order):
    x = np.array([[1.5, -2.0], [0.25, 4.0], [0.0, 8.0]], dtype, order=order)
    write(tmp_path, text=x)
    x_text = restored(MMRecFolder(tmp_path, 'tiny')[0])['item'].x_text
    assert x_text.dtype == torch.float32
    assert x_text.is_contiguous()
    assert x_text.tolist() == x.tolist()


@st.composite
def tables(draw):
    """Draw the columns of an interaction file, in any order."""
    pairs = draw(
        st.lists(
            st.tuples(st.integers(0, 20), st.integers(0, 20)),
            min_size=3,
            max_size=30,
            unique=True,
        )
    )
    size = len(pairs)
    rest = st.lists(st.integers(0, 2), min_size=size - 3, max_size=size - 3)
    label = [0, 1, 2, *draw(rest)]
    columns = {
        'userID': [user for user, _ in pairs],
        'itemID': [item for _, item in pairs],
        'x_label': draw(st.permutations(label)),
    }
    numbers = {
        'rating': st.floats(width=32, allow_nan=False),
        'timestamp': st.integers(-(2**63), 2**63 - 1),
        'note': st.text(st.characters(codec='ascii', categories=['L', 'N'])),
    }
    for name in draw(st.sets(st.sampled_from(sorted(numbers)))):
        columns[name] = draw(
            st.lists(numbers[name], min_size=size, max_size=size)
        )
    return {name: columns[name] for name in draw(st.permutations([*columns]))}


@settings(max_examples=50, deadline=None)
@given(tables())
def test_mmrec_folder_round_trip(table):
    rows = [table.keys(), *zip(*table.values(), strict=True)]
    inter = '\n'.join('\t'.join(map(str, row)) for row in rows)
    with tempfile.TemporaryDirectory() as root:
        write(Path(root), inter)
        data = restored(MMRecFolder(root, 'tiny')[0])

    def select(name, label):
        return [
            value
            for value, other in zip(table[name], table['x_label'], strict=True)
            if other == label
        ]

    rates = data[RATES]
    for label, index in enumerate(
        [
            rates.edge_index,
            rates.val_edge_label_index,
            rates.test_edge_label_index,
        ]
    ):
        expected = [select('userID', label), select('itemID', label)]
        assert index.tolist() == expected
    assert data['user'].num_nodes == max(table['userID']) + 1
    assert data['item'].num_nodes == max(table['itemID']) + 1
    for key, name in [('rating', 'rating'), ('time', 'timestamp')]:
        assert (key in rates) == (name in table)
        if name in table:
            assert rates[key].tolist() == select(name, 0)


# Bad interactions ############################################################


def lines(*replaced: tuple[int, str]) -> str:
    """Return `INTER` with other lines, counted from 1."""
    out = INTER.split('\n')
    for line, text in replaced:
        out[line - 1] = text
    return '\n'.join(out)


@pytest.mark.parametrize(
    ('inter', 'expected'),
    [
        ('', ["line 1: column 'userID' is missing", 'tab-separated header']),
        ('0\t1\t0\n1\t1\t0\n', ["line 1: column 'userID' is missing"]),
        (
            INTER.replace('x_label', 'split'),
            ["line 1: column 'x_label' is missing", 'userID, itemID, x_label'],
        ),
        (INTER.replace('\t', ','), ["line 1: column 'userID' is missing"]),
        (
            INTER.split('\n')[0],
            ['no interactions below its header; write one in each'],
        ),
        (
            lines((3, '0\t0\t1')),
            ['line 3: 3 of 5 fields; separate them by tabs'],
        ),
        (lines((4, '')), ['line 4: 1 of 5 fields; separate them by tabs']),
        (
            lines((5, '0\tB00X\t1\t1\t0')),
            ["line 5: itemID is 'B00X', expected a 64-bit integer"],
        ),
        (
            lines((2, '1.0\t0\t1\t1\t0')),
            ["line 2: userID is '1.0', expected a 64-bit integer"],
        ),
        (
            lines((4, '1\t1.7\t1\t1\t2')),  # of which some NumPys make 1
            ["line 4: itemID is '1.7', expected a 64-bit integer"],
        ),
        (
            lines((2, '1e0\t0\t1\t1\t0')),
            ["line 2: userID is '1e0', expected a 64-bit integer"],
        ),
        (
            lines((2, f'{2**63}\t0\t1\t1\t0')),
            [f"line 2: userID is '{2**63}', expected a 64-bit integer"],
        ),
        (
            lines((3, '0\t0\t1\tnow\t0')),
            ["line 3: timestamp is 'now', expected a 64-bit integer"],
        ),
        (
            lines((3, '0\t0\tgood\t1\t0')),
            ["line 3: rating is 'good', expected a number"],
        ),
        (
            lines((4, '-1\t0\t1\t1\t2')),
            ['line 4: userID is -1, expected an integer counted from 0'],
        ),
        (
            lines((4, '0\t-7\t1\t1\t2')),
            ['line 4: itemID is -7, expected an integer counted from 0'],
        ),
        (
            lines((5, '0\t2\t1\t1\t3')),
            [
                'line 5: x_label is 3, expected 0 (train), 1 (validation) '
                'or 2 (test)'
            ],
        ),
        (
            lines((2, '2\t1\t1\t1\t1'), (5, '0\t2\t1\t1\t1')),
            ['has no train interactions; set x_label to 0'],
        ),
        (
            lines((3, '0\t0\t1\t1\t0')),
            ['has no validation interactions; set x_label to 1'],
        ),
        (
            lines((4, '1\t2\t1\t1\t0')),
            ['has no test interactions; set x_label to 2'],
        ),
        (
            lines((5, '2\t1\t1\t1\t0')),
            [
                'lines 2 and 5: user 2 and item 1 are paired twice '
                '(train and train); remove one of the two lines'
            ],
        ),
        (
            lines((5, '0\t0\t1\t1\t0')),
            ['lines 3 and 5: user 0 and item 0', '(validation and train)'],
        ),
        (
            lines((4, '2\t1\t1\t1\t2')),
            ['lines 2 and 4: user 2 and item 1', '(train and test)'],
        ),
    ],
)
def test_mmrec_folder_refuses_interactions(tmp_path, inter, expected):
    path = write(tmp_path, inter) / 'tiny.inter'
    message = error_of(tmp_path)
    for part in [f"'{path}'", *expected]:
        assert part in message


# Bad features ################################################################

ONES = np.ones((3, 2), np.float32)


def with_value(value: float, dtype: str = 'f4') -> np.ndarray:
    x = np.ones((3, 2), dtype)
    x[1:, 1] = value
    return x


def npy(x: object) -> bytes:
    with tempfile.TemporaryFile() as file:
        np.save(file, x, allow_pickle=True)
        file.seek(0)
        return file.read()


def npz(x: np.ndarray) -> bytes:
    with tempfile.TemporaryFile() as file:
        np.savez(file, x)
        file.seek(0)
        return file.read()


@pytest.mark.parametrize(
    ('x', 'expected'),
    [
        (np.ones(3), ['shape [num_items, num_features] (got (3,))']),
        (np.ones((3, 2, 2)), ['(got (3, 2, 2))']),
        (npz(ONES), ['(got an archive)']),
        (with_value(np.nan), ['row 1 (counted from 0, as itemID)', 'replace']),
        (with_value(-np.inf, 'f2'), ['row 1', "not finite as 'float32'"]),
        (with_value(1e300, 'f8'), ['row 1', "not finite as 'float32'"]),
        (np.ones((3, 2), int), ["holds 'int64', expected 'float16'", 'astype']),
        (np.ones((3, 2), bool), ["holds 'bool', expected 'float16'"]),
        (np.ones((3, 2), complex), ["holds 'complex128', expected 'float16'"]),
        (np.full((3, 2), 'a'), ["holds '<U1', expected 'float16'"]),
        (np.full((3, 2), None), ["is not a complete '.npy' file", 'write it']),
        (
            pickle.dumps(ONES),
            ["is not a complete '.npy' file", 'write it anew'],
        ),
        (npy(ONES)[:-1], ["is not a complete '.npy' file", 'numpy.save']),
        (npy(ONES)[:70], ["is not a complete '.npy' file"]),
        (b'', ["is not a complete '.npy' file"]),
        (b'1.0 2.0\n', ["is not a complete '.npy' file"]),
    ],
)
def test_mmrec_folder_refuses_features(tmp_path, x, expected):
    folder = write(tmp_path, text=x, image=ONES)
    message = error_of(tmp_path)
    for part in [f"'{folder / 'text_feat.npy'}'", *expected]:
        assert part in message


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_mmrec_folder_executes_nothing(tmp_path):
    trace = tmp_path / 'executed'
    for x in [npy(np.array([[Bomb(trace)]])), pickle.dumps(Bomb(trace))]:
        write(tmp_path, text=x)
        assert "'.npy'" in error_of(tmp_path)

    write(tmp_path, text=ONES)
    dataset = MMRecFolder(tmp_path, 'tiny')
    torch.save((Bomb(trace), None, HeteroData), dataset.processed_paths[0])
    with pytest.raises(ValueError, match='not a whole file of a graph'):
        MMRecFolder(tmp_path, 'tiny')
    assert not trace.exists()


def test_mmrec_folder_refuses_features_that_do_not_fit(tmp_path):
    folder = write(tmp_path, text=np.ones((2, 1)))
    assert error_of(tmp_path) == (
        f"'{folder / 'tiny.inter'}', line 4: itemID is 2, expected less than "
        f"2, the number of rows in 'text_feat.npy'; write one row for each "
        f'item in all features'
    )
    write(tmp_path, image=ONES)
    assert error_of(tmp_path) == (
        f"'{folder}': 'image_feat.npy' has 3 rows, but 'text_feat.npy' has 2; "
        f'write one row for each item in both'
    )


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        ('', 'is not an identifier'),
        ('text-v2', 'is not an identifier'),
        ('2d', 'is not an identifier'),
        ('type', 'is reserved by PyTorch'),
        ('keys', 'is reserved by PyTorch'),
        ('training', 'is reserved by PyTorch'),
    ],
)
def test_mmrec_folder_refuses_modalities(tmp_path, name, reason):
    path = write(tmp_path, **{name: ONES}) / f'{name}_feat.npy'
    assert error_of(tmp_path) == (
        f"'{path}': the modality '{name}' {reason}; rename the file"
    )


def test_mmrec_folder_sorts_modalities(tmp_path):
    write(tmp_path, b=ONES, a=ONES, a_b=ONES)
    item = restored(MMRecFolder(tmp_path, 'tiny')[0])['item']
    assert [key for key in item if key != 'num_nodes'] == [
        'x_a',
        'x_a_b',
        'x_b',
    ]


def test_mmrec_folder_refuses_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError) as info:
        MMRecFolder(tmp_path, 'tiny')
    for part in [f"'{tmp_path / 'tiny'}'", 'tiny.inter', '_feat.npy', 'MMRec']:
        assert part in str(info.value)
    assert not (tmp_path / 'tiny').exists()


# Processed files #############################################################


def test_mmrec_folder_is_processed_once(tmp_path, monkeypatch):
    write(tmp_path, text=ONES)
    MMRecFolder(tmp_path, 'tiny')

    with monkeypatch.context() as patch:
        patch.setattr(MMRecFolder, 'process', None)
        dataset = MMRecFolder(tmp_path, 'tiny')
    path = Path(dataset.processed_paths[0])
    assert path.parents[1] == tmp_path / 'tiny' / 'processed'
    assert len(path.parent.name) == 12
    assert os.listdir(path.parent) == ['data.pt']

    before = path.stat().st_ino, path.stat().st_mtime_ns
    MMRecFolder(tmp_path, 'tiny', force_reload=True)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) != before


def test_mmrec_folder_sees_changed_files(tmp_path):
    folder = write(tmp_path, text=ONES)
    MMRecFolder(tmp_path, 'tiny')

    write(tmp_path, lines((2, '0\t1\t4.5\t100\t0')), text=2 * ONES)
    for file in folder.iterdir():  # In case the clock is coarse:
        if file.is_file():
            later = file.stat().st_mtime_ns + 1_000_000_000
            os.utime(file, ns=(later, later))
    data = restored(MMRecFolder(tmp_path, 'tiny')[0])
    assert data[RATES].edge_index.tolist() == [[0, 0], [1, 2]]
    assert data['item'].x_text[0, 0] == 2

    (folder / 'text_feat.npy').rename(folder / 'image_feat.npy')
    assert 'x_image' in MMRecFolder(tmp_path, 'tiny')[0]['item']


def test_mmrec_folder_tells_pre_transforms_apart(tmp_path):
    write(tmp_path, text=ONES)

    # Functions of the same name, told apart by their addresses only:
    functions = [lambda data, k=k: Scale(k)(data) for k in (2, 3)]
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for _ in range(2):
            for pre_transform, expected in [
                (None, 1),
                (Scale(4), 4),
                (Scale(5), 5),
                (Compose([Scale(4), Scale(5)]), 20),
                (functions[0], 2),
                (functions[1], 3),
                (Compose([functions[0]]), 2),
                (Compose([functions[1]]), 3),
            ]:
                dataset = MMRecFolder(
                    tmp_path, 'tiny', pre_transform=pre_transform
                )
                assert dataset[0]['item'].x_text[0, 0] == expected


def test_mmrec_folder_transform(tmp_path):
    write(tmp_path, text=ONES)
    dataset = MMRecFolder(tmp_path, 'tiny', transform=Scale(2))
    for _ in range(2):
        assert dataset[0]['item'].x_text.tolist() == (2 * ONES).tolist()


def test_mmrec_folder_keeps_sparse_matrices(tmp_path):
    write(tmp_path, text=np.random.rand(3, 4))
    pre_transform = Compose([NormalizedAdjacency(), ItemKNN(k=2)])
    for _ in range(2):  # Processed and loaded, then only loaded:
        data = MMRecFolder(tmp_path, 'tiny', pre_transform=pre_transform)[0]
        expected = pre_transform(MMRecFolder(tmp_path, 'tiny')[0])
        assert list(data.graphs) == list(expected.graphs)
        assert len(data.graphs) == 2
        for name, graph in data.graphs.items():
            for side in ('adj_t', 'adj'):
                adj = getattr(graph, side)
                expected_adj = getattr(expected.graphs[name], side)
                assert adj.layout == torch.sparse_csr
                assert adj.to_dense().equal(expected_adj.to_dense())


def test_mmrec_folder_keeps_sparse_matrices_between_processes(tmp_path):
    write(tmp_path, text=ONES)
    pre_transform = Compose([NormalizedAdjacency(), ItemKNN(k=2)])
    data = MMRecFolder(tmp_path, 'tiny', pre_transform=pre_transform)[0]
    script = (
        'import sys\n'
        'from torch_geometric.transforms import Compose\n'
        'from pyg_ckd.datasets import MMRecFolder\n'
        'from pyg_ckd.transforms import ItemKNN, NormalizedAdjacency\n'
        'MMRecFolder.process = None\n'
        'pre_transform = Compose([NormalizedAdjacency(), ItemKNN(k=2)])\n'
        "data = MMRecFolder(sys.argv[1], 'tiny', None, pre_transform)[0]\n"
        'graph = NormalizedAdjacency().of(data)\n'
        'print(graph.adj_t.to_dense().tolist())\n'
    )
    out = subprocess.run(
        [sys.executable, '-c', script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    graph = NormalizedAdjacency().of(data)
    assert out.stdout.strip() == str(graph.adj_t.to_dense().tolist())


def test_mmrec_folder_survives_interruption(tmp_path):
    folder = write(tmp_path, text=ONES)
    with pytest.raises(KeyboardInterrupt):
        MMRecFolder(tmp_path, 'tiny', pre_transform=Interrupt())
    assert not list((folder / 'processed').rglob('data.pt*'))

    # A process that was killed leaves its temporary file behind:
    path = Path(MMRecFolder(tmp_path, 'tiny').processed_paths[0])
    path.rename(f'{path}.killed')
    Path(f'{path}.killed').write_bytes(b'half')
    assert MMRecFolder(tmp_path, 'tiny')[0]['item'].num_nodes == 3

    # A result is kept until the next one is complete:
    with pytest.raises(KeyboardInterrupt):
        MMRecFolder(
            tmp_path, 'tiny', pre_transform=Interrupt(), force_reload=True
        )
    assert MMRecFolder(tmp_path, 'tiny')[0]['item'].num_nodes == 3


def test_mmrec_folder_processed_root(tmp_path):
    folder = write(tmp_path / 'raw', text=ONES)
    (folder / 'processed').write_text('A file, so that no folder can be here.')
    with pytest.raises(PermissionError) as info:
        MMRecFolder(tmp_path / 'raw', 'tiny')
    for part in [f"'{folder / 'processed'}", "'processed_root'"]:
        assert part in str(info.value)

    dataset = MMRecFolder(
        tmp_path / 'raw', 'tiny', processed_root=tmp_path / 'out'
    )
    path = Path(dataset.processed_paths[0])
    assert path.parents[1] == tmp_path / 'out' / 'tiny' / 'processed'
    assert sorted(os.listdir(folder)) == [
        'processed',
        'text_feat.npy',
        'tiny.inter',
    ]


def test_mmrec_folder_reads_amazon_baby(tmp_path, shared):
    root = shared / 'data'
    if not (root / 'baby').is_dir():
        pytest.skip("needs the folder 'baby' in 'shared/data'")
    data = MMRecFolder(root, 'baby', processed_root=tmp_path)[0]
    data.validate()
    assert data['user'].num_nodes == 19_445
    assert data['item'].num_nodes == 7_050
    assert data['item'].x_image.shape == (7_050, 128)
    assert data['item'].x_text.shape == (7_050, 128)
    assert data[RATES].edge_index.shape == (2, 118_551)
    assert data[RATES].val_edge_label_index.shape == (2, 20_559)
    assert data[RATES].test_edge_label_index.shape == (2, 21_682)
    assert 'rating' not in data[RATES]


@pytest.mark.parametrize('column', ['userID', 'itemID'])
def test_ids_of_a_database(tmp_path, column):
    pair = ('100000000', '1') if column == 'userID' else ('1', '100000000')
    rows = ['userID\titemID\tx_label', '0\t0\t0', '\t'.join([*pair, '1'])]
    write(tmp_path, '\n'.join([*rows, '1\t1\t2\n']))
    message = f'line 3: {column} is 100000000, but there are 3 interactions'
    assert message in error_of(tmp_path)


def test_read_mmrec_refuses_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / 'tiny.inter')
    with pytest.raises(ValueError, match=r"tiny\.inter' is no regular file"):
        read_mmrec(str(tmp_path / 'tiny.inter'))


def test_mmrec_folder_refuses_lines_that_are_too_long(tmp_path):
    write(tmp_path, INTER + f'2\t2\t1\t400\t0{" " * 100}\n')
    message = r"tiny.inter', line 6 has more than 100 bytes; .*Limits\(line=100"
    with pytest.raises(ValueError, match=message):
        MMRecFolder(tmp_path, 'tiny', limits=Limits(line=100))
    data = MMRecFolder(tmp_path, 'tiny', limits=Limits(line=200))[0]
    assert data[RATES].edge_index.size(1) == 3
