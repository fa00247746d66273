import pytest
import torch

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.nn import VBPR


@pytest.fixture(scope='module')
def profile_step(load_benchmark):
    return load_benchmark('profile_step')


def test_counts(profile_step):
    """Views and what only describes a tensor are no launches."""
    x = torch.tensor([[3.0, 0.0], [1.0, 2.0]])

    def step():
        total = (x.t()[0].view(2, 1) + 1).sum()
        x[x > 0]
        return float(total)

    launches, waits = profile_step.counted(step)
    assert launches == {
        'add': 1,
        'sum': 1,
        'gt': 1,
        'index': 1,
        '_local_scalar_dense': 1,
    }
    assert waits == {'index': 1, '_local_scalar_dense': 1}


def test_rows(profile_step):
    data = FakeMultimodal(num_users=40, num_items=30)[0]
    kinds = ['plain', 'CKD', 'cosine', 'lists']
    rows = profile_step.profiled(VBPR, data, kinds, runs=1)
    assert [row['step'] for row in rows] == kinds
    plain, ckd, cosine, lists = (row['launches'] for row in rows)
    assert plain < ckd < lists
    assert plain < cosine < lists
    for row in rows:
        assert row['launches'] == sum(row['operators'].values())
        assert row['waits'] == sum(row['waiting'].values())
        assert sum(row['shares'].values()) == pytest.approx(1)
    profile_step.show(rows)
