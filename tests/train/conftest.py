from collections.abc import Callable

import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_ckd.balance import Balance
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.nn import FREEDOM, VBPR
from pyg_ckd.train import Recommendation
from pyg_ckd.train._fit import fit

Make = Callable[..., Recommendation]


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
