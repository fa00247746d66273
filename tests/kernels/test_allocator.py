"""Memory stays with the process in the context, and goes back after it."""

import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Callback

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.kernels import allocator, memory_reused
from pyg_ckd.nn import VBPR
from pyg_ckd.train import Recommendation, fit

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != 'glibc'
    or bool({'GLIBC_TUNABLES', 'MALLOC_MMAP_MAX_'} & os.environ.keys()),
    reason='needs glibc, as it is set by default',
)
PAGES = 2**26 // resource.getpagesize()  # of a block


def faults() -> int:
    """Return the pages that a large block costs once its place is found."""
    counts = []
    for _ in range(8):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.zeros(2**24)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        counts.append(after - before)
    return min(counts)


def resident() -> int:
    """Return the pages of the process."""
    return int(Path('/proc/self/statm').read_text().split()[1])


def test_blocks_are_mapped_once():
    if faults() < PAGES:
        pytest.skip('large pages: the system hands out more at once')
    with memory_reused():
        assert faults() == 0
        with memory_reused():
            assert faults() == 0
        assert faults() == 0


def test_what_is_free_goes_back():
    before = resident()
    with memory_reused():
        torch.ones(2**26)
        assert resident() > before + 3 * PAGES
    assert resident() < before + PAGES


def test_errors_end_it():
    with pytest.raises(ZeroDivisionError), memory_reused():
        raise ZeroDivisionError
    assert not allocator._users


def test_large_processes_stay_as_they_are(monkeypatch):
    for limit in (2**40, 2**20):
        monkeypatch.setattr(allocator, '_AFFORDABLE', limit)
        with allocator.memory_reused_if_small():
            assert allocator._users == (limit == 2**40)


class Faults(Callback):
    def __init__(self):
        self.counts = []

    def on_train_epoch_end(self, trainer, pl_module):
        self.counts.append(faults())


def test_fit_keeps_memory_while_it_trains(monkeypatch):
    monkeypatch.setattr(allocator, '_AFFORDABLE', 2**40)
    data = FakeMultimodal(num_users=20, num_items=30)[0]
    seen = Faults()
    task = Recommendation(VBPR.from_data(data, dim=4), data)
    fit(task, max_epochs=3, progress=False, accelerator='cpu', callbacks=seen)
    assert seen.counts == [0, 0, 0]
    assert not allocator._users


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('GLIBC_TUNABLES', 'glibc.malloc.tcache_count=7'),
        ('MALLOC_TOP_PAD_', '1'),
    ],
)
def test_what_the_environment_sets_counts(name, value):
    code = """
from pyg_ckd.kernels import allocator
with allocator.memory_reused():
    assert not allocator._users
"""
    own = {**os.environ, name: value}
    subprocess.run([sys.executable, '-c', code], env=own, check=True)
