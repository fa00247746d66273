"""The script that breaks files finds what is wrong, and nothing else."""

import os
import random
import time
from pathlib import Path

import numpy as np
import pytest

VALID = b'some words in a file'


def refuse(folder: Path) -> None:
    raise ValueError(f"'{folder}/a.txt' is broken")


def forget_the_name(folder: Path) -> None:
    raise ValueError('it is broken')


CALLS = {
    'read': lambda folder: None,
    'refused': refuse,
    'ended with 7': lambda folder: os._exit(7),
    'more than 0.5 seconds': lambda folder: time.sleep(100),
    'does not name the file': forget_the_name,
    'KeyError': lambda folder: {}['x'],
    'was changed': lambda folder: (folder / 'a.txt').write_text('other'),
    'tmp was left': lambda folder: (folder / 'a.tmp').touch(),
    'MB': lambda folder: np.ones(60_000_000 // 8).sum(),
    'executed': lambda folder: Path('executed').mkdir(exist_ok=True),
}


@pytest.mark.parametrize('expected', CALLS)
def test_what_becomes_of_broken_files(
    load_benchmark, monkeypatch, tmp_path, capfd, expected
):
    script = load_benchmark('broken_files')

    def read(folder: Path) -> None:
        if (folder / 'a.txt').read_bytes() != VALID:
            CALLS[expected](folder)

    parser = script.PARSERS['CSV']._replace(
        write=lambda folder: (folder / 'a.txt').write_bytes(VALID), read=read
    )
    monkeypatch.setitem(script.PARSERS, 'CSV', parser)
    failed = script.main(
        [
            *('--number', '2', '--parser', 'CSV', '--seconds', '0.5'),
            *('--megabytes', '40', '--failures', str(tmp_path / 'kept')),
        ]
    )

    shown = capfd.readouterr().out
    assert failed == (expected not in ('read', 'refused'))
    assert expected in shown
    kept = sorted(path.name for path in tmp_path.glob('kept/*'))
    assert kept == (['CSV 0 0', 'CSV 0 1'] if failed else [])
    for folder in tmp_path.glob('kept/*'):
        assert (folder / 'a.txt').read_bytes() != VALID
        assert expected in (folder / 'failure.txt').read_text()


def test_memory_that_was_freed_is_seen_when_it_is_taken_again(load_benchmark):
    script = load_benchmark('broken_files')
    np.ones(31_000_000 // 8)  # From now on malloc keeps up to twice as much.
    freed = [np.ones(25_000_000 // 8) for _ in range(4)]
    held = [np.ones(50_000 // 8) for _ in range(40)]
    del freed  # A hole below what is held.

    before = script.reset_peak()
    np.ones(60_000_000 // 8)
    assert script.peak() - before > 40
    del held


def test_mutations_are_the_same_in_each_run(load_benchmark, tmp_path):
    script = load_benchmark('broken_files')
    (tmp_path / 'valid').mkdir()
    (tmp_path / 'valid' / 'a.txt').write_bytes(VALID)
    found = [
        script.change(VALID, tmp_path / 'valid', random.Random(seed))
        for seed in (*range(30), *range(30))
    ]
    assert found[:30] == found[30:]
    assert len(set(found)) > 20
