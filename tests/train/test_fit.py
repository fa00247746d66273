import copy
import logging
import tempfile

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from torch import nn
from torch_geometric.data import HeteroData

from pyg_ckd.graph import fingerprint
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.distill import Teacher
from pyg_ckd.evaluation import evaluate
from pyg_ckd.nn import (
    FREEDOM,
    VBPR,
    FeatureKNN,
    InteractionKNN,
    Popularity,
)
from pyg_ckd.train import CKD, Recommendation, fit, fit_teachers
from pyg_ckd.views import only

pytestmark = pytest.mark.filterwarnings('ignore:.*LeafSpec')  # Lightning's own


@pytest.fixture(scope='module')
def data() -> HeteroData:
    return FakeMultimodal(num_users=80, num_items=60)[0]


def vbpr(data: HeteroData) -> VBPR:
    return VBPR.from_data(data, dim=4)


def task_of(data: HeteroData, **kwargs) -> Recommendation:
    kwargs = {'lr': 0.02, 'batch_size': 200, **kwargs}
    return Recommendation(vbpr(data), data, **kwargs)


def run(task: Recommendation, **kwargs) -> Recommendation:
    kwargs = {'max_epochs': 4, 'eval_every': 1, 'progress': False, **kwargs}
    return fit(task, **kwargs)


def recall(task: Recommendation, data: HeteroData) -> float:
    result = evaluate(task.model, data, 'val', (20,), view=task.keep)
    return result['recall@20']


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(module.state_dict())


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    assert list(one) == list(other)
    return all(torch.equal(value, other[name]) for name, value in one.items())


class Spy(pl.Callback):
    """Notes what is trained, and how."""

    def __init__(self) -> None:
        self.tasks = []
        self.losses = []
        self.training = []
        self.optimizers = []
        self.trainer = None
        self.start = None

    def on_fit_start(self, trainer, pl_module):
        self.trainer = trainer
        self.tasks.append(pl_module)
        self.start = state(pl_module.model)

    def on_train_start(self, trainer, pl_module):
        self.optimizers += trainer.optimizers

    def on_train_epoch_start(self, trainer, pl_module):
        self.losses.append([])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.training.append(pl_module.model.training)
        self.losses[-1].append((float(outputs['loss']), len(batch[0])))


class Spoil(pl.Callback):
    """Throws away what was learned, from the seventh epoch on."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.current_epoch >= 6:
            pl_module.model.reset_parameters()


# The best weights ############################################################


@pytest.mark.parametrize('keep', [None, only('image')])
def test_best_weights_are_restored(keep, data):
    task = task_of(data, keep=keep, lr=0.1)
    assert run(task, max_epochs=10, callbacks=[Spoil()]) is task
    values = [entry['val_recall@20'] for entry in task.history]
    assert values[-1] < max(values), 'the last weights would do as well'
    assert recall(task, data) == pytest.approx(max(values), abs=1e-6)
    assert not task.training
    assert not any(module.training for module in task.model.modules())


def test_monitor(data):
    task = task_of(data, lr=0.1)
    run(task, max_epochs=10, monitor='val_ndcg@20', callbacks=[Spoil()])
    values = [entry['val_ndcg@20'] for entry in task.history]
    assert values[-1] < max(values), 'the last weights would do as well'
    result = evaluate(task.model, data, 'val', (20,))['ndcg@20']
    assert result == pytest.approx(max(values), abs=1e-6)


@pytest.mark.parametrize(('eval_every', 'patience'), [(1, 0), (1, 3), (2, 2)])
def test_early_stopping(eval_every, patience, data):
    """Without learning, the first evaluation is the best."""
    task = task_of(data, lr=0.0)
    before = state(task.model)
    run(task, max_epochs=50, eval_every=eval_every, patience=patience)
    # The best one, `patience` others and one more:
    assert [entry['epoch'] for entry in task.history] == [
        eval_every * (place + 1) for place in range(patience + 2)
    ]
    assert same(state(task.model), before)


def test_stops_after_patience_bad_evaluations(data):
    task = task_of(data, lr=0.1)
    run(task, max_epochs=60, patience=4, callbacks=[Spoil()])
    values = [entry['val_recall@20'] for entry in task.history]
    assert len(values) < 60
    assert len(values) - 1 - values.index(max(values)) == 4 + 1


# Nothing to train ############################################################


@pytest.mark.parametrize('keep', [None, only('image')])
@pytest.mark.parametrize('model', [Popularity, InteractionKNN, FeatureKNN])
def test_model_without_parameters(model, keep, data):
    task = Recommendation(model.from_data(data), data, keep=keep)
    spy = Spy()
    assert run(task, callbacks=[spy]) is task
    assert spy.tasks == []
    assert not any(module.training for module in task.modules())
    expected = evaluate(task.model, data, 'val', (20,), view=keep)
    assert task.history == [
        {
            'epoch': 0,
            'val_recall@20': expected['recall@20'],
            'val_ndcg@20': expected['ndcg@20'],
        }
    ]
    run(task)
    assert len(task.history) == 1
    assert task.recommend(torch.tensor([0]), k=3)[0].shape == (1, 3)


def test_frozen_model(data):
    task = task_of(data)
    task.model.requires_grad_(False)
    before = state(task.model)
    run(task)
    assert same(state(task.model), before)
    assert [entry['epoch'] for entry in task.history] == [0]


# History #####################################################################


def test_history(data):
    task = task_of(data)
    assert task.history == []
    run(task, max_epochs=7, eval_every=3)
    assert [entry['epoch'] for entry in task.history] == [3, 6]
    for entry in task.history:
        assert {'epoch', 'loss', 'val_recall@20', 'val_ndcg@20'} == set(entry)
        assert all(type(value) in (int, float) for value in entry.values())


@pytest.mark.parametrize('eval_every', [1, 2])
def test_history_holds_the_loss_of_its_epoch(eval_every, data):
    spy = Spy()
    task = run(task_of(data), eval_every=eval_every, callbacks=[spy])
    assert len(task.history) == 4 // eval_every
    for entry in task.history:
        losses = spy.losses[entry['epoch'] - 1]
        total = sum(loss * size for loss, size in losses)
        mean = total / sum(size for _, size in losses)
        assert entry['loss'] == pytest.approx(mean, abs=1e-5)


def test_fewer_epochs_than_eval_every(data):
    task = run(task_of(data), max_epochs=2, eval_every=5)
    assert [entry['epoch'] for entry in task.history] == [2]


@pytest.mark.parametrize('kwargs', [dict(max_epochs=0), dict(eval_every=0)])
def test_no_evaluation_would_take_place(kwargs, data):
    (name,) = kwargs
    with pytest.raises(ValueError, match=name):
        run(task_of(data), **kwargs)


def test_divergence(data):
    with pytest.raises(ValueError, match='Lower the learning rate'):
        run(task_of(data, lr=1e38))


# Reproducibility #############################################################


@pytest.mark.parametrize('seed', [pl.seed_everything, torch.manual_seed])
def test_seed(seed, data):
    results = []
    for value in (5, 5, 6):
        seed(value)
        task = run(CKD(vbpr(data), data, batch_size=200), max_epochs=2)
        results.append((task.history, state(task.model)))
    (history, first), (again, second), (_, other) = results
    assert history == again
    assert same(first, second)
    assert not same(first, other)


def test_fit_can_be_repeated(data):
    task = run(task_of(data), max_epochs=3)
    first = recall(task, data)
    run(task, max_epochs=3)
    assert len(task.history) in (3, 6)
    values = [entry['val_recall@20'] for entry in task.history[-3:]]
    assert recall(task, data) == pytest.approx(max(values), abs=1e-6)
    assert recall(task, data) > first - 0.1
    assert not task.training


def test_repeated_fit_is_in_training_mode(data):
    """A fitted task is in evaluation mode; fitting it again is training."""
    graph = FREEDOM.pre_transform(data)
    task = Recommendation(FREEDOM.from_data(graph, dim=4), graph)
    for _ in range(2):
        spy = Spy()
        run(task, max_epochs=1, callbacks=[spy])
        assert spy.training
        assert all(spy.training)


# Teachers ####################################################################


def test_fit_teachers(data):
    models = []

    def make() -> VBPR:
        models.append(vbpr(data))
        return models[-1]

    spy = Spy()
    teachers = fit_teachers(
        make,
        data,
        lr=0.03,
        l2=0.5,
        batch_size=123,
        sampling='user',
        max_epochs=2,
        eval_every=1,
        progress=False,
        callbacks=[spy],
    )
    assert list(teachers) == ['image', 'text']
    assert len(models) == 2
    assert [task.model for task in spy.tasks] == models
    assert [task.keep for task in spy.tasks] == [only('image'), only('text')]
    for task in spy.tasks:
        assert (task.lr, task.l2, task.batch_size) == (0.03, 0.5, 123)
        assert task.sampling == 'user'

    for name, teacher in teachers.items():
        assert isinstance(teacher, Teacher)
        assert teacher.modality == name
        assert teacher.data_fingerprint == fingerprint(data)
        assert not teacher.user.requires_grad
    for task, teacher in zip(spy.tasks, teachers.values(), strict=True):
        # A teacher holds the best weights:
        model = _Frozen(teacher)
        best = max(entry['val_recall@20'] for entry in task.history)
        result = evaluate(model, data, 'val', (20,))['recall@20']
        assert result == pytest.approx(best, abs=1e-6)

    task = CKD(vbpr(data), data, teachers)
    run(task, max_epochs=1)
    assert task.teachers.keys() == teachers.keys()


class _Frozen(nn.Module):
    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self.teacher = teacher

    def forward(self, data):
        return self.teacher.user, self.teacher.item


def test_teachers_are_trained_on_the_way(data):
    spy = Spy()
    student = vbpr(data)
    before = state(student)
    task = CKD(student, data, lr=0.03, l2=0.5, batch_size=123, sampling='user')
    run(task, max_epochs=2, callbacks=[spy])

    *teaching, last = spy.tasks
    assert last is task
    assert [type(one) for one in teaching] == [Recommendation] * 2
    assert [one.keep for one in teaching] == [only('image'), only('text')]
    for one in teaching:
        assert (one.lr, one.l2, one.batch_size) == (0.03, 0.5, 123)
        assert one.sampling == 'user'
        assert one.model is not student
    assert same(spy.start, before), 'the student was trained as a teacher'
    assert set(task.teachers) == {'image', 'text'}

    # They stay when training goes on:
    teachers = dict(task.teachers)
    spy = Spy()
    run(task, max_epochs=1, callbacks=[spy])
    assert spy.tasks == [task]
    for name, teacher in task.teachers.items():
        assert torch.equal(teacher.user, teachers[name].user)


def test_given_teachers_are_not_trained(data):
    teachers = {
        name: Teacher.from_model(vbpr(data), data, name)
        for name in ('image', 'text')
    }
    spy = Spy()
    task = CKD(vbpr(data), data, teachers)
    run(task, max_epochs=1, callbacks=[spy])
    assert spy.tasks == [task]


# Lightning ###################################################################


def test_optimizer_is_adam(data):
    spy = Spy()
    task = run(task_of(data, lr=0.03), max_epochs=1, callbacks=[spy])
    (optimizer,) = spy.optimizers
    assert type(optimizer) is torch.optim.Adam
    (group,) = optimizer.param_groups
    assert (group['lr'], group['weight_decay']) == (0.03, 0)
    assert len(group['params']) == len(list(task.model.parameters()))


def test_arguments_of_the_trainer(data):
    spy = Spy()
    callbacks = [spy]
    run(
        task_of(data, batch_size=50),
        max_epochs=3,
        callbacks=callbacks,
        limit_train_batches=2,
        accelerator='cpu',
        gradient_clip_val=0.1,
    )
    assert callbacks == [spy]
    assert spy.trainer.gradient_clip_val == 0.1
    assert [len(losses) for losses in spy.losses] == [2, 2, 2]


def test_mixed_precision(data):
    spy = Spy()
    task = CKD(vbpr(data), data)
    run(task, max_epochs=1, precision='bf16-mixed', callbacks=[spy])
    assert spy.trainer.precision == 'bf16-mixed'
    assert all(p.dtype == torch.float for p in task.model.parameters())


def test_logger(data, tmp_path):
    logger = CSVLogger(tmp_path, name='run', version=0)
    run(task_of(data), max_epochs=2, logger=logger)
    table = (tmp_path / 'run' / 'version_0' / 'metrics.csv').read_text()
    assert 'val_recall@20' in table


def test_unknown_argument(data):
    with pytest.raises(TypeError, match='epochs'):
        run(task_of(data), epochs=3)


def test_nothing_is_written(data, tmp_path, monkeypatch):
    here, temporary = tmp_path / 'here', tmp_path / 'temporary'
    here.mkdir()
    temporary.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(tempfile, 'tempdir', str(temporary))
    run(CKD(vbpr(data), data), max_epochs=2)
    assert list(here.iterdir()) == []
    assert list(temporary.iterdir()) == []


def test_fit_leaves_the_log_level_alone(data, capsys):
    logger = logging.getLogger('pytorch_lightning')
    level = logger.level
    run(task_of(data), max_epochs=1)
    assert logger.level == level
    assert capsys.readouterr().out == ''


def test_progress_bar(data, capsys):
    run(task_of(data), max_epochs=1, progress=True)
    assert 'Epoch' in capsys.readouterr().out


def test_data_is_not_changed(data):
    before, keys = fingerprint(data), set(data.to_dict())
    run(CKD(vbpr(data), data), max_epochs=1)
    assert fingerprint(data) == before
    assert set(data.to_dict()) == keys
