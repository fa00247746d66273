import copy
import logging
import sys
import tempfile
import warnings

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import (
    BatchSizeFinder,
    EarlyStopping,
    LearningRateFinder,
)
from pytorch_lightning.strategies import DDPStrategy
from torch import nn

from pyg_ckd.balance import CKD, UMT
from pyg_ckd.graph import RATES, fingerprint
from pyg_ckd.inspect import explain
from pyg_ckd.nn import (
    FREEDOM,
    FeatureKNN,
    GraphFilter,
    InteractionKNN,
    Popularity,
)
from pyg_ckd.ranking import evaluate, recommend
from pyg_ckd.testing import PlainRecommender
from pyg_ckd.train import Recommendation, fit
from pyg_ckd.views import only

pytestmark = pytest.mark.filterwarnings(
    'ignore:Epoch',  # signs of failure
    'ignore:.*LeafSpec',
)


def recall(task: Recommendation) -> float:
    result = evaluate(task.model, task.data, 'val', (20,), view=task.keep)
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
        self.trainer = None
        self.start = None

    def on_fit_start(self, trainer, pl_module):
        self.trainer = trainer
        self.tasks.append(pl_module)
        self.start = state(pl_module.model)

    def on_train_epoch_start(self, trainer, pl_module):
        self.losses.append([])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.training.append(pl_module.model.training)
        self.losses[-1].append((float(outputs['loss']), len(batch[0])))


class Spoil(pl.Callback):
    """Throws away what was learned, from the fourth epoch on."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.current_epoch >= 3:
            pl_module.model.reset_parameters()


class Freeze(pl.Callback):
    """Takes all gradients away, so that each evaluation is like the first."""

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        pl_module.zero_grad()


# The best weights ############################################################


@pytest.mark.parametrize('keep', [None, only('image')])
def test_best_weights_are_restored(keep, task_of, run):
    task = task_of(keep=keep)
    assert run(task, max_epochs=6, callbacks=[Spoil()]) is task
    values = [entry['val_recall@20'] for entry in task.history]
    assert values[-1] < max(values), 'the last weights would do as well'
    assert recall(task) == max(values)
    assert not any(module.training for module in task.modules())


def test_monitor(task_of, run):
    task = task_of()
    run(task, max_epochs=6, monitor='val_ndcg@20', callbacks=[Spoil()])
    values = [entry['val_ndcg@20'] for entry in task.history]
    assert values[-1] < max(values), 'the last weights would do as well'
    result = evaluate(task.model, task.data, 'val', (20,))['ndcg@20']
    assert result == max(values)


def test_unknown_monitor(task_of, run):
    with pytest.raises(ValueError, match=r"'monitor' .*val_ndcg@20.*'val_x'"):
        run(task_of(), monitor='val_x')


@pytest.mark.parametrize(('eval_every', 'patience'), [(1, 0), (1, 3), (2, 2)])
def test_first_of_equal_evaluations(eval_every, patience, task_of, run):
    task = task_of()
    before = state(task.model)
    run(
        task,
        max_epochs=50,
        eval_every=eval_every,
        patience=patience,
        callbacks=[Freeze()],
    )
    # The best one, `patience` others and one more:
    assert [entry['epoch'] for entry in task.history] == [
        eval_every * (place + 1) for place in range(patience + 2)
    ]
    assert same(state(task.model), before)


def test_stops_after_patience_bad_evaluations(task_of, run):
    task = run(task_of(), max_epochs=60, patience=2, callbacks=[Spoil()])
    values = [entry['val_recall@20'] for entry in task.history]
    assert len(values) - 1 - values.index(max(values)) == 2 + 1


# Nothing to train ############################################################


@pytest.mark.parametrize('keep', [None, only('image')])
@pytest.mark.parametrize(
    'model', [Popularity, InteractionKNN, FeatureKNN, GraphFilter]
)
def test_model_without_parameters(model, keep, data, run, capsys):
    task = Recommendation(model.from_data(data), data, keep=keep)
    spy = Spy()
    assert run(task, callbacks=[spy], progress=True) is task
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
    assert f'{expected["recall@20"]:.4f}' in capsys.readouterr().err
    run(task)
    assert len(task.history) == 1


def test_arguments_of_a_model_without_parameters(data, run, tmp_path):
    task = Recommendation(Popularity.from_data(data), data)
    with pytest.raises(ValueError, match=r"'monitor' .*val_ndcg@20.*'val_x'"):
        run(task, monitor='val_x')
    file = tmp_path / 'last.ckpt'
    torch.save({}, file)
    with pytest.raises(ValueError, match="'Popularity' has no"):
        run(task, ckpt_path=file)
    assert task.history == []


def test_frozen_model(task_of, run):
    task = task_of()
    task.model.requires_grad_(False)
    before = state(task.model)
    run(task)
    assert same(state(task.model), before)
    assert [entry['epoch'] for entry in task.history] == [0]


# History #####################################################################


def test_history(task_of, run):
    task = task_of()
    assert task.history == []
    run(task, max_epochs=7, eval_every=3)
    assert [entry['epoch'] for entry in task.history] == [3, 6]
    for entry in task.history:
        assert {'epoch', 'loss', 'val_recall@20', 'val_ndcg@20'} == set(entry)
        assert all(type(value) in (int, float) for value in entry.values())


@pytest.mark.parametrize('eval_every', [1, 2])
def test_history_holds_the_loss_of_its_epoch(eval_every, task_of, run):
    spy = Spy()
    task = run(task_of(), eval_every=eval_every, callbacks=[spy])
    assert len(task.history) == 4 // eval_every
    for entry in task.history:
        losses = spy.losses[entry['epoch'] - 1]
        total = sum(loss * size for loss, size in losses)
        mean = total / sum(size for _, size in losses)
        assert entry['loss'] == pytest.approx(mean, abs=1e-5)


def test_fewer_epochs_than_eval_every(task_of, run):
    task = run(task_of(), max_epochs=2, eval_every=5)
    assert [entry['epoch'] for entry in task.history] == [2]


def test_fit_can_be_repeated(task_of, run):
    """Training goes on from the best weights, in training mode."""
    task = run(task_of(), max_epochs=3)
    first = state(task.model)
    spy = Spy()
    run(task, max_epochs=2, callbacks=[spy])
    assert same(spy.start, first)
    assert spy.training and all(spy.training)
    assert [entry['epoch'] for entry in task.history] == [1, 2]


# Arguments ###################################################################


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('max_epochs', 0),
        ('max_epochs', 2.5),
        ('eval_every', 0),
        ('patience', -1),
        ('patience', None),
    ],
)
def test_numbers(name, value, task_of, run):
    with pytest.raises(ValueError, match=f"'{name}' .*got {value}"):
        run(task_of(), **{name: value})


@pytest.mark.parametrize(
    ('name', 'value', 'instead'),
    [
        ('enable_progress_bar', False, "'progress'"),
        ('check_val_every_n_epoch', 2, "'eval_every'"),
        ('val_check_interval', 0.5, "'eval_every'"),
        ('num_sanity_val_steps', 2, 'before training'),
        ('enable_model_summary', True, r'print\(task.model\)'),
    ],
)
def test_arguments_that_fit_sets(name, value, instead, task_of, run):
    with pytest.raises(ValueError, match=f"'{name}' .*{instead}"):
        run(task_of(), **{name: value})


def test_a_model_is_no_task(data, task_of):
    wanted = r"'task' .*got VBPR.*fit\(Recommendation\(model, data\)\)"
    with pytest.raises(TypeError, match=wanted):
        fit(task_of().model)


def test_unknown_argument(task_of, run):
    with pytest.raises(TypeError, match='epochs'):
        run(task_of(), epochs=3)


@pytest.mark.parametrize(
    'settings',
    [
        dict(strategy='ddp_spawn', devices=2),
        dict(strategy='ddp_notebook', devices=2),
        dict(strategy='dp', devices=2),
        dict(strategy='fsdp', devices=2),
        dict(strategy='deepspeed_stage_2'),
        dict(strategy=DDPStrategy(start_method='spawn'), devices=2),
    ],
)
def test_strategies_that_cannot_work(settings, task_of, run):
    """They are refused with a reason, before teachers are trained."""
    task = task_of(CKD())
    with pytest.raises(ValueError, match=r"'strategy' cannot .*: .*'ddp'"):
        run(task, accelerator='cpu', **settings)
    assert not task.balance.teachers


@pytest.mark.parametrize('empty', [False, True])
def test_missing_validation_is_said_before_teachers(empty, data, task_of, run):
    graph = copy.copy(data)
    if empty:
        none = torch.empty(2, 0, dtype=torch.long)
        graph[RATES].val_edge_label_index = none
    else:
        del graph[RATES].val_edge_label_index
    task = Recommendation(task_of().model, graph, balance=CKD())
    with pytest.raises(ValueError, match='val_edge_label_index'):
        run(task)
    assert not task.balance.teachers


def test_arguments_of_the_trainer(task_of, run):
    spy = Spy()
    callbacks = [spy]
    run(
        task_of(batch_size=50),
        max_epochs=3,
        callbacks=callbacks,
        limit_train_batches=2,
        accelerator='cpu',
        gradient_clip_val=0.1,
    )
    assert callbacks == [spy]
    assert spy.trainer.gradient_clip_val == 0.1
    assert [len(losses) for losses in spy.losses] == [2, 2, 2]


# Reproducibility #############################################################


@pytest.mark.parametrize('seed', [pl.seed_everything, torch.manual_seed])
def test_seed(seed, task_of, run):
    results = []
    for value in (5, 5, 6):
        task = task_of(CKD())
        seed(value)
        run(task, max_epochs=2)
        results.append((task.history, state(task.model)))
    (history, first), (again, second), (_, other) = results
    assert history == again
    assert same(first, second)
    assert not same(first, other)


def test_nothing_is_written(task_of, run, tmp_path, monkeypatch, capsys):
    here, temporary = tmp_path / 'here', tmp_path / 'temporary'
    here.mkdir()
    temporary.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(tempfile, 'tempdir', str(temporary))
    level = logging.getLogger('pytorch_lightning').level
    run(task_of(CKD()), max_epochs=2)
    assert list(here.iterdir()) == []
    assert list(temporary.iterdir()) == []
    assert capsys.readouterr() == ('', '')
    assert logging.getLogger('pytorch_lightning').level == level


def test_data_is_not_changed(data, task_of, run):
    before, keys = fingerprint(data), set(data.to_dict())
    task = run(task_of(CKD()), max_epochs=1)
    assert task.data is data
    assert fingerprint(data) == before
    assert set(data.to_dict()) == keys


def test_model_that_was_trained_before(data, run):
    """CKD around a trained FREEDOM, and copies of all."""
    model = FREEDOM.from_data(data, dim=4)
    fit(Recommendation(model, data), max_epochs=1, progress=False)
    task = Recommendation(copy.deepcopy(model), data, balance=CKD())
    run(task, max_epochs=1)
    again = copy.deepcopy(task)
    assert same(state(again.model), state(task.model))
    for one, other in zip(again.recommend(3), task.recommend(3), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ('argument', 'value', 'message'),
    [
        ('monitor', 'loss', 'is maximised'),
        ('precision', 'bf16-true', 'half precision'),
        ('lr', 0.1, 'argument of Recommendation'),
        ('balance', None, 'argument of Recommendation'),
    ],
)
def test_refused_arguments(argument, value, message, task_of):
    with pytest.raises(ValueError, match=rf"'{argument}'.*{message}"):
        fit(task_of(CKD()), progress=False, **{argument: value})


def test_callbacks_are_objects(task_of):
    with pytest.raises(TypeError, match=r"'callbacks'.*EarlyStopping"):
        fit(task_of(), progress=False, callbacks=[EarlyStopping])


@pytest.mark.parametrize('name', ['WORLD_SIZE', 'SLURM_STEP_NUM_TASKS'])
def test_one_of_several_processes(name, task_of, monkeypatch):
    """Such as those that torchrun or srun start."""
    monkeypatch.setenv(name, '2')
    wanted = f"one process, but {name} is 2.*strategy='ddp'"
    with pytest.raises(ValueError, match=wanted):
        fit(task_of(), progress=False)


def test_no_console(task_of, run, monkeypatch):
    monkeypatch.setattr(sys, 'stderr', None)
    assert run(task_of(), progress=True).history


def test_a_task_stands_for_what_it_trained(data, task_of, run):
    """In the view that it trained, without asking for its model."""
    task, teacher = run(task_of()), run(task_of(keep=only('text')))
    assert evaluate(task, data, ks=[5]) == evaluate(task.model, data, ks=[5])
    assert evaluate(teacher, data, ks=[5]) == evaluate(
        teacher.model, data, ks=[5], view=only('text')
    )
    for one, other in zip(
        recommend(teacher, data, 3, k=4), teacher.recommend(3, k=4), strict=True
    ):
        assert torch.equal(one, other)
    explain(task, data, 3, 2)


def test_nothing_is_evaluated(data, task_of, run):
    """The weights are those of as many epochs, whatever is held out."""
    wanted = run(task_of(), max_epochs=3, eval_every=3)
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        warnings.filterwarnings('ignore', '.*LeafSpec')
        task = run(
            Recommendation(
                task_of().model, unsplit(data), lr=0.05, batch_size=200
            ),
            max_epochs=3,
            eval_every=None,
        )
    assert same(state(task.model), state(wanted.model))
    assert task.best_epoch == wanted.best_epoch == 3
    assert task.history == []


def test_nothing_is_evaluated_of_teachers_either(data, task_of, run):
    graph = unsplit(data)
    task = Recommendation(task_of().model, graph, balance=CKD())
    task = run(task, max_epochs=2, eval_every=None)
    assert len(task.balance.teachers) == 2
    again = CKD(teachers=task.balance.teachers)
    task = Recommendation(task_of().model, graph, balance=again)
    assert run(task, max_epochs=2, eval_every=None).best_epoch == 2
    baseline = Recommendation(Popularity.from_data(graph), graph)
    assert run(baseline, eval_every=None).best_epoch == 0


def test_a_gate_needs_validation(task_of, run):
    with pytest.raises(ValueError, match="'eval_every' needs to be a number"):
        run(task_of(balance=CKD(gate=True)), eval_every=None)


def test_best_epoch(task_of, run):
    task = run(task_of(), max_epochs=6, eval_every=2)
    best = max(task.history, key=lambda entry: entry['val_recall@20'])
    assert task.best_epoch == best['epoch']


class Stop(pl.Callback):
    """Ends training by an error, some epochs after the best one."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 5:
            raise RuntimeError('stop')


def test_best_epoch_after_an_error(task_of, run):
    task = task_of()
    with pytest.raises(RuntimeError, match='stop'):
        run(task, max_epochs=9, callbacks=[Stop()])
    best = max(task.history, key=lambda entry: entry['val_recall@20'])
    assert task.best_epoch == best['epoch']


def unsplit(data):
    """Return data of which nothing is held out for validation."""
    graph = copy.copy(data)
    del graph[RATES].val_edge_label_index
    return graph


# Modes #######################################################################


class WithEncoder(PlainRecommender):
    """Has an encoder that is not trained, and notes the modes of parts."""

    def __init__(self, data):
        super().__init__(data)
        size = data['item'].x_text.size(1)
        encoder = nn.Linear(size, size)
        self.encoder = nn.Sequential(encoder, nn.Dropout(0.9))
        self.encoder.requires_grad_(False).eval()
        self.dropout = nn.Dropout(0.1)
        self.seen = set()

    def forward(self, data):
        if torch.is_grad_enabled():
            modes = self.encoder[1].training, self.dropout.training
            self.seen.add(modes)
        data['item'].x_text = self.encoder(data['item'].x_text)
        return super().forward(data)


@pytest.mark.parametrize('balance', [None, UMT(), CKD()], ids=str)
def test_frozen_parts_stay_in_their_mode(balance, data):
    model = WithEncoder(data)
    task = Recommendation(model, data, balance=balance)
    for _ in range(2):
        fit(task, max_epochs=1, progress=False)
        assert model.seen == {(False, True)}
    model.encoder.train()
    model.seen.clear()
    fit(task, max_epochs=1, progress=False)
    assert model.seen == {(True, True)}


def test_validation_is_what_evaluate_gives(data, task_of, run):
    """It is in full precision, so that the best epoch is the best."""
    seen = []

    class Spy(pl.Callback):
        def on_validation_end(self, trainer, pl_module):
            found = evaluate(pl_module.model, data, 'val', (20,))
            seen.append((found['recall@20'], found['ndcg@20']))

    task = run(task_of(), precision='bf16-mixed', callbacks=Spy())
    history = [(e['val_recall@20'], e['val_ndcg@20']) for e in task.history]
    assert len(history) == 4
    assert history == seen


@pytest.mark.parametrize('finder', [BatchSizeFinder, LearningRateFinder])
def test_finders_are_refused(finder, task_of, run):
    with pytest.raises(ValueError, match=f"'callbacks' .* {finder.__name__}"):
        run(task_of(), callbacks=finder())
