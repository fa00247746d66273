import copy
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pyg_ckd.experiments import METHODS, Method, Result, Run, Store

NAMES = ('dataset', 'backbone', 'method', 'seed', 'settings')
#: As version 0.1 wrote it.
OLD = {
    'dataset': 'baby',
    'backbone': 'VBPR',
    'method': 'ckd[gate]',
    'seed': 2,
    'settings': {
        'model': {'dim': 64},
        'train': {'lr': 0.001, 'l2': 0.01},
        'fit': {'max_epochs': 400},
        'ckd': {'strength': 0.1, 'gamma': 5.0, 'tau': 0.1, 'gate': True},
        'data': '3ebdd32a3829',
    },
    'test': {
        'full': {'recall@20': 0.07, 'ndcg@20': 0.03},
        'only(text)': {'recall@20': 0.068, 'ndcg@20': 0.029},
    },
    'val': {'recall@20': 0.069},
    'history': [{'epoch': 5, 'val_recall@20': 0.069, 'weight_text': 1.2}],
    'epochs': 5,
    'seconds': 61.5,
}


@pytest.fixture(scope='module')
def main(load_benchmark):
    """The entry point of the script."""
    return load_benchmark('convert_results').main


def old(**changes) -> dict:
    return {**copy.deepcopy(OLD), **changes}


def write(path: Path, lines: list) -> None:
    """Write lines as version 0.1 did: a line begins with its break."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(f'\n{json.dumps(line)}' for line in lines))


def test_all_that_a_line_says(main, tmp_path, capsys):
    log = tmp_path / 'results.jsonl'
    write(log, [OLD])
    before = log.read_bytes()
    main([str(tmp_path)])
    (result,) = Store(tmp_path).results()
    run = result.run
    assert (run.dataset, run.backbone, run.seed) == ('baby', 'VBPR', 2)
    assert run.method == METHODS['ckd-gate']
    settings = {k: v for k, v in OLD['settings'].items() if k != 'data'}
    assert run.settings == settings
    assert run.data == '3ebdd32a3829'
    assert (run.version, run.teachers) == ('0.1.0', ())
    for name in ('test', 'val', 'history', 'epochs', 'seconds'):
        assert getattr(result, name) == OLD[name]
    assert list(result.environment) == ['note']
    assert not result.users
    assert (tmp_path / 'results.jsonl.v0.1').read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'results.jsonl',
        'results.jsonl.v0.1',
    ]
    assert capsys.readouterr().out.startswith('1 results are in')

    main([str(log)])
    assert 'has nothing to convert' in capsys.readouterr().out
    assert (tmp_path / 'results.jsonl.v0.1').read_bytes() == before


@pytest.mark.parametrize(
    ('name', 'method', 'spelled'),
    [
        ('base', Method(), 'base'),
        ('teacher(text)', Method('teacher', modality='text'), 'text alone'),
        ('ckd', METHODS['ckd'], 'CKD'),
        ('ensemble', METHODS['ensemble'], 'ensemble'),
        ('ckd[born again]', METHODS['born-again'], 'born again'),
        (
            'ckd[self-distilled]',
            METHODS['self-distilled'],
            'CKD, self-distilled',
        ),
        (
            'ckd[taught by FREEDOM]',
            Method.student('CKD', teachers='FREEDOM'),
            'CKD taught by FREEDOM',
        ),
        (
            'base[standardized]',
            Method(
                changes={'extra': {'standardize': True}}, name='standardized'
            ),
            'standardized',
        ),
        (
            'base[longer]',
            Method(changes={'fit': {'patience': 40}}, name='longer'),
            'longer',
        ),
        (
            'ckd[gamma 20]',
            Method.student(
                'CKD',
                changes={'CKD': {'on_random': {'weight': 20.0}}},
                name='CKD, gamma 20',
            ),
            'CKD, gamma 20',
        ),
        (
            'ckd[mse]',
            Method.student(
                'CKD', changes={'CKD': {'specific': 'mse'}}, name='CKD, MSE'
            ),
            'CKD, MSE',
        ),
        (
            'ckd[skip missing]',
            Method.student(
                'CKD',
                changes={'CKD': {'skip_missing': True}},
                name='CKD, skip missing',
            ),
            'CKD, skip missing',
        ),
    ],
)
def test_names_of_methods(main, tmp_path, name, method, spelled):
    write(tmp_path / 'results.jsonl', [old(method=name)])
    main([str(tmp_path)])
    (result,) = Store(tmp_path).results()
    assert result.run.method == method
    assert str(result.run.method) == spelled


def test_runs_stay_apart_and_the_later_one_counts(main, tmp_path):
    settings = copy.deepcopy(OLD['settings'])
    settings['teachers'] = {'of': 'base'}
    lines = [
        old(method='ckd[self-distilled]', settings=settings),
        old(method='ckd[born again]', settings=settings),
        old(epochs=10),
        old(epochs=15),
        old(seed=3),
    ]
    write(tmp_path / 'baby.jsonl', lines)
    main([str(tmp_path / 'baby.jsonl')])
    results = Store(tmp_path / 'baby').results()
    assert [result.epochs for result in results] == [5, 5, 15, 5]
    assert (tmp_path / 'baby.jsonl.v0.1').exists()
    assert not (tmp_path / 'baby.jsonl').exists()


def test_metrics_of_users_and_hits(main, tmp_path):
    other = old(seed=3)
    write(tmp_path / 'results.jsonl', [OLD, other])
    key = json.dumps({name: OLD[name] for name in NAMES}, sort_keys=True)
    name = f'{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz'
    recall = np.array([0.1, 0.5], np.float32)
    for kind, arrays in (
        ('users', {'user': np.array([0, 4]), 'recall@20': recall}),
        ('hits', {'item': np.array([7]), 'hit@20': np.array([1.0])}),
    ):
        (tmp_path / kind).mkdir()
        np.savez_compressed(tmp_path / kind / name, **arrays)
    main([str(tmp_path)])
    store = Store(tmp_path)
    first, second = store.results()
    assert not store.problems
    assert first.users['user'].tolist() == [0, 4]
    assert torch.equal(first.users['recall@20'], torch.from_numpy(recall))
    assert first.hits['item'].tolist() == [7]
    assert second.users == second.hits == {}
    assert (tmp_path / 'users' / name).exists()  # as they were


def test_new_results_stay_and_half_lines_go(main, tmp_path, capsys):
    new = Result(Run('baby', 'VBPR', Method(), 0), epochs=3)
    new.users = {'user': torch.tensor([1]), 'recall@20': torch.tensor([0.5])}
    Store(tmp_path).save(new)
    with (tmp_path / 'results.jsonl').open('a') as file:
        file.write(f'{json.dumps(OLD)}\n{json.dumps(OLD)[:50]}')
    main([str(tmp_path)])
    store = Store(tmp_path)
    first, second = store.results()
    assert first == new
    assert first.users['user'].tolist() == [1]
    assert second.run.version == '0.1.0'
    assert not store.problems
    assert 'line 3, was cut off' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        (old(method='ckd[magic]'), r"no method 'ckd\[magic\]'"),
        (old(method='base[gate]'), r"no method 'base\[gate\]'"),
        (old(seed='two'), "'seed' is 'two'"),
        (old(seed=True), "'seed' is True"),
        (old(loss=1), 'it needs to have dataset, backbone'),
        ([1], 'it needs to have dataset, backbone'),
    ],
)
def test_what_is_not_understood_stops_it(main, tmp_path, line, message):
    log = tmp_path / 'results.jsonl'
    write(log, [OLD, line])
    before = log.read_bytes()
    with pytest.raises(SystemExit, match=rf'line 3, is no result.*{message}'):
        main([str(tmp_path)])
    assert log.read_bytes() == before
    assert list(tmp_path.iterdir()) == [log]


def test_nothing_is_overwritten(main, tmp_path):
    for name in ('baby.jsonl', 'baby/results.jsonl'):
        write(tmp_path / name, [OLD])
    with pytest.raises(SystemExit, match='is there already'):
        main([str(tmp_path / 'baby.jsonl')])
    kept = tmp_path / 'baby' / 'results.jsonl.v0.1'
    kept.write_text('older')
    with pytest.raises(SystemExit, match='is there already'):
        main([str(tmp_path / 'baby')])
    assert kept.read_text() == 'older'
    with pytest.raises(SystemExit, match='nowhere'):
        main([str(tmp_path / 'nowhere')])


def test_the_committed_results(load_benchmark):
    store = Store(load_benchmark('results_page').FOLDER / 'baby')
    results = store.results()
    assert not store.problems
    assert len({result.run.key for result in results}) == 100
    assert {result.run.version for result in results} == {'0.1.0'}
    names = ('test', 'val', 'history', 'epochs', 'seconds')
    given = [[getattr(each, name) for name in names] for each in results]
    digest = hashlib.sha256(json.dumps(given, sort_keys=True).encode())
    # That of the file of version 0.1:
    assert digest.hexdigest() == (
        '12a76fc62c6332f0d8546c5e27be5658eb4bedfcc807b8d5962bb9eaea418b10'
    )
