"""Training goes on from a checkpoint as if it had not stopped."""

import copy
import os
import re
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch.nn import functional as F

from pyg_ckd.balance import AGM, CKD, UMT, ModalityDropout
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.graph import RATES
from pyg_ckd.nn import FREEDOM, LATTICE, VBPR
from pyg_ckd.testing import PlainRecommender
from pyg_ckd.train import Recommendation, SaveLast, fit

pytestmark = pytest.mark.filterwarnings(
    'ignore:Epoch',
    'ignore:.*LeafSpec',
    'ignore:.*exists and is not empty',
    'ignore:The dirpath has changed',
)


class Dropout(PlainRecommender):
    def forward(self, data):
        user, item = super().forward(data)
        return F.dropout(user, 0.3, self.training), item


MAKE = {
    'vbpr': lambda data: (VBPR.from_data(data, dim=4), None),
    'dropout': lambda data: (Dropout(data), None),
    'freedom': lambda data: (FREEDOM.from_data(data, dim=4, prune=0.5), None),
    'lattice': lambda data: (LATTICE.from_data(data, dim=4), None),
    'ckd': lambda data: (
        FREEDOM.from_data(data, dim=4, prune=0.5),
        CKD(gate=True, strength=0.5),
    ),
    'agm': lambda data: (VBPR.from_data(data, dim=4), AGM()),
    'umt': lambda data: (VBPR.from_data(data, dim=4), UMT()),
    'moddrop': lambda data: (VBPR.from_data(data, dim=4), ModalityDropout()),
}


@pytest.fixture(scope='module')
def small():
    data = FakeMultimodal(num_users=30, num_items=24, num_channels=5)[0]
    return LATTICE.pre_transform(FREEDOM.pre_transform(data))


class Spy(pl.Callback):
    """Notes what training has at its very end."""

    def on_train_batch_end(self, *args):
        self.steps = getattr(self, 'steps', 0) + 1

    def on_train_end(self, trainer, pl_module):
        weights = {k: v.clone() for k, v in pl_module.named_parameters()}
        optimizer = trainer.optimizers[0].state_dict()['state']
        self.state = [weights, optimizer, torch.get_rng_state()]


class Folder:
    """Trains, with checkpoints of all epochs in a folder."""

    def __init__(self, kind, data, folder, when, stop=99, **kwargs):
        self.kind, self.data, self.folder = kind, data, folder
        self.when, self.stop = when, stop
        self.kwargs = {'max_epochs': 6, 'progress': False, **kwargs}

    def run(self, ckpt_path=None, **kwargs):
        task = task_of_kind(self.kind, self.data)
        folder = self.folder / ('resumed' if ckpt_path else 'whole')
        checkpoint = ModelCheckpoint(
            folder,
            filename='{epoch}',
            save_last=True,
            save_top_k=-1,
            every_n_epochs=1,
            save_on_train_epoch_end=self.when,
        )
        stop = EarlyStopping('val_ndcg@20', mode='max', patience=self.stop)
        spy = Spy()
        if ckpt_path is not None:
            torch.manual_seed(99)  # of no influence
        fit(
            task,
            callbacks=[spy, stop, checkpoint],
            ckpt_path=ckpt_path,
            **{**self.kwargs, **kwargs},
        )
        return task, spy

    def files(self):
        return sorted((self.folder / 'whole').glob('epoch*.ckpt'))


def task_of_kind(kind, data):
    """Make the same task each time."""
    torch.manual_seed(0)
    model, balance = MAKE[kind](data)
    return Recommendation(model, data, balance=balance, lr=0.05, batch_size=60)


def assert_same(one, other):
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def assert_resumes(folder: Folder) -> None:
    expected, spy = folder.run()
    files = folder.files()
    for file in {files[0], files[len(files) // 2], files[-1]}:
        task, resumed = folder.run(file)
        assert task.history == expected.history
        assert_same(
            dict(task.named_parameters()), dict(expected.named_parameters())
        )
        assert_same(dict(task.named_buffers()), dict(expected.named_buffers()))
        if file != files[-1]:
            assert_same(resumed.state, spy.state)
            assert resumed.steps < spy.steps


@pytest.mark.parametrize('eval_every', [1, 2, 5])
@pytest.mark.parametrize('when', [None, True, False])
def test_any_checkpoint(when, eval_every, small, tmp_path):
    assert_resumes(Folder('vbpr', small, tmp_path, when, eval_every=eval_every))


@pytest.mark.parametrize(('when', 'eval_every'), [(None, 1), (False, 2)])
@pytest.mark.parametrize('kind', [kind for kind in MAKE if kind != 'vbpr'])
def test_any_kind(kind, when, eval_every, small, tmp_path):
    assert_resumes(Folder(kind, small, tmp_path, when, eval_every=eval_every))


@pytest.mark.parametrize('precision', ['64-true', 'bf16-mixed'])
def test_precision(precision, small, tmp_path):
    assert_resumes(
        Folder('ckd', small, tmp_path, None, precision=precision, eval_every=2)
    )


@pytest.mark.parametrize('when', [None, True, False])
@pytest.mark.parametrize('kwargs', [dict(patience=1), dict(stop=1)], ids=str)
def test_what_had_ended_does_not_go_on(kwargs, when, small, tmp_path):
    """Whoever ended it: patience, or a callback of the user."""
    folder = Folder(
        'moddrop', small, tmp_path, when, eval_every=1, max_epochs=30, **kwargs
    )
    expected, _ = folder.run()
    assert len(expected.history) < 30
    for file in folder.files()[-2:]:
        assert folder.run(file)[0].history == expected.history


def test_more_epochs(small, tmp_path):
    folder = Folder('ckd', small, tmp_path, None, eval_every=2)
    expected, _ = folder.run(max_epochs=8)
    Folder.run(folder)
    task, _ = folder.run(folder.folder / 'whole' / 'last.ckpt', max_epochs=8)
    assert task.history == expected.history


def test_more_epochs_than_one_evaluation(small, tmp_path):
    """The usual distance of evaluations is larger than the first training."""
    file = tmp_path / 'last.ckpt'

    task = partial(task_of_kind, 'vbpr', small)
    fit(task(), max_epochs=3, callbacks=SaveLast(file), progress=False)
    found = fit(task(), max_epochs=10, ckpt_path=file, progress=False)
    wanted = fit(task(), max_epochs=10, progress=False)
    assert [entry['epoch'] for entry in found.history] == [3, 5, 10]
    assert found.history[1:] == wanted.history


def test_teachers_that_were_cut_short(small, tmp_path):
    """They are what they were, which is said if the student gets more."""
    folder = Folder('umt', small, tmp_path, None, eval_every=1)

    def said(file, max_epochs):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter('always')
            folder.run(file, max_epochs=max_epochs)
        start = 'The teachers of the checkpoint had 2 epochs'
        return [each for each in seen if str(each.message).startswith(start)]

    assert not said(None, 2)
    file = folder.folder / 'whole' / 'last.ckpt'
    assert not said(file, 2)
    assert len(said(file, 3)) == 1
    assert len(said(folder.folder / 'resumed' / 'last.ckpt', 4)) == 1  # still


def test_without_evaluation(small, tmp_path):
    """Of what is never evaluated, each epoch is saved."""
    file = tmp_path / 'last.ckpt'

    task = partial(task_of_kind, 'dropout', small)
    common = dict(eval_every=None, progress=False)
    wanted = fit(task(), max_epochs=4, **common)
    fit(task(), max_epochs=2, callbacks=SaveLast(file), **common)
    found = fit(task(), max_epochs=4, ckpt_path=file, **common)
    assert_same(dict(found.named_parameters()), dict(wanted.named_parameters()))


def test_teachers_come_from_the_checkpoint(small, tmp_path, capsys):
    folder = Folder('ckd', small, tmp_path, None, eval_every=2, progress=True)
    expected, _ = folder.run()
    assert 'teacher' in capsys.readouterr().err
    task, _ = folder.run(folder.files()[0])
    assert 'teacher' not in capsys.readouterr().err
    for keep, teacher in expected.balance.teachers.items():
        assert torch.equal(task.balance.teachers[keep].user, teacher.user)


def test_best_of_before(small, tmp_path):
    """What was best before the checkpoint still is if no better comes."""
    folder = Folder('vbpr', small, tmp_path, None, eval_every=1)
    expected, _ = folder.run()
    best = max(entry['val_recall@20'] for entry in expected.history)
    task, _ = folder.run(folder.files()[-1])
    assert task.validation()['val_recall@20'] == best


# Refused #####################################################################


def test_midst_of_an_epoch(small, task_of, run, tmp_path):
    checkpoint = ModelCheckpoint(
        tmp_path, every_n_train_steps=3, save_top_k=-1, filename='{step}'
    )
    with pytest.warns(UserWarning, match='in the midst of epoch 1'):
        run(task_of(), callbacks=[checkpoint], max_epochs=1)
    with pytest.raises(ValueError, match=r'midst of epoch 1.*SaveLast'):
        run(task_of(), ckpt_path=tmp_path / 'step=3.ckpt')


def test_after_an_error(task_of, run, tmp_path):
    class Fail(pl.Callback):
        def on_validation_end(self, trainer, pl_module):
            raise RuntimeError

    checkpoint = ModelCheckpoint(tmp_path, save_on_exception=True)
    with pytest.raises(RuntimeError), pytest.warns(UserWarning, match='midst'):
        run(task_of(), callbacks=[Fail(), checkpoint])
    (file,) = tmp_path.glob('*.ckpt')
    with pytest.raises(ValueError, match='midst'):
        run(task_of(), ckpt_path=file)


@pytest.mark.parametrize('content', [None, b'', b'PK\x03\x04 and no more'])
def test_unreadable_file(content, task_of, run, tmp_path):
    file = tmp_path / 'last.ckpt'
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=r"'ckpt_path' .*last.ckpt"):
        run(task_of(CKD()), ckpt_path=file)


def test_other_settings(data, small, task_of, run, tmp_path):
    file = tmp_path / 'last.ckpt'
    run(task_of(), callbacks=SaveLast(file), max_epochs=2)
    for wrong in (dict(lr=0.1), dict(batch_size=7), dict(sampling='user')):
        ((name, value),) = wrong.items()
        with pytest.raises(ValueError, match=f"'{name}' was .*got {value}"):
            run(task_of(**wrong), ckpt_path=file)
    with pytest.raises(ValueError, match="'eval_every' was 1"):
        run(task_of(), ckpt_path=file, eval_every=2)
    other = FREEDOM.pre_transform(
        FakeMultimodal(num_users=80, num_items=60, seed=1)[0]
    )
    swapped = copy.copy(data)
    rates = data[RATES]
    swapped[RATES].val_edge_label_index = rates.test_edge_label_index
    swapped[RATES].test_edge_label_index = rates.val_edge_label_index
    for graph in (other, swapped):
        task = Recommendation(task_of().model, graph, lr=0.05, batch_size=200)
        with pytest.raises(ValueError, match="'data' was"):
            run(task, ckpt_path=file)


@pytest.mark.parametrize(
    'wrong',
    [
        {'accumulate_grad_batches': 2},
        {'gradient_clip_val': 0.5},
        {'limit_train_batches': 1},
    ],
)
def test_other_options_of_the_trainer(wrong, task_of, run, tmp_path):
    file = tmp_path / 'last.ckpt'
    run(task_of(), callbacks=SaveLast(file), max_epochs=2)
    ((name, _),) = wrong.items()
    assert_other(name, task_of(), file, **wrong)


def test_other_attributes(data, task_of, run, tmp_path):
    """A model may read whatever is in the graph."""
    file = tmp_path / 'last.ckpt'
    run(task_of(), callbacks=SaveLast(file), max_epochs=2)
    other = copy.copy(data)
    other['item'].price = [1.0] * 60
    task = Recommendation(task_of().model, other, lr=0.05, batch_size=200)
    assert_other('data', task, file)


def assert_other(name, task, file, before='', now='', **kwargs):
    wanted = f"(?s)'{name}' was .*{before}.*got .*{now}"
    kwargs = {'max_epochs': 4, 'eval_every': 1, **kwargs}
    with pytest.raises(ValueError, match=wanted):
        fit(task, ckpt_path=file, progress=False, **kwargs)


@pytest.mark.parametrize(
    ('other', 'before', 'now'),
    [
        (CKD(strength=0.5), 'strength=0.01', 'strength=0.5'),
        (CKD(gate=True), 'gate=False', 'gate=True'),
        (CKD(weights=None), 'CounterfactualWeights', ''),
        (AGM(), 'CKD', 'AGM'),
        (None, 'CKD', 'None'),
    ],
    ids=str,
)
def test_other_balance(other, before, now, task_of, run, tmp_path):
    file = tmp_path / 'last.ckpt'
    teachers = dict(run(task_of(CKD()), max_epochs=1).balance.teachers)
    run(task_of(CKD(teachers)), callbacks=SaveLast(file), max_epochs=2)
    run(task_of(CKD()), ckpt_path=file)
    assert_other('balance', task_of(other), file, before, now)


def test_other_model(small, tmp_path):
    file = tmp_path / 'last.ckpt'

    def task_of(**kwargs):
        model = FREEDOM.from_data(small, dim=4, **kwargs)
        return Recommendation(model, small, batch_size=60)

    kwargs = dict(max_epochs=2, eval_every=1, progress=False)
    fit(task_of(prune=0.5), callbacks=SaveLast(file), **kwargs)
    assert_other('model', task_of(prune=0.4), file, 'prune=0.5', 'prune=0.4')


def test_other_rules_of_the_best(task_of, run, tmp_path):
    file = tmp_path / 'last.ckpt'
    run(task_of(), callbacks=SaveLast(file), max_epochs=2)
    assert_other('monitor', task_of(), file, monitor='val_ndcg@20')
    assert_other('patience', task_of(), file, '10', '3', patience=3)


@pytest.mark.parametrize('eval_every', [1, 2])
def test_fewer_epochs(eval_every, task_of, run, tmp_path):
    """As many as before are allowed, and nothing is left to train."""
    file = tmp_path / 'last.ckpt'
    kwargs = dict(callbacks=SaveLast(file), eval_every=eval_every)
    expected = run(task_of(), max_epochs=4, **kwargs).history
    wanted = "'max_epochs' is {}, but the checkpoint is of epoch 4"
    for few in (1, 3):
        with pytest.raises(ValueError, match=wanted.format(few)):
            run(task_of(), max_epochs=few, ckpt_path=file, **kwargs)
    again = run(task_of(), max_epochs=4, ckpt_path=file, **kwargs)
    assert again.history == expected


def test_checkpoint_of_another_kind(task_of, run, tmp_path):
    file = tmp_path / 'last.ckpt'
    run(task_of(), callbacks=SaveLast(file), max_epochs=2)
    checkpoint = torch.load(file, weights_only=True)
    del checkpoint['pyg_ckd']
    torch.save(checkpoint, file)
    with pytest.raises(ValueError, match='no checkpoint of a Recommendation'):
        run(task_of(), ckpt_path=file)


# Killed ######################################################################


def test_save_last_replaces_its_file_at_once(task_of, run, tmp_path):
    """Nobody ever sees half a file."""
    file = tmp_path / 'deep' / 'last.ckpt'
    seen = []

    class Look(pl.Callback):
        def on_save_checkpoint(self, trainer, pl_module, checkpoint):
            if file.exists():
                state = torch.load(file, weights_only=True)
                seen.append(len(state['pyg_ckd']['history']))

    run(task_of(), eval_every=2, callbacks=[Look(), SaveLast(file)])
    assert seen == [1]
    assert [path.name for path in file.parent.iterdir()] == ['last.ckpt']


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_killed():
    kills = '15'
    script = Path(__file__).parents[2] / 'benchmarks' / 'kill.py'
    out = subprocess.run(
        [sys.executable, script, '--kills', kills],
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert out.returncode == 0, out.stderr
    done = [int(n) for n in re.findall(r'(\d+) kills', out.stdout)]
    assert len(done) == 2
    assert min(done) >= int(kills)


class Opens:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, 'w')


@pytest.mark.parametrize('prefix', ['', 'file://'])
def test_nothing_in_a_checkpoint_is_executed(tmp_path, prefix):
    data = FakeMultimodal(20, 30)[0]
    path, made = tmp_path / 'last.ckpt', tmp_path / 'made'
    limits = {'max_epochs': 1, 'eval_every': 1, 'progress': False}

    def task():
        return Recommendation(VBPR.from_data(data, dim=4), data)

    fit(task(), callbacks=SaveLast(path), **limits)
    torch.save({**torch.load(path), 'more': Opens(made)}, path)
    with pytest.raises(ValueError, match='ckpt_path'):
        fit(task(), ckpt_path=f'{prefix}{path}', **limits)
    assert not made.exists()
