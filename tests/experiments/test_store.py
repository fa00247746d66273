"""A folder of results: whole lines, whatever happens to it."""

import io
import json
import math
import os
import shutil
import signal
import stat
import sys
import time
from contextlib import contextmanager
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from filelock import FileLock

from pyg_ckd.experiments import Method, Result, Run, Store

needs_fork = pytest.mark.skipif(
    not hasattr(os, 'fork'), reason='needs processes that are forked'
)


def result_of(seed=0, **kwargs):
    kwargs = {
        'test': {'full': {'recall@20': 0.478}},
        'val': {'recall@20': 1 / 3},
        'history': [{'epoch': 5, 'val_recall@20': 0.5}],
        'epochs': 5,
        'seconds': 1.5,
        'users': {
            'user': torch.tensor([0, 3, 2**24 + 1]),
            'recall@20': torch.tensor([0.1, 1 / 3, 1.0]),
        },
        'hits': {'item': torch.tensor([4, 2]), 'hit@20': torch.ones(2)},
        **kwargs,
    }
    run = Run('shop', 'VBPR', Method(), seed, {'model': {'dim': 4}})
    return Result(run, **kwargs)


def seeds_of(store):
    return [result.run.seed for result in store.results()]


def assert_same(one, other):
    assert one == other
    for kind in ('users', 'hits'):
        found, expected = getattr(one, kind), getattr(other, kind)
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            assert found[name].dtype == values.dtype
            assert torch.equal(found[name], values)


@pytest.fixture
def folder(tmp_path):
    """A folder of the results of seeds 0 and 1."""
    store = Store(tmp_path / 'results')
    for seed in (0, 1):
        store.save(result_of(seed))
    return tmp_path / 'results'


def arrays_of(folder, seed=0):
    return folder / 'users' / f'{result_of(seed).run.key}.npz'


# Round trips #################################################################


def test_results_come_back(tmp_path):
    store = Store(tmp_path / 'new' / 'folder')
    assert store.results() == []
    assert store.problems == []
    assert not store.folder.exists()  # reading makes no folder
    for seed in (0, 1):
        store.save(result_of(seed))
    for one in (store, Store(str(store.folder))):
        for found, seed in zip(one.results(), (0, 1), strict=True):
            assert_same(found, result_of(seed))
        assert one.problems == []
        assert one.get(result_of(1).run.key).run.seed == 1
        assert one.get('0' * 16) is None
    for line in store.log.read_text('utf-8').splitlines():
        assert {'users', 'hits'}.isdisjoint(json.loads(line))
    assert len(list((store.folder / 'users').iterdir())) == 2


def test_values_that_are_not_finite(tmp_path):
    history = [{'epoch': 5, 'loss': math.inf, 'other': -math.inf}]
    result = result_of(history=history, val={'recall@20': math.nan})
    result.users['recall@20'][1] = math.nan
    Store(tmp_path).save(result)
    (found,) = Store(tmp_path).results()
    assert found.history == history
    assert math.isnan(found.val['recall@20'])
    torch.testing.assert_close(
        found.users['recall@20'],
        result.users['recall@20'],
        equal_nan=True,
        rtol=0,
        atol=0,
    )


@pytest.mark.parametrize(
    ('given', 'kept'),
    [
        (torch.float64, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.int32, torch.int32),
        (torch.bool, torch.bool),
    ],
)
def test_metrics_are_kept_in_single_precision(given, kept, tmp_path):
    values = torch.tensor([0.0, 1.0, 3.0]).to(given)
    Store(tmp_path).save(result_of(users={'recall@20': values}))
    (found,) = Store(tmp_path).results()
    assert found.users['recall@20'].dtype == kept
    assert torch.equal(found.users['recall@20'], values.to(kept))


def test_no_users_and_none_evaluated(tmp_path):
    store = Store(tmp_path)
    store.save(result_of(0, users={}, hits={}))
    store.save(result_of(1, users={'recall@20': torch.empty(0)}, hits={}))
    one, other = Store(tmp_path).results()
    assert (one.users, one.hits) == ({}, {})
    assert other.users['recall@20'].shape == (0,)
    assert len(list((tmp_path / 'users').iterdir())) == 1


def test_names_of_any_language(tmp_path):
    run = Run('магазин', 'VBPR\n', Method(name='ü "x"'), 0)
    Store(tmp_path).save(Result(run, error='line 1\nline 2\u2028'))
    (found,) = Store(tmp_path).results()
    assert found.run == run
    assert found.error == 'line 1\nline 2\u2028'


def test_later_result_of_the_same_run_counts(tmp_path):
    first, later, other = result_of(0), result_of(0), result_of(1)
    later.epochs = 7
    later.users['recall@20'] = torch.zeros(3)
    store = Store(tmp_path)
    for result in (first, other, later):
        store.save(result)
    for one in (store, Store(tmp_path)):
        assert seeds_of(one) == [1, 0]
        assert_same(one.results()[1], later)
    # Neither users nor problems of the one before are left:
    store.save(result_of(0, users={}, hits={}, error='no'))
    for one in (store, Store(tmp_path)):
        assert one.results()[1].users == {}
        assert one.results()[1].error == 'no'
        assert one.problems == []


def test_what_is_no_plain_value_leaves_no_trace(folder):
    before = {path: path.read_bytes() for path in folder.rglob('*.*')}
    broken = result_of(0, test={'full': {'recall@20': torch.tensor(1.0)}})
    broken.users['recall@20'] *= 2
    with pytest.raises(TypeError):
        Store(folder).save(broken)
    assert {p: p.read_bytes() for p in folder.rglob('*.*')} == before


# Damaged lines ###############################################################


def test_lines_that_were_cut_off(folder):
    log = folder / 'results.jsonl'
    whole = log.read_bytes()
    _, second, _ = whole.split(b'\n')
    start = len(whole) - len(second) - 1
    for end in (start + 1, start + 100, len(whole) - 2):
        log.write_bytes(whole[:end])
        store = Store(folder)
        assert seeds_of(store) == [0]
        (problem,) = store.problems
        assert problem == f"'{log}', line 2, was cut off"
        assert store.get(result_of(1).run.key) is None
    store.save(result_of(2))
    assert seeds_of(store) == seeds_of(Store(folder)) == [0, 2]
    for one in (store, Store(folder)):
        (problem,) = one.problems
        assert f"'{log}', line 2, is left out: " in problem


def test_last_line_without_an_end(folder):
    log = folder / 'results.jsonl'
    log.write_bytes(log.read_bytes()[:-1])
    store = Store(folder)
    assert seeds_of(store) == [0, 1]
    store.save(result_of(2))
    for one in (store, Store(folder)):
        assert seeds_of(one) == [0, 1, 2]
        assert one.problems == []
    with log.open('ab') as file:
        file.write(b'broken\n')
    assert 'line 4, is left out' in store.problems[0]
    assert store.problems == Store(folder).problems


def test_empty_lines_and_those_of_windows(folder):
    log = folder / 'results.jsonl'
    log.write_bytes(b'\r\n \n' + log.read_bytes().replace(b'\n', b'\r\n'))
    store = Store(folder)
    assert seeds_of(store) == [0, 1]
    assert store.problems == []


def test_one_bad_byte(folder):
    log = folder / 'results.jsonl'
    whole = log.read_bytes()
    for byte in (b'\xff', b'\0', b'{', b'"'):
        log.write_bytes(whole[:40] + byte + whole[41:])
        store = Store(folder)
        assert seeds_of(store) == [1]
        (problem,) = store.problems
        assert f"'{log}', line 1, is left out: " in problem


@pytest.mark.parametrize('kind', ['change', 'cut'])
def test_any_damage_is_named(kind, folder):
    """A line is read as it was written, or left out."""
    log = folder / 'results.jsonl'
    first, second, _ = log.read_bytes().split(b'\n')
    expected = result_of(0)
    random = np.random.default_rng(0)
    for place in random.choice(len(first), 60, replace=False):
        if kind == 'cut':
            damaged = first[:place]
        else:
            byte = random.integers(32, 256, dtype=np.uint8).tobytes()
            damaged = first[:place] + byte + first[place + 1 :]
        log.write_bytes(damaged + b'\n' + second + b'\n')
        store = Store(folder)
        seeds = seeds_of(store)
        assert seeds[-1] == 1
        if seeds == [1] and damaged:
            assert 'line 1' in store.problems[0]
        elif damaged:
            # The key vouches for the run, not for what came of it:
            assert store.results()[0].run == expected.run


@pytest.mark.parametrize(
    'line',
    [
        '5',
        '[]',
        'null',
        '"run"',
        '{}',
        '[' * 99999,
        '{"a":' * 99999,
        '9' * 9999,
        '{"run": 3}',
        '{"arrays": true}',
        b'\xef\xbb\xbf',
        b'\xff\xfe{\x00}\x00',
        b'\0' * 4096,
    ],
    ids=lambda line: str(line)[:9],
)
def test_line_that_is_no_result(line, folder):
    line = line.encode() if isinstance(line, str) else line
    log = folder / 'results.jsonl'
    log.write_bytes(line + b'\n' + log.read_bytes() + line)
    store = Store(folder)
    assert seeds_of(store) == [0, 1]
    assert len(store.problems) == 2
    for problem, number in zip(store.problems, (1, 4), strict=True):
        assert f"'{log}', line {number}, " in problem


def everywhere(values, path=()):
    """Yield where something lies in nested values."""
    for name in values if isinstance(values, dict) else range(len(values)):
        yield (*path, name)
        if isinstance(values[name], dict | list):
            yield from everywhere(values[name], (*path, name))


def test_wrong_types_at_every_place(folder):
    """None stops a reader, or makes the result fail when it is used."""
    log = folder / 'results.jsonl'
    first, second, _ = log.read_text().split('\n')
    places = list(everywhere(json.loads(first)))
    assert ('run', 'settings', 'model', 'dim') in places
    assert ('history', 0, 'val_recall@20') in places
    lines = []
    for path in places:
        for wrong in (None, 3, 'x', [], [1], {}, {'a': 1}, True):
            values = json.loads(first)
            inner = values
            for name in path[:-1]:
                inner = inner[name]
            inner[path[-1]] = wrong
            values.pop('arrays')
            lines.append(json.dumps(values))
    log.write_text('\n'.join([*lines, second, '']))
    store = Store(folder)
    assert store.results()[-1].run.seed == 1
    for result in store.results():
        assert isinstance(str(result.run), str)
        assert isinstance(result.tested.get('recall@20', 0.0), float | int)
        assert isinstance(result.best_epoch + result.seconds, float | int)
        assert isinstance(result.cut_short, bool)
    named = {int(p.split('line ')[1].split(',')[0]) for p in store.problems}
    assert len(named) > 0.8 * len(lines)


def test_missing_parts(folder):
    log = folder / 'results.jsonl'
    first, second, _ = log.read_text().split('\n')
    for name in ('key', 'run'):
        values = json.loads(first)
        del values[name]
        log.write_text(f'{json.dumps(values)}\n{second}\n')
        store = Store(folder)
        assert seeds_of(store) == [1]
        assert 'line 1, is left out: ' in store.problems[0]


def test_old_format_is_named(folder):
    old = {
        'dataset': 'baby',
        'backbone': 'Popularity',
        'method': 'base',
        'seed': 0,
        'settings': {'model': {}, 'data': '3ebdd32a3829'},
        'test': {'full': {'recall@20': 0.05}},
    }
    log = folder / 'results.jsonl'
    log.write_text(json.dumps(old) + '\n' + log.read_text())
    store = Store(folder)
    assert seeds_of(store) == [0, 1]
    (problem,) = store.problems
    assert 'line 1' in problem
    assert 'convert_results.py' in problem


def test_changed_version_of_a_line_does_not_pass(folder):
    log = folder / 'results.jsonl'
    log.write_text(log.read_text().replace('"dim": 4', '"dim": 5'))
    assert Store(folder).results() == []


# Damaged arrays ##############################################################


def test_missing_arrays(folder):
    shutil.rmtree(folder / 'users')
    store = Store(folder)
    assert [result.users for result in store.results()] == [{}, {}]
    assert store.results() == [result_of(0), result_of(1)]
    assert len(store.problems) == 2
    assert (
        f"'{arrays_of(folder)}' is missing: 'VBPR base 0'" in store.problems[0]
    )


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


class Trap:
    """What a pickle would execute."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'PK',
        b'no archive at all',
        b'\x80\x04N.',
        npy(np.ones(3)),
        npz(other=np.ones(3)),
        npz(**{'users.user': np.array(['a'])}),
        npz(**{'users.user': np.ones(3), 'users.recall@20': np.ones(2)}),
        npz(**{'users.user': np.ones((3, 2))}),
        npz(**{'hits.item': np.array(3)}),
        npz(**{'hits.item': np.ones(2, dtype='datetime64[s]')}),
    ],
)
def test_damaged_arrays(content, folder):
    arrays_of(folder).write_bytes(content)
    store = Store(folder)
    assert seeds_of(store) == [1]
    (problem,) = store.problems
    assert f"'{arrays_of(folder)}' is damaged" in problem
    assert "'VBPR base 0' is left out" in problem
    assert store.get(result_of(0).run.key) is None
    # It is run again, and all is well:
    store.save(result_of(0))
    for one in (store, Store(folder)):
        assert seeds_of(one) == [1, 0]
        assert one.problems == []


def test_arrays_are_not_unpickled(folder, tmp_path):
    trap = tmp_path / 'trap'
    arrays = np.array([Trap(str(trap))], dtype=object)
    np.savez(arrays_of(folder), **{'users.user': arrays})
    store = Store(folder)
    assert seeds_of(store) == [1]
    assert 'allow_pickle=False' in store.problems[0]
    assert not trap.exists()


def test_any_damage_to_arrays(folder):
    """They are read as they were written, or named."""
    path = arrays_of(folder)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    left_out = 0
    for place in random.choice(len(whole), 80, replace=False):
        cut = random.random() < 0.3
        byte = bytes([whole[place] ^ random.integers(1, 256)])
        path.write_bytes(
            whole[:place] if cut else whole[:place] + byte + whole[place + 1 :]
        )
        store = Store(folder)
        if seeds_of(store) == [1]:
            left_out += 1
            assert str(path) in store.problems[0]
        else:
            assert_same(store.results()[0], result_of(0))
    assert left_out > 40


def test_damage_that_does_not_count_any_more(folder):
    """A later line of the run says all there is to say."""
    store = Store(folder)
    store.save(result_of(0, users={}, hits={}, error='no'))
    for one in (store, Store(folder)):
        assert one.problems == []
        assert one.get(result_of(0).run.key).error == 'no'


# While it is open ############################################################


def test_what_others_add_is_seen(folder):
    store, other = Store(folder), Store(folder)
    assert seeds_of(store) == [0, 1]
    other.save(result_of(2))
    assert seeds_of(store) == [0, 1, 2]
    first = store.results()[0]
    other.save(result_of(3))
    assert store.results()[0] is first  # nothing is read twice


def test_line_that_is_being_written(folder):
    store, log = Store(folder), folder / 'results.jsonl'
    assert seeds_of(store) == [0, 1]
    Store(folder.parent / 'other').save(result_of(2, users={}, hits={}))
    line = (folder.parent / 'other' / 'results.jsonl').read_bytes()
    with log.open('ab', buffering=0) as file:
        file.write(line[:50])
        assert seeds_of(store) == [0, 1]
        assert 'line 3, was cut off' in store.problems[0]
        file.write(line[50:])
    assert seeds_of(store) == [0, 1, 2]
    assert store.problems == []


@pytest.mark.parametrize('how', ['move', 'write'])
@pytest.mark.parametrize('seeds', [(5,), (5, 6), (5, 6, 7)])
def test_another_file(how, seeds, folder, tmp_path):
    """It may be shorter, longer, or of the same length."""
    store = Store(folder)
    assert seeds_of(store) == [0, 1]
    time_of_old = store.log.stat().st_mtime_ns
    new = Store(tmp_path / 'new')
    for seed in seeds:
        new.save(result_of(seed))
    shutil.copytree(new.folder / 'users', folder / 'users', dirs_exist_ok=True)
    same_size = new.log.stat().st_size == store.log.stat().st_size
    assert same_size == (len(seeds) == 2)
    if how == 'move':
        os.utime(new.log, ns=(time_of_old, time_of_old))
        os.replace(new.log, store.log)
    else:
        time.sleep(0.02)  # file systems tick
        store.log.write_bytes(new.log.read_bytes())
    assert seeds_of(store) == list(seeds)
    assert store.problems == []
    store.log.unlink()
    assert store.results() == []
    store.save(result_of(9))
    assert seeds_of(store) == [9]


# Writing fails ###############################################################


@contextmanager
def full_disk(size):
    """Let no file grow beyond a size."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(sys.platform == 'win32', reason='needs limits')
def test_full_disk_leaves_the_store_as_it_was(folder):
    log = folder / 'results.jsonl'
    before = log.read_bytes()
    store = Store(folder)
    big = result_of(2, error='x' * 100_000, users={}, hits={})
    for room in (0, 1, 50_000):
        with full_disk(len(before) + room), pytest.raises(OSError):
            store.save(big)
        assert log.read_bytes() == before
    for one in (store, Store(folder)):
        assert seeds_of(one) == [0, 1]
        assert one.problems == []
    store.save(big)
    assert seeds_of(store) == [0, 1, 2]


@pytest.mark.skipif(sys.platform == 'win32', reason='needs limits')
def test_full_disk_for_arrays(folder):
    before = {p: p.read_bytes() for p in folder.rglob('*.*')}
    store = Store(folder)
    users = {'recall@20': torch.rand(100_000)}
    with full_disk(10_000), pytest.raises(OSError, match=r'\.npz'):
        store.save(result_of(0, users=users))
    assert {p: p.read_bytes() for p in folder.rglob('*.*')} == before
    assert_same(Store(folder).results()[0], result_of(0))


def test_no_line_without_the_users(tmp_path):
    (tmp_path / 'users').write_text('in the way')
    with pytest.raises(OSError, match='users'):
        Store(tmp_path).save(result_of())
    assert Store(tmp_path).results() == []


def test_folder_that_can_only_be_read(folder):
    """Reading writes nothing, not even a lock."""
    names = sorted(folder.rglob('*'))
    for path in (folder, *names):
        mode = 0o500 if path.is_dir() else 0o400
        path.chmod(mode)
    try:
        store = Store(folder)
        assert seeds_of(store) == [0, 1]
        assert store.get(result_of(0).run.key).users
        assert not store.embeddings('a').exists()
        assert sorted(folder.rglob('*')) == names
        if os.geteuid():  # root may write all the same
            with pytest.raises(OSError, match='results'):
                store.save(result_of(2))
    finally:
        for path in (folder, *names):
            path.chmod(stat.S_IRWXU)


# Several processes ###########################################################


def write_many(folder, first, number):
    store = Store(folder)
    for seed in range(first, first + number):
        store.save(result_of(seed, error='x' * (997 * (seed % 40))))


@needs_fork
def test_writers_at_once(tmp_path):
    context = get_context('fork')
    writers = [
        context.Process(target=write_many, args=(tmp_path, 100 * i, 40))
        for i in range(4)
    ]
    for writer in writers:
        writer.start()
    reader, seen = Store(tmp_path), 0
    while any(writer.is_alive() for writer in writers):
        results = reader.results()
        assert len(results) >= seen
        seen = len(results)
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    for store in (reader, Store(tmp_path)):
        assert store.problems == []
        assert sorted(seeds_of(store)) == [
            seed for i in range(4) for seed in range(100 * i, 100 * i + 40)
        ]
        for result in store.results():
            assert len(result.error) == 997 * (result.run.seed % 40)


def hold_the_log(folder, pipe):
    with FileLock(folder / 'results.lock'):
        pipe.send(True)
        time.sleep(0.3)
        with (folder / 'results.jsonl').open('a') as log:
            log.write('of the other one\n')


@needs_fork
def test_writers_wait_for_each_other(folder):
    context = get_context('fork')
    ours, theirs = context.Pipe()
    other = context.Process(target=hold_the_log, args=(folder, theirs))
    other.start()
    assert ours.recv()
    Store(folder).save(result_of(2))
    other.join()
    (problem,) = Store(folder).problems
    assert 'line 3' in problem


def hold(folder, pipe):
    with Store(folder).claim('a') as claimed:
        pipe.send(claimed)
        time.sleep(60)


@needs_fork
def test_claims_end_with_their_process(tmp_path):
    context = get_context('fork')
    ours, theirs = context.Pipe()
    holder = context.Process(target=hold, args=(tmp_path, theirs))
    holder.start()
    assert ours.recv()
    store = Store(tmp_path)
    with store.claim('a') as claimed, store.claim('b') as other:
        assert (claimed, other) == (False, True)
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with store.claim('a') as claimed:
        assert claimed


def test_claims_in_one_process(tmp_path):
    store = Store(tmp_path / 'new')
    with store.claim('a') as first, store.claim('a') as second:
        assert (first, second) == (True, False)
        with Store(tmp_path / 'new').claim('a') as third:
            assert not third
    with pytest.raises(KeyboardInterrupt), store.claim('a'):
        raise KeyboardInterrupt
    with store.claim('a') as again:
        assert again


def test_clear_removes_what_training_needed(tmp_path):
    store = Store(tmp_path)
    with store.claim('a'):
        path = store.checkpoint('a')
        path.write_text('checkpoint')
        path.with_name('a.ckpt.half').write_text('half')
        store.checkpoint('b').write_text('of another')
        store.clear('a')
    assert [p.name for p in path.parent.iterdir()] == ['b.ckpt']
    store.clear('a')  # nothing is left to remove
    with store.claim('a') as claimed:
        assert claimed


def test_places(tmp_path):
    store = Store(str(tmp_path))
    places = store.checkpoint('a'), store.embeddings('a')
    assert [p.relative_to(tmp_path).as_posix() for p in places] == [
        'running/a.ckpt',
        'embeddings/a.pt',
    ]
