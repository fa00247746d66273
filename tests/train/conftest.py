import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_ckd.balance import Balance
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.nn import FREEDOM, VBPR
from pyg_ckd.train import Recommendation
from pyg_ckd.train._fit import fit

Make = Callable[..., Recommendation]
Done = subprocess.CompletedProcess[str]
TORCHRUN = ['-m', 'torch.distributed.run', '--standalone']
TORCHRUN += ['--nproc-per-node', '2']


@pytest.fixture(scope='session')
def data() -> HeteroData:
    return FREEDOM.pre_transform(FakeMultimodal(num_users=80, num_items=60)[0])


@pytest.fixture
def task_of(data: HeteroData) -> Make:
    """Makes a task of a small VBPR; the same one for the same seed."""

    def make(
        balance: Balance | None = None, seed: int = 0, **kwargs: object
    ) -> Recommendation:
        torch.manual_seed(seed)
        model = VBPR.from_data(data, dim=4)
        kwargs = {'lr': 0.05, 'batch_size': 200, **kwargs}
        return Recommendation(model, data, balance=balance, **kwargs)

    return make


@pytest.fixture
def run() -> Callable[..., Recommendation]:
    """Trains for a few epochs, with an evaluation after each."""

    def run(task: Recommendation, **kwargs: object) -> Recommendation:
        kwargs = {
            'max_epochs': 4,
            'eval_every': 1,
            'progress': False,
            **kwargs,
        }
        return fit(task, **kwargs)

    return run


@pytest.fixture(scope='session')
def start() -> Callable[..., Done]:
    """Runs a script in processes of one thread, two if they are together."""

    def start(*command: object, folder: Path, together: bool = False) -> Done:
        names = ['LOCAL_RANK', 'NODE_RANK', 'WORLD_SIZE', 'MASTER_PORT']
        # What `seed_everything` has left; Lightning would seed them anew:
        names += ['PL_GLOBAL_SEED', 'PL_SEED_WORKERS']
        environment = {k: v for k, v in os.environ.items() if k not in names}
        environment |= {'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}
        return subprocess.run(
            [sys.executable, *(TORCHRUN if together else []), *command],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return start
