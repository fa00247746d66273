import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pyg_ckd.datasets import FakeMultimodal
from pyg_ckd.experiments import (
    BACKBONES,
    METHODS,
    Experiment,
    Method,
    Settings,
    Store,
)
from pyg_ckd.experiments.method import BALANCES, OFF
from pyg_ckd.experiments.tuning import Tuned, tune
from pyg_ckd.experiments.tuning.best import best_of, nested
from pyg_ckd.experiments.tuning.spaces import (
    SEARCHED,
    Choices,
    Range,
    Spaces,
)
from pyg_ckd.experiments.tuning.watcher import TuneWatcher

IS_LAZY = 'optuna' not in sys.modules
optuna = pytest.importorskip('optuna', reason="needs 'optuna'")
pytest.importorskip('tomli_w', reason="needs 'tomli_w'")

# Of training so short:
pytestmark = pytest.mark.filterwarnings(
    'ignore:Epoch .*The teacher of only:UserWarning',
    'ignore:Epoch .*of the gradient comes from distillation:UserWarning',
)

CKD = METHODS['ckd']
SETTINGS = {
    'shop': {
        'VBPR': {
            'model': {'dim': 4},
            'train': {'lr': 0.01, 'batch_size': 1024},
            'fit': {'max_epochs': 8, 'eval_every': 1},
            'CKD': {'on_random': {'num_pairs': 10}},
        },
        'LightGCN': {
            'model': {'dim': 4},
            'fit': {'max_epochs': 2, 'eval_every': 2},
        },
    }
}
SPACES = {
    'shop': {
        'base': {
            'train.lr': {'low': 0.003, 'high': 0.03, 'log': True},
            'BPR.l2': {'choices': [0.01, 0.1]},
        },
        'CKD': {'CKD.strength': {'low': 0.001, 'high': 0.1, 'log': True}},
    }
}


def shop(pre_transform):
    return FakeMultimodal(
        num_users=20, num_items=100, pre_transform=pre_transform
    )[0]


def experiment_at(folder, settings=SETTINGS) -> Experiment:
    return Experiment('shop', shop, Settings(settings), Store(folder))


def search(folder, methods=(), trials=2, backbone='VBPR', **kwargs) -> Tuned:
    kwargs.setdefault('spaces', Spaces(SPACES))
    settings = kwargs.pop('settings', SETTINGS)
    experiment = experiment_at(folder, settings)
    return tune(experiment, backbone, methods, trials, **kwargs)


def rows_of(folder) -> list[dict]:
    with open(Path(folder) / 'tune/trials.csv', newline='') as file:
        return list(csv.DictReader(file))


def changed(table, **changes):
    """Return settings with sections of VBPR changed."""
    return {'shop': {'VBPR': {**table['shop']['VBPR'], **changes}}}


class Recorder(TuneWatcher):
    def __init__(self):
        self.begun, self.epochs, self.ended = [], [], []

    def begin_trial(self, run, number, trials):
        self.begun.append((run.key, number, trials))

    def epoch(self, run, number, values):
        self.epochs.append((run.key, number))

    def end_trial(self, tried, best):
        self.ended.append((tried, best))


class PruneSecond(optuna.pruners.BasePruner):
    def prune(self, study, trial):
        return trial.number == 1


@pytest.fixture(scope='module')
def tuned(tmp_path_factory):
    """A search for the settings of a base and of CKD, and its folder."""
    folder = tmp_path_factory.mktemp('tuned')
    return search(folder, [CKD]), folder


# What is found ##############################################################


def test_budget(tuned):
    found, folder = tuned
    rows = rows_of(folder)
    counts = [
        (row['method'], row['number'], row['state'])
        for row in rows
        if row['state'] != 'base'
    ]
    assert counts == [
        *(('base', str(n), 'complete') for n in range(4)),
        *(('CKD', str(n), 'complete') for n in range(2)),
    ]
    assert [each.trials for each in found.found] == [4, 2]
    params = [row['params'] for row in rows if row['method'] == 'base']
    assert len(set(params)) == 4


def test_value_is_the_best_of_the_history(tuned):
    _, folder = tuned
    store = Store(folder / 'tune')
    rows = [row for row in rows_of(folder) if row['state'] == 'complete']
    is_last = []
    for row in rows:
        result = store.get(row['key'])
        best = max(entry['val_recall@20'] for entry in result.history)
        is_last.append(best == result.history[-1]['val_recall@20'])
        assert float(row['value']) == best
        assert int(row['epochs']) == result.epochs
        assert float(row['seconds']) == result.seconds
        settings = result.run.settings
        for name, value in json.loads(row['params']).items():
            section, argument = name.split('.')
            place = {'BPR': 'objective', 'CKD': 'balance'}.get(section, section)
            assert settings[place][argument] == value
    assert not all(is_last)


def test_never_worse(tuned):
    (base, ckd), folder = tuned[0].found, tuned[1]
    rows = rows_of(folder)
    tried = [float(r['value']) for r in rows if r['method'] == 'base']
    assert base.value == max(tried) and base.started == tried[0]
    assert base.halfway == max(tried[:2])
    own = [
        float(r['value'])
        for r in rows
        if r['method'] == 'CKD' and r['state'] != 'base'
    ]
    assert ckd.own == max(own)
    assert ckd.value == max(base.value, ckd.own)


def test_search_starts_from_settings(tuned):
    base, ckd = (
        next(
            row
            for row in rows_of(tuned[1])
            if row['method'] == name and row['number'] == '0'
        )
        for name in ('base', 'CKD')
    )
    assert json.loads(base['params']) == {'train.lr': 0.01, 'BPR.l2': 0.01}
    assert json.loads(ckd['params']) == {'CKD.strength': 0.01}
    (run,) = experiment_at('').plan(['VBPR'], [METHODS['base']], [0])
    assert base['key'] == run.key


def test_what_a_student_gave_before(tuned):
    folder = tuned[1]
    run = experiment_at(folder).plan(['VBPR'], [CKD], [0])[-1]
    history = Store(folder / 'tune').get(run.key).history
    started = tuned[0].found[1].started
    assert started == max(entry['val_recall@20'] for entry in history)


def test_file_holds_what_is_best(tuned):
    found, folder = tuned
    read = Settings.read(folder / 'tune/best.toml')
    assert read.tables == found.settings.tables
    experiment = experiment_at(folder, read.tables)
    base, ckd = found.found
    *_, student = runs = experiment.plan(['VBPR'], [METHODS['base'], CKD], [0])
    assert runs[0].key == base.key
    if ckd.is_off:
        assert student.settings['balance']['strength'] == 0
    else:
        assert student.key == ckd.key
    assert student.settings['balance']['on_random']['num_pairs'] == 10
    store = Store(folder / 'tune')
    assert not store.get(base.key).error


def test_comment_says_where_settings_come_from(tuned):
    found, folder = tuned
    text = (folder / 'tune/best.toml').read_text()
    run = Store(folder / 'tune').get(found.found[0].key).run
    comment = text[: text.index('[shop')]
    assert all(
        line.startswith('#') for line in comment.splitlines() if line.strip()
    )
    for word in (
        'shop, VBPR',
        run.data,
        f'pyg_ckd {run.version}',
        time.strftime('%Y', time.gmtime()),
        'seed 0',
        'val_recall@20',
        'optuna.db',
        f'base: {found.found[0].value:.4f}, the best of 4 trials',
        str(found.found[1]),
    ):
        assert word in comment
    assert str(folder) not in text


def test_test_is_not_looked_at(tuned):
    folder = tuned[1] / 'tune'
    results = Store(folder).results()
    assert len(results) >= 8
    for result in results:
        assert result.val
        assert result.test == result.users == result.hits == {}
        assert result.knocked_out == {}
    names = {path.name for path in folder.rglob('*')}
    assert 'users' not in names
    for path in folder.rglob('*'):
        if path.is_file() and path.suffix in ('.jsonl', '.csv', '.toml', '.db'):
            data = path.read_bytes()
            assert b'"test": {"' not in data and b'test_recall' not in data


def test_nothing_is_left_over(tuned):
    found, folder = tuned
    assert list((folder / 'tune/running').iterdir()) == []
    store = Store(folder / 'tune')
    kept = {path.stem for path in (folder / 'tune/embeddings').iterdir()}
    taught = {key for result in store.results() for key in result.run.teachers}
    assert kept == {found.found[0].key} | taught


# Going on ###################################################################


def test_goes_on(tmp_path):
    first = search(tmp_path, [CKD], trials=1)
    again = Recorder()
    second = search(tmp_path, [CKD], trials=1, watcher=again)
    assert again.begun == [] and again.epochs == []
    assert second.found == first.found
    more = Recorder()
    third = search(tmp_path, [CKD], trials=2, watcher=more)
    assert third.found[0].trials == 4 and third.found[1].trials == 2
    base = [each for each in more.begun if each[2] == 4]
    assert [number for _, number, _ in base] == [3, 4]
    assert [best for _, best in more.ended] == sorted(
        best for _, best in more.ended
    )


def test_longer_search_is_the_same_search(tuned, tmp_path):
    for trials in (1, 2, 4):
        search(tmp_path, trials=trials)
    assert [
        (row['params'], row['value'])
        for row in rows_of(tmp_path)
        if row['method'] == 'base'
    ] == [
        (row['params'], row['value'])
        for row in rows_of(tuned[1])
        if row['method'] == 'base'
    ]


def test_other_questions_are_other_searches(tmp_path):
    search(tmp_path, trials=1)
    search(tmp_path, trials=1, seed=1)
    search(tmp_path, trials=1, settings=changed(SETTINGS, BPR={'l2': 0.5}))
    search(tmp_path, trials=1, spaces=Spaces({}))
    assert [row['number'] for row in rows_of(tmp_path)] == ['0'] * 4


def test_searches_are_kept_together(tmp_path):
    search(tmp_path, [CKD], trials=1)
    search(tmp_path, [METHODS['agm']], trials=1)
    search(tmp_path, trials=1, backbone='LightGCN')
    text = (tmp_path / 'tune/best.toml').read_text()
    assert text.index('# shop, LightGCN') < text.index('# shop, VBPR')
    assert '#   CKD: ' in text and '#   AGM: ' in text
    tables = Settings.read(tmp_path / 'tune/best.toml').tables['shop']
    assert tables.keys() == {'LightGCN', 'VBPR'}
    assert {'CKD', 'AGM'} <= tables['VBPR'].keys()


def test_folders_share_a_storage_but_no_trials(tmp_path):
    storage = f'sqlite:///{tmp_path}/shared.db'
    for name in ('a', 'b'):
        seen = Recorder()
        search(tmp_path / name, storage=storage, watcher=seen)
        assert len(seen.ended) == 2
        assert len(rows_of(tmp_path / name)) == 2
        assert not (tmp_path / name / 'tune/optuna.db').exists()
        assert 'shared.db' in (tmp_path / name / 'tune/best.toml').read_text()
    assert len(optuna.get_all_study_names(storage)) == 2


# The base as a trial ########################################################


@pytest.mark.parametrize(
    ('base', 'own', 'is_off'),
    [(0.5, 0.4, True), (0.5, 0.5, True), (0.5, 0.6, False), (0.5, None, True)],
)
def test_balance_that_is_no_better_is_switched_off(base, own, is_off):
    study = optuna.create_study(direction='maximize')
    off = {'CKD.strength': 0.0}
    for name, value in {
        'method': {'kind': 'student', 'balance': 'CKD'},
        'base': {'value': base, 'key': 'base'},
        'off': off,
    }.items():
        study.set_user_attr(name, value)
    changes = {'CKD.strength': 0.1}
    for key, value in (('worse', 0.1), ('own', own), ('equal', own)):
        trial = study.ask()
        trial.set_user_attr('key', key)
        trial.set_user_attr('changes', changes)
        trial.set_user_attr('reason', 'failed')
        study.tell(trial, value, None if value else 'FAIL')
        if own is None:
            break
    found = best_of(study)
    own = 0.1 if own is None else own
    assert (found.is_off, found.own, found.method) == (is_off, own, CKD)
    assert (found.value, found.key, found.changes) == (
        (base, 'base', off) if is_off else (own, 'own', changes)
    )


@pytest.mark.parametrize('name', ['umt'])
def test_strength_zero_is_the_base(name, tmp_path):
    method = METHODS[name]
    setting = f'{method.balance}.strength'
    table = {method.balance: {setting: {'choices': [0.0]}}}
    settings = changed(SETTINGS, **{method.balance: {'strength': 0.0}})
    seen = Recorder()
    found = search(
        tmp_path,
        [method],
        trials=2,
        spaces=Spaces({'shop': {**SPACES['shop'], **table}}),
        settings=settings,
        watcher=seen,
    )
    base, student = found.found
    assert student.value == base.value and student.trials == 2
    mine = [tried for tried, _ in seen.ended if tried.method == str(method)]
    assert [(t.state, t.key, t.value) for t in mine] == [
        ('complete', base.key, base.value)
    ] * 2
    begun = {key for key, _, _ in seen.begun[-2:]}
    assert not begun & {key for key, _ in seen.epochs}


def test_every_balance_can_be_off():
    assert OFF.keys() == BALANCES.keys()
    for name, off in OFF.items():
        settings = Settings(SETTINGS).changed('shop', 'VBPR', {name: off})
        run = experiment_at('', settings.tables).planned(
            'VBPR', Method.student(name), 0
        )
        assert run.settings['balance'].items() >= off.items()


@pytest.mark.parametrize('name', ['OGMGE', 'AGM', 'ModalityDropout'])
def test_what_is_off_trains_like_the_base(name, tmp_path):
    settings = Settings(SETTINGS).changed('shop', 'VBPR', {name: OFF[name]})
    experiment = experiment_at(tmp_path, settings.tables)
    methods = [METHODS['base'], Method.student(name)]
    base, off = experiment.run(experiment.plan(['VBPR'], methods, [0]))
    assert not off.error
    if name != 'ModalityDropout':  # it draws, and other triples follow
        assert off.val == pytest.approx(base.val)


def test_baselines_have_no_balance(tmp_path):
    table = {'base': {'model.k': {'low': 1, 'high': 20}}}
    found = search(
        tmp_path,
        [CKD],
        trials=3,
        backbone='InteractionKNN',
        spaces=Spaces({'default': table}),
    )
    (base,) = found.found
    assert base.trials == 3 and base.changes.keys() <= {'model.k'}


def test_what_has_no_settings_is_tried_once(tmp_path):
    found = search(tmp_path, backbone='Popularity', spaces=None, trials=3)
    assert found.found[0].trials == 1


# Trials that come to nothing ################################################


def test_pruned_trial_leaves_nothing(tmp_path):
    found = search(tmp_path, trials=3, pruner=PruneSecond())
    states = [row['state'] for row in rows_of(tmp_path)]
    assert states == ['complete', 'pruned', 'complete']
    row = rows_of(tmp_path)[1]
    assert row['reason'] == 'gave up after epoch 1' and row['epochs'] == '1'
    assert float(row['value']) >= 0
    store = Store(tmp_path / 'tune')
    assert store.get(row['key']) is None
    assert [r.run.key for r in store.results()] == [
        rows_of(tmp_path)[n]['key'] for n in (0, 2)
    ]
    assert not store.embeddings(row['key']).exists()
    assert list((tmp_path / 'tune/running').iterdir()) == []
    assert found.found[0].key != row['key']
    assert found.found[0].trials == 3


def test_failed_trial_is_kept_with_its_reason(tmp_path):
    table = {'base': {'train.lr': {'low': 1e30, 'high': 1e31, 'log': True}}}
    found = search(tmp_path, trials=2, spaces=Spaces({'shop': table}))
    first, second = rows_of(tmp_path)
    assert (first['state'], second['state']) == ('complete', 'failed')
    assert second['reason'].startswith('ValueError: ')
    assert found.found[0].key == first['key']
    assert found.found[0].reasons == [second['reason']]
    assert Store(tmp_path / 'tune').get(second['key']) is None
    assert list((tmp_path / 'tune/running').iterdir()) == []


def test_base_that_never_succeeds_is_an_error(tmp_path):
    train = {'lr': 1e30, 'batch_size': 1024}
    table = {'base': {'train.lr': {'choices': [1e30]}}}
    with pytest.raises(
        ValueError, match=r"no trial of 'VBPR' .*(diverged|not finite)"
    ):
        search(
            tmp_path,
            settings=changed(SETTINGS, train=train),
            spaces=Spaces({'shop': table}),
        )
    assert [row['state'] for row in rows_of(tmp_path)] == ['failed'] * 2


def test_student_that_never_succeeds_is_the_base(tmp_path):
    wrong = {'low': -2.0, 'high': -1.0}
    table = {'CKD': {'CKD.on_random.tau': wrong}}
    found = search(
        tmp_path,
        [CKD],
        trials=1,
        spaces=Spaces({'shop': {**SPACES['shop'], **table}}),
        settings=changed(
            SETTINGS,
            CKD={'strength': 0.1, 'on_random': {'tau': -1.0}},
        ),
    )
    base, ckd = found.found
    assert ckd.is_off and ckd.own is None and ckd.started is None
    assert "'tau'" in ckd.reasons[0] and ckd.value == base.value
    table = found.settings.of('shop', 'VBPR')['CKD']
    assert table['strength'] == 0 and table['on_random']['tau'] == -1
    text = found.path.read_text()
    assert 'CKD: switched off, no better than the base' in text
    (row,) = (row for row in rows_of(tmp_path) if row['state'] == 'base')
    assert json.loads(row['params']) == {'CKD.strength': 0.0}
    assert row['key'] == base.key and float(row['value']) == base.value


def test_disk_that_is_full_stops_the_search(tmp_path):
    class Full(Recorder):
        def epoch(self, run, number, values):
            if len(self.ended) == 1 and number == 3:
                raise OSError('no space left')

    with pytest.raises(OSError, match='no space left') as error:
        search(tmp_path, watcher=Full())
    seen = Recorder()
    search(tmp_path, watcher=seen)
    assert [number for _, number in seen.epochs] == [*range(3, 9)]
    states = [row['state'] for row in rows_of(tmp_path)]
    assert states == ['complete', 'killed', 'complete']
    assert error.traceback  # which holds on to what was at work


# Processes ##################################################################


def child(folder, *words) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, __file__, str(folder), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_processes_share_a_search(tmp_path):
    children = [child(tmp_path, '4'), child(tmp_path, '4')]
    for each in children:
        assert each.stdout.readline() == 'ready\n', each.communicate()
    for each in children:
        each.stdin.write('go\n')
        each.stdin.flush()
    outputs = [each.communicate(timeout=120) for each in children]
    assert [each.returncode for each in children] == [0, 0], outputs
    assert all(out for out, _ in outputs)
    begun = [key for out, _ in outputs for key in out.split()]
    rows = rows_of(tmp_path)
    assert [row['number'] for row in rows] == [str(n) for n in range(4)]
    assert {row['state'] for row in rows} == {'complete'}
    assert sorted(begun) == sorted(row['key'] for row in rows)
    keys = [result.run.key for result in Store(tmp_path / 'tune').results()]
    lines = (tmp_path / 'tune/results.jsonl').read_text().splitlines()
    assert sorted(keys) == sorted(set(begun)) and len(lines) == len(keys)


def test_killed_process_is_made_up_for(tuned, tmp_path):
    killed = child(tmp_path, '4', 'hang')
    killed.stdin.write('go\n')
    killed.stdin.flush()
    while (line := killed.stdout.readline()).strip() != 'hangs':
        assert line, killed.communicate()
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    left = rows_of(tmp_path)
    assert [row['state'] for row in left] == ['complete']
    (checkpoint,) = (tmp_path / 'tune/running').glob('*.ckpt')

    seen = Recorder()
    search(tmp_path, trials=4, watcher=seen)
    assert seen.epochs[:2] == [(checkpoint.stem, 3), (checkpoint.stem, 4)]
    rows = rows_of(tmp_path)
    states = [row['state'] for row in rows]
    assert states == ['complete', 'killed', *['complete'] * 3]
    assert rows[1]['params'] == rows[2]['params']
    storage = f'sqlite:///{tmp_path}/tune/optuna.db'
    (name,) = optuna.get_all_study_names(storage)
    study = optuna.load_study(study_name=name, storage=storage)
    assert study.trials[1].intermediate_values.keys() == {1, 2}
    assert study.trials[2].intermediate_values.keys() == {*range(1, 9)}
    assert rows[1]['reason']
    assert list((tmp_path / 'tune/running').iterdir()) == []
    # As if nothing had happened:
    assert [
        (row['params'], row['value'])
        for row in rows
        if row['state'] == 'complete'
    ] == [
        (row['params'], row['value'])
        for row in rows_of(tuned[1])
        if row['method'] == 'base'
    ]


def test_trials_that_were_left_at_any_point_are_made_up_for(tmp_path):
    search(tmp_path, trials=1)
    storage = f'sqlite:///{tmp_path}/tune/optuna.db'
    (name,) = optuna.get_all_study_names(storage)
    study = optuna.load_study(study_name=name, storage=storage)
    study.ask()  # asked for, not begun
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)  # given up
    rate = optuna.distributions.FloatDistribution(0.003, 0.03, log=True)
    study.ask({'train.lr': rate}).set_user_attr('reason', 'no more told')
    study.enqueue_trial({'train.lr': 0.005})  # in line again
    assert search(tmp_path, trials=5).found[0].trials == 5
    rows = rows_of(tmp_path)
    states = sorted(row['state'] for row in rows)
    assert states == ['complete'] * 4 + ['failed'] + ['killed'] * 2
    assert '{"train.lr": 0.005, ' in rows[4]['params']


class Child(TuneWatcher):
    """Says what it does, and hangs in the second trial if it is to."""

    def __init__(self, hangs):
        self.hangs = hangs
        self.number = 0

    def begin_trial(self, run, number, trials):
        self.number = number
        print(run.key, flush=True)

    def epoch(self, run, number, values):
        if self.hangs and (self.number, number) == (2, 3):
            print('hangs', flush=True)
            time.sleep(600)


# Spaces #####################################################################


def test_library_has_a_space_for_everything():
    spaces, settings = Spaces.read(), Settings.read()
    for backbone, make in BACKBONES.items():
        for kind in SEARCHED:
            method = Method() if kind == 'base' else Method.student(kind)
            space = spaces.of('shop', backbone, kind)
            for name, entry in space.items():
                changes = nested({name: entry.example})
                changed = settings.changed('shop', backbone, changes)
                changed.effective('shop', backbone, make, method)
            if kind in ('CKD', 'UMT'):
                assert f'{kind}.strength' in space


def test_nearest_table_counts():
    def table(number):
        return {'CKD.strength': {'choices': [number]}}

    tables = {
        'shop': {'CKD': table(1), 'VBPR': {'CKD': table(2)}},
        'default': {'CKD': table(3), 'FREEDOM': {'CKD': table(4)}},
    }
    spaces = Spaces(tables, 'mine.toml')
    for place, number in {
        ('shop', 'VBPR'): 2,
        ('shop', 'FREEDOM'): 1,
        ('else', 'FREEDOM'): 4,
        ('else', 'VBPR'): 3,
    }.items():
        space = spaces.of(*place, 'CKD')
        assert space == {'CKD.strength': Choices((number,))}
    assert spaces.of('shop', 'VBPR', 'UMT') == Spaces.read().of('', '', 'UMT')


def test_names_need_no_quotes(tmp_path):
    path = tmp_path / 'spaces.toml'
    path.write_text(
        '[shop.base]\ntrain.lr = { low = 1, high = 2 }\n'
        "[shop.CKD]\n'CKD.gate' = { choices = [true] }\n"
        'CKD.on_random.tau = { low = 1.0, high = 2.0 }'
    )
    spaces = Spaces.read(path)
    assert spaces.of('shop', 'VBPR', 'base') == {'train.lr': Range(1, 2)}
    assert spaces.of('shop', 'VBPR', 'CKD') == {
        'CKD.gate': Choices((True,)),
        'CKD.on_random.tau': Range(1.0, 2.0),
    }


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('x = 1', r'\[x\] needs to be a table'),
        ('[shop.bse]\n"train.lr" = {low=1, high=2}', r"\[shop.bse\] .*'train"),
        ('[shop.base]\n"lr" = {low=1, high=2}', r"\[shop.base\], 'lr'"),
        ('[shop.base]\n"tran.lr" = {low=1, high=2}', r"'tran.lr': there is no"),
        ('[shop.base]\n"CKD.gate" = {choices=[true]}', 'tables of their own'),
        ('[shop.CKD]\n"train.lr" = {low=1, high=2}', 'searched for the base'),
        ('[shop.base]\n"fit.monitor" = {choices=["a"]}', 'cannot be searched'),
        ('[shop.base]\n"train.lr" = {low=1}', 'needs to be .* low = '),
        ('[shop.base]\n"train.lr" = 3', r'\(got 3\)'),
        ('[shop.base]\n"train.lr" = {}', r'\(got \{\}\)'),
        ('[shop.base]\n"train.lr" = {choices=[]}', "'choices' needs values"),
        ('[shop.base]\n"train.lr" = {choices=[[1]]}', r'got \[1\]'),
        ('[shop.base]\n"train.lr" = {low=2, high=1}', "'low' needs to be at"),
        ('[shop.base]\n"train.lr" = {low=nan, high=1}', 'got nan'),
        ('[shop.base]\n"train.lr" = {low=0, high=1, log=true}', 'positive'),
        ('[shop.base]\n"train.lr" = {low=1, high=2, step=0}', "'step'"),
        ('[shop.base]\n"train.lr" = {low=1, high=2, step=0.5}', 'whole'),
        ('[shop.base]\n"train.lr" = {low=1, high=2, log=1}', "'log'"),
        ('[shop', 'is no TOML file'),
    ],
)
def test_wrong_spaces_are_refused(text, message, tmp_path):
    path = tmp_path / 'wrong.toml'
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        Spaces.read(path)
    assert 'wrong.toml' in str(error.value)


@pytest.mark.parametrize(
    ('method', 'name'), [('base', 'train.lrr'), ('CKD', 'CKD.on_random.t')]
)
def test_unknown_setting_is_refused(method, name, tmp_path):
    path = tmp_path / 'wrong.toml'
    path.write_text(f"[shop.{method}]\n'{name}' = {{ choices = [1] }}")
    where = rf"wrong.toml', \[shop.{method}\], '{name}': .*no argument"
    seen = Recorder()
    with pytest.raises(ValueError, match=where):
        search(tmp_path, [CKD], 1, spaces=Spaces.read(path), watcher=seen)
    assert seen.begun == []


def test_settings_of_other_objectives_and_of_no_part_are_left_out(tmp_path):
    settings = changed(SETTINGS, CKD={'on_random': False})
    spaces = {
        'shop': {
            'base': {
                'Softmax.tau': {'choices': [0.5, 1.0]},
                'BPR.l2': {'choices': [0.1, 0.01]},
            },
            'CKD': {
                'CKD.strength': {'choices': [0.1, 0.01]},
                'CKD.on_random.tau': {'choices': [0.5, 1.0]},
            },
        }
    }
    found = search(tmp_path, [CKD], 1, settings=settings, spaces=Spaces(spaces))
    names = {
        name for row in rows_of(tmp_path) for name in json.loads(row['params'])
    }
    assert names == {'BPR.l2', 'CKD.strength'}
    assert found.settings.of('shop', 'VBPR')['CKD']['on_random'] is False


def test_settings_of_an_objective_are_kept_with_it(tmp_path):
    spaces = {
        'shop': {
            'base': {
                'train.lr': {'choices': [0.02]},
                'CosineSoftmax.tau': {'choices': [0.5]},
            },
            'CKD': {
                'CKD.strength': {'choices': [0.5]},
                'CKD.on_random.name': {'choices': ['RRD']},
                'CKD.on_random.tau': {'choices': [0.7]},
            },
        }
    }
    cosine = 'CosineSoftmax'
    ckd = Method.student('CKD', objective=cosine)
    found = search(tmp_path, [ckd], 2, spaces=Spaces(spaces))
    table = found.settings.of('shop', 'VBPR')
    assert table['train'] == SETTINGS['shop']['VBPR']['train']
    for line in found.found:
        tried = {**line.changes}
        tau = tried.pop('CosineSoftmax.tau', None)
        own = table.get(cosine, {})
        assert tau is None or own['tau'] == tau
        for name, value in tried.items():
            place = own['with']
            for part in name.split('.'):
                place = place[part]
            assert place == value, name
    # Whatever came out best, the file gives it back:
    read = Settings.read(found.path)
    experiment = experiment_at(tmp_path, read.tables)
    base, student = found.found
    assert experiment.planned('VBPR', base.method, 0).key == base.key
    if not student.is_off:
        assert experiment.planned('VBPR', ckd, 0).key == student.key
    bpr = experiment.planned('VBPR', METHODS['base'], 0)
    assert bpr == experiment_at(tmp_path).planned('VBPR', METHODS['base'], 0)


def test_names_of_parts_are_nested():
    changes = {'CKD.on_random.tau': 2, 'CKD.on_random.name': 'RRD'}
    both = {'tau': 2, 'name': 'RRD'}
    assert nested(changes) == {'CKD': {'on_random': both}}
    assert nested(dict(reversed(changes.items()))) == nested(changes)


@pytest.mark.parametrize(
    ('entry', 'yes', 'no'),
    [
        (Range(1, 4), [1, 4], [0, 5, 1.5, 2.0, True, 'a', None]),
        (Range(0.0, 1.0), [0, 0.5, 1.0], [-1e-9, 1.1, True]),
        (Range(0.1, 0.9, step=0.2), [0.1, 0.3, 0.9], [0.2]),
        (Range(1, 9, step=4), [1, 5, 9], [3]),
        (Choices((0, 'a', True)), [0, 0.0, 'a', True], [1, False, 'b', None]),
    ],
)
def test_what_a_space_has(entry, yes, no):
    assert all(entry.has(value) for value in yes)
    assert not any(entry.has(value) for value in no)


def test_numbers_are_rounded():
    def objective(trial):
        value = Range(1e-3, 1e-1, log=True).suggest(trial, 'x')
        assert value == float(f'{value:.3g}') and 1e-3 <= value <= 1e-1
        assert Range(1, 3).suggest(trial, 'y') in (1, 2, 3)
        return value

    sampler = optuna.samplers.RandomSampler(seed=0)
    optuna.create_study(sampler=sampler).optimize(objective, 20)
    fixed = optuna.trial.FixedTrial({'x': 0.123412})
    assert Range(0.1234, 0.12342).suggest(fixed, 'x') == 0.1234


# Arguments ##################################################################


@pytest.mark.parametrize(
    ('methods', 'message'),
    [
        ([METHODS['teachers']], "without changes in 'tune' .*'each modality"),
        ([METHODS['ckd-gate']], r"got 'CKD, gate'"),
        ([METHODS['ensemble']], "got 'ensemble'"),
        ([CKD, METHODS['self-distilled']], 'one of each balance'),
        ([CKD, Method(objective='Softmax')], 'one objective'),
    ],
)
def test_wrong_methods_are_refused(methods, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        search(tmp_path, methods)


@pytest.mark.parametrize('trials', [0, -1, 1.5, True])
def test_wrong_number_of_trials_is_refused(trials, tmp_path):
    with pytest.raises(ValueError, match="'trials' needs to be a whole number"):
        search(tmp_path, trials=trials)


@pytest.mark.parametrize('name', ['optuna', 'tomli_w'])
def test_missing_package_is_named(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    message = rf"'{name}': pip install pyg_ckd\[tune\]"
    with pytest.raises(ImportError, match=message):
        search(tmp_path)


if __name__ == '__main__':
    assert IS_LAZY, 'the package imports optuna'
    _, where, number, *rest = sys.argv
    print('ready', flush=True)
    input()
    search(where, trials=int(number), watcher=Child(bool(rest)))
