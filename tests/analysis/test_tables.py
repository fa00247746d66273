import numpy as np
import pytest
import torch

from pyg_ckd.analysis import Result, summarize

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
