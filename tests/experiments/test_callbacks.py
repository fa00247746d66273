import time

import pytest
import torch

from pyg_ckd.experiments import Method, Run, Watcher
from pyg_ckd.experiments.callbacks import Clock, Tell
from pyg_ckd.nn import VBPR
from pyg_ckd.testing import fake_graph
from pyg_ckd.train import Recommendation, SaveLast, fit

RUN = Run('shop', 'VBPR', Method(), 0)


class Notes(Watcher):
    def __init__(self, stop=99):
        self.seen = []
        self.stop = stop

    def epoch(self, run, number, values):
        assert run is RUN
        self.seen.append((number, values.get('epoch')))
        if number == self.stop:
            raise KeyboardInterrupt


@pytest.fixture(scope='module')
def data():
    return fake_graph()


def train(data, *callbacks, **kwargs):
    torch.manual_seed(0)
    task = Recommendation(VBPR.from_data(data, dim=2), data)
    kwargs = {'max_epochs': 4, 'eval_every': 2, **kwargs}
    return fit(task, progress=False, callbacks=list(callbacks), **kwargs)


def test_each_epoch_is_told(data):
    notes = Notes()
    tell = Tell(RUN, notes)
    assert not tell.began
    task = train(data, tell, max_epochs=5)
    assert tell.began
    assert notes.seen == [(1, None), (2, 2), (3, None), (4, 4), (5, None)]
    entries = [entry['epoch'] for entry in task.history]
    assert entries == [2, 4]


def test_watcher_does_nothing():
    watcher = Watcher()
    watcher.begin(RUN)
    watcher.epoch(RUN, 1, {})
    watcher.end(RUN, None)
    watcher.waiting([RUN])
    watcher.problem('no')


def test_clock(data):
    clock = Clock()
    assert clock.seconds == 0.0
    start = time.perf_counter()
    train(data, clock)
    taken = time.perf_counter() - start
    assert 0 < clock.seconds <= taken
    assert clock.seconds == clock.seconds  # it stands still
    start = time.perf_counter()
    train(data, clock)  # of this training alone
    assert 0 < clock.seconds <= time.perf_counter() - start


class Slow(Notes):
    def epoch(self, run, number, values):
        time.sleep(0.15)
        super().epoch(run, number, values)


def test_clock_goes_on_without_the_break(data, tmp_path):
    path = tmp_path / 'last.ckpt'
    clock = Clock()
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        train(data, clock, Tell(RUN, Slow(stop=3)), SaveLast(path))
    taken = time.perf_counter() - start
    time.sleep(0.5)
    notes, clock = Slow(), Clock()
    start = time.perf_counter()
    train(data, clock, Tell(RUN, notes), SaveLast(path), ckpt_path=path)
    assert [number for number, _ in notes.seen] == [3, 4]
    # Two epochs before, two after; what came after the checkpoint is lost:
    assert 0.6 <= clock.seconds <= taken + time.perf_counter() - start


def test_clock_of_a_training_that_failed(data):
    clock = Clock()
    with pytest.raises(KeyboardInterrupt):
        train(data, clock, Tell(RUN, Notes(stop=1)))
    assert clock.seconds > 0
