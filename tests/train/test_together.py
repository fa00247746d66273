"""Two processes train what one does.

The file is its own script: the tests run it by `killed FOLDER`, and by torchrun
with `compared FOLDER`.
"""

import os
import signal
import sys
import warnings
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import torch_geometric.typing

from pyg_ckd.balance import (
    AGM,
    CKD,
    OGMGE,
    RRD,
    UMT,
    CounterfactualWeights,
    ModalityDropout,
    SoftCrossEntropy,
    Teacher,
)
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.kernels import Ranks
from pyg_ckd.nn import FREEDOM, VBPR, Cosine, LightGCN, Sampled
from pyg_ckd.objectives import Softmax
from pyg_ckd.serving import load
from pyg_ckd.train import Recommendation, SaveLast, fit
from pyg_ckd.triplet_loader import TripletLoader
from pyg_ckd.views import only

DATA = FREEDOM.pre_transform(
    FakeMultimodal(num_users=40, num_items=60, num_channels=5)[0]
)
BATCH = 45
pytestmark = pytest.mark.filterwarnings(
    "ignore:Using 'NeighborSampler' without:UserWarning"
)
FILES = ['0.pt', '1.pt']
TOGETHER = {'accelerator': 'cpu', 'devices': 2, 'strategy': 'ddp'}


def teachers():
    generator = torch.Generator().manual_seed(3)
    return {
        only(m): Teacher.from_embeddings(
            torch.randn(40, 4, generator=generator),
            torch.randn(60, 4, generator=generator),
            DATA,
        )
        for m in ('image', 'text')
    }


def ckd():
    """Draw groups of which each of the processes has as many."""
    return CKD(teachers(), 0.5, on_random=SoftCrossEntropy(group_size=4))


def vbpr():
    return VBPR.from_data(DATA, dim=4)


def sampled(model):
    """Look at all neighbours, so that nothing is left to chance."""
    return Sampled(model.from_data(DATA, dim=4), num_neighbors=[-1, -1])


#: The model, the objective and the balance of each case, and arguments.
CASES = {
    'vbpr': lambda: (vbpr(), None, None),
    'light_gcn': lambda: (LightGCN.from_data(DATA, dim=4), None, None),
    'freedom': lambda: (FREEDOM.from_data(DATA, dim=4, prune=0.5), None, None),
    'all': lambda: (Cosine(vbpr()), Softmax(), None),
    'uniform': lambda: (Cosine(vbpr()), Softmax(negatives=12), None),
    'batch': lambda: (Cosine(vbpr()), Softmax(negatives='batch'), None),
    'ckd': lambda: (vbpr(), None, ckd()),
    'ckd-average': lambda: (
        FREEDOM.from_data(DATA, dim=4, prune=0.5),
        None,
        CKD(
            teachers(),
            0.5,
            on_random=RRD(num_users=20),
            weights=CounterfactualWeights('teacher', 'average'),
            gate=True,
        ),
    ),
    'umt': lambda: (vbpr(), None, UMT(teachers())),
    'ogm': lambda: (vbpr(), None, OGMGE(alpha=0.5)),
    'agm': lambda: (vbpr(), None, AGM()),
    'dropout': lambda: (vbpr(), None, ModalityDropout(0.4)),
}
if (
    torch_geometric.typing.WITH_PYG_LIB
    or torch_geometric.typing.WITH_TORCH_SPARSE
):
    CASES['sampled'] = lambda: (sampled(LightGCN), None, None)
    CASES['sampled-ckd'] = lambda: (
        sampled(FREEDOM),
        None,
        ckd(),
    )
#: Further arguments of the task, and of `fit`.
SETTINGS = {
    'vbpr': ({}, {'patience': 0, 'eval_every': 1, 'max_epochs': 40}),
    'light_gcn': ({'sampling': 'user'}, {}),
    'freedom': ({'keep': only('text')}, {'gradient_clip_val': 0.1}),
    'agm': ({}, {'accumulate_grad_batches': 2}),
}


class OfBoth:
    """The batches of two processes as one."""

    def __init__(self, sampling):
        self.loaders = [
            TripletLoader(DATA, BATCH, sampling, Ranks(place, 2))
            for place in range(2)
        ]
        self.sample = self.loaders[0].sample

    def __len__(self):
        return len(self.loaders[0])

    def __iter__(self):
        state = torch.get_rng_state()
        parts = []
        for loader in self.loaders:
            torch.set_rng_state(state)
            parts.append(list(loader))
        for one, other in zip(*parts, strict=True):
            yield tuple(map(torch.cat, zip(one, other, strict=True)))


def trained(case, together):
    """Train two batches at a time, by two processes or by one."""
    of_task, of_fit = SETTINGS.get(case, ({}, {}))
    torch.manual_seed(0)
    model, objective, balance = CASES[case]()
    size = BATCH if together else 2 * BATCH
    task = Recommendation(
        model, DATA, objective, balance, lr=0.02, batch_size=size, **of_task
    )
    if not together:
        task.train_dataloader = lambda: OfBoth(task.sampling)
    elif rank() > 0:
        torch.manual_seed(99)  # of no influence
    return fit(
        task,
        precision='64-true',
        progress=False,
        **{'max_epochs': 3, 'eval_every': 2, **of_fit},
        **(TOGETHER if together else {}),
    )


def result(task):
    return {'weights': task.state_dict(), 'history': task.history}


def rank():
    return int(os.environ.get('RANK', os.environ.get('LOCAL_RANK', 0)))


class Killed(pl.Callback):
    """Kills the second process in the midst of an epoch."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, index):
        if trainer.current_epoch == 4 and index == 1 and rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def resumable(path, *callbacks, ckpt_path=None):
    """Train the teachers in parallel, then their student."""
    torch.manual_seed(1)
    model = FREEDOM.from_data(DATA, dim=4, prune=0.5)
    task = Recommendation(
        model, DATA, balance=CKD(gate=True), lr=0.02, batch_size=BATCH
    )
    return fit(
        task,
        max_epochs=6,
        eval_every=2,
        callbacks=[SaveLast(path), *callbacks],
        ckpt_path=ckpt_path,
        **TOGETHER,
    )


class Fails(FREEDOM):
    """Fails in one view, in the process that trains it."""

    def start_epoch(self, data, keep):
        if keep == only('text'):
            raise ArithmeticError('a broken machine')
        super().start_epoch(data, keep)


class Parts(pl.Callback):
    """Changes the weights of the second process alone."""

    def on_train_batch_end(self, trainer, pl_module, *args):
        if rank() == 1:
            next(pl_module.parameters()).data += 1e-3


def error_of(function):
    try:
        function()
    except Exception as error:
        return f'{type(error).__name__}: {error}'
    return None


def simple(data=DATA, model=None, **kwargs):
    torch.manual_seed(0)
    balance = None if model is None else CKD()
    task = Recommendation(model or vbpr(), data, balance=balance, lr=0.02)
    limits = {'max_epochs': 2, 'eval_every': 1, 'progress': False}
    return lambda: fit(task, **limits, **TOGETHER, **kwargs)


def own_trainer():
    """Train a view that leaves parameters out by a trainer of Lightning."""
    torch.manual_seed(0)
    task = Recommendation(vbpr(), DATA, keep=only('text'), batch_size=BATCH)
    trainer = pl.Trainer(
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **TOGETHER,
    )
    trainer.fit(task)
    (validated,) = trainer.validate(task, verbose=False)
    return {'history': task.history, 'validated': validated}


def main():
    warnings.simplefilter('ignore')
    what, folder = sys.argv[1], Path(sys.argv[2])
    if what == 'killed':
        resumable(folder / 'last.ckpt', Killed())
        return
    found = {case: result(trained(case, together=True)) for case in CASES}
    found['unbroken'] = result(resumable(folder / 'unbroken.ckpt'))
    task = resumable(
        folder / 'last.ckpt', ckpt_path=folder / 'killed' / 'last.ckpt'
    )
    task.save(folder / 'model')
    found['resumed'] = result(task)
    found['trainer'] = own_trainer()
    other = FakeMultimodal(40, 60, num_channels=5, seed=rank())[0]
    found['failed'] = {
        'teacher': error_of(simple(model=Fails.from_data(DATA, dim=4))),
        'data': error_of(simple(other)),
        'weights': error_of(simple(callbacks=Parts())),
        'none': error_of(simple()),
    }
    torch.save(found, folder / FILES[rank()])


@pytest.fixture(scope='module')
def run(start, tmp_path_factory):
    """Two processes of which one is killed, and two that go on and more."""
    folder = tmp_path_factory.mktemp('together')
    (folder / 'killed').mkdir()
    killed = start(__file__, 'killed', folder / 'killed', folder=folder)
    done = start(__file__, 'compared', folder, folder=folder, together=True)
    assert done.returncode == 0, done.stderr
    found = [torch.load(folder / name, weights_only=True) for name in FILES]
    return folder, killed, done, found


def numbers(history):
    """Return the values of evaluations, without what is of one process."""
    return [
        {k: x for k, x in entry.items() if not k.startswith(('grad', 'factor'))}
        for entry in history
    ]


def tensors(weights):
    return {k: v for k, v in weights.items() if isinstance(v, torch.Tensor)}


@pytest.mark.parametrize('case', CASES)
def test_as_one_process(case, run):
    """Weights, losses and metrics, and when training stops."""
    *_, (first, second) = run
    expected = result(trained(case, together=False))
    assert first[case]['history'] == second[case]['history']
    assert len(first[case]['history']) == len(expected['history']) > 0
    for one, other in zip(
        numbers(first[case]['history']),
        numbers(expected['history']),
        strict=True,
    ):
        assert one == pytest.approx(other, rel=1e-7)
    for found in (first, second):
        torch.testing.assert_close(
            tensors(found[case]['weights']),
            tensors(expected['weights']),
            rtol=1e-6,
            atol=1e-8,
        )


def test_stops_before_the_last_epoch(run):
    *_, (first, _) = run
    assert 1 < len(first['vbpr']['history']) < 40


def test_killed_and_resumed(run):
    """The same as what was never disturbed, to the last bit."""
    *_, (first, second) = run
    unbroken = first['unbroken']
    assert [entry['epoch'] for entry in unbroken['history']] == [2, 4, 6]
    for found in (first['resumed'], second['unbroken'], second['resumed']):
        assert found['history'] == unbroken['history']
        torch.testing.assert_close(
            tensors(found['weights']),
            tensors(unbroken['weights']),
            rtol=0,
            atol=0,
        )
        one, other = (
            x['weights']['balance._extra_state'] for x in (found, unbroken)
        )
        assert one['level'] == other['level']


def test_a_killed_process_ends_the_other(run):
    folder, killed, *_ = run
    assert killed.returncode != 0
    assert [path.name for path in (folder / 'killed').iterdir()] == [
        'last.ckpt'
    ]


def test_a_trainer_of_ones_own(run):
    *_, (first, second) = run
    for found in (first['trainer'], second['trainer']):
        assert found == first['trainer']
        last = found['history'][-1]
        assert last['epoch'] == 2
        for name, value in found['validated'].items():
            assert value == pytest.approx(last[name], rel=1e-6)


def test_each_process_trains_a_teacher(run):
    """Once, and the student is told of once."""
    _, killed, done, _ = run
    for name in ('image', 'text'):
        assert killed.stderr.count(f'teacher of only({name}): best') == 1
        assert done.stderr.count(f'teacher of only({name}): best') == 1
    assert done.stderr.count('FREEDOM + CKD: best epoch') == 2


def test_the_first_process_saves(run):
    folder, *_ = run
    assert load(folder / 'model') is not None
    names = {path.name for path in folder.iterdir()}
    assert 'model' in names
    assert not [name for name in names if name.endswith('.half')]


def test_errors_reach_all(run):
    *_, (first, second) = run
    for found in (first, second):
        assert found['failed']['none'] is None
    told, raised = (found['failed']['teacher'] for found in (first, second))
    assert raised == 'ArithmeticError: a broken machine'
    assert told.startswith('RuntimeError: A teacher could not be trained in')
    assert 'process 1 of 2' in told
    assert raised in told
    for found in (first, second):
        assert "'data' is" in found['failed']['data']
        assert 'weights of process 1 differ' in found['failed']['weights']


if __name__ == '__main__':
    main()
