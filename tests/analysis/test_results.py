import json
import shutil

import numpy as np
import pytest
import torch

from pyg_ckd.analysis import Result, load_results, save_result


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
