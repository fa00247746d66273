"""However training ends, the task has the best weights and can be used."""

import os
import signal
import warnings

import pytest
import pytorch_lightning as pl
import torch

from pyg_ckd.balance import CKD
from pyg_ckd.ranking import evaluate
from pyg_ckd.train import Recommendation

pytestmark = pytest.mark.filterwarnings(
    'ignore:Epoch', 'ignore:.*LeafSpec', 'ignore:.*GPU available'
)


@pytest.fixture(autouse=True)
def interruptible():
    """Ctrl+C is ignored where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class At(pl.Callback):
    """Does something in a step of an epoch."""

    def __init__(self, epoch, act, step=1):
        self.epoch, self.act, self.step = epoch, act, step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if (trainer.current_epoch + 1, batch_idx) == (self.epoch, self.step):
            self.act(pl_module)


def interrupt(task):
    os.kill(os.getpid(), signal.SIGINT)


def spoil(task):
    with torch.no_grad():
        next(task.model.parameters()).fill_(float('nan'))


def fail(task):
    raise RuntimeError('out of memory')


def assert_usable(task: Recommendation, value: float | None = None) -> None:
    """It has the best weights, and can be used at once."""
    if value is None:
        value = max(entry['val_recall@20'] for entry in task.history)
    result = evaluate(task.model, task.data, 'val', (20,))['recall@20']
    assert result == value
    assert task.recommend(7, k=3)[0].shape == (1, 3)
    assert not task.training


@pytest.mark.parametrize('balance', [None, CKD()])
def test_interrupt(balance, task_of, run):
    """Ctrl+C works as before afterwards, too."""
    handler = signal.getsignal(signal.SIGINT)
    task = task_of(balance)
    with pytest.raises(KeyboardInterrupt):
        run(task, eval_every=2, max_epochs=9, callbacks=At(6, interrupt))
    assert [entry['epoch'] for entry in task.history] == [2, 4]
    assert_usable(task)
    assert signal.getsignal(signal.SIGINT) is handler


def test_interrupt_of_the_first_epoch(task_of, run):
    task = task_of()
    with pytest.raises(KeyboardInterrupt):
        run(task, callbacks=At(1, interrupt))
    assert task.history == []
    assert not task.training
    task.recommend([1, 2])


def test_interrupt_of_a_teacher(task_of, run, monkeypatch):
    task = task_of(CKD())
    before = {name: p.clone() for name, p in task.model.named_parameters()}

    def stop(self, batch, batch_idx=0):
        interrupt(self)
        return self.losses(batch).total

    with monkeypatch.context() as patch:
        patch.setattr(Recommendation, 'training_step', stop)
        with pytest.raises(KeyboardInterrupt):
            run(task)
    for name, parameter in task.model.named_parameters():
        assert torch.equal(parameter, before[name])
    run(task)
    assert len(task.balance.teachers) == 2


def test_error(task_of, run):
    task = task_of()
    with pytest.raises(RuntimeError, match='out of memory'):
        run(task, max_epochs=9, callbacks=At(4, fail))
    assert len(task.history) == 3
    assert_usable(task)
    assert task.data['item'].x_text.dtype == torch.float


@pytest.mark.parametrize('eval_every', [1, 2])
def test_divergence(eval_every, task_of, run):
    task = task_of()
    wanted = "'VBPR' in the view full .*epoch 5, step 2, 'loss' .*Lower 'lr'"
    with pytest.raises(ValueError, match=wanted):
        run(task, max_epochs=9, eval_every=eval_every, callbacks=At(5, spoil))
    assert task.history[-1]['epoch'] == 4
    assert_usable(task)


def test_divergence_of_the_balance(task_of, run):
    task = task_of(CKD())
    run(task, max_epochs=1)
    task.balance.strength = float('nan')
    with pytest.raises(ValueError, match=r"epoch 1, step 1, 'loss'"):
        run(task)


def test_divergence_by_the_learning_rate(task_of, run):
    with pytest.raises(ValueError, match='Lower'):
        run(task_of(lr=1e38))


@pytest.mark.parametrize(
    'limit',
    [
        dict(max_steps=3),
        dict(max_time={'seconds': 0}),
        dict(limit_train_batches=2, max_steps=5),
        dict(limit_val_batches=0),
    ],
    ids=str,
)
@pytest.mark.parametrize('balance', [None, CKD()])
def test_limits_before_the_first_evaluation(limit, balance, task_of, run):
    if balance is not None and 'max_time' not in limit:
        pytest.skip('as without')
    task = task_of(balance)
    with pytest.warns(UserWarning, match='before its first evaluation'):
        run(task, eval_every=3, max_epochs=3, **limit)
    assert task.history == []
    task.recommend(7)
    assert not task.training


@pytest.mark.parametrize(
    ('limit', 'epochs'),
    [
        (dict(fast_dev_run=True), [1]),
        (dict(max_steps=20), [2, 4]),
        (dict(limit_train_batches=1), [2, 4]),
        (dict(limit_train_batches=0.5), [2, 4]),
    ],
    ids=str,
)
def test_limits(limit, epochs, task_of, run):
    task = task_of()
    with warnings.catch_warnings():
        warnings.filterwarnings('error', '.*first evaluation.*')
        run(task, eval_every=2, **limit)
    assert [entry['epoch'] for entry in task.history] == epochs
    assert_usable(task)
