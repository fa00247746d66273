"""Kill a grid of runs at random moments, start it again, and compare.

    python benchmarks/kill_grid.py
    python benchmarks/kill_grid.py --kills 100 --processes 1 2 4 --seed 0

The grid is two backbones, three methods and two seeds on a small synthetic data
set. It is run undisturbed first; then, by as many processes on one folder as
given, killed at random moments and started again until there were so many
kills; and by several processes that nobody disturbs. Fails unless each run is
in ``results.jsonl`` exactly once, all results and embeddings are those of the
undisturbed grid to the last bit (but for times and the environment), nothing is
left of the trainings, and a kill costs no more than the epochs since the last
evaluation. Children are forks of this process, which has one thread and does
not train itself.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_ckd.balance import Teacher
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.experiments import (
    METHODS,
    Experiment,
    Result,
    Run,
    Settings,
    Store,
    Watcher,
)

EVAL_EVERY = 3
SMALL = {
    'model': {'dim': 8},
    'train': {'lr': 3e-2, 'batch_size': 64},
    'fit': {'eval_every': EVAL_EVERY, 'patience': 0, 'max_epochs': 12},
}
SETTINGS = Settings(
    {
        'shop': {
            'VBPR': SMALL,
            'FREEDOM': {**SMALL, 'CKD': {'gate': True, 'strength': 0.1}},
        }
    }
)
GRID = (['VBPR', 'FREEDOM'], ['base', 'teachers', 'ckd'], [0, 1])


def open_shop(transform: BaseTransform | None) -> HeteroData:
    """Return a small synthetic data set."""
    return FakeMultimodal(
        num_users=60, num_items=40, num_channels=8, pre_transform=transform
    )[0]


class Journal(Watcher):
    """Writes each epoch to a file as soon as it is trained.

    Args:
        path: The file. A line is a process, the key of a run, and what
            happened: an epoch has ended or training has begun.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, run: Run) -> None:
        self._write(run, 0)

    def epoch(self, run: Run, number: int, values: Mapping[str, float]) -> None:
        self._write(run, number)

    def end(self, run: Run, result: Result) -> None:
        assert not result.error, f'{run}: {result.error}'

    def problem(self, message: str) -> None:
        raise AssertionError(message)

    def _write(self, run: Run, epoch: int) -> None:
        with self.path.open('a') as file:
            file.write(f'{os.getpid()} {run.key} {epoch}\n')


def experiment_in(folder: Path) -> Experiment:
    return Experiment('shop', open_shop, SETTINGS, Store(folder), device='cpu')


def planned(experiment: Experiment) -> list[Run]:
    backbones, names, seeds = GRID
    return experiment.plan(backbones, [METHODS[n] for n in names], seeds)


def start(folder: Path) -> int:
    """Start a process that runs the grid, and return its id."""
    child = os.fork()
    if child:
        return child
    try:
        warnings.simplefilter('ignore')
        experiment = experiment_in(folder)
        experiment.run(planned(experiment), Journal(folder / 'journal'))
    except BaseException as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        os._exit(1)
    os._exit(0)


def has_ended(child: int, wait: bool = False) -> bool:
    """Return whether a process has ended, which is an error if it failed."""
    pid, status = os.waitpid(child, 0 if wait else os.WNOHANG)
    if pid and os.waitstatus_to_exitcode(status):
        raise SystemExit(f'process {child} failed')
    return bool(pid)


def run_grid(
    folder: Path, processes: int, kills: int = 0, most: float = 0.0
) -> tuple[set[int], float]:
    """Run the grid to its end, killing processes at random moments.

    Args:
        folder: Where results go.
        processes: How many run it at once. One that is killed is started again.
        kills: How many to kill at most.
        most: The longest time between two kills, in seconds.

    Returns:
        The processes that were killed, and how long it took.
    """
    folder.mkdir(parents=True)
    begin = time.monotonic()
    children = {start(folder) for _ in range(processes)}
    killed: set[int] = set()
    while children:
        end = time.monotonic() + random.uniform(0, most)
        while children and (time.monotonic() < end or len(killed) >= kills):
            children -= {child for child in children if has_ended(child)}
            time.sleep(0.002)
        if children and len(killed) < kills:
            child = random.choice(sorted(children))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            killed.add(child)
            children = children - {child} | {start(folder)}
    return killed, time.monotonic() - begin


def read(folder: Path) -> dict[str, Any]:
    """Return all that a grid gave, by run, after looking at the folder."""
    store = Store(folder)
    results = {result.run.key: result for result in store.results()}
    lines = (folder / 'results.jsonl').read_text().splitlines()
    assert len(lines) == len(results), 'a run is there twice'
    assert not store.problems, store.problems
    left = list(folder.glob('running/*')) + list(folder.rglob('*.half'))
    assert not left, f'left behind: {left}'
    found = {}
    for key, result in results.items():
        values = result.to_dict()
        del values['seconds'], values['environment']
        teacher = Teacher.load(store.embeddings(key))
        arrays = [teacher.user, teacher.item]
        for part in (result.users, result.hits):
            assert part, 'no metrics of users'
            arrays += [part[name] for name in sorted(part)]
        found[key] = (values, arrays)
    return found


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two grids gave the same, to the last bit."""
    return one.keys() == other.keys() and all(
        one[key][0] == other[key][0]
        and len(one[key][1]) == len(other[key][1])
        and all(map(torch.equal, one[key][1], other[key][1]))
        for key in one
    )


def repeated(folder: Path, killed: set[int]) -> list[int]:
    """Return how many epochs each interruption of a run cost.

    An epoch that has begun is not counted, and neither is an evaluation.
    """
    trained: dict[str, int] = {}
    last: dict[str, int] = {}
    costs = []
    for line in (folder / 'journal').read_text().splitlines():
        pid, key, epoch = line.split()
        before = last.get(key, int(pid))
        if before != int(pid):
            assert before in killed, f'{key} was trained by two at once'
        if int(epoch) == 0:  # where it goes on is told by the next epoch
            last[key] = int(pid)
            continue
        if int(epoch) <= trained.get(key, 0):
            cost = trained[key] - int(epoch) + 1
            assert cost <= EVAL_EVERY, f'{key} lost {cost} epochs'
            costs.append(cost)
        else:
            assert int(epoch) == trained.get(key, 0) + 1, 'an epoch is missing'
        trained[key] = int(epoch)
    return costs


def check(
    folder: Path, expected: dict[str, Any], killed: set[int]
) -> list[int]:
    """Compare a grid with the undisturbed one, and return what kills cost."""
    found = read(folder)
    assert equal(found, expected), f'{folder}: results differ'
    return repeated(folder, killed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--kills', type=int, default=100)
    parser.add_argument('--processes', type=int, nargs='+', default=[1, 2, 4])
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    random.seed(args.seed)
    torch.set_num_threads(1)

    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        _, seconds = run_grid(root / 'whole', 1)
        expected = read(root / 'whole')
        epochs = sum(values['epochs'] for values, _ in expected.values())
        print(
            f'undisturbed: {len(expected)} runs, {epochs} epochs, '
            f'{seconds:.0f} s',
            flush=True,
        )
        for processes in args.processes:
            if processes > 1:
                folder = root / f'{processes}-undisturbed'
                _, took = run_grid(folder, processes)
                costs = check(folder, expected, set())
                assert not costs, 'epochs were trained twice'
                print(
                    f'{processes} processes: each run once, results equal, '
                    f'{took:.0f} s',
                    flush=True,
                )
            done, lost = 0, []
            for number in count(1):
                folder = root / f'{processes}-{number}'
                killed, _ = run_grid(
                    folder, processes, args.kills - done, 0.2 * seconds
                )
                done += len(killed)
                lost += check(folder, expected, killed)
                if done == args.kills:
                    break
            print(
                f'{processes} {"process" if processes == 1 else "processes"}: '
                f'{done} kills in {number} grids, each run once, results '
                f'equal, {sum(lost)} epochs trained again, at most '
                f'{max(lost, default=0)} after a kill',
                flush=True,
            )


if __name__ == '__main__':
    main()
