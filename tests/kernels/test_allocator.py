"""Memory stays with the process in the context, and goes back after it.

Each test is a process of its own, whose heap is as it is at the start.
"""

import os
import subprocess
import sys

import pytest

from pyg_ckd.kernels import allocator

pytestmark = pytest.mark.skipif(
    allocator._mallopt() is None, reason='needs glibc, as it is set by default'
)
HEAD = """
import resource
from pathlib import Path
import torch
from pyg_ckd.kernels import allocator, memory_reused

PAGES = 2**26 // resource.getpagesize()  # of a block

def faults():
    # The pages that a large block costs once its place is found:
    counts = []
    for _ in range(8):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.zeros(2**24)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        counts.append(after - before)
    return min(counts)

def resident():
    return int(Path('/proc/self/statm').read_text().split()[1])
"""


def run(code, **variables):
    own = {k: v for k, v in os.environ.items() if k != 'THP_MEM_ALLOC_ENABLE'}
    command = [sys.executable, '-c', HEAD + code]
    done = subprocess.run(
        command, env=own | variables, capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    return done.stdout


def test_blocks_are_mapped_once():
    run("""
assert faults() >= PAGES
with memory_reused():
    assert faults() == 0
    with memory_reused():
        assert faults() == 0
    assert faults() == 0
""")


def test_what_is_free_goes_back():
    run("""
before = resident()
with memory_reused():
    torch.ones(2**26)
    assert resident() > before + 3 * PAGES
assert resident() < before + PAGES
""")


def test_errors_end_it():
    run("""
try:
    with memory_reused():
        assert allocator._users == 1
        raise ZeroDivisionError
except ZeroDivisionError:
    pass
assert allocator._users == 0
""")


def test_large_processes_stay_as_they_are():
    run("""
with allocator.memory_reused_if_small():
    assert allocator._users == 1
held = torch.ones(2**28)
with allocator.memory_reused_if_small():
    assert allocator._users == 0
""")


def test_fit_keeps_memory_while_it_trains():
    run("""
from pytorch_lightning import Callback
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.nn import VBPR
from pyg_ckd.train import Recommendation, fit

class Faults(Callback):
    counts = []
    def on_train_epoch_end(self, trainer, pl_module):
        self.counts.append(faults())

data = FakeMultimodal(num_users=20, num_items=30)[0]
assert faults() >= PAGES
task = Recommendation(VBPR.from_data(data, dim=4), data)
fit(task, max_epochs=3, progress=False, accelerator='cpu', callbacks=Faults())
assert Faults.counts == [0, 0, 0]
assert allocator._users == 0
""")


def test_weights_are_the_same():
    """A table of users is 38 MB, and so is its gradient."""
    code = """
from hashlib import sha256
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.nn import BPRMF
from pyg_ckd.train import Recommendation, fit

torch.set_num_threads(1)
torch.manual_seed(0)
data = FakeMultimodal(num_users=150_000, num_items=30, num_interactions=5)[0]
task = Recommendation(BPRMF.from_data(data, dim=64), data, batch_size=2**18)
fit(
    task, max_epochs=2, eval_every=None, progress=False, accelerator='cpu'
)
for weight in task.model.state_dict().values():
    print(sha256(weight.numpy()).hexdigest())
"""
    kept = run(code)
    assert len(kept.split()) >= 2
    assert kept == run(code, MALLOC_TOP_PAD_='1')  # which says no


@pytest.mark.parametrize(
    ('name', 'value', 'users'),
    [
        ('GLIBC_TUNABLES', 'glibc.malloc.tcache_count=7', 0),
        ('GLIBC_TUNABLES', 'glibc.rtld.optional_static_tls=2000', 1),
        ('MALLOC_TOP_PAD_', '1', 0),
    ],
)
def test_what_the_environment_sets_counts(name, value, users):
    code = f'with memory_reused(): assert allocator._users == {users}'
    run(code, **{name: value})
