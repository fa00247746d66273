import json
import shutil

import numpy as np
import pytest
import torch

from pyg_ckd.analysis import (
    Result,
    load_results,
    markdown_table,
    save_result,
    summarize,
)

AGAINST = 'recall@20 against base'


def run(method: str, seed: int, recall: float, **kwargs: object) -> Result:
    view = method.replace('teacher', 'only', 1) if '(' in method else 'full'
    test = {view: {'recall@20': recall}, 'other': {'recall@20': 9.0}}
    return Result('shop', 'VBPR', method, seed, test=test, **kwargs)


def run_users(method: str, seed: int, recall: list[float]) -> Result:
    """A run with the metrics of each user."""
    result = run(method, seed, float(np.mean(recall)))
    result.users = {
        'user': torch.arange(len(recall)),
        'recall@20': torch.tensor(recall),
    }
    return result


# Tables ######################################################################


def test_means_over_seeds():
    rows = summarize(
        [
            run('base', 0, 0.2, seconds=60),
            run('base', 1, 0.4, seconds=120),
            run('ckd', 1, 0.5),
            run('ckd', 0, 0.3),
        ],
        metrics=['recall@20'],
    )
    base, ckd = rows
    assert base['seeds'] == ckd['seeds'] == '2'
    assert base['recall@20'] == '0.3000 ± 0.1414'
    assert base['minutes'] == '1.5'
    assert list(base) == list(ckd)
    for column in (AGAINST, 'p (users)', 'p (seeds)'):
        assert base[column] == ''
    # 0.4 / 0.3, with an interval over two seeds:
    assert ckd[AGAINST].startswith('no significant gain (+33.3 % [')
    assert ckd[AGAINST].endswith('], seeds only)')


@pytest.mark.parametrize('method', ['ckd', 'ckd[generic only]', 'mine'])
def test_gain_over_users(method):
    base, gain = [0.1, 0.3] * 50, [0.2, 0.5] * 50
    rows = summarize(
        [run_users('base', 0, base), run_users(method, 0, gain)], ['recall@20']
    )
    assert rows[1][AGAINST].startswith('+75.0 % [+7')
    assert rows[1]['p (users)'] == '< 0.001'
    assert rows[1]['p (seeds)'] == ''
    rows = summarize(
        [run_users('base', 0, gain), run_users(method, 0, base)], ['recall@20']
    )
    assert rows[1][AGAINST].startswith('significant loss (-42.9 % [-4')


def test_gain_over_users_and_seeds():
    rng = np.random.default_rng(0)
    runs = []
    for seed in (0, 1, 2):
        base = rng.random(40)
        runs.append(run_users('base', seed, base.tolist()))
        gain = base + 0.01 * rng.normal(size=40)
        runs.append(run_users('ckd', seed, gain.tolist()))
    _, row = summarize(runs, ['recall@20'])
    assert row[AGAINST].startswith('no significant ')
    assert 'seeds only' not in row[AGAINST]
    assert 0.01 < float(row['p (users)']) < 1
    assert 0.01 < float(row['p (seeds)']) < 1


def test_without_an_interval_there_is_no_gain():
    rows = summarize([run('base', 0, 0.4), run('ckd', 0, 0.3)], ['recall@20'])
    assert rows[1][AGAINST] == 'not tested'
    assert rows[1]['p (users)'] == rows[1]['p (seeds)'] == ''


@pytest.mark.parametrize(
    'base',
    [
        [],
        [run('base', 1, 0.2)],  # another seed
        [run('base', 0, 0.0)],  # nothing to be relative to
        [Result('shop', 'GRCN', 'base', 0, test={'full': {'recall@20': 0.2}})],
    ],
)
def test_no_gain_without_a_base(base):
    *_, row = summarize([*base, run('ckd', 0, 0.3)], ['recall@20'])
    assert row[AGAINST] == ''


@pytest.mark.parametrize('modality', ['text', 'database', 'ckd', 'teacher'])
def test_teacher_is_tested_in_its_view(modality):
    result = run(f'teacher({modality})', 0, 0.2)
    assert result.trained_view == f'only({modality})'
    _, row = summarize([run('base', 0, 0.1), result], ['recall@20'])
    assert row['recall@20'] == '0.2000'
    assert row[AGAINST] == ''


def test_markdown_table():
    rows = [{'a': '1', 'b': 'x'}, {'a': '2', 'b': ''}]
    assert markdown_table(rows).split('\n') == [
        '| a | b |',
        '| --- | --- |',
        '| 1 | x |',
        '| 2 |  |',
    ]


# Files #######################################################################


def complete(seed: int = 0, **kwargs: object) -> Result:
    users = {
        'user': torch.tensor([0, 3, 2**24 + 1]),
        'recall@20': torch.tensor([0.1, 1 / 3, 1.0]),
    }
    return Result(
        'shop',
        'VBPR',
        'base',
        seed,
        settings={'model': {'dim': 4}},
        test={'full': {'recall@20': 0.478}},
        val={'recall@20': 0.5},
        history=[{'epoch': 5.0}],
        epochs=5,
        seconds=1.5,
        users=users,
        hits={'item': torch.tensor([4, 2]), 'hit@20': torch.ones(2)},
        **kwargs,
    )


def test_results_come_back(tmp_path):
    folder = tmp_path / 'new' / 'folder'
    assert load_results(folder) == []
    for seed in (0, 1):
        save_result(complete(seed), folder)
    found = load_results(folder)
    assert found == [complete(0), complete(1)]
    for result in found:
        for kind in ('users', 'hits'):
            values = getattr(result, kind)
            expected = getattr(complete(), kind)
            assert values.keys() == expected.keys()
            for name, tensor in expected.items():
                assert values[name].dtype == tensor.dtype
                assert torch.equal(values[name], tensor)
    lines = (folder / 'results.jsonl').read_text().split('\n')
    assert all('users' not in json.loads(line) for line in lines if line)
    assert len(list((folder / 'users').iterdir())) == 2


def test_metrics_are_kept_in_single_precision(tmp_path):
    result = complete()
    result.users['recall@20'] = result.users['recall@20'].double()
    save_result(result, tmp_path)
    (found,) = load_results(tmp_path)
    assert found.users['recall@20'].dtype == torch.float32
    assert found.users['user'].dtype == torch.int64


def test_later_line_of_the_same_key_counts(tmp_path):
    first, later, other = complete(0), complete(0), complete(1)
    later.epochs = 7
    later.users['recall@20'] = torch.zeros(3)
    for result in (first, other, later):
        save_result(result, tmp_path)
    found = {result.seed: result for result in load_results(tmp_path)}
    assert found[0].epochs == 7
    assert not found[0].users['recall@20'].any()
    assert found[1].users['recall@20'].any()

    # One without users does not take over those of another one:
    later.users = {}
    save_result(later, tmp_path)
    assert load_results(tmp_path)[0].users == {}


def test_lines_that_were_cut_off_are_skipped(tmp_path):
    save_result(complete(0), tmp_path)
    log = tmp_path / 'results.jsonl'
    for kept in (5, 100):
        whole = log.read_text()
        save_result(complete(1), tmp_path)
        log.write_text(log.read_text()[: len(whole) + kept])
        assert [r.seed for r in load_results(tmp_path)] == [0]
    save_result(complete(2), tmp_path)
    assert [r.seed for r in load_results(tmp_path)] == [0, 2]


def test_results_without_users(tmp_path):
    save_result(complete(), tmp_path)
    shutil.rmtree(tmp_path / 'users')
    (found,) = load_results(tmp_path)
    assert found == complete()
    assert found.users == {}


def test_no_line_without_the_users(tmp_path):
    (tmp_path / 'users').write_text('in the way')
    with pytest.raises(OSError, match='users'):
        save_result(complete(), tmp_path)
    assert load_results(tmp_path) == []


@pytest.mark.parametrize('line', ['{"dataset": "shop", "size": 3}', '5'])
def test_line_that_is_no_result(tmp_path, line):
    save_result(complete(), tmp_path)
    with (tmp_path / 'results.jsonl').open('a') as file:
        file.write(f'\n{line}')
    with pytest.raises(ValueError, match=r"results.jsonl', line 3, is no"):
        load_results(tmp_path)


def test_users_are_not_unpickled(tmp_path):
    save_result(complete(), tmp_path)
    (path,) = (tmp_path / 'users').iterdir()
    np.savez(path, user=np.array([print], dtype=object))
    with pytest.raises(ValueError, match='allow_pickle=False'):
        load_results(tmp_path)


def test_key_is_name_and_settings():
    result = complete()
    result.test, result.users, result.seconds = {}, {}, 9.0
    assert result.key == complete().key
    result.settings = {'model': {'dim': 8}}
    assert result.key != complete().key
    assert complete(1).key != complete().key
