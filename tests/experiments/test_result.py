import json
import math

import pytest

from pyg_ckd.experiments import METHODS, Method, Result, Run

FIT = {'max_epochs': 10, 'eval_every': 5, 'monitor': 'val_recall@20'}


def result_of(
    history=(), epochs=None, fit=FIT, method=METHODS['base'], **kwargs
):
    run = Run('shop', 'VBPR', method, 0, {'fit': fit})
    entries = [{'epoch': e, 'val_recall@20': value} for e, value in history]
    last = entries[-1]['epoch'] if entries else 0
    epochs = last if epochs is None else epochs
    return Result(run, history=entries, epochs=epochs, **kwargs)


def test_plain_values_and_back():
    result = result_of(
        [(5, 0.1), (10, math.inf)],
        test={'full': {'recall@20': 1 / 3}},
        val={'recall@20': 1},
        seconds=1.5,
        knocked_out={'verdict': {'text': 'used'}},
        environment={'threads': 2},
    )
    again = Result.from_dict(json.loads(json.dumps(result.to_dict())))
    assert again == result
    assert again.run.key == result.run.key
    failed = result_of(error='ValueError: no')
    again = Result.from_dict(json.loads(json.dumps(failed.to_dict())))
    assert again == failed


def test_trained_view():
    test = {'full': {'ndcg@20': 1.0}, 'only(text)': {'ndcg@20': 0.5}}
    base = result_of(test=test)
    assert (base.trained_view, base.tested) == ('full', test['full'])
    teacher = result_of(test=test, method=Method('teacher', modality='text'))
    assert teacher.trained_view == 'only(text)'
    assert teacher.tested == test['only(text)']
    assert result_of().tested == {}


def test_best_epoch():
    assert result_of([(5, 0.1), (10, 0.3), (15, 0.2)]).best_epoch == 10
    assert result_of([(5, 0.3), (10, 0.3)]).best_epoch == 5  # the first
    assert result_of([(5.0, 0.3)]).best_epoch == 5
    assert result_of().best_epoch == 0
    other = result_of([(5, 0.3), (10, 0.1)], fit={'monitor': 'val_ndcg@20'})
    other.history[1]['val_ndcg@20'] = 0.0
    assert other.best_epoch == 10


@pytest.mark.parametrize(
    ('history', 'fit', 'expected'),
    [
        ([(5, 0.1), (10, 0.2)], FIT, True),
        ([(5, 0.1), (10, 0.1)], FIT, False),
        ([(5, 0.1)], FIT, False),  # it had more epochs
        ([(5, 0.1)], {**FIT, 'max_epochs': 7}, True),  # but no evaluation
        ([(5, 0.1)], {**FIT, 'max_epochs': 9}, True),
        ([(1, 0.1)], {'max_epochs': 1, 'eval_every': 5}, True),
        ([(10, 0.1)], {'max_epochs': 10}, True),
        ([(9, 0.1)], {'max_epochs': 10}, False),
        ([(10, 0.1)], {}, False),
        ([], FIT, False),
        ([(0, 0.1)], {**FIT, 'max_epochs': 1}, False),  # nothing to train
        # It stops after one more than its patience, or else by a limit:
        ([(5, 0.2), (10, 0.1)], {'patience': 0}, False),
        ([(5, 0.2), (10, 0.1)], {'patience': 1}, True),
        ([(5, 0.2), (10, 0.1), (15, 0.2)], {'patience': 1}, False),
        ([(5, 0.1)], {'patience': 3, 'max_steps': 60}, True),
        ([(5, 0.1)], None, False),
    ],
)
def test_cut_short(history, fit, expected):
    assert result_of(history, fit=fit).cut_short is expected


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(test={'full': 3}), "'test' needs to be dict"),
        (dict(test={'full': {'recall@20': 'high'}}), "'test' needs to be"),
        (dict(test=[]), "'test' needs to be"),
        (dict(val={'recall@20': None}), "'val' needs to be"),
        (dict(history='x'), "'history' needs to be"),
        (dict(history=['x']), "'history' needs to be"),
        (dict(history=[{'epoch': 'x'}]), "'history' needs to be"),
        (dict(history=[{'loss': 1.0}]), "'history' has an entry of no epoch"),
        (dict(epochs='5'), "'epochs' needs to be int"),
        (dict(epochs=5.5), "'epochs' needs to be int"),
        (dict(seconds='1'), "'seconds' needs to be float"),
        (dict(knocked_out=3), "'knocked_out' needs to be"),
        (dict(environment=[]), "'environment' needs to be"),
        (dict(error=None), "'error' needs to be str"),
        (dict(size=3), "no result: .*'size'"),
        (dict(run=None), "'run' needs to be"),
        (dict(run={'seed': 0}), 'no run'),
        (dict(key='0123456789abcdef'), "key '0123456789abcdef' is not"),
        (dict(key=None), "key 'None' is not"),
    ],
    ids=str,
)
def test_values_of_no_result(change, message):
    values = {**result_of([(5, 0.1)]).to_dict(), **change}
    with pytest.raises(ValueError, match=message):
        Result.from_dict(values)


@pytest.mark.parametrize('values', [[], [{}], 3, 'run', None, {}, {'key': 1}])
def test_no_table_of_a_run(values):
    with pytest.raises(ValueError, match=r'^no result$'):
        Result.from_dict(values)


def test_old_format_is_told_how_to_be_converted():
    values = {'dataset': 'baby', 'backbone': 'VBPR', 'method': 'base'}
    with pytest.raises(ValueError, match=r'version 0.1, see convert_results'):
        Result.from_dict(values)


def test_changed_run_does_not_pass_for_another():
    values = result_of().to_dict()
    values['run']['seed'] = 1
    with pytest.raises(ValueError, match='is not that of its run'):
        Result.from_dict(values)
