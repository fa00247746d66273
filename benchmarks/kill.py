"""Kill trainings at random moments, resume each, and compare.

Usage: ``python benchmarks/kill.py [--kills 15] [--seed 0]``. Fails unless all
trainings end as one that nobody disturbed, to the last bit: weights, history,
optimizer and random numbers. Children are forks of this process, which has one
thread and does not train itself. The tests kill 15 trainings of each of the two
kinds; this script can do so at length.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import ModelCheckpoint

from pyg_ckd.balance import AGM, CKD, Balance
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.nn import FREEDOM, VBPR, Recommender
from pyg_ckd.train import Recommendation, SaveLast, fit

DATA = FREEDOM.pre_transform(
    FakeMultimodal(num_users=30, num_items=24, num_channels=5)[0]
)


def task_of(kind: str) -> Recommendation:
    model: Recommender
    balance: Balance
    if kind == 'freedom':
        model = FREEDOM.from_data(DATA, dim=4, prune=0.5)
        balance = CKD(gate=True, strength=0.5)
    else:
        model, balance = VBPR.from_data(DATA, dim=4), AGM()
    return Recommendation(model, DATA, balance=balance, lr=0.02, batch_size=60)


def train(kind: str, folder: Path) -> None:
    """Train to the end, from the last checkpoint if there is one."""
    warnings.simplefilter('ignore')
    last = folder / 'last.ckpt'
    callback: Callback
    if kind == 'freedom':
        callback, eval_every = SaveLast(last), 2
    else:
        callback, eval_every = ModelCheckpoint(folder, save_last=True), 1
    torch.manual_seed(1)
    task = fit(
        task_of(kind),
        max_epochs=8,
        eval_every=eval_every,
        progress=False,
        callbacks=callback,
        ckpt_path=last if last.exists() else None,
    )
    result = {'weights': task.state_dict(), 'history': task.history}
    torch.save(result, folder / 'half')
    os.replace(folder / 'half', folder / 'result')


def start(kind: str, folder: Path) -> int:
    child = os.fork()
    if child == 0:
        try:
            train(kind, folder)
        except BaseException as error:
            print(f'{type(error).__name__}: {error}', file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return child


def has_ended(child: int, seconds: float) -> bool:
    """Wait for a child, and kill it if that takes too long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert status == 0, 'training failed'
            return True
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def read(folder: Path) -> list[object]:
    last = torch.load(folder / 'last.ckpt', weights_only=True)
    kept = [last[k] for k in ('state_dict', 'optimizer_states', 'pyg_ckd')]
    return [torch.load(folder / 'result', weights_only=True), *kept]


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            equal(value, other[name]) for name, value in one.items()
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def kill(kind: str, kills: int) -> str:
    """Train, kill and resume until there were so many kills."""
    with tempfile.TemporaryDirectory() as temporary:
        whole = Path(temporary) / 'whole'
        whole.mkdir()
        begin = time.monotonic()
        assert has_ended(start(kind, whole), 600)
        seconds = time.monotonic() - begin
        expected, done, runs = read(whole), 0, 0
        while done < kills:
            runs += 1
            folder = Path(temporary) / f'run{runs}'
            folder.mkdir()
            while not has_ended(
                start(kind, folder), random.uniform(0, 0.7 * seconds)
            ):
                done += 1
            assert equal(read(folder), expected), f'run {runs} differs'
    return f'{kind}: {done} kills in {runs} runs'


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--kinds', nargs='+', default=['freedom', 'vbpr'])
    parser.add_argument('--kills', type=int, default=15, help='of each kind')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    random.seed(args.seed)
    torch.set_num_threads(1)
    for kind in args.kinds:
        print(kill(kind, args.kills), flush=True)
