"""Callbacks, ours and the user's, loggers and evaluations."""

import copy
import csv
import warnings

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import (
    EarlyStopping,
    ModelCheckpoint,
    StochasticWeightAveraging,
    TQDMProgressBar,
)
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from torch import nn

from pyg_ckd.balance import AGM, CKD, ModalityDropout
from pyg_ckd.graph import RATES
from pyg_ckd.nn import FREEDOM
from pyg_ckd.ranking import evaluate
from pyg_ckd.testing import PlainRecommender, gradients
from pyg_ckd.train import (
    FailureSigns,
    Recommendation,
    TripletLoader,
    WatchViews,
    gradient_share,
)
from pyg_ckd.views import full, only, without

pytestmark = pytest.mark.filterwarnings(
    'ignore:Epoch',
    'ignore:.*LeafSpec',
    'ignore:.*exists and is not empty',
    'ignore:.*tensorboardX',
)


def parameters(task: Recommendation) -> dict[str, torch.Tensor]:
    return {
        k: v.detach().clone()
        for k, v in task.state_dict().items()
        if isinstance(v, torch.Tensor)
    }


class Last(pl.Callback):
    """Notes the weights at the end of the fourth epoch."""

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == 3:
            self.weights = parameters(pl_module)


class Normed(PlainRecommender):
    """Has buffers that a pass in training mode changes."""

    def __init__(self, data) -> None:
        super().__init__(data)
        self.norm = nn.BatchNorm1d(4)
        self.dropout = nn.Dropout(0.2)

    def forward(self, data):
        user, item = super().forward(data)
        return self.dropout(user), self.norm(item)


# Evaluation does not change training #########################################

MODELS = {
    'plain': lambda data: Recommendation(Normed(data), data, batch_size=200),
    'ckd': lambda data: Recommendation(
        Normed(data), data, balance=CKD(strength=0.5), batch_size=200
    ),
    'freedom': lambda data: Recommendation(
        FREEDOM.from_data(data, dim=4), data, balance=CKD(), batch_size=200
    ),
    'agm': lambda data: Recommendation(
        FREEDOM.from_data(data, dim=4), data, balance=AGM(), batch_size=200
    ),
    'dropout': lambda data: Recommendation(
        Normed(data), data, balance=ModalityDropout(), batch_size=200
    ),
}


@pytest.mark.parametrize('kind', MODELS)
def test_evaluation_does_not_change_training(kind, data, run, tmp_path):
    expected = teachers = None
    for eval_every, more in (
        (1, []),
        (2, []),
        (4, [WatchViews(only('text')), ModelCheckpoint(tmp_path)]),
        (1, [WatchViews(only('image')), ModelCheckpoint(tmp_path)]),
    ):
        torch.manual_seed(1)
        task, last = MODELS[kind](data), Last()
        if isinstance(task.balance, CKD):
            if teachers is None:
                run(task, max_epochs=1)
                teachers = dict(task.balance.teachers)
            balance = CKD(teachers, strength=task.balance.strength)
            task = Recommendation(
                task.model, data, balance=balance, batch_size=200
            )
        torch.manual_seed(2)
        for module in task.model.modules():
            if isinstance(module, nn.Linear | nn.Embedding | nn.BatchNorm1d):
                module.reset_parameters()
        run(
            task,
            eval_every=eval_every,
            callbacks=[last, *more],
            logger=CSVLogger(tmp_path) if more else False,
        )
        if expected is None:
            expected = last.weights
        torch.testing.assert_close(last.weights, expected, rtol=0, atol=0)


# Callbacks and loggers are the student's #####################################


def test_early_stopping_is_of_the_student(task_of, run):
    stop = EarlyStopping('val_recall@20', mode='max', patience=2)
    task = run(task_of(CKD()), max_epochs=5, callbacks=[stop])
    alone = run(
        task_of(CKD(dict(task.balance.teachers))),
        max_epochs=5,
        callbacks=[EarlyStopping('val_recall@20', mode='max', patience=2)],
    )
    assert len(task.history) == len(alone.history) > 1


def test_checkpoints_are_of_the_student(task_of, run, tmp_path):
    checkpoint = ModelCheckpoint(
        tmp_path, monitor='val_recall@20', mode='max', filename='{epoch}'
    )
    task = run(task_of(CKD()), callbacks=[checkpoint])
    (file,) = tmp_path.iterdir()
    weights = torch.load(file, weights_only=True)['state_dict']
    assert len(weights['balance._extra_state']['teachers']) == 2
    for name, parameter in task.named_parameters():
        assert torch.equal(weights[name], parameter)
    assert checkpoint.best_model_score == pytest.approx(
        max(entry['val_recall@20'] for entry in task.history)
    )


def test_csv_logger(task_of, run, tmp_path):
    logger = CSVLogger(tmp_path, name='run', version=0)
    task = run(
        task_of(CKD()),
        max_epochs=4,
        eval_every=2,
        logger=logger,
        callbacks=WatchViews(without(['image', 'text'], 'text')),
    )
    with (tmp_path / 'run' / 'version_0' / 'metrics.csv').open() as file:
        rows = list(csv.DictReader(file))
    for name in ('val_recall@20', 'val_recall@20/only(image)', 'val_ndcg@20'):
        logged = [float(row[name]) for row in rows if row.get(name)]
        expected = [entry[name] for entry in task.history]
        assert logged == pytest.approx(expected, abs=1e-6)
    losses = [float(row['loss']) for row in rows if row['loss']]
    assert len(losses) == 4, 'those of teachers are logged, too'
    assert losses[1::2] == pytest.approx(
        [entry['loss'] for entry in task.history], abs=1e-6
    )
    assert sorted(path.name for path in tmp_path.rglob('*.csv')) == [
        'metrics.csv'
    ]


def test_tensorboard_logger(task_of, run, tmp_path):
    """It holds what the student logged, and nothing of its teachers."""
    event_accumulator = pytest.importorskip(
        'tensorboard.backend.event_processing.event_accumulator'
    )
    logger = TensorBoardLogger(tmp_path, name='run')
    task = run(task_of(CKD()), logger=logger)
    (file,) = tmp_path.rglob('events*')
    events = event_accumulator.EventAccumulator(str(file))
    events.Reload()
    for name in ('loss', 'val_recall@20', 'weight_text'):
        values = [event.value for event in events.Scalars(name)]
        expected = [entry[name] for entry in task.history]
        assert values == pytest.approx(expected, rel=1e-5)


def test_default_logger(task_of, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(task_of(), max_epochs=1, logger=True)
    assert [path.name for path in tmp_path.iterdir()] == ['lightning_logs']


class Average(pl.Callback):
    """Validates the mean of all weights so far, as averaging callbacks do."""

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.copy = copy.deepcopy(pl_module.model)
        with torch.no_grad():
            pairs = self.copy.parameters(), pl_module.model.parameters()
            for mean, now in zip(*pairs, strict=True):
                mean.mul_(0.5).add_(now, alpha=0.5)

    def _swap(self, trainer, pl_module):
        mine, its = self.copy.state_dict(), pl_module.model.state_dict()
        kept = {name: value.clone() for name, value in its.items()}
        pl_module.model.load_state_dict(mine)
        self.copy.load_state_dict(kept)

    on_validation_epoch_start = on_validation_epoch_end = _swap


@pytest.mark.parametrize('balance', [None, CKD()])
def test_best_weights_are_those_that_were_evaluated(balance, task_of, run):
    task = run(task_of(balance), callbacks=[Average()])
    result = evaluate(task.model, task.data, 'val', (20,))['recall@20']
    assert result == max(entry['val_recall@20'] for entry in task.history)


@pytest.mark.parametrize('kind', ['ckd', 'freedom', 'agm'])
def test_averaging_and_copies(kind, data, run):
    class Copy(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            again = copy.deepcopy(pl_module)
            for one in (again.model, copy.deepcopy(pl_module.model)):
                one.load_state_dict(pl_module.model.state_dict())

    task = MODELS[kind](data)
    run(task, callbacks=[StochasticWeightAveraging(1e-2, 2), Copy()])
    assert all(p.isfinite().all() for p in task.parameters())
    again = copy.deepcopy(task)
    assert torch.equal(again.recommend(7)[0], task.recommend(7)[0])


def test_bar_of_lightning(task_of, run, capsys):
    """For who wants it nonetheless."""
    run(task_of(), max_epochs=1, callbacks=[TQDMProgressBar()])
    assert 'Epoch 0' in capsys.readouterr().out


# Further views ###############################################################


def test_watch_views(data, task_of, run):
    names = ['image', 'text']
    task = run(task_of(), callbacks=[WatchViews(only('text'), full(names))])
    best = max(task.history, key=lambda entry: entry['val_recall@20'])
    result = evaluate(task.model, data, 'val', (20,), view=only('text'))
    assert best['val_recall@20/only(text)'] == result['recall@20']
    assert best['val_recall@20/full'] == best['val_recall@20']


def test_monitor_of_a_watched_view(task_of, run):
    """Which teachers do not have."""
    monitor = 'val_recall@20/only(text)'
    task = run(task_of(CKD()), max_epochs=2, monitor=monitor)
    result = evaluate(task.model, task.data, 'val', (20,), view=only('text'))
    assert result['recall@20'] == max(entry[monitor] for entry in task.history)


def test_watch_views_that_are_none(task_of, run):
    with pytest.raises(ValueError, match='audio'):
        run(task_of(), callbacks=[WatchViews(only('audio'))])


# Signs of failure ############################################################


@pytest.mark.parametrize('kind', ['ckd', 'freedom'])
def test_gradient_share(kind, data, run):
    task = run(MODELS[kind](data), max_epochs=1)
    batch = next(iter(task.train_dataloader()))
    torch.manual_seed(1)
    share = gradient_share(task, batch)
    torch.manual_seed(1)
    losses = task.losses(batch)
    norms = [
        sum(g.square().sum() for g in gradients(side, task).values()).sqrt()
        for side in (losses.base, losses.added)
    ]
    assert share == pytest.approx(float(norms[1] / sum(norms)), rel=1e-4)
    assert 0 < share < 1


def test_gradient_share_without_a_balance(task_of):
    task = task_of()
    batch = next(iter(task.train_dataloader()))
    assert gradient_share(task, batch) == 0.0
    assert gradient_share(task_of(AGM()), batch) == 0.0


def test_history_holds_the_gradient_share(task_of, run):
    task = run(task_of(CKD()), max_epochs=4, eval_every=2)
    assert all(0 < entry['gradient_share'] < 1 for entry in task.history)
    assert all(
        'gradient_share' not in entry for entry in run(task_of(AGM())).history
    )


def test_strength_zero(task_of, run):
    task = run(task_of(CKD(strength=0.0)), max_epochs=1)
    assert task.history[0]['gradient_share'] == 0.0


def warned(task: Recommendation, run, **kwargs) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        run(task, **kwargs)
    return [
        str(one.message) for one in caught if str(one.message)[:5] == 'Epoch'
    ]


def test_signs_take_one_batch(task_of, run, monkeypatch):
    """Not an epoch of negatives."""
    task = run(task_of(CKD()), max_epochs=1)
    drawn = []
    draw = TripletLoader.negatives

    def spy(self, user, *generator):
        drawn.append(len(user))
        return draw(self, user, *generator)

    monkeypatch.setattr(TripletLoader, 'negatives', spy)
    run(task, max_epochs=2)
    epoch = task.data[RATES].edge_index.size(1)
    assert drawn == 2 * [epoch, task.batch_size]


def test_signs_are_warned_of_once(task_of, run):
    signs = warned(task_of(CKD(strength=1000.0)), run, max_epochs=4)
    assert sum('of the gradient' in sign for sign in signs) == 1
    assert 'Epoch 1: ' in signs[0]
    assert 'strength' in signs[0]


def test_a_gate_needs_no_advice(task_of, run):
    weak = run(task_of(CKD()), max_epochs=1).balance.teachers
    for gate, said in ((False, True), (True, False)):
        signs = warned(task_of(CKD(dict(weak), gate=gate)), run, max_epochs=8)
        assert any('gate=True' in sign for sign in signs) == said


def test_state_of_signs():
    one, other = FailureSigns(), FailureSigns()
    one._warned.append('effects')
    other.load_state_dict(one.state_dict())
    assert other.state_dict() == {'warned': ['effects']}
