"""Runs are trained once, resumed to the last bit, and fail alone."""

import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from copy import deepcopy
from dataclasses import replace
from functools import partial
from itertools import count

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.transforms import BaseTransform

from pyg_ckd.balance import Teacher
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.experiments import (
    BACKBONES,
    METHODS,
    Experiment,
    Method,
    Settings,
    Store,
    Watcher,
)
from pyg_ckd.experiments.backbones import BASELINES
from pyg_ckd.experiments.experiment import metrics_of
from pyg_ckd.experiments.method import OFF
from pyg_ckd.graph import RATES
from pyg_ckd.nn import VBPR, Recommender
from pyg_ckd.ranking import Ranking, evaluate
from pyg_ckd.serving import load
from pyg_ckd.testing import PlainRecommender
from pyg_ckd.views import only

pytestmark = pytest.mark.filterwarnings('ignore:Epoch')

BASE, CKD = METHODS['base'], METHODS['ckd']
QUICK = {
    'VBPR': {
        'model': {'dim': 4},
        'train': {'lr': 0.05, 'batch_size': 64},
        'fit': {'eval_every': 1},
    }
}


def graph_of(names=('image', 'text'), pre_transform=None, seed=0):
    return FakeMultimodal(
        num_users=40,
        num_items=50,
        num_interactions=8,
        num_channels=5,
        taste=dict.fromkeys(names, 1.0),
        noise=dict.fromkeys(names, 0.5),
        seed=seed,
        pre_transform=pre_transform,
    )[0]


def shop(pre_transform):
    return graph_of(pre_transform=pre_transform)


class Notes(Watcher):
    """Notes what it is told, and stops a run if it is asked to."""

    def __init__(self, stop=None):
        self.stop = stop
        self.begun, self.epochs, self.ended = [], [], []
        self.problems, self.waits = [], 0

    def begin(self, run):
        self.begun.append(str(run))

    def epoch(self, run, number, values):
        self.epochs.append(number)
        if number == self.stop:
            raise KeyboardInterrupt

    def end(self, run, result):
        self.ended.append((str(run), result.error))

    def waiting(self, runs):
        self.waits += 1

    def problem(self, message):
        self.problems.append(message)


@pytest.fixture
def make(tmp_path):
    """Makes experiments on one folder."""

    def make(open=shop, tables=QUICK, folder='results', **kwargs):
        kwargs = {'max_epochs': 4, 'device': 'cpu', **kwargs}
        settings = Settings({'shop': tables})
        return Experiment(
            'shop', open, settings, Store(tmp_path / folder), **kwargs
        )

    return make


def names_of(runs):
    return [str(run) for run in runs]


def assert_same(one, other):
    """Compare results to the last bit, but for time and place."""
    plain = {'seconds': 0.0, 'environment': {}}
    assert replace(one, **plain) == replace(other, **plain)
    for kind in ('users', 'hits'):
        found, expected = getattr(one, kind), getattr(other, kind)
        assert found.keys() == expected.keys()
        for name in expected:
            left, right = found[name], expected[name]
            torch.testing.assert_close(
                left, right, rtol=0, atol=0, equal_nan=True
            )


def teacher_of(experiment, result):
    return Teacher.load(experiment.store.embeddings(result.run.key))


# Plan ########################################################################


def test_teachers_come_first(make):
    experiment = make()
    runs = experiment.plan(['VBPR'], [CKD, BASE, METHODS['ensemble']], [0, 1])
    assert names_of(runs) == [
        'VBPR image alone 0',
        'VBPR text alone 0',
        'VBPR CKD 0',
        'VBPR base 0',
        'VBPR ensemble 0',
        'VBPR image alone 1',
        'VBPR text alone 1',
        'VBPR CKD 1',
        'VBPR base 1',
        'VBPR ensemble 1',
    ]
    keys = {run.key for run in runs}
    assert len(keys) == len(runs)
    for run in runs:
        expected = [t.key for t in experiment.needs(run)]
        assert list(run.teachers) == expected
    assert experiment.plan(iter(['VBPR']), iter([BASE]), iter([0])) == runs[3:4]
    assert experiment.plan([], [BASE], [0]) == []


def test_who_teaches(make):
    experiment = make()

    def needs(method):
        run = experiment.planned('VBPR', method, 0)
        return names_of(experiment.needs(run))

    own = ['VBPR image alone 0', 'VBPR text alone 0']
    assert needs(BASE) == []
    assert needs(METHODS['agm']) == []
    assert needs(Method('teacher', modality='text')) == []
    assert needs(CKD) == needs(METHODS['umt']) == own
    assert needs(METHODS['ensemble']) == own
    assert needs(METHODS['self-distilled']) == ['VBPR base 0']
    assert needs(METHODS['born-again']) == ['VBPR base 0']
    assert needs(Method.student('CKD', teachers='ensemble')) == own
    assert needs(Method.student('CKD', teachers='LightGCN')) == [
        *own,
        'LightGCN image alone 0',
        'LightGCN text alone 0',
    ]
    softmax = Method.student('CKD', objective='Softmax', teachers='base')
    assert needs(softmax) == ['VBPR base, softmax 0']
    assert needs(Method('ensemble', objective='Softmax')) == [
        'VBPR image alone, softmax 0',
        'VBPR text alone, softmax 0',
    ]


def test_baselines_have_a_base_alone(make):
    runs = make().plan(BASELINES, METHODS.values(), [0])
    assert names_of(runs) == [f'{name} base 0' for name in BASELINES]


def test_each_run_once(make):
    experiment = make()
    runs = experiment.plan(['VBPR', 'VBPR'], [CKD, CKD, BASE, BASE], [0, 0])
    assert len(runs) == len(set(names_of(runs))) == 4
    ours = Method.student('CKD', name='ours')
    runs = experiment.plan(['VBPR'], [CKD, ours], [0])
    assert names_of(runs)[2:] == ['VBPR CKD 0', 'VBPR ours 0']
    assert runs[2].key == runs[3].key


@pytest.mark.parametrize(
    ('backbone', 'method', 'message'),
    [
        ('NoModel', BASE, "'NoModel' is no backbone; there are .*VBPR"),
        ('VBPR', Method.student('CKD', teachers='GPT'), "'GPT' is no backb"),
        (
            'VBPR',
            Method.student('CKD', teachers='Popularty'),
            "'Popularty' is no backbone; there are",
        ),
        (
            'VBPR',
            Method('teacher', modality='smell'),
            "'smell' is no modality of 'shop'; there are image, text",
        ),
        ('VBPR', Method(changes={'model': {'dmi': 1}}), "no argument 'dmi'"),
    ],
)
def test_plans_that_cannot_be(backbone, method, message, make):
    with pytest.raises(ValueError, match=message):
        make().plan([backbone], [method], [0])


@pytest.mark.parametrize('split', ['val', 'test'])
def test_missing_split(split, make):
    def open(pre_transform):
        data = shop(pre_transform)
        del data[RATES][f'{split}_edge_label_index']
        return data

    with pytest.raises(ValueError, match=f'{split}_edge_label_index'):
        make(open).plan(['VBPR'], [BASE], [0])
    if split == 'test':
        experiment = make(open, test=False)
        assert 'no test interactions' in ' '.join(experiment.about())
        (result,) = experiment.run(experiment.plan(['VBPR'], [BASE], [0]))
        assert result.error == ''
        assert (result.test, result.users, result.hits) == ({}, {}, {})
        assert result.val['recall@20'] > 0


def test_what_is_no_graph(make):
    with pytest.raises(TypeError, match="'HeteroData'"):
        make(lambda pre_transform: [1]).plan(['VBPR'], [BASE], [0])


# Keys ########################################################################


def keys_of(experiment, *args):
    return [run.key for run in experiment.plan(*args)]


def test_key_depends_on_teachers_of_another_backbone(make):
    taught = Method.student('CKD', teachers='FREEDOM')
    asked = ['VBPR'], [BASE, taught], [0]
    *_, before = keys_of(make(), *asked)
    base = keys_of(make(), ['VBPR'], [BASE], [0])
    tables = {**QUICK, 'FREEDOM': {'model': {'prune': 0.5}}}
    *_, after = keys_of(make(tables=tables), *asked)
    assert after != before
    assert keys_of(make(tables=tables), ['VBPR'], [BASE], [0]) == base
    written_out = {**QUICK, 'FREEDOM': {'model': {'prune': 0.8}}}
    assert keys_of(make(tables=written_out), *asked)[-1] == before


def test_key_depends_on_each_part_of_the_data(make):
    def opened(change):
        def open(pre_transform):
            data = shop(pre_transform)
            change(data)
            return data

        return open

    def swap(data):
        rates = data[RATES]
        val, test = rates.val_edge_label_index, rates.test_edge_label_index
        rates.val_edge_label_index, rates.test_edge_label_index = test, val

    def edit(place, name):
        def change(data):
            value = data[place][name] = data[place][name].clone()
            if value.is_floating_point():
                value[3, 2] += 1
            else:
                # Free in all splits: what nobody has picked
                taken = torch.cat(
                    [data[RATES][n] for n in data[RATES] if 'index' in n], 1
                )
                items = set(taken[1, taken[0] == value[0, 0]].tolist())
                value[1, 0] = next(i for i in range(50) if i not in items)
            if name == 'edge_index':
                del data['item', 'rated_by', 'user']

        return change

    changes = [
        lambda data: None,
        swap,
        edit('item', 'x_text'),
        edit(RATES, 'edge_index'),
        edit(RATES, 'val_edge_label_index'),
        edit(RATES, 'test_edge_label_index'),
    ]
    keys = [
        keys_of(make(opened(change)), ['VBPR'], [BASE], [0])[0]
        for change in changes
    ]
    assert len(set(keys)) == len(changes)
    assert keys[0] == keys_of(make(), ['VBPR'], [BASE], [0])[0]


def test_keys_of_methods_and_limits(make):
    methods = list(METHODS.values())
    methods += [
        Method(objective='Softmax'),
        Method(objective='CosineSoftmax'),
        Method('ensemble', objective='Softmax'),
        Method.student('CKD', teachers='ensemble'),
        Method.student('UMT', teachers='base'),
    ]
    runs = make().plan(['VBPR'], methods, [0, 1])
    assert len({run.key for run in runs}) == len(runs)
    for run in runs:  # what it is made of says all there is to say
        assert (run.settings == {}) == (run.method.kind == 'ensemble')
    other = make(max_epochs=5).plan(['VBPR'], methods, [0, 1])
    assert not {run.key for run in runs} & {run.key for run in other}
    for kwargs in (dict(device='auto'), dict(test=False)):
        assert make(**kwargs).plan(['VBPR'], methods, [0, 1]) == runs


def test_softmax_of_the_base_is_not_that_of_cosines(make):
    tables = {'VBPR': {'Softmax': {'tau': 0.2}, 'CosineSoftmax': {'tau': 0.2}}}
    methods = [Method(objective=o) for o in ('Softmax', 'CosineSoftmax')]
    one, other = keys_of(make(tables=tables), ['VBPR'], methods, [0])
    assert one != other


# Runs ########################################################################


@pytest.fixture(scope='module')
def everything(tmp_path_factory):
    """VBPR by all methods, for one epoch."""
    store = Store(tmp_path_factory.mktemp('everything'))
    settings = Settings({'shop': QUICK})
    experiment = Experiment(
        'shop', shop, settings, store, max_epochs=1, device='cpu'
    )
    methods = [
        *METHODS.values(),
        Method(objective='CosineSoftmax'),
        Method.student('CKD', objective='CosineSoftmax'),
        Method.student('CKD', teachers='ensemble'),
        Method.student('UMT', teachers='LightGCN'),
    ]
    runs = experiment.plan(['VBPR'], methods, [0])
    notes = Notes()
    results = experiment.run(runs, notes)
    return experiment, runs, notes, results


def test_every_method_runs(everything):
    experiment, runs, notes, results = everything
    assert notes.ended == [(name, '') for name in notes.begun]
    assert notes.problems == []
    assert [r.run for r in results] == runs
    assert len(runs) == 30
    for result in results:
        assert result.epochs == (result.run.method.kind != 'ensemble')
        assert result.tested == result.test[result.trained_view]
        assert 0 < result.tested['recall@20'] < 1
        assert result.environment['device'] == 'cpu'
        is_teacher = result.run.method.kind == 'teacher'
        views = {'full', 'only(image)', 'only(text)'}
        expected = {result.trained_view} if is_teacher else views
        assert result.test.keys() == expected
        torch.testing.assert_close(
            result.users['recall@20'].mean(),
            torch.tensor(result.tested['recall@20']),
        )
        assert len(result.users['user']) == 40
        known = ['recall@20', 'tail_recall@20', 'coverage@20', 'novelty@20']
        for metrics in result.test.values():
            assert all(metrics[name] >= 0 for name in known)
        found = result.users['tail_recall@20'].double().nanmean()
        assert result.tested['tail_recall@20'] == pytest.approx(float(found))
        assert len(result.hits['hit@20']) == 40
        for entry in result.history:
            assert entry['val_recall@20'] == result.val['recall@20']
        trained = result.run.method.kind in ('base', 'student')
        assert bool(result.knocked_out) == trained
        if trained:
            (entry,) = result.history
            assert 'val_recall@20/only(text)' in entry
    assert list((experiment.store.folder / 'running').iterdir()) == []


def test_embeddings_are_those_of_the_trained_view(everything):
    experiment, _, _, results = everything
    data = experiment.data()
    for result in results:
        teacher = teacher_of(experiment, result)
        assert teacher.settings['key'] == result.run.key
        found = teacher.evaluate(data, split='test', ks=(20,))
        assert found['recall@20'] == pytest.approx(
            result.tested['recall@20'], abs=1e-6
        )
        val = teacher.evaluate(data, split='val', ks=(20,))
        assert val['recall@20'] == pytest.approx(
            result.val['recall@20'], abs=1e-6
        )


def test_second_time_nothing_is_trained(everything):
    experiment, runs, _, results = everything
    for retry in (False, True):
        notes = Notes()
        again = experiment.run(runs, notes, retry=retry)
        assert (notes.begun, notes.problems, notes.waits) == ([], [], 0)
        assert [r.run for r in again] == runs
        for one, other in zip(again, results, strict=True):
            assert_same(one, other)
    other = Experiment(
        'shop',
        shop,
        experiment.settings,
        Store(experiment.store.folder),
        max_epochs=1,
    )
    notes = Notes()
    other.run(runs, notes)
    assert notes.begun == []


def test_models_are_saved_where_they_are_wanted(make):
    experiment = make()
    methods = [BASE, METHODS['teachers'], CKD, METHODS['ensemble']]
    runs = experiment.plan(['VBPR'], methods, seeds=[0])
    before = experiment.run(runs)
    assert not (experiment.store.folder / 'models').exists()
    experiment.save = True
    notes = Notes()
    after = experiment.run(runs, notes)
    assert notes.begun == ['VBPR base 0', 'VBPR CKD 0']
    for one, other in zip(after, before, strict=True):
        assert_same(one, other)
    folder = experiment.store.folder / 'models'
    assert len(list(folder.iterdir())) == 2
    for result in after:
        if result.run.method in (BASE, CKD):
            served = load(experiment.store.model(result.run.key))
            teacher = teacher_of(experiment, result)
            assert torch.equal(served.embeddings()[0], teacher.user)
    notes = Notes()
    experiment.run(runs, notes)
    assert notes.begun == []


def test_what_a_killed_process_left_is_removed(make):
    experiment = make()
    runs = experiment.plan(['VBPR'], [BASE], [0])
    experiment.run(runs)
    store, key = experiment.store, runs[0].key
    with store.claim(key):
        store.checkpoint(key).write_bytes(b'left')
        experiment.run(runs)
        assert store.checkpoint(key).exists()  # of who is at work on it
    experiment.run(runs)
    assert list(store.checkpoint(key).parent.iterdir()) == []


def test_teachers_are_what_they_teach(everything):
    experiment, _, _, results = everything
    by_name = {str(r.run): r for r in results}

    def taught(name):
        return experiment.teachers(by_name[name].run)

    def embeddings(name):
        return teacher_of(experiment, by_name[name])

    assert taught('VBPR base 0') == {}
    text, image = only('text'), only('image')
    own = taught('VBPR CKD 0')
    assert own.keys() == {text, image}
    assert torch.equal(own[text].user, embeddings('VBPR text alone 0').user)
    base = embeddings('VBPR base 0')
    for name in ('VBPR CKD, self-distilled 0', 'VBPR born again 0'):
        for teacher in taught(name).values():
            assert torch.equal(teacher.item, base.item)
    assert taught('VBPR born again 0').keys() == {text | image}
    assert taught('VBPR CKD, self-distilled 0').keys() == {text, image}
    others = taught('VBPR UMT taught by LightGCN 0')
    foreign = embeddings('LightGCN text alone 0')
    assert torch.equal(others[text].item, foreign.item)
    for name in ('UMT taught by LightGCN', 'CKD taught by ensemble'):
        found = taught(f'VBPR {name} 0')
        for keep, teacher in found.items():
            assert teacher.spread == pytest.approx(own[keep].spread, rel=1e-4)
    # Each has the same weight in an ensemble, however large its scores:
    expected = sum(t.user @ t.item.t() / t.spread for t in own.values())
    for teacher in (
        taught('VBPR CKD taught by ensemble 0')[text],
        embeddings('VBPR ensemble 0'),
    ):
        found = teacher.user @ teacher.item.t()
        scale = expected.norm() / found.norm()
        torch.testing.assert_close(found * scale, expected)


@pytest.mark.parametrize('name', BACKBONES)
def test_every_backbone_runs(name, make):
    experiment = make(tables={}, max_epochs=1)
    runs = experiment.plan([name], [BASE, CKD], [0])
    assert len(runs) == (1 if name in BASELINES else 4)
    for result in experiment.run(runs):
        assert result.error == ''
        assert result.tested['recall@20'] > 0
        has_views = (
            name not in BASELINES and result.run.method.kind != 'teacher'
        )
        assert bool(result.knocked_out) == has_views


def test_own_loss(make):
    tables = {'BM3': {'fit': {'eval_every': 1}}}
    losses = []
    for extra in ({}, {'BPR': {}}):
        experiment = make(tables={'BM3': {**tables['BM3'], **extra}})
        (result,) = experiment.run(experiment.plan(['BM3'], [BASE], [0]))
        losses.append([entry['loss'] for entry in result.history])
    assert losses[0] != losses[1]


def test_names_of_equal_runs(make):
    ours = Method.student('AGM', name='ours')
    experiment, notes = make(), Notes()
    runs = experiment.plan(['VBPR'], [METHODS['agm'], ours], [0])
    results = experiment.run(runs, notes)
    assert len(notes.begun) == 1
    assert names_of(r.run for r in results) == ['VBPR AGM 0', 'VBPR ours 0']
    assert_same(replace(results[0], run=runs[1]), results[1])
    third = experiment.plan(['VBPR'], [replace(ours, name='theirs')], [0])
    (result,) = make().run(third, notes)
    assert str(result.run) == 'VBPR theirs 0'
    assert len(notes.begun) == 1


def test_runs_in_any_order(make):
    experiment = make(max_epochs=1)
    runs = experiment.plan(['VBPR'], [CKD, BASE], [0])
    results = experiment.run(runs[::-1])
    assert [r.run for r in results] == runs[::-1]
    assert all(not r.error for r in results)


# Random numbers, evaluations #################################################


def test_random_state_is_of_no_influence_and_stays(make):
    results = []
    for seed, folder in ((1, 'one'), (2, 'other')):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        experiment = make(folder=folder)
        runs = experiment.plan(['VBPR'], [BASE, CKD], [0])
        results.append(experiment.run(runs))
        assert torch.equal(torch.get_rng_state(), before)
    for one, other in zip(*results, strict=True):
        assert_same(one, other)


def test_seeds_differ(make):
    experiment = make()
    one, other = experiment.run(experiment.plan(['VBPR'], [BASE], [0, 1]))
    assert one.history != other.history


@pytest.mark.parametrize('method', [BASE, CKD], ids=str)
def test_evaluation_does_not_change_training(method, make):
    found = {}
    for every in (1, 2, 4):
        tables = {'VBPR': {**QUICK['VBPR'], 'fit': {'eval_every': every}}}
        experiment = make(tables=tables)
        *_, result = experiment.run(experiment.plan(['VBPR'], [method], [0]))
        assert [e['epoch'] for e in result.history] == list(
            range(every, 5, every)
        )
        found[every] = {entry['epoch']: entry for entry in result.history}
    assert found[1][4] == found[2][4] == found[4][4]
    assert found[1][2] == found[2][2]


def test_runs_that_are_not_tested(make):
    experiment = make(test=False)
    runs = experiment.plan(['VBPR'], [BASE, CKD], [0])
    for result in experiment.run(runs):
        assert result.val['recall@20'] > 0
        for empty in ('test', 'users', 'hits', 'knocked_out'):
            assert getattr(result, empty) == {}
    notes = Notes()
    make(test=False).run(runs, notes)
    assert notes.begun == []
    # They are not done for who wants them tested:
    results = make().run(runs, notes)
    assert notes.begun == names_of(runs)
    assert all(result.tested for result in results)
    make(test=False).run(runs, notes)
    assert len(notes.begun) == len(runs)


def test_what_is_the_metric_of_no_user_is_not_kept():
    # The single held-out item is the head of five:
    popularity = torch.tensor([9, 1, 1, 1, 1])
    ranking = Ranking(
        user=torch.tensor([3]),
        item=torch.tensor([[*range(5), *[-1] * 15]]),
        label=torch.tensor([[0], [0]]),
        num_items=5,
        popularity=popularity,
        activity=torch.tensor([1]),
    )
    found = metrics_of(ranking)
    assert 'tail_recall@20' not in found
    assert found['recall@20'] == 1.0
    assert found['coverage@20'] == 1.0
    ranking = replace(ranking, label=torch.tensor([[0], [4]]))
    assert metrics_of(ranking)['tail_recall@20'] == 1.0


# Data ########################################################################


@pytest.mark.parametrize('names', [(), ('text',)])
def test_fewer_than_two_modalities(names, make):
    experiment = make(
        lambda transform: graph_of(names, transform), max_epochs=1
    )
    asked = ['VBPR', 'LightGCN-ID', 'Popularity']
    runs = experiment.plan(asked, METHODS.values(), [0])
    bases = ['base', 'base, item bias', 'base, NLGCL']
    assert names_of(runs) == [
        *(f'VBPR {base} 0' for base in bases),
        'LightGCN-ID base 0',
        'Popularity base 0',
    ]
    for result in experiment.run(runs):
        assert result.error == ''
        assert result.tested['recall@20'] > 0
    shown = 'text 5-d' if names else 'no features'
    assert f'; {shown} (fingerprint' in experiment.about()[0]


def test_three_modalities(make):
    experiment = make(
        lambda transform: graph_of(('a', 'b', 'c'), transform), max_epochs=1
    )
    runs = experiment.plan(['VBPR'], [CKD, METHODS['ensemble']], [0])
    assert names_of(runs)[:3] == [f'VBPR {m} alone 0' for m in 'abc']
    results = experiment.run(runs)
    assert [r.error for r in results] == [''] * 5
    assert len(results[3].test) == 7
    assert {len(r.test) for r in results[:3]} == {1}


def test_each_graph_is_opened_once(make):
    opened = []

    def open(pre_transform):
        opened.append(repr(pre_transform))
        return shop(pre_transform)

    experiment = make(open, tables={}, max_epochs=1)
    asked = ['VBPR', 'BPRMF', 'LightGCN', 'LightGCN-ID', 'FREEDOM']
    experiment.run(experiment.plan(asked, [BASE], [0, 1]))
    assert len(opened) == len(set(opened)) == 3


class Weighted(BaseTransform):
    """Its name does not tell what it does."""

    def __init__(self, weight, how=None):
        self.weight, self.how = weight, how

    def forward(self, data):
        data['item'].x_text = data['item'].x_text * self.weight
        return data


def test_graphs_of_transforms_that_look_alike(make):
    class One(VBPR):
        pre_transform = Weighted(1.0)

    class Same(VBPR):
        pre_transform = Weighted(1.0)

    class Two(VBPR):
        pre_transform = Weighted(2.0)

    class Unknown(VBPR):
        pre_transform = Weighted(3.0, how=lambda x: x)

    own = {c.__name__: c for c in (One, Same, Two, Unknown)}
    experiment = make(backbones=own)
    runs = {name: experiment.planned(name, BASE, 0) for name in own}
    data = {name: experiment.data(run) for name, run in runs.items()}
    sums = {name: each['item'].x_text.sum() for name, each in data.items()}
    assert sums['Two'] == 2 * sums['One']
    assert sums['Unknown'] == pytest.approx(3 * sums['One'])
    assert data['Same'] is data['One']
    assert experiment.data(runs['Unknown']) is data['Unknown']


def test_about(make):
    data, protocol = make().about()
    assert data.startswith(
        'Data: shop, 40 users, 50 items, 240 training, 40 validation and 40 '
        'test interactions; image 5-d, text 5-d (fingerprint '
    )
    assert 'tested once' in protocol


# Own backbones ###############################################################


class Foreign(nn.Module):
    """It is made for whoever trains it, and knows nothing of views."""

    def __init__(self, data, dim=4):
        super().__init__()
        self.user = nn.Embedding(data['user'].num_nodes, dim)
        self.words = nn.Linear(data['item'].x_text.size(1), dim)
        self.pixels = nn.Linear(data['item'].x_image.size(1), dim)

    def forward(self, data):
        item = data['item']
        return self.user.weight, self.words(item.x_text) + self.pixels(
            item.x_image
        )


class Fixed(Recommender):
    """It has nothing to train."""

    def __init__(self, data, power=1.0):
        super().__init__()
        count = data[RATES].edge_index[1].bincount(minlength=50)
        self.register_buffer('count', count.unsqueeze(1) ** power)

    def forward(self, data):
        return torch.ones(40, 1), self.count


def broken(data):
    raise RuntimeError('it is broken')


OWN = {
    'Foreign': Foreign,
    'Plain': lambda data, dim=3: PlainRecommender(data, dim),
    'Fixed': Fixed,
    'Broken': broken,
    'VBPR': VBPR,
}


def test_own_backbones(make):
    names = {'image': ['pixels'], 'text': ['words']}
    tables = {'Foreign': {'OGMGE': {'parameters': names}}}
    experiment = make(backbones=OWN, max_epochs=2, tables=tables)
    runs = [
        *experiment.plan(['Foreign'], [BASE, CKD, METHODS['ogm-ge']], [0]),
        *experiment.plan(['Plain'], [BASE, CKD], [0]),
    ]
    for result in experiment.run(runs):
        assert (str(result.run), result.error) == (str(result.run), '')
        assert result.epochs == 2
        assert result.run.settings['model']['dim'] in (3, 4)
    with pytest.raises(ValueError, match='no backbone; there are Foreign, Pl'):
        experiment.plan(['LightGCN'], [BASE], [0])


def key_of(make, maker):
    experiment = make(backbones={'Mine': maker})
    return experiment.planned('Mine', BASE, 0).key


def test_own_backbones_are_known_by_more_than_their_name(make):
    def of_width(width):
        return lambda data: PlainRecommender(data, width)

    class Wider(VBPR):
        def forward(self, data):
            user, item = super().forward(data)
            return 2 * user, item

    class Held:
        def __init__(self, width):
            self.width = width

        def __call__(self, data):
            return PlainRecommender(data, self.width)

    def of_values(values):
        return lambda data: PlainRecommender(data, len(values))

    def listed(data, sizes=(3,)):
        return PlainRecommender(data, sizes[0])

    def listed_otherwise(data, sizes=(4,)):
        return PlainRecommender(data, sizes[0])

    makers = [
        of_width(3),
        of_width(4),
        partial(PlainRecommender, dim=3),
        partial(PlainRecommender, dim=4),
        Held(3),
        Held(4),
        of_values(torch.zeros(3)),
        of_values(torch.ones(3)),
        of_values(np.zeros(3)),
        of_values({'a', 'b', 'c'}),
        listed,
        listed_otherwise,
        Foreign,
        Wider,
        VBPR,
    ]
    keys = [key_of(make, maker) for maker in makers]
    assert len(set(keys)) == len(makers)
    again = [of_width(3), of_width(4), partial(PlainRecommender, dim=3)]
    assert [key_of(make, maker) for maker in again] == keys[:3]
    turned = of_values({'c', 'a', 'b'})
    assert key_of(make, turned) == keys[makers.index(listed) - 1]
    assert 'maker' not in make().planned('VBPR', BASE, 0).settings


def test_a_maker_of_one_module_shares_no_weights(make):
    module = VBPR.from_data(shop(None), dim=2)
    own = {'Mine': lambda data: module}
    experiment = make(backbones=own, max_epochs=1)
    before = deepcopy(module.state_dict())
    second = experiment.run(experiment.plan(['Mine'], [BASE], [0, 1]))[1]
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    other = make(backbones=own, max_epochs=1, folder='other')
    (alone,) = other.run(other.plan(['Mine'], [BASE], [1]))
    assert_same(alone, second)


def test_every_generator_is_seeded_and_kept(make):
    class Drawn(PlainRecommender):
        def __init__(self, data):
            super().__init__(data, 3)
            with torch.no_grad():
                self.user.weight.mul_(np.random.rand() + random.random())

    results = []
    for folder in ('one', 'other'):
        np.random.seed(7), random.seed(7)
        experiment = make(backbones={'Mine': Drawn}, folder=folder)
        results += experiment.run(experiment.plan(['Mine'], [BASE], [0]))
        drawn = np.random.rand(), random.random()
        np.random.seed(7), random.seed(7)
        assert drawn == (np.random.rand(), random.random())
        np.random.rand(), random.random()
    assert_same(*results)


def test_data_that_changes_is_refused(make):
    seeds = count()

    def other_each_time(pre_transform):
        return graph_of(pre_transform=pre_transform, seed=next(seeds))

    experiment = make(open=other_each_time, max_epochs=1)
    runs = experiment.plan(['VBPR', 'FREEDOM'], [BASE], [0])
    errors = [result.error for result in experiment.run(runs)]
    assert errors[0] == ''
    assert "'open' gave other data for 'FREEDOM' than before" in errors[1]


@pytest.mark.parametrize('what', ['order', 'mask', 'relation', 'user'])
def test_each_tensor_of_the_graph_counts(what, make):
    def other(pre_transform):
        data = graph_of(pre_transform=pre_transform)
        if what == 'order':
            names = data['item'].x_image, data['item'].x_text
            del data['item'].x_image, data['item'].x_text
            data['item'].x_text, data['item'].x_image = names[::-1]
        elif what == 'mask':
            data['item'].has_text = torch.arange(50) != 3
        elif what == 'relation':
            data['item', 'like', 'item'].edge_index = torch.tensor([[0], [1]])
        else:
            data['user'].age = torch.arange(40)
        return data

    keys = {
        make(open=each).planned('VBPR', BASE, 0).key
        for each in (graph_of_none, other, other)
    }
    assert len(keys) == 2


def graph_of_none(pre_transform):
    return graph_of(pre_transform=pre_transform)


@pytest.mark.parametrize('balance', sorted(OFF))
def test_a_balance_that_is_off_is_the_base(balance, make):
    tables = {'FREEDOM': {'fit': {'eval_every': 1}, 'model': {'dim': 4}}}
    experiment = make(tables=tables, max_epochs=3)
    off = Method.student(balance, changes={balance: OFF[balance]})
    runs = experiment.plan(['FREEDOM'], [BASE, off], [0])
    results = experiment.run(runs)
    base, student = results[0], results[-1]
    assert student.run.method.balance == balance
    key = 'val_ndcg@20'
    assert [x[key] for x in base.history] == [x[key] for x in student.history]
    assert base.test == student.test


def test_ids_alone_have_no_modality(make):
    experiment = make(tables={}, max_epochs=2)
    runs = experiment.plan(['LightGCN-ID', 'LightGCN'], [BASE], [0])
    assert runs[0].settings['model']['use'] == []
    alone, all_of_them = experiment.run(runs)
    assert len({str(view) for view in alone.test.values()}) == 1
    assert alone.test['full'] != all_of_them.test['full']


def test_training_without_an_evaluation_fails(make):
    tables = {'VBPR': {'fit': {'max_steps': 1}}}
    experiment = make(tables=tables)
    (result,) = experiment.run(experiment.plan(['VBPR'], [BASE], [0]))
    assert 'ended before its first evaluation' in result.error
    assert result.environment['date']


@pytest.mark.parametrize('harm', ['half', 'other'])
def test_teachers_of_no_use(harm, make):
    experiment = make(max_epochs=1)
    teachers = experiment.plan(['VBPR'], [METHODS['teachers']], [0])
    experiment.run(teachers)
    paths = [experiment.store.embeddings(run.key) for run in teachers]
    whole = paths[0].read_bytes()
    paths[1].write_bytes(whole[:100] if harm == 'half' else whole)
    runs = experiment.plan(['VBPR'], [CKD], [0])
    result = experiment.run(runs)[-1]
    assert str(paths[1]) in result.error
    if harm == 'other':
        assert 'is of another run' in result.error
        paths[1].unlink()
    assert [r.error for r in experiment.run(runs, retry=True)] == [''] * 3


def test_teachers_watch_what_they_have(make):
    tables = {'VBPR': {'fit': {'monitor': 'val_recall@20/only(text)'}}}
    experiment = make(tables=tables, max_epochs=1)
    results = experiment.run(experiment.plan(['VBPR'], [CKD, BASE], [0]))
    assert [result.error for result in results] == [''] * 4


def test_nothing_to_train(make):
    experiment = make(backbones=OWN, tables={'Fixed': {'model': {'power': 2}}})
    (result,) = experiment.run(experiment.plan(['Fixed'], [BASE], [0]))
    assert (result.error, result.epochs, result.seconds) == ('', 0, 0.0)
    assert [entry['epoch'] for entry in result.history] == [0]
    assert not result.cut_short
    data = shop(None)
    expected = evaluate(Fixed(data), data, 'test')
    assert result.tested['recall@20'] == pytest.approx(expected['recall@20'])


# Interrupted #################################################################


@pytest.mark.parametrize('name', ['VBPR', 'FREEDOM'])
@pytest.mark.parametrize('method', [BASE, CKD, METHODS['agm']], ids=str)
def test_resumed_to_the_last_bit(method, name, make):
    tables = {name: {**QUICK['VBPR'], 'fit': {'eval_every': 2}}}
    whole = make(tables=tables, folder='whole', max_epochs=6)
    runs = whole.plan([name], [method], [0])
    expected = whole.run(runs)

    experiment = make(tables=tables, max_epochs=6)
    assert experiment.plan([name], [method], [0]) == runs
    stopped = Notes(stop=5)
    for run in runs:
        with pytest.raises(KeyboardInterrupt):
            experiment.run(runs, stopped)
        with experiment.store.claim(run.key) as claimed:
            assert claimed
        assert experiment.store.get(run.key) is None
        assert experiment.store.checkpoint(run.key).exists()
        notes = Notes(stop=5 if run is not runs[-1] else None)
        before = len(stopped.begun)
        torch.manual_seed(99)
        # The run goes on, and the next one is stopped in turn:
        if run is runs[-1]:
            results = make(tables=tables, max_epochs=6).run(runs, notes)
            assert notes.epochs[:2] == [5, 6]
        else:
            notes = Notes()
            make(tables=tables, max_epochs=6).run([run], notes)
            assert notes.epochs == [5, 6]
        assert len(stopped.begun) == before
        assert notes.problems == []
        assert not experiment.store.checkpoint(run.key).exists()
    for one, other in zip(results, expected, strict=True):
        assert_same(one, other)
        found, whole_one = teacher_of(experiment, one), teacher_of(whole, other)
        assert torch.equal(found.user, whole_one.user)
        assert torch.equal(found.item, whole_one.item)


def test_seconds_add_up(make):
    class Slow(Notes):
        def epoch(self, run, number, values):
            time.sleep(0.3)
            super().epoch(run, number, values)

    experiment = make()
    runs = experiment.plan(['VBPR'], [BASE], [0])
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        experiment.run(runs, Slow(stop=3))
    trained = time.perf_counter() - start
    time.sleep(1.5)  # which is no training
    start = time.perf_counter()
    (result,) = experiment.run(runs, Notes())
    trained += time.perf_counter() - start
    assert 0.6 <= result.seconds <= trained


@pytest.mark.parametrize('damage', ['empty', 'garbage', 'cut', 'other'])
def test_damaged_checkpoint(damage, make):
    whole = make(folder='whole')
    runs = whole.plan(['VBPR'], [BASE], [0])
    (expected,) = whole.run(runs)
    experiment = make()
    with pytest.raises(KeyboardInterrupt):
        experiment.run(runs, Notes(stop=3))
    path = experiment.store.checkpoint(runs[0].key)
    content = path.read_bytes()
    if damage == 'other':
        other = make(tables={'VBPR': {'fit': {'eval_every': 1}}})
        ours = other.plan(['VBPR'], [BASE], [0])
        with pytest.raises(KeyboardInterrupt):
            other.run(ours, Notes(stop=3))
        content = other.store.checkpoint(ours[0].key).read_bytes()
    path.write_bytes(
        {
            'empty': b'',
            'garbage': b'no checkpoint',
            'cut': content[: len(content) // 2],
            'other': content,
        }[damage]
    )
    notes = Notes()
    (result,) = experiment.run(runs, notes)
    (problem,) = notes.problems
    assert problem.startswith("'VBPR base 0' begins anew, as it could not")
    assert str(path) in problem
    assert notes.epochs == [1, 2, 3, 4]
    assert not path.exists()
    assert_same(result, expected)


class Fragile(VBPR):
    """Fails in training once it is told to."""

    fails = False

    def forward(self, data):
        if self.fails and self.training:
            raise RuntimeError('it is broken')
        return super().forward(data)

    def views(self, *args, **kwargs):
        if self.fails and self.training:
            raise RuntimeError('it is broken')
        return super().views(*args, **kwargs)


def test_failure_after_going_on_is_no_reason_to_begin_anew(make, monkeypatch):
    tables = {'Fragile': QUICK['VBPR']}
    experiment = make(tables=tables, backbones={'Fragile': Fragile})
    runs = experiment.plan(['Fragile'], [BASE], [0])
    with pytest.raises(KeyboardInterrupt):
        experiment.run(runs, Notes(stop=3))
    monkeypatch.setattr(Fragile, 'fails', True)
    notes = Notes()
    (result,) = experiment.run(runs, notes)
    assert notes.problems == []
    assert notes.epochs == []
    assert result.error == 'RuntimeError: it is broken'


# Failures ####################################################################


def test_what_fails_is_kept_and_others_go_on(make):
    tables = {
        **QUICK,
        'Foreign': {'train': {'lr': 1e30}, 'fit': {'eval_every': 1}},
    }
    experiment = make(backbones=OWN, tables=tables)
    notes = Notes()
    runs = experiment.plan(['Broken', 'Foreign', 'VBPR'], [BASE], [0])
    results = experiment.run(runs, notes)
    assert [r.run for r in results] == runs
    failed, diverged, fine = results
    assert failed.error == 'RuntimeError: it is broken'
    assert re.match(r'ValueError: .* not finite', diverged.error)
    assert fine.error == ''
    for result in (failed, diverged):
        assert (result.test, result.history, result.users) == ({}, [], {})
    assert notes.ended == [(str(r.run), r.error) for r in results]
    assert list((experiment.store.folder / 'running').iterdir()) == []
    # They are not tried again, unless it is asked for:
    for retry, tried in ((False, []), (True, names_of(runs[:2]))):
        notes = Notes()
        again = make(backbones=OWN, tables=tables).run(runs, notes, retry)
        assert notes.begun == tried
        assert [r.error for r in again] == [r.error for r in results]


def test_students_of_a_failed_teacher(make, monkeypatch):
    backbones = {'Fragile': Fragile, 'VBPR': VBPR}
    tables = {**QUICK, 'Fragile': QUICK['VBPR']}
    experiment = make(backbones=backbones, tables=tables)
    students = [CKD, METHODS['ensemble'], METHODS['self-distilled']]
    runs = experiment.plan(['Fragile', 'VBPR'], [*students, BASE], [0])
    monkeypatch.setattr(Fragile, 'fails', True)
    notes = Notes()
    results = experiment.run(runs, notes)
    assert notes.problems == [
        f"'Fragile {student} 0' is not run: its teacher 'Fragile {teacher} 0' "
        f'failed (RuntimeError: it is broken)'
        for student, teacher in (
            ('CKD', 'image alone'),
            ('ensemble', 'image alone'),
            ('CKD, self-distilled', 'base'),
        )
    ]
    assert len(results) == len(runs) - 3
    assert not any('CKD' in n for n in notes.begun if n.startswith('Fragile'))
    assert [r.error for r in results if r.run.backbone == 'VBPR'] == [''] * 6

    monkeypatch.setattr(Fragile, 'fails', False)
    # Embeddings from before it failed do not teach:
    experiment.store.embeddings(runs[0].key).write_bytes(b'')
    again = Notes()
    experiment.run(runs, again)
    assert again.begun == []
    assert again.problems == notes.problems
    results = experiment.run(runs, again, retry=True)
    assert again.begun == names_of(runs[:6])
    assert [r.error for r in results] == [''] * len(runs)
    assert [r.run for r in results] == runs


def test_teachers_that_were_not_asked_for(make):
    experiment, notes = make(max_epochs=1), Notes()
    runs = experiment.plan(['VBPR'], [CKD], [0])
    assert experiment.run(runs[2:], notes) == []
    (problem,) = notes.problems
    assert "'VBPR CKD 0' is not run: a teacher" in problem
    assert 'is not among the runs' in problem
    experiment.run(runs[:2], notes)
    (result,) = experiment.run(runs[2:], notes)
    assert result.error == ''
    assert len(notes.problems) == 1


def test_lost_embeddings(make):
    experiment = make(max_epochs=1)
    runs = experiment.plan(['VBPR'], [BASE, CKD], [0])
    before = experiment.run(runs)
    for run in runs:
        experiment.store.embeddings(run.key).unlink()
    notes = Notes()
    experiment.run(runs, notes)
    assert notes.begun == []  # they are not needed

    umt = experiment.plan(['VBPR'], [BASE, CKD, METHODS['umt']], [0])
    results = experiment.run(umt, notes)
    assert notes.begun == [
        'VBPR image alone 0',
        'VBPR text alone 0',
        'VBPR UMT 0',
    ]
    for one, other in zip(results, before, strict=False):
        assert_same(one, other)
    assert experiment.store.problems == []


def test_lost_embeddings_of_a_failed_student(make):
    tables = {'VBPR': {**QUICK['VBPR'], 'CKD': {'strength': -1.0}}}
    experiment = make(max_epochs=1, tables=tables)
    runs = experiment.plan(['VBPR'], [CKD], [0])
    *_, failed = experiment.run(runs)
    assert 'strength' in failed.error
    for run in runs[:2]:
        experiment.store.embeddings(run.key).unlink()
    notes = Notes()
    experiment.run(runs, notes)
    assert notes.begun == []
    experiment.run(runs, notes, retry=True)
    assert notes.begun == names_of(runs)


def test_lost_embeddings_of_who_is_not_asked_for(make):
    experiment, notes = make(max_epochs=1), Notes()
    runs = experiment.plan(['VBPR'], [CKD], [0])
    experiment.run(runs[:2])
    experiment.store.embeddings(runs[0].key).unlink()
    assert experiment.run(runs[2:], notes) == []
    assert notes.problems == [
        "'VBPR CKD 0' is not run: the embeddings of its teacher "
        "'VBPR image alone 0' are lost"
    ]


def test_damaged_result_is_run_again(make):
    experiment, notes = make(max_epochs=1), Notes()
    runs = experiment.plan(['VBPR'], [BASE], [0, 1])
    before = experiment.run(runs)
    users = experiment.store.folder / 'users' / f'{runs[0].key}.npz'
    users.write_bytes(b'')
    log = experiment.store.log
    log.write_bytes(log.read_bytes()[:-50])
    again = make(max_epochs=1)
    assert len(again.store.problems) == 2
    results = again.run(runs, notes)
    assert notes.begun == names_of(runs)
    for one, other in zip(results, before, strict=True):
        assert_same(one, other)


# Several processes ###########################################################

SCRIPT = """
import os, sys
from multiprocessing import get_context
import torch
from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.experiments import METHODS, Experiment, Settings, Store, Watcher

torch.set_num_threads(1)
barrier = get_context('fork').Barrier(2)

class Notes(Watcher):
    def begin(self, run):
        os.write(1, f'{os.getpid()} {run}\\n'.encode())

    def waiting(self, runs):
        os.write(1, b'waiting\\n')

def shop(pre_transform):
    return FakeMultimodal(num_users=20, num_items=30, num_channels=5,
                          pre_transform=pre_transform)[0]

def work():
    experiment = Experiment('shop', shop, Settings({}), Store(sys.argv[1]),
                            max_epochs=2, device='cpu')
    methods = [METHODS['base'], METHODS['ckd'], METHODS['umt']]
    runs = experiment.plan(['VBPR'], methods, [0, 1])
    barrier.wait()
    results = experiment.run(runs, Notes())
    assert [r.run for r in results] == runs
    assert not any(r.error for r in results)
    assert not experiment.store.problems

children = []
for _ in range(2):
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_two_processes_run_each_once(tmp_path):
    out = subprocess.run(
        [sys.executable, '-c', SCRIPT, tmp_path / 'results'],
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert out.returncode == 0, out.stderr
    lines = [x for x in out.stdout.splitlines() if x != 'waiting']
    begun = Counter(line.split(' ', 1)[1] for line in lines)
    assert len(begun) == 10
    assert set(begun.values()) == {1}
    assert len({line.split()[0] for line in lines}) == 2  # both had some
    assert len(Store(tmp_path / 'results').results()) == 10


def test_runs_of_others_are_waited_for(make):
    experiment = make(max_epochs=1)
    base, other = experiment.plan(['VBPR'], [BASE], [0, 1])

    class Waits(Notes):
        def waiting(self, runs):
            super().waiting(runs)
            assert runs == [base]
            held.close()

    notes = Waits()
    from contextlib import ExitStack

    held = ExitStack()
    held.enter_context(Store(experiment.store.folder).claim(base.key))
    results = experiment.run([base, other], notes)
    assert notes.begun == ['VBPR base 1', 'VBPR base 0']
    assert notes.waits == 1
    assert [r.run for r in results] == [base, other]


def test_what_another_process_has_just_finished(make):
    """It ends, well or not, between the look and the claim."""
    for error in ('', 'ValueError: no'):
        experiment = make(max_epochs=1, folder=f'results{bool(error)}')
        (run,) = experiment.plan(['VBPR'], [BASE], [0])
        elsewhere = make(max_epochs=1, folder='elsewhere')
        (result,) = elsewhere.run([run])
        result.error = error

        class Late(Store):
            """Another one finishes when the run is claimed."""

            def claim(self, key):
                Store(self.folder).save(result)  # noqa: B023
                return super().claim(key)

        experiment.store = Late(experiment.store.folder)
        embeddings = experiment.store.embeddings(run.key)
        embeddings.parent.mkdir(parents=True)
        embeddings.write_bytes(elsewhere.store.embeddings(run.key).read_bytes())
        notes = Notes()
        (found,) = experiment.run([run], notes)
        assert notes.begun == []
        assert found.error == error


@pytest.mark.parametrize(
    ('tables', 'message'),
    [
        ({'sop': {'VBPR': {}}}, "'mine.toml' has settings of sop, none of 'sh"),
        ({'shop': {'VBRP': {}}}, "of 'VBRP', which is no backbone; there are"),
    ],
)
def test_settings_that_would_be_overlooked(tables, message, tmp_path):
    settings = Settings(tables, 'mine.toml').over(Settings.read())
    with pytest.raises(ValueError, match=message):
        Experiment('shop', lambda transform: None, settings, Store(tmp_path))
