import json
import re
import shlex

import pytest

from pyg_ckd.experiments import METHODS, Settings, Store
from pyg_ckd.experiments.backbones import BACKBONES

pytest.importorskip('optuna')
pytest.importorskip('tomli_w')


@pytest.fixture
def tune(call, shops, tmp_path):
    """Search on the tiny data set, a few epochs a trial."""
    spaces = tmp_path / 'spaces.toml'
    spaces.write_text(
        "[default.base]\n'train.lr' = { low = 1e-3, high = 1e-1, log = true }\n"
        "[default.CKD]\n'CKD.strength' = { choices = [0.1, 1.0] }\n"
    )
    settings = tmp_path / 'settings.toml'
    settings.write_text('[default.VBPR]\nmodel = { dim = 4 }\n')

    def tune(*args: object) -> tuple[int, str, str]:
        return call(
            *('tune', '--dataset', 'corner', '--root', shops),
            *('--results', tmp_path / 'results', '--spaces', spaces),
            *('--settings', settings, '--backbone', 'VBPR'),
            *('--max-epochs', 5, '--device', 'cpu', '--trials', 2, *args),
        )

    return tune


def test_table_and_settings(tune, call, tmp_path):
    status, out, err = tune('--seed', 3)
    assert status == 0
    for text in (
        'VBPR base, trial 1 of 4: validation Recall@20 ',
        'best so far 0.',
    ):
        assert text in err
    assert 'VBPR CKD, trial 2 of 2: ' in err
    assert 'VBPR scent alone 3: validation Recall@20 ' in err
    *table, place, use = out.splitlines()
    assert max(map(len, table)) <= 80
    assert 'corner, validation' in table[0]
    best = tmp_path / 'results' / 'corner' / 'tune' / 'best.toml'
    assert place == f'Settings: {best}'

    # The command at the end works, and uses what was found:
    command = shlex.split(use.removeprefix('Use them by: pyg-ckd '))
    args = ('--seed', 3, '--device', 'cpu', '--max-epochs', 5)
    assert call(*command, *args)[0] == 0
    results = Store(tmp_path / 'results' / 'corner').results()
    found = {str(result.run.method): result for result in results}
    assert found.keys() == {'base', 'scent alone', 'sound alone', 'CKD'}
    settings = Settings.read(best)
    for name in ('base', 'ckd'):
        method = METHODS[name]
        run = found[str(method)].run
        assert run.settings == settings.effective(
            'corner', 'VBPR', BACKBONES['VBPR'], method, 5
        )

    searched = Store(best.parent).results()
    assert {result.run.seed for result in searched} == {3}

    # Nothing is left to try:
    status, again, err = tune('--seed', 3, '--json')
    assert (status, err) == (0, '')
    rows = json.loads(again)['table']
    assert [(row['method'], row['trials']) for row in rows] == [
        ('base', 4),
        ('CKD', 2),
    ]
    assert json.loads(again)['settings'] == str(best)
    tried = (best.parent / 'trials.csv').read_text()
    for row in rows:
        assert f'{row["best"]:.4f}' in out
        assert row['key'] in tried
        assert row['best'] >= row['started']


def test_trials_that_fail_are_counted(tune, tmp_path):
    spaces = tmp_path / 'wild.toml'
    spaces.write_text("[default.base]\n'train.lr' = { choices = [1e30] }\n")
    status, out, err = tune('--method', 'base', '--spaces', spaces)
    assert status == 0
    assert re.search('trial 2 of 2 failed: ValueError: .*diverged', err)
    assert '1 failed' in out


def test_each_backbone_once(tune):
    args = ('--backbone', 'Popularity', 'Popularity', '--json')
    status, out, _ = tune(*args)
    assert status == 0
    (row,) = json.loads(out)['table']
    assert (row['backbone'], row['method']) == ('Popularity', 'base')


@pytest.mark.parametrize(
    ('name', 'text', 'words'),
    [
        ('--spaces', '[default.base]\n"train.rate" = 1\n', "'train.rate'"),
        ('--settings', '[default.VBPR]\nmodel = 1\n', 'needs to be a table'),
    ],
)
def test_wrong_files(tune, tmp_path, name, text, words):
    path = tmp_path / 'wrong.toml'
    path.write_text(text)
    status, out, err = tune(name, path)
    assert (status, out, err.count('\n')) == (2, '', 1)
    assert f"'{path}'" in err and words in err


def test_methods_that_cannot_be_tuned(tune):
    status, out, err = tune('--method', 'born-again')
    assert (status, out) == (2, '')
    assert "invalid choice: 'born-again'" in err
