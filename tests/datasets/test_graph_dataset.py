import os
import pickle
import resource
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock, Timeout
from torch_geometric.data import Data, HeteroData
from torch_geometric.transforms import BaseTransform, Compose

from pyg_ckd.datasets import graph_dataset
from pyg_ckd.datasets.graph_dataset import GraphDataset


class Numbers(GraphDataset):
    """Items with one feature each, from a file of numbers.

    Whenever it is built, a line is added to a file ``built`` beside it.
    """

    def __init__(self, root, width=1, setting=None, **kwargs):
        self.width = width
        self.setting = setting
        super().__init__(root, **kwargs)

    @property
    def settings(self):
        return self.width, self.setting

    @property
    def raw_paths(self):
        return [os.path.join(self.root, 'numbers.txt')]

    @property
    def processed_parent(self):
        return os.path.join(self.root, 'processed')

    def download(self):
        raise FileNotFoundError(f"There is no file '{self.raw_paths[0]}'")

    def build(self):
        with open(os.path.join(self.root, 'built'), 'a') as file:
            file.write('.')
        time.sleep(float(os.environ.get('SECONDS_TO_BUILD', 0)))
        numbers = Path(self.raw_paths[0]).read_text().split()
        data = HeteroData()
        data['item'].x_text = torch.tensor([*map(float, numbers)]).view(-1, 1)
        data['item'].x_text = data['item'].x_text.repeat(1, self.width)
        return data


class Times:
    """Multiply features, with a ``repr`` that tells by what."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, data):
        data['item'].x_text *= self.factor
        return data

    def __repr__(self):
        return f'Times({self.factor})'


@pytest.fixture
def root(tmp_path):
    (tmp_path / 'numbers.txt').write_text('1 2 3')
    return tmp_path


def values(dataset: GraphDataset) -> list[float]:
    return dataset[0]['item'].x_text[:, 0].tolist()


def times_built(root: Path) -> int:
    return len((root / 'built').read_text()) if (root / 'built').exists() else 0


def results(root: Path) -> list[str]:
    """Return what is left of building: all but locks and digests."""
    files = (root / 'processed').rglob('*')
    return sorted(
        path.name
        for path in files
        if path.is_file()
        and path.suffix != '.lock'
        and path.name != 'digests.json'
    )


# What is kept ################################################################


def test_graph_dataset_is_built_once(root):
    for _ in range(3):
        dataset = Numbers(root)
        assert len(dataset) == 1
        assert isinstance(dataset[0], HeteroData)
        assert values(dataset) == [1, 2, 3]
    assert times_built(root) == 1
    assert results(root) == ['data.pt']
    assert not (root / 'raw').exists()


def test_graph_dataset_is_built_for_each_state_of_its_files(root):
    Numbers(root)
    file = root / 'numbers.txt'
    before = file.stat()
    file.write_text('1 2 4')  # Of the same size.
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert values(Numbers(root)) == [1, 2, 4]

    file.write_text('1 2 5 6')
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert values(Numbers(root)) == [1, 2, 5, 6]

    file.write_text('1 2 3')
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert values(Numbers(root)) == [1, 2, 3]
    assert times_built(root) == 3


def test_graph_dataset_is_built_for_each_setting(root):
    for _ in range(2):
        for width in (1, 2):
            assert Numbers(root, width)[0]['item'].x_text.size(1) == width
    assert times_built(root) == 2


def test_graph_dataset_is_built_for_each_pre_transform(root):
    for _ in range(2):
        for factor in (1, 5):
            dataset = Numbers(root, pre_transform=Times(factor))
            assert values(dataset) == [factor, 2 * factor, 3 * factor]
        assert values(Numbers(root)) == [1, 2, 3]
    assert times_built(root) == 3


@pytest.mark.parametrize('in_settings', [False, True])
def test_graph_dataset_applies_plain_functions_anew(root, in_settings):
    for factor in (2, 3, 4):
        function = lambda data, k=factor: Times(k)(data)  # noqa: E731
        if in_settings:
            Numbers(root, setting=function)
        else:
            dataset = Numbers(root, pre_transform=function)
            assert values(dataset) == [factor, 2 * factor, 3 * factor]
    assert times_built(root) == 3
    assert results(root) == ['data.pt']  # All in the same place.


def test_graph_dataset_loads_before_another_process_replaces(root, monkeypatch):
    load = graph_dataset._load

    def load_while_locked(path, mmap):
        with (
            pytest.raises(Timeout),
            FileLock(f'{os.path.dirname(path)}.lock', timeout=0),
        ):
            pass
        return load(path, mmap)

    monkeypatch.setattr(graph_dataset, '_load', load_while_locked)
    assert values(Numbers(root, pre_transform=lambda data: data)) == [1, 2, 3]


def test_graph_dataset_force_reload(root):
    dataset = Numbers(root)
    before = os.stat(dataset.processed_paths[0]).st_ino
    Numbers(root, force_reload=True)
    assert os.stat(dataset.processed_paths[0]).st_ino != before
    assert times_built(root) == 2
    assert results(root) == ['data.pt']


def test_graph_dataset_transforms_at_every_access(root):
    for _ in range(2):
        dataset = Numbers(root, transform=lambda data: data['item'].x_text + 1)
        assert dataset[0].view(-1).tolist() == [2, 3, 4]
    assert times_built(root) == 1


def test_graph_dataset_keeps_graphs_of_other_kinds(root):
    class ToData(Times):
        def __call__(self, data):
            return Data(x=self.factor * data['item'].x_text)

        def __repr__(self):
            return f'ToData({self.factor})'

    for _ in range(2):
        data = Numbers(root, pre_transform=ToData(7))[0]
        assert type(data) is Data
        assert data.x.view(-1).tolist() == [7, 14, 21]
    assert times_built(root) == 1


class Named:
    """Give items names."""

    def __call__(self, data):
        data['item'].name = names = ['b', '', 'é\0\n"', '\ud800', '9' * 1000]
        data['item'].last = torch.ones(3)
        data['item'].kinds = [1, 'two']
        data.words, data.empty = names[:2], []
        return data

    def __repr__(self):
        return 'Named()'


def test_graph_dataset_keeps_names(root):
    expected = Named()(HeteroData())
    for transform in (Named(), lambda data: Named()(data)):
        for _ in range(2):
            data = Numbers(root, pre_transform=transform)[0]
            assert [*data['item']] == ['x_text', 'name', 'last', 'kinds']
            for name in ('name', 'kinds'):
                assert data['item'][name] == expected['item'][name]
            assert (data.words, data.empty) == (['b', ''], [])
    # In the file they are one text, which loads at once:
    path = Numbers(root, pre_transform=Named()).processed_paths[0]
    store, names, _ = torch.load(path, weights_only=False)
    assert store['item']['name'] is None
    assert names['item', 'name'].startswith('["b", "", "')


def test_graph_dataset_keeps_what_is_written_to_itself(root):
    path = Path(Numbers(root).processed_paths[0])
    before = path.read_bytes()
    first, second = Numbers(root)[0], Numbers(root)[0]
    first['item'].x_text.mul_(10)
    first['item'].x_text[2] = 7
    assert first['item'].x_text.flatten().tolist() == [10, 20, 7]
    assert second['item'].x_text.flatten().tolist() == [1, 2, 3]
    assert path.read_bytes() == before
    assert values(Numbers(root)) == [1, 2, 3]


def test_graph_dataset_outlives_its_file(root):
    data = Numbers(root, width=10_000)[0]
    path = Path(Numbers(root, width=10_000).processed_paths[0])
    path.unlink()
    assert data['item'].x_text.sum() == 60_000
    other = Numbers(root, width=10_000)[0]
    Numbers(root, width=10_000, force_reload=True)
    assert other['item'].x_text.sum() == 60_000


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
@pytest.mark.parametrize('force', [False, True])
def test_graph_dataset_maps_tensors_to_memory(root, force):
    options = {'pre_transform': (lambda data: data) if force else None}
    dataset = Numbers(root, width=10_000, **options)
    data = dataset[0]
    is_mapped = (
        dataset.processed_paths[0] in Path('/proc/self/maps').read_text()
    )
    # A file that others may replace at any time is read as a whole:
    assert is_mapped != force
    assert data['item'].x_text.shape == (3, 10_000)


def test_graph_dataset_without_files(tmp_path):
    with pytest.raises(FileNotFoundError, match='There is no file'):
        Numbers(tmp_path)
    assert os.listdir(tmp_path) == []


# Two processes at once #######################################################

SCRIPT = """
import importlib.util
import sys

spec = importlib.util.spec_from_file_location('test', sys.argv[1])
test = importlib.util.module_from_spec(spec)
spec.loader.exec_module(test)
print('ready', flush=True)
input()
print(test.values(test.Numbers(sys.argv[2])))
"""


def test_graph_dataset_is_built_once_by_two_processes(root, monkeypatch):
    monkeypatch.setenv('SECONDS_TO_BUILD', '0.2')
    with subprocess.Popen(
        [sys.executable, '-c', SCRIPT, __file__, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == 'ready\n'
        other.stdin.write('go\n')
        other.stdin.flush()
        assert values(Numbers(root)) == [1, 2, 3]
        assert other.communicate()[0] == '[1.0, 2.0, 3.0]\n'
    assert other.returncode == 0
    assert times_built(root) == 1
    assert results(root) == ['data.pt']


# Errors ######################################################################


def test_graph_dataset_leaves_nothing_after_an_error(root):
    (root / 'numbers.txt').write_text('1 two')
    with pytest.raises(ValueError, match='two'):
        Numbers(root)
    assert results(root) == []

    (root / 'numbers.txt').write_text('1 2')
    with pytest.raises(TypeError):
        Numbers(root, pre_transform=Times(None))
    assert results(root) == []
    assert values(Numbers(root)) == [1, 2]


def test_graph_dataset_keeps_what_is_there_after_an_error(root):
    Numbers(root, pre_transform=Times(2))

    class Broken(Times):
        def __call__(self, data):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Numbers(root, pre_transform=Broken(2), force_reload=True)
    assert values(Numbers(root, pre_transform=Times(2))) == [2, 4, 6]
    assert times_built(root) == 2
    assert results(root) == ['data.pt']


@contextmanager
def full_disk(num_bytes: int):
    """Let no file grow beyond a number of bytes, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize('num_bytes', [10, 1000])
def test_graph_dataset_leaves_nothing_on_a_full_disk(root, num_bytes):
    with full_disk(num_bytes), pytest.raises(OSError) as info:
        Numbers(root, width=1000)
    for part in ["/data.pt' could not be written (", 'make room, or choose']:
        assert part in str(info.value)
    assert results(root) == []
    assert values(Numbers(root)) == [1, 2, 3]


class Bomb:
    """An object that would create a file while it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize('save', ['torch.save', 'pickle.dump'])
@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
def test_graph_dataset_executes_nothing(root, save):
    path = Numbers(root).processed_paths[0]
    bomb = (Bomb(root / 'boom'), None, HeteroData)
    with open(path, 'wb') as file:
        (torch.save if save == 'torch.save' else pickle.dump)(bomb, file)
    with pytest.raises(ValueError) as info:
        Numbers(root)
    assert f"'{path}' is not a whole file of a graph" in str(info.value)
    assert not (root / 'boom').exists()

    assert values(Numbers(root, force_reload=True)) == [1, 2, 3]


@pytest.mark.parametrize(
    ('share', 'tail'),
    [(0, b''), (0.5, b''), (0.99, b''), (0.5, 4000 * b'f')],
)
def test_graph_dataset_refuses_damaged_files(root, share, tail):
    path = Path(Numbers(root).processed_paths[0])
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))] + tail)
    with pytest.raises(ValueError) as info:
        Numbers(root)
    assert str(info.value).startswith(f"'{path}' is not a whole file")
    assert "delete it or pass 'force_reload=True'" in str(info.value)


def test_graph_dataset_refuses_what_cannot_be_loaded(root):
    class AddArray(Times):
        def __call__(self, data):
            data['item'].x_text = np.ones((3, self.factor))
            return data

    for _ in range(2):
        with pytest.raises(ValueError, match="of what 'pre_transform' returns"):
            Numbers(root, pre_transform=AddArray(2))


def test_a_changed_file_that_looks_the_same(root):
    """Neither its size nor its time tells, as after `cp -p`."""
    before = values(Numbers(root))
    path = root / 'numbers.txt'
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_text('4 5 6')
    os.utime(path, ns=times)
    assert values(Numbers(root)) == [4.0, 5.0, 6.0] != before


def test_a_touched_file_is_not_built_anew(root):
    Numbers(root)
    os.utime(root / 'numbers.txt')
    Numbers(root)
    assert (root / 'built').read_text() == '.'


class Scaled(BaseTransform):
    """Has settings that the inherited `repr` does not name."""

    def __init__(self, factor):
        self.factor = factor

    def forward(self, data):
        data['item'].x_text = data['item'].x_text * self.factor
        return data


class Twice(Times):
    """Inherits a `repr` that knows nothing of what it adds."""

    def __init__(self, factor, also):
        super().__init__(factor)
        self.also = also

    def __call__(self, data):
        data['item'].x_text *= self.also
        return super().__call__(data)


@pytest.mark.parametrize(
    ('one', 'other', 'factor'),
    [
        (Scaled(2), Scaled(3), 3),
        (Compose([Times(2), Scaled(2)]), Compose([Times(2), Scaled(3)]), 6),
        (Twice(2, 2), Twice(2, 3), 6),
    ],
)
def test_settings_that_a_repr_does_not_name(root, one, other, factor):
    Numbers(root, pre_transform=one)
    found = values(Numbers(root, pre_transform=other))
    assert found == [factor, 2 * factor, 3 * factor]
